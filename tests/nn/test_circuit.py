"""The circuit: normalised, exact in every marginal and draw, finite far out."""

import copy
import math

import numpy as np
import pytest
import torch
from scipy.special import roots_legendre
from scipy.stats import kstest

from ugmm.nn import Evidence, Queryable, UGMMCircuit
from ugmm.nn.circuit.leaves import MixtureLeaves

LEAVES = [(), (3,), (3, 2)]


def trained(n_features=3, n_classes=2, leaf_hidden=(), dtype=torch.float64, **sizes):
    """A circuit somewhere in the midst of training, and the rows it was initialised from."""
    torch.manual_seed(0)
    sizes = {"channels": 3, "components": 2, "repetitions": 2, **sizes}
    circuit = UGMMCircuit(n_features, n_classes, leaf_hidden=leaf_hidden, min_scale=0.2, **sizes)
    x = torch.randn(40, n_features) * torch.arange(1, n_features + 1) + 2
    y = torch.arange(40) % n_classes
    circuit.init_from(x, y)
    with torch.no_grad():
        for parameter in circuit.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return circuit.to(dtype).eval(), x.to(dtype), y


def rule(points, low=-60.0, high=60.0, parts=60):
    """Composite Gauss-Legendre nodes and weights on an interval."""
    nodes, weights = roots_legendre(points)
    edges = np.linspace(low, high, parts + 1)
    half = 0.5 * (edges[1] - edges[0])
    x = (edges[:-1, None] + half + half * nodes).ravel()
    return torch.tensor(x), torch.tensor(np.tile(half * weights, parts))


@pytest.mark.parametrize("leaf_hidden", LEAVES, ids=str)
def test_marginals_agree_with_quadrature(leaf_hidden):
    circuit, x, _ = trained(leaf_hidden=leaf_hidden)
    nodes, weights = rule(20, parts=600)
    for free in range(3):
        rows = x[0].repeat(len(nodes), 1)
        rows[:, free] = nodes
        with torch.no_grad():
            found = circuit.class_scores(rows).exp().mul(weights[:, None]).sum(0).log()
        observed = torch.arange(3) != free
        expected = circuit.marginal_class_scores(x[0], observed)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-8)


def test_two_features_are_summed_out_at_once():
    circuit, x, _ = trained()
    nodes, weights = rule(8)
    pairs = torch.cartesian_prod(nodes, nodes)
    rows = torch.cat([x[:1, :1].expand(len(pairs), 1), pairs], 1)
    with torch.no_grad():
        joint = torch.cat([circuit.class_scores(part) for part in rows.split(2**14)])
    found = (joint.exp() * torch.outer(weights, weights).reshape(-1, 1)).sum(0).log()
    expected = circuit.marginal_class_scores(x[0], torch.tensor([True, False, False]))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-8)


@pytest.mark.parametrize("n_features", [1, 2, 5, 6, 9])
def test_all_of_it_sums_to_one(n_features):
    circuit, _, _ = trained(n_features)
    nothing = Evidence.nothing(n_features)
    answer = circuit.marginal(nothing)
    assert answer.is_exact
    assert answer.error == 0
    torch.testing.assert_close(answer.log_prob, torch.zeros(1).double(), rtol=0, atol=1e-12)
    prior = [circuit.marginal(nothing.with_label(c)).log_prob.exp() for c in range(2)]
    torch.testing.assert_close(torch.cat(prior), circuit.class_logits.softmax(0).detach())


def test_it_is_the_circuit_it_says_it_is():
    """Against the same sums and products, one by one."""
    circuit, x, _ = trained(3, channels=2, repetitions=2)
    leaves = circuit.leaves(x[:1, circuit.order])[0].exp()  # (R, D, K)
    both = []
    for r in range(2):
        pair, alone = leaves[r, 0] * leaves[r, 1], leaves[r, 2]
        weights = circuit.sums[0][r].softmax(-1)
        both.append((weights[0] @ pair) * (weights[1] @ alone))
    root = circuit.roots.softmax(-1) @ torch.cat(both) * circuit.class_logits.softmax(0)
    torch.testing.assert_close(circuit.class_scores(x[0]), root.log())


@pytest.mark.parametrize("leaf_hidden", LEAVES, ids=str)
def test_draws_given_evidence_have_the_conditional_distribution(leaf_hidden):
    circuit, x, _ = trained(leaf_hidden=leaf_hidden)
    evidence = Evidence(x[:2], torch.tensor([[True, False, True], [False, True, False]]))
    draws = circuit.draw(evidence, 4000, torch.Generator().manual_seed(1))
    assert torch.equal(draws.x[:, :, 0][0], x[0, 0].expand(4000))
    torch.testing.assert_close(draws.log_weight.exp().sum(1), torch.ones(2).double())
    torch.testing.assert_close(draws.marginal.log_prob, circuit.marginal(evidence).log_prob)
    nodes, weights = rule(20, parts=600)
    rows = x[0].repeat(len(nodes), 1)
    rows[:, 1] = nodes
    with torch.no_grad():
        density = (circuit.log_prob(rows) - draws.marginal.log_prob[0]).exp()
    cdf = (density * weights).cumsum(0).numpy()
    found = kstest(draws.x[0, :, 1].numpy(), lambda at: np.interp(at, nodes.numpy(), cdf))
    assert found.pvalue > 0.01
    for row in range(2):
        known = circuit.marginal_class_scores(evidence.x[row], evidence.known[row])
        share = torch.bincount(draws.y[row], minlength=2) / 4000
        torch.testing.assert_close(share.double(), known.softmax(0), rtol=0, atol=0.03)


def test_draws_have_the_joint_distribution():
    circuit, _, _ = trained(2, channels=2)
    x, y = circuit.sample(20_000, generator=torch.Generator().manual_seed(2))
    # With z = exp(-|x|^2), E[z | c] from draws and by quadrature.
    nodes, weights = rule(4)
    pairs = torch.cartesian_prod(nodes, nodes)
    with torch.no_grad():
        joint = circuit.class_scores(pairs).exp()
    bump = (-0.1 * (pairs - 2).square().sum(1)).exp() * torch.outer(weights, weights).flatten()
    expected = (joint * bump[:, None]).sum(0)
    value = (-0.1 * (x - 2).square().sum(1)).exp()
    for c in range(2):
        own = value * (y == c)
        assert abs(own.mean() - expected[c]) < 4 * own.std() / math.sqrt(len(x))


def test_a_known_label_is_kept():
    circuit, x, y = trained()
    evidence = Evidence(x[:4], torch.zeros_like(x[:4], dtype=torch.bool), y[:4])
    draws = circuit.draw(evidence, 3, torch.Generator().manual_seed(0))
    assert torch.equal(draws.y, y[:4, None].expand(4, 3))
    _, labels = circuit.sample(5, torch.tensor([0, 1, 1, 0, 1]))
    assert labels.tolist() == [0, 1, 1, 0, 1]
    with pytest.raises(IndexError, match="a label is 2, and it must be 0 to 1"):
        circuit.marginal(evidence.with_label(2))
    with pytest.raises(IndexError, match="a label is 2, and it must be 0 to 1"):
        circuit.draw(evidence.with_label(2), 3, None)


@pytest.mark.parametrize("leaf_hidden", LEAVES, ids=str)
@pytest.mark.parametrize("at", [50.0, -3000.0])
def test_far_rows_have_finite_scores_and_gradients(leaf_hidden, at):
    circuit, _, _ = trained(5, leaf_hidden=leaf_hidden, dtype=torch.float32)
    x = torch.full((2, 5), at).requires_grad_()
    scores = circuit.class_scores(x)
    scores.sum().backward()
    if len(leaf_hidden) < 2 or at == 50:  # at depth 3 a score falls as the eighth power
        assert scores.isfinite().all()
        assert x.grad.isfinite().all()
        wide = copy.deepcopy(circuit).double().class_scores(x.detach().double())
        torch.testing.assert_close(scores.double(), wide, rtol=1e-5, atol=1e-5)
    assert not scores.isnan().any()


def test_small_weights_and_densities_are_not_lost():
    circuit, x, _ = trained(dtype=torch.float32)
    with torch.no_grad():
        for logits in (*circuit.sums, circuit.roots):
            logits[..., 0] = -500.0
    scores = circuit.class_scores(x + 40)
    scores.sum().backward()
    assert scores.isfinite().all()
    assert all(p.grad.isfinite().all() for p in circuit.parameters())


def test_a_row_beyond_all_numbers_is_impossible_and_not_nan():
    circuit, _, _ = trained()
    answer = circuit.marginal(Evidence(torch.full((1, 3), 1e200, dtype=torch.float64)))
    assert answer.log_prob == -math.inf


def test_evidence_of_many_rows_is_answered_in_parts(monkeypatch):
    circuit, x, y = trained()
    evidence = Evidence(x, x > 2, y)
    whole = circuit.marginal(evidence).log_prob
    drawn = circuit.draw(evidence, 2, torch.Generator().manual_seed(0))
    monkeypatch.setattr("ugmm.nn.circuit.network._NUMBERS", 40)
    torch.testing.assert_close(circuit.marginal(evidence).log_prob, whole)
    assert circuit.draw(evidence, 2, torch.Generator().manual_seed(0)).x.shape == drawn.x.shape
    assert len(circuit.marginal(evidence[:0]).log_prob) == 0


def test_a_seed_decides_the_structure_and_a_checkpoint_keeps_it():
    first, again, other = (UGMMCircuit(8, structure_seed=seed) for seed in (1, 1, 2))
    assert torch.equal(first.order, again.order)
    assert not torch.equal(first.order, other.order)
    state = torch.get_rng_state()
    UGMMCircuit(8, structure_seed=1)
    assert not torch.equal(torch.get_rng_state(), state)  # its parameters are drawn
    other.load_state_dict(first.state_dict())
    x = torch.randn(3, 8)
    torch.testing.assert_close(other.class_scores(x), first.class_scores(x))
    assert other.init_args == {"n_features": 8, "structure_seed": 2}


def test_it_can_be_queried():
    circuit, _, _ = trained()
    assert isinstance(circuit, Queryable)
    assert (circuit.n_features, circuit.n_classes) == (3, 2)


def test_it_compiles_and_is_exported():
    circuit, x, y = trained(dtype=torch.float32)
    compiled = torch.compile(circuit, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(x, y), circuit(x, y))
    program = torch.export.export(circuit, (x, y))
    torch.testing.assert_close(program.module()(x, y), circuit(x, y))


@pytest.mark.parametrize("setting", ["n_features", "channels", "components", "repetitions"])
def test_sizes_are_positive(setting):
    sizes = {"n_features": 3, setting: 0}
    with pytest.raises(ValueError, match=f"{setting} must be at least 1, got 0"):
        UGMMCircuit(**sizes)


def test_scales_and_widths_are_positive():
    with pytest.raises(ValueError, match="min_scale must be positive, got 0"):
        UGMMCircuit(3, min_scale=0)
    with pytest.raises(ValueError, match="leaf_hidden must be at least 1, got 0"):
        UGMMCircuit(3, leaf_hidden=(4, 0))


@pytest.mark.parametrize("hidden", LEAVES, ids=str)
def test_a_leaf_has_mass_one(hidden):
    """Also where the features' units are far from 1."""
    torch.manual_seed(3)
    leaves = MixtureLeaves(1, 2, 2, 3, hidden, 1e-3).double()
    rows = torch.randn(50, 1, 2).double() * torch.tensor([200.0, 0.05]) + 1000
    leaves.init_from(rows)
    leaves.eval()

    nodes, weights = rule(20, 0, 1)
    for place, spread in ((0, 200.0), (1, 0.05)):
        width = 30 * spread
        x = (1000 - width / 2 + width * nodes).reshape(-1, 1, 1).expand(-1, 1, 2)
        with torch.no_grad():
            mass = width * (leaves(x)[:, 0, place].exp() * weights[:, None]).sum(0)
        torch.testing.assert_close(mass, torch.ones(2).double(), rtol=0, atol=1e-8)


@pytest.mark.parametrize("raw_scale", [-2.0, 0.0, 2.0])
def test_a_leaf_of_a_constant_feature_has_mass_one(raw_scale):
    torch.manual_seed(0)
    leaves = MixtureLeaves(1, 1, 2, 3, (4,), 0.05).double()
    leaves.init_from(torch.zeros(20, 1, 1).double())
    torch.nn.init.constant_(leaves.layers[1].raw_scale, raw_scale)
    nodes, weights = rule(20, -4, 4)
    with torch.no_grad():
        found = leaves.eval()(nodes.reshape(-1, 1, 1))[:, 0, 0]
    mass = (found.exp() * weights[:, None]).sum(0)
    torch.testing.assert_close(mass, torch.ones(2).double(), rtol=0, atol=1e-6)
