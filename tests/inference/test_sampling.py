"""Samples by each method: of the right distribution, whole, and honest about their worth."""

import itertools

import pytest
import torch
from exact_densities import BinaryTable, GaussianPerClass, Repeated, half_known, random_gaussians

from ugmm.errors import UGMMWarning
from ugmm.inference import Evidence, conditional, mpe, sample
from ugmm.inference.density_posteriors import density_posterior
from ugmm.nn import AutoregressiveUGMM

FAR = Evidence(torch.tensor([[0.0, torch.nan, 0.0], [1e200, torch.nan, 0.0]], dtype=torch.float64))


def moments(density, row):
    """Exact mean and second moments of the free features."""
    shares = density.known_scores(row).softmax(0)
    means, covariances = density.conditionals(row)
    outer = covariances + means.unsqueeze(-1) * means.unsqueeze(-2)
    return shares, shares @ means, (shares[:, None, None] * outer).sum(0)


@pytest.mark.parametrize(
    ("method", "forced", "expected"),
    [
        ("auto", False, "independent"),
        ("importance", False, "independent"),
        ("auto", True, "importance"),
        ("metropolis", True, "metropolis"),
        ("mala", True, "mala"),
        ("gibbs", True, "gibbs"),
    ],
)
def test_each_method_draws_from_the_conditional(method, forced, expected):
    density = random_gaussians(4, seed=2, forced=forced)
    row = half_known(4, seed=5)
    n = 1200 if method == "mala" else 4000
    drawn = sample(density, n, row, method=method, seed=1)
    assert drawn.methods == (expected,)
    x, y = drawn.features[0], drawn.labels[0]
    assert x.shape == (n, 4)
    assert torch.equal(x[:, :2], row.x[:, :2].expand(n, -1))
    shares, mean, second = moments(density, row)
    free = x[:, 2:]
    torch.testing.assert_close(y.double().mean(), shares[1], atol=0.05, rtol=0)
    torch.testing.assert_close(free.mean(0), mean, atol=0.12, rtol=0)
    torch.testing.assert_close(free.T @ free / n, second, atol=0.35, rtol=0)


@pytest.mark.parametrize("method", ["auto", "metropolis", "gibbs"])
@pytest.mark.parametrize("forced", [False, True])
def test_binary_features_have_their_probabilities(method, forced):
    density = BinaryTable(forced=forced).eval()
    row = Evidence(torch.tensor([[1.0, torch.nan, torch.nan, 0.0]]))
    drawn = sample(density, 4000, row, method=method)
    truth = density.joint(row).flatten().softmax(0).view(-1, 2)
    places = (drawn.features[0] @ torch.tensor([8.0, 4.0, 2.0, 1.0])).long()
    found = torch.bincount(2 * places + drawn.labels[0], minlength=32).view(-1, 2) / 4000
    torch.testing.assert_close(found.double(), truth, atol=0.04, rtol=0)


@pytest.mark.parametrize("method", ["auto", "metropolis", "mala", "gibbs"])
def test_a_known_label_is_kept(method):
    density = random_gaussians(2, seed=3, forced=True)
    evidence = Evidence(torch.full((1, 2), torch.nan).double(), y=torch.tensor([1]))
    drawn = sample(density, 800, evidence, method=method)
    assert (drawn.labels == 1).all()
    torch.testing.assert_close(drawn.features[0].mean(0), density.means[1], atol=0.2, rtol=0)


def test_a_rows_draws_depend_on_its_place_and_the_seed_alone():
    density = random_gaussians(4, forced=True)
    evidence = half_known(4, n=2)
    both = sample(density, 20, evidence, seed=1)
    assert torch.equal(sample(density, 20, evidence[:1], seed=1).features[0], both.features[0])
    twice = sample(density, 20, Evidence(evidence.x[:1].repeat(2, 1), evidence.known), seed=1)
    assert not torch.equal(twice.features[0], twice.features[1])
    assert not torch.equal(sample(density, 20, evidence[:1], seed=2).features, both.features[:1])


def test_draws_come_in_parts_and_tell_how_far_they_are():
    told = []
    drawn = sample(random_gaussians(2, forced=True), 3000, progress=lambda *at: told.append(at))
    assert len(told) > 3
    assert told == sorted(told)
    assert told[-1] == (3000, 3000)
    assert len(drawn.features[0].unique(dim=0)) > 2700
    assert 2000 < drawn.effective[0] < 3000


def test_draws_that_have_much_in_common_are_worth_less():
    plain = random_gaussians(3, seed=1, forced=True)
    repeated = Repeated(plain.means, plain.covariances, forced=True).eval()
    nothing = Evidence.nothing(3).to(dtype=torch.float64)
    assert sample(repeated, 200).share[0] < 0.5 * sample(plain, 200).share[0]
    once, again = (conditional(d, [0, 1], nothing) for d in (plain, repeated))
    torch.testing.assert_close(again.error, 2 * once.error, rtol=0.15, atol=0)
    once, again = (conditional(d, 0, nothing, n=1024) for d in (plain, repeated))
    assert (again.error > 1.2 * once.error).all()
    once, again = (density_posterior(d, nothing, 4096, 0)[1] for d in (plain, repeated))
    torch.testing.assert_close(again, 2 * once, rtol=0.15, atol=0)


def test_few_effective_draws_give_way_to_mala_and_say_so():
    density = random_gaussians(6, forced=True, width=40.0)
    with pytest.warns(UGMMWarning, match=r"row 0: .* of MALA's chains, which may miss modes"):
        drawn = sample(density, 200)
    assert drawn.methods == ("mala",)
    assert drawn.share[0] < 0.005
    with pytest.warns(UGMMWarning, match="worth 3[0-9]? independent ones|worth .* independent"):
        assert sample(density, 200, method="importance").methods == ("importance",)


@pytest.mark.parametrize("method", ["mala", "gibbs"])
def test_chains_that_stay_in_their_modes_are_worth_little_and_say_so(method):
    far, near = ([[-d, -d], [d, d]] for d in (6.0, 0.0))
    narrow = 0.2 * torch.eye(2).expand(2, 2, 2)
    apart = GaussianPerClass(far, narrow, forced=True, width=6.0).eval()
    with pytest.warns(UGMMWarning, match="of chains that stay apart, worth about .* independent"):
        drawn = sample(apart, 240, method=method)
    assert drawn.effective[0] < 40
    together = GaussianPerClass(near, narrow, forced=True).eval()
    assert sample(together, 240, method=method).effective[0] > 80


def test_chains_can_be_told_apart():
    density = random_gaussians(2, forced=True)
    drawn = sample(density, 100, method="gibbs")
    chains = drawn.by_chain(0)
    assert chains.shape == (16, 6, 2)
    assert torch.equal(chains[3, 2], drawn.features[0, 2 * 16 + 3])
    with pytest.raises(ValueError, match="come from no chains"):
        sample(density, 100).by_chain(0)


@pytest.mark.parametrize(
    ("density", "arguments", "complaint"),
    [
        (random_gaussians(2), {"n": 0}, "n must be at least 1"),
        (random_gaussians(2), {"n": 3, "method": "magic"}, "there is no method 'magic'; choose"),
        (BinaryTable().eval(), {"n": 3, "method": "mala"}, "mala follows gradients"),
        (
            random_gaussians(3, forced=True),
            {"n": 3, "evidence": FAR},
            "too far from all",
        ),
        (
            random_gaussians(3, forced=True),
            {"n": 3, "evidence": FAR, "method": "gibbs"},
            "too far from all",
        ),
    ],
)
def test_what_cannot_be_drawn(density, arguments, complaint):
    with pytest.raises(ValueError, match=complaint):
        sample(density, **arguments)


def test_everything_may_be_known():
    row = Evidence(torch.ones(1, 3).double())
    for method in ("auto", "metropolis", "mala", "gibbs"):
        drawn = sample(random_gaussians(3, forced=True), 20, row, method=method)
        assert (drawn.features == 1).all()


def test_features_of_levels_are_drawn_by_importance_and_nothing_else_is_asked_of_them():
    torch.manual_seed(0)
    network = AutoregressiveUGMM(3, hidden=(4,), head="levels", levels=3).eval()
    evidence = Evidence.nothing(3).with_features(torch.tensor([2]), torch.tensor([[0.5]]))
    drawn = sample(network, 4000, evidence, seed=0).features[0]
    assert (drawn[:, 2] == 0.5).all()
    rows = torch.tensor(list(itertools.product(range(3), repeat=3))) / 2
    p = network.log_prob(rows).exp().view(3, 3, 3)[:, :, 1].sum(1).detach()
    found = torch.bincount((drawn[:, 0] * 2).long(), minlength=3) / 4000
    torch.testing.assert_close(found, p / p.sum(), atol=0.04, rtol=0)
    for method in ("mala", "gibbs"):
        with pytest.raises(ValueError, match=f"{method} is not there for features of 3 levels"):
            sample(network, 4, evidence, method=method)
    with pytest.raises(ValueError, match="a conditional is not there for features of 3 levels"):
        conditional(network, 0, evidence)
    with pytest.raises(ValueError, match="a most probable completion is not there"):
        mpe(network, evidence)
