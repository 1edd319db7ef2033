"""Evidence about autoregressive networks: against enumeration, quadrature and both roads."""

import itertools
import math

import pytest
import torch

from ugmm.kernels import choose_populations
from ugmm.nn import AutoregressiveUGMM, Evidence, Queryable
from ugmm.nn.autoregressive import particles


def make(n_features, n_classes=1, seed=0, head="bernoulli", **settings):
    """A network away from what is only so at the start."""
    torch.manual_seed(seed)
    network = AutoregressiveUGMM(n_features, n_classes, **{"hidden": [7], **settings}, head=head)
    network.init_from((torch.rand(200, n_features) < 0.3).float(), torch.arange(200) % n_classes)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.4 * torch.randn_like(parameter))
    return network.eval()


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def every_row(network):
    """All rows of binary features there are, and log p of each with each class."""
    rows = torch.tensor(list(itertools.product([0.0, 1.0], repeat=network.n_features)))
    with torch.no_grad():
        return rows, network.class_scores(rows.to(network.start)).double()


def enumerate_evidence(network, evidence):
    """Log p of each row's evidence, the sum over all rows that agree with it: (n,)."""
    rows, scores = every_row(network)
    found = []
    for x, known, y in zip(evidence.x, evidence.known, evidence.y, strict=True):
        agreeing = scores[((rows == x) | ~known).all(1)]
        found.append((agreeing if y < 0 else agreeing[:, y]).flatten().logsumexp(0))
    return torch.stack(found)


def random_evidence(network, n, seed=0):
    """Rows of which about half is known, and of some the label."""
    generator = seeded(seed)
    d, c = network.n_features, network.n_classes
    x = (torch.rand(n, d, generator=generator) < 0.4).float()
    known = torch.rand(n, d, generator=generator) < 0.5
    return Evidence(x, known, torch.randint(-1, c, (n,), generator=generator))


ROADS = {
    "compiled": {},
    "plain": {"kernel": "reference"},
    "layers": {"hidden": [7, 5]},
}


@pytest.mark.parametrize("road", ROADS)
def test_estimates_keep_to_their_errors(road):
    """Of random evidence about 8 pixels and 2 classes, enumerated."""
    network = make(8, 2, **ROADS[road])
    assert isinstance(network, Queryable)
    evidence = random_evidence(network, 150)
    found = network.marginal(evidence, 256, seeded(1))
    assert not found.is_exact
    sampled = found.error > 0
    off = found.log_prob - enumerate_evidence(network, evidence)
    assert off[~sampled].abs().max() < 1e-5
    assert (found.effective[~sampled] == 1).all()
    z = (off / found.error)[sampled]
    assert len(z) > 100
    assert (z.abs() < 3).double().mean() > 0.97
    assert 0.8 < z.square().mean().sqrt() < 1.3
    assert found.error.median() < 0.05


@pytest.mark.parametrize("head", ["bernoulli", "gaussian"])
@pytest.mark.parametrize("label", [-1, 1])
def test_what_is_known_of_a_prefix_is_exact(head, label):
    network = make(4, 3, head=head, hidden=[6, 4])
    x = torch.tensor([[1.0, 0, 0, 1]]).repeat(5, 1)
    known = torch.ones(5, 4, dtype=torch.bool).tril(-1)  # nothing, up to everything
    found = network.marginal(Evidence(x, known, torch.full((5,), label)), 10, seeded())
    assert found.is_exact
    assert (found.error == 0).all()
    with torch.no_grad():
        prior = network.class_logits.log_softmax(0)
        scores = [network.prefix_log_prob(x[:1], torch.tensor([c])) for c in range(3)]
    table = torch.cat([prior.unsqueeze(1), torch.cat(scores)], 1).double()
    exact = table.logsumexp(0) if label < 0 else table[label]
    assert torch.allclose(found.log_prob, exact, atol=1e-5)
    assert found.log_prob[0].item() == pytest.approx(0 if label < 0 else prior[1].item(), abs=1e-6)


@pytest.mark.parametrize(
    ("row", "label"), [((None, 0.4), -1), ((None, -0.7, 0.3), 1), ((0.2, None, 0.9), -1)]
)
def test_real_features_agree_with_quadrature(row, label):
    """The trapezoidal rule over the one feature that is not known, on the exact joint density."""
    network = make(len(row), 2, head="gaussian", hidden=[6]).double()
    free = row.index(None)
    x = torch.tensor([[math.nan if value is None else value for value in row]]).double()
    evidence = Evidence(x, y=torch.tensor([label]))
    grid = torch.linspace(-15, 15, 2001).double()
    rows = x.repeat(len(grid), 1)
    rows[:, free] = grid
    joint = network.marginal(Evidence(rows, y=evidence.y.repeat(len(grid))), 1, seeded())
    assert joint.is_exact
    exact = torch.trapezoid(joint.log_prob.exp(), grid).log()
    found = network.marginal(evidence, 4096, seeded(1))
    assert (found.log_prob - exact).abs() < 3 * found.error
    assert 0 < found.error < 0.1


@pytest.mark.parametrize("head", ["bernoulli", "gaussian"])
@pytest.mark.parametrize("n", [100, 300])
def test_draws_keep_what_is_known(head, n):
    network = make(6, 3, head=head)
    evidence = random_evidence(network, 7)
    x, y, log_weight, marginal = network.draw(evidence, n, seeded())
    assert (x.shape, y.shape, log_weight.shape) == ((7, n, 6), (7, n), (7, n))
    assert torch.equal(x.where(evidence.known[:, None], 0), evidence.x[:, None].expand_as(x))
    assert ((evidence.y[:, None] == -1) | (y == evidence.y[:, None])).all()
    assert torch.allclose(log_weight.logsumexp(1), torch.zeros(7).double(), atol=1e-9)
    assert ((marginal.effective > 0) & (marginal.effective < 1 + 1e-9)).all()


@pytest.mark.parametrize("known", [[], [0, 1], [1, 4], [5]])
def test_draws_have_their_probabilities(known):
    """The means of features and labels, within what the effective share allows."""
    network = make(6, 2)
    mask = torch.zeros(1, 6, dtype=torch.bool)
    mask[:, known] = True
    evidence = Evidence(torch.tensor([[1.0, 0, 1, 0, 1, 1]]), mask)
    n = 4000
    x, y, log_weight, marginal = network.draw(evidence, n, seeded())
    rows, scores = every_row(network)
    scores = scores.where(((rows == evidence.x[0]) | ~mask[0]).all(1)[:, None], -math.inf)
    p = scores.flatten().softmax(0).view_as(scores)
    assert marginal.is_exact == (known in ([], [0, 1]))
    assert (marginal.log_prob - scores.flatten().logsumexp(0)).abs() < 4 * marginal.error + 1e-5
    weight = log_weight[0].exp()
    means = torch.cat([weight @ x[0].double(), weight @ y[0].double().unsqueeze(1)])
    exact = torch.cat([p.sum(1) @ rows.double(), p.sum(0)[1:]])
    assert ((means - exact).abs() < 4 * 0.5 / (n * marginal.effective).sqrt()).all()


def test_both_roads_are_one():
    network = make(40, 3, hidden=[16])
    plain = make(40, 3, hidden=[16], kernel="reference")
    assert choose_populations(network.start) is not None
    evidence = random_evidence(network, 5)
    one, two = (each.draw(evidence, 256, seeded()) for each in (network, plain))
    # A number that is as good as equal to a probability may fall to either side.
    alike = (one.x == two.x).all(2)
    assert alike.double().mean() > 0.7
    assert torch.allclose(one.marginal.log_prob, two.marginal.log_prob, atol=0.2)
    same = alike.all(1)
    assert same.any()
    assert torch.allclose(one.log_weight[same], two.log_weight[same], atol=1e-4)


@pytest.mark.parametrize("start", [-1e30, -300.0, 200.0])
def test_sums_of_any_size_are_kept(start):
    """The logarithm of an empty prefix' sum may lie far from those of the components."""
    one, two = make(9, hidden=[20]), make(9, hidden=[20], kernel="reference")
    with torch.no_grad():
        one.start.add_(start)
        two.start.add_(start)
    evidence = random_evidence(one, 6)
    found = [network.marginal(evidence, 256, seeded()).log_prob for network in (one, two)]
    assert torch.allclose(*found, atol=0.05)


@pytest.mark.parametrize("road", ROADS)
def test_what_is_all_but_impossible_is_not_cut_off(road):
    network = make(3, **ROADS[road])
    with torch.no_grad():
        network.head.weight[2], network.head.bias[2] = 0, -200
    evidence = Evidence(torch.tensor([[math.nan, 1, 1]]))
    with_last = network.marginal(evidence, 1024, seeded()).log_prob
    without = network.marginal(Evidence(torch.tensor([[math.nan, 1, math.nan]])), 1024, seeded())
    assert (with_last - without.log_prob).item() == pytest.approx(-200, abs=0.1)


def test_draws_of_one_lineage_count_as_one():
    """The first pixels are free and the last ones known: few particles are their ancestors."""
    network = make(30, hidden=[24])
    x = torch.zeros(1, 30)
    first, last = torch.arange(30) < 15, torch.arange(30) >= 15
    late = network.draw(Evidence(1 - x, last[None]), 512, seeded())
    assert network.draw(Evidence(1 - x, last[None]), 2, seeded()).marginal.effective < 1
    early = network.draw(Evidence(1 - x, first[None]), 512, seeded())
    assert early.marginal.effective == pytest.approx(1)
    weights = 1 / (512 * late.log_weight.exp().square().sum(1))
    assert late.marginal.effective < 0.5 * weights


def test_threads_and_parts_change_nothing(monkeypatch):
    network = make(20, 2, hidden=[33])
    evidence, before = random_evidence(network, 9), torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one = network.marginal(evidence, 256, seeded())
        torch.set_num_threads(2)
        two = network.marginal(evidence, 256, seeded())
    finally:
        torch.set_num_threads(before)
    assert torch.equal(one.log_prob, two.log_prob)
    assert torch.equal(one.error, two.error)
    monkeypatch.setattr(particles, "_NUMBERS", 1)  # a population at a time
    parts = network.marginal(evidence, 256, seeded(1))
    assert (parts.log_prob - one.log_prob).abs().max() < 1


def test_draws_come_in_no_order():
    """The first ones are of every label, and so are the particles of a population."""
    network = make(3, 2)
    y = network.draw(Evidence.nothing(3, 40), 256, seeded()).y[:, :8].double()
    assert (y.mean() - network.class_logits.softmax(0)[1]).abs() < 0.1
    assert y.mean(0).std() < 0.2


def test_a_branch_that_none_has_taken_is_in_the_error():
    network = make(2)
    with torch.no_grad():
        network.head.bias[0] = -20  # a 1 is never drawn
    found = network.marginal(Evidence(torch.tensor([[math.nan, 1]])), 256, seeded())
    assert not found.is_exact
    assert found.error >= 1 / 256


def test_many_particles_are_more_populations():
    network = make(5)
    evidence = Evidence(torch.tensor([[math.nan, 1, math.nan, 0, 1]]))
    found = network.marginal(evidence, 20_000, seeded())
    exact = enumerate_evidence(network, evidence)
    assert (found.log_prob - exact).abs() < 4 * found.error
    assert found.error < 0.01


@pytest.mark.parametrize(("value", "error"), [(0.5, ValueError), (1.0, None)])
def test_pixels_are_0_or_1(value, error):
    network = make(3)
    evidence = Evidence(torch.tensor([[math.nan, value, math.nan]]))
    if error is None:
        assert network.marginal(evidence, 10, seeded()).log_prob < 0
    else:
        with pytest.raises(error, match=r"a feature is 0.5, and each must be 0 or 1"):
            network.marginal(evidence, 10, seeded())
