"""The classes' posterior where inputs are missing, of networks that have no density."""

import math

import pytest
import torch

from ugmm.baselines import MLP, QDA, GaussianClasses
from ugmm.inference import Evidence, posterior
from ugmm.nn import UGMMNetwork

D, C = 5, 3


@pytest.fixture
def network():
    torch.manual_seed(0)
    return UGMMNetwork([D, 8, C], norm="layer", kernel="reference").eval()


@pytest.fixture
def rows():
    return torch.randn(40, D, generator=torch.Generator().manual_seed(1))


def some(n, share, seed=2):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, D, generator=generator)
    return Evidence(x, torch.rand(n, D, generator=generator) < share)


def by_hand(network, x, known, rows, k):
    """What the docstring says, of one row, in float64."""
    network = network.double()
    x, rows = x.double(), rows.double()
    distance = ((rows - x)[:, known] ** 2).sum(1)
    filled = torch.where(known, x, rows[distance.argsort()[:k]])
    near = network.class_scores(filled).softmax(-1)
    dropped = network.marginal_class_scores(x[None], known[None]).softmax(-1)[0]
    share = known.double().mean()

    def joined(mean):
        p = dropped**share * (1e-3 + mean) ** (1 - share)
        return p / p.sum()

    without = torch.stack([joined((near.sum(0) - one) / (k - 1)) for one in near])
    error = ((k - 1) / k * (without - without.mean(0)).square().sum(0)).sqrt()
    network.float()
    return joined(near.mean(0)), error


def test_with_everything_known_it_is_the_networks_own(network, rows):
    x = torch.randn(4, D)
    found = posterior(network, Evidence(x), rows=rows)
    assert found.is_exact
    torch.testing.assert_close(found.probs, network.posterior(x))
    assert (found.error == 0).all()


@pytest.mark.parametrize("missing", [False, True])
@pytest.mark.parametrize("given", [False, True])
def test_evidence_of_another_type_is_taken(network, rows, given, missing):
    evidence = some(6, 0.5)
    evidence.known[0] = False
    if missing:
        network.expect_missing()
    rows = rows if given else None
    wide = network.double()
    expected = posterior(wide, evidence.to(dtype=torch.float64), rows=rows)
    found = posterior(wide, evidence, rows=rows)
    torch.testing.assert_close(found.probs, expected.probs)


def test_without_rows_components_are_dropped(network):
    evidence = some(6, 0.5)
    found = posterior(network, evidence)
    wanted = network.marginal_class_scores(evidence.x, evidence.known).softmax(-1)
    torch.testing.assert_close(found.probs, wanted)
    assert not found.is_exact


@pytest.mark.parametrize("k", [2, 5])
def test_with_rows_both_guesses_are_joined(network, rows, k):
    x = torch.randn(7, D)
    known = torch.tensor([[True, False, False, True, True]]).expand(7, -1).clone()
    known[3:, 3] = False
    found = posterior(network, Evidence(x, known), rows=rows, neighbours=k)
    with torch.no_grad():
        pairs = [by_hand(network, a, b, rows, k) for a, b in zip(x, known, strict=True)]
    for index, (probs, error) in enumerate(pairs):
        torch.testing.assert_close(found.probs[index].double(), probs, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(found.error[index].double(), error, atol=1e-5, rtol=1e-3)


def test_of_nothing_the_posterior_is_the_rows_mean(network, rows):
    found = posterior(network, Evidence.nothing(D, 2), rows=rows)
    wanted = network.posterior(rows).mean(0)
    torch.testing.assert_close(found.probs, wanted.expand(2, -1))


def test_a_network_that_cannot_leave_out_inputs_fills_them_in(rows):
    torch.manual_seed(0)
    mlp = MLP([D, 8, C]).eval()
    x, known = torch.randn(1, D), torch.tensor([[True, True, False, True, False]])
    found = posterior(mlp, Evidence(x, known), rows=rows, neighbours=3)
    nearest = ((rows - x)[:, known[0]] ** 2).sum(1).argsort()[:3]
    wanted = mlp.posterior(torch.where(known, x, rows[nearest])).mean(0)
    torch.testing.assert_close(found.probs[0], wanted)
    with pytest.raises(ValueError, match="a MLP cannot leave out inputs that are missing"):
        posterior(mlp, Evidence(x, known))


def test_rows_do_not_see_each_other(network, rows):
    evidence = some(9, 0.4)
    whole = posterior(network, evidence, rows=rows).probs
    alone = torch.cat([posterior(network, evidence[i : i + 1], rows=rows).probs for i in range(9)])
    torch.testing.assert_close(whole, alone)


def test_what_an_unknown_input_held_does_not_matter(network, rows):
    known = torch.tensor([[True, False, True, True, False]])
    found = [
        posterior(network, Evidence(torch.full((1, D), 2.0).where(known, value), known), rows=rows)
        for value in (torch.tensor(math.nan), torch.tensor(7.0))
    ]
    assert torch.equal(found[0].probs, found[1].probs)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"rows": torch.ones(3, D - 1)}, r"rows must be \(m, 5\), got \(3, 4\)"),
        ({"rows": torch.full((3, D), torch.nan)}, "must be finite"),
        ({"neighbours": 0}, "neighbours must be at least 1"),
        ({"n": 0}, "n must be at least 1"),
    ],
)
def test_bad_arguments_are_refused(network, arguments, complaint):
    with pytest.raises(ValueError, match=complaint):
        posterior(network, some(2, 0.5), **arguments)


def test_a_density_answers_by_its_own_marginals():
    """Of two Gaussian classes in closed form."""
    torch.manual_seed(0)
    x, y = torch.randn(60, 2) + torch.arange(60)[:, None] % 2 * 1.5, torch.arange(60) % 2
    qda = QDA()
    density = GaussianClasses(2, 2, 1, qda.parts, qda.free(2, 2))
    density.init_from(x, y)
    found = posterior(density.eval(), Evidence(torch.tensor([[0.7, math.nan]])))
    pairs = zip(density.means[:, 0, 0], density.trils[:, 0, 0, 0], strict=True)
    log_p = torch.stack(
        [torch.distributions.Normal(*p).log_prob(torch.tensor(0.7)) for p in pairs]
    )
    torch.testing.assert_close(found.probs[0], log_p.softmax(0).double(), atol=1e-6, rtol=1e-5)
    assert found.is_exact


def test_training_mode_is_refused(network):
    with pytest.raises(ValueError, match="training mode"):
        posterior(network.train(), some(2, 0.5))


def test_a_network_trained_on_gaps_answers_by_itself():
    torch.manual_seed(0)
    network = UGMMNetwork([4, 5, 3], missing=True).eval()
    x = torch.randn(6, 4).masked_fill(torch.rand(6, 4) < 0.4, torch.nan)
    found = posterior(network, Evidence(x), rows=x)
    torch.testing.assert_close(found.probs, network.posterior(x))
    assert found.is_exact


@pytest.mark.parametrize("missing", [False, True])
def test_evidence_beyond_all_numbers_is_refused(network, rows, missing):
    if missing:
        network.expect_missing()
    x = torch.tensor([[0.0, torch.nan, 0, 0, 0], [1e30, torch.nan, 1e30, 1e30, 1e30]])
    with pytest.raises(ValueError, match="row 1: the evidence is too far"):
        posterior(network, Evidence(x), rows=rows)
