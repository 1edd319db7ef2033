"""What a tilted Gaussian answers: against integrals, and with errors that are honest."""

import copy
import functools
import math

import pytest
import torch
from tilted_cases import make_tilted

from ugmm.density import weighing
from ugmm.inference import conditional, marginal, posterior, sample
from ugmm.nn import Evidence, Queryable

GRID = torch.linspace(-9, 9, 401, dtype=torch.float64)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def normalized(*arguments, **options):
    density, x, y = make_tilted(*arguments, **options)
    density.normalize(2**14)
    return density, x, y


@torch.no_grad()
def by_quadrature(density, evidence):
    """Log p of each row's evidence, one or two features free."""
    found = []
    for row in range(len(evidence)):
        one = evidence[row : row + 1]
        free = (~one.known[0]).nonzero().squeeze(1)
        points = torch.cartesian_prod(*[GRID] * len(free)).reshape(-1, len(free))
        x = one.x.double().repeat(len(points), 1)
        x[:, free] = points
        scores = density.score.class_scores(x.float()).double()
        total = one.restrict(scores).logsumexp(-1) + density.base.log_prob(x)
        step = len(free) * (GRID[1] - GRID[0]).log()
        found.append(total.logsumexp(0) + step - density.log_z)
    return torch.stack(found)


MASKS = torch.tensor([[1, 0, 0], [0, 1, 1], [1, 1, 0], [0, 1, 0], [1, 0, 0]]).bool()


@pytest.mark.parametrize(
    ("n_classes", "label", "y"),
    [
        (3, "onehot", None),
        (3, "onehot", [0, 2, -1, 1, -1]),
        (2, "real", [1, 0, -1, 1, -1]),
        (1, "none", None),
    ],
)
def test_marginals_are_integrals(n_classes, label, y):
    density, x, _ = normalized(3, n_classes, label)
    assert isinstance(density, Queryable)
    evidence = Evidence(x[:5], MASKS, None if y is None else torch.tensor(y))
    found = density.marginal(evidence, 4096, generator())
    expected = by_quadrature(density, evidence)
    torch.testing.assert_close(found.log_prob, expected, atol=0.01, rtol=0)
    own = (found.error.square() - found.shared.square()).sqrt()
    assert ((found.log_prob - expected).abs() < 4 * own + 1e-5).all()
    assert (own > 0).all()
    assert ((found.effective > 0.05) & (found.effective <= 1)).all()
    assert not found.is_exact


def test_errors_are_what_they_claim():
    density, x, _ = normalized(3)
    evidence = Evidence(x[:5], MASKS, torch.tensor([-1, 2, -1, 0, -1]))
    expected = by_quadrature(density, evidence)
    off = {"marginal": [], "draw": []}
    for seed in range(40):
        found = density.marginal(evidence, 512, generator(seed))
        drawn = density.draw(evidence, 512, generator(seed)).marginal
        for name, each in {"marginal": found, "draw": drawn}.items():
            own = (each.error.square() - each.shared.square()).sqrt()
            off[name].append((each.log_prob - expected) / own)
    for name, each in off.items():
        rms = torch.stack(each).square().mean(0).sqrt()
        assert ((rms > 0.7) & (rms < 1.4)).all(), (name, rms)


def test_weighted_draws_have_the_moments_and_labels_of_the_integral():
    density, x, _ = normalized(2)
    evidence = Evidence(x[:1], torch.tensor([[True, False]]))
    drawn = density.draw(evidence, 20_000, generator())
    assert (drawn.x[0, :, 0] == x[0, 0]).all()
    assert drawn.x.dtype == x.dtype
    rows = torch.stack([x[0, 0].expand(len(GRID)), GRID.float()], 1)
    with torch.no_grad():
        p = density.class_scores(rows).double().exp()
    w, total = drawn.log_weight[0].exp(), p.sum()
    assert w.sum().item() == pytest.approx(1)
    mean = (p.sum(1) * GRID).sum() / total
    assert (w * drawn.x[0, :, 1]).sum().item() == pytest.approx(mean.item(), abs=0.03)
    labels = torch.zeros(3).double().index_add(0, drawn.y[0], w)
    torch.testing.assert_close(labels, p.sum(0) / total, atol=0.02, rtol=0)


def test_a_known_label_is_that_of_all_draws():
    density, x, _ = normalized(2)
    evidence = Evidence(x[:2], y=torch.tensor([2, -1]))
    drawn = density.draw(evidence, 10, generator())
    assert (drawn.y[0] == 2).all()
    assert (drawn.x == x[:2, None]).all()


def test_all_known_is_the_density_and_nothing_known_is_one():
    density, x, y = normalized(3)
    nothing = Evidence.nothing(3, 2)
    for answer in (
        density.marginal(nothing, 64, generator()),
        density.draw(nothing, 64, generator()).marginal,
    ):
        assert answer.log_prob.tolist() == [0, 0]
        assert answer.error.tolist() == [0, 0]
        assert answer.is_exact
    for labels in (None, y):
        found = density.marginal(Evidence(x, y=labels), 64, generator())
        expected = density.log_prob(x) if labels is None else density(x, y)
        torch.testing.assert_close(found.log_prob.float(), expected, atol=1e-4, rtol=1e-4)
        assert (found.error == density.log_z_error).all()
        assert (found.effective == 1).all()


def test_an_answer_does_not_depend_on_the_rows_beside_it_nor_on_parts(monkeypatch):
    density, x, _ = normalized(3)
    evidence = Evidence(x[:5], MASKS)
    whole = density.marginal(evidence, 1024, generator())
    alone = density.marginal(evidence[2:3], 1024, generator())
    torch.testing.assert_close(alone.log_prob[0], whole.log_prob[2], rtol=1e-5, atol=1e-5)
    monkeypatch.setattr(weighing, "_TOGETHER", 300)
    parts = density.marginal(evidence, 1024, generator())
    torch.testing.assert_close(parts.log_prob, whole.log_prob, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(parts.error, whole.error, rtol=1e-3, atol=1e-6)
    drawn = density.draw(evidence, 1000, generator())
    torch.testing.assert_close(drawn.log_weight.logsumexp(1), torch.zeros(5).double())
    off = (drawn.marginal.log_prob - whole.log_prob) / drawn.marginal.error
    assert (off.abs() < 4).all()


def test_the_error_of_z_cancels_in_ratios():
    density, x, _ = normalized(3)
    evidence = Evidence(x[:5], MASKS)
    joint = density.marginal(Evidence(x[:5]), 64, generator())
    part = density.marginal(evidence, 64, generator())
    own = (part.error.square() - part.shared.square()).sqrt()
    torch.testing.assert_close(joint.error_over(part), own)
    whole = density.marginal(Evidence.nothing(3), 64, generator())  # no Z in log 1
    torch.testing.assert_close(joint.error_over(whole), joint.error)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_answers_of_any_type_are_in_float64(dtype):
    density, x, _ = normalized(3)
    evidence = Evidence(x[:3], MASKS[:3])
    expected = marginal(density, evidence, n=64)
    found = marginal(density.to(dtype), evidence, n=64)
    assert {each.dtype for each in (*found[:3], found.shared)} == {torch.float64}
    torch.testing.assert_close(found.log_prob, expected.log_prob, atol=0.2, rtol=0)


@pytest.mark.parametrize("far", [1e4, 1e9, 1e15])
def test_far_evidence_has_a_number(far):
    density, _, _ = normalized(3)
    evidence = Evidence(torch.full((1, 3), far), torch.tensor([[True, False, True]]))
    found = density.marginal(evidence, 256, generator())
    drawn = density.draw(evidence, 256, generator())
    assert found.log_prob.item() < -1e6
    for each in (*found[:3], drawn.x, drawn.log_weight):
        assert not each.isnan().any()
    with pytest.raises(ValueError, match=r"a feature is 1e\+16 in model units: too far"):
        density.marginal(Evidence(torch.full((1, 3), 1e16)), 256, generator())


def test_far_out_rounding_does_not_pass_for_an_answer():
    density, x, _ = normalized(3)
    asked = Evidence(torch.tensor([[math.nan, 1e6, 0.5]]))
    with pytest.raises(ValueError, match="row 0: the evidence is too far"):
        conditional(density, 0, asked, n=64)
    rows = x[:2].clone()
    rows[:, 1] = 1e6
    expected = copy.deepcopy(density).double().score.posterior(rows.double())
    assert (expected.amax(1) > 0.34).all()
    torch.testing.assert_close(
        posterior(density, Evidence(rows)).probs, expected, atol=1e-4, rtol=0
    )
    assert torch.equal(density.predict(rows), expected.argmax(1))


def test_the_only_label_tells_nothing():
    density, x, _ = normalized(3, 1, "none")
    for asked in (Evidence.nothing(3), Evidence(x[:1], MASKS[:1])):
        found, plain = (marginal(density, each, n=64) for each in (asked.with_label(0), asked))
        assert torch.equal(found.log_prob, plain.log_prob)
        assert torch.equal(found.error, plain.error)
    assert plain.error.item() > 0
    assert sample(density, 3, asked.with_label(0)).labels.tolist() == [[0, 0, 0]]


def test_a_network_without_numbers_is_refused_in_a_line():
    density, x, _ = normalized(3)
    torch.nn.init.constant_(next(density.parameters()), math.nan)
    asked = Evidence(x[:1], MASKS[:1])
    for ask in (marginal, posterior, functools.partial(sample, n=2)):
        with pytest.raises(ValueError, match="too far"):
            ask(density, evidence=asked)


def test_what_cannot_be_asked_is_refused_in_a_line():
    density, x, _ = make_tilted(2)
    evidence = Evidence(x[:1], torch.tensor([[True, False]]))
    for ask in (density.marginal, density.draw):
        with pytest.raises(ValueError, match=r"call normalize\(\) first"):
            ask(evidence, 64, generator())
    density.normalize(256)
    with pytest.raises(ValueError, match="evidence of 3 features, and the density has 2"):
        density.marginal(Evidence.nothing(3), 64, generator())
    with pytest.raises(ValueError, match="a label is 3, and it must be 0 to 2"):
        density.marginal(evidence.with_label(3), 64, generator())
    with pytest.raises(ValueError, match="n must be at least 1, got 0"):
        density.draw(evidence, 0, generator())
    density.score.network.layers[0].dropout = 0.5
    density.marginal(evidence, 64, generator())
    density.train()
    with pytest.raises(ValueError, match=r"call eval\(\) first"):
        density.marginal(evidence, 64, generator())


def test_no_rows_have_no_answers():
    density, x, _ = normalized(2)
    none = Evidence(x[:0])
    assert density.marginal(none, 64, generator()).log_prob.shape == (0,)
    assert density.draw(none, 64, generator()).x.shape == (0, 64, 2)
