"""Circuits: their densities against spflow's own evaluation and against integrals; digits."""

import math

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

pytest.importorskip("spflow", reason="spflow is not installed: circuits are not tested")

from spflow.modules.rat.factorize import Factorize

from ugmm.baselines.circuits import Circuit
from ugmm.nn import Evidence, Queryable

KINDS = ("rat", "einet")


def circuit(kind, n_features=8, n_classes=3, **options):
    torch.manual_seed(0)
    options = {"channels": 4, "repetitions": 2, "depth": 2, **options}
    made = Circuit(n_features, n_classes, kind, **options)
    for parameter in made.parameters():
        parameter.data += 0.3 * torch.randn_like(parameter)
    return made


def by_spflow(made, x):
    """The class scores by spflow's leaves, which have no floor under their scales."""
    regions = next(m for m in made.root.modules() if isinstance(m, Factorize))
    ours = regions.__dict__.pop("log_likelihood")
    log_scale = made.leaves.log_scale.data.clone()
    made.leaves.log_scale.data = (made.min_scale + log_scale.exp()).log()
    try:
        within = made.root.inputs.log_likelihood(x).reshape(len(x), -1)
        return within + made.root.log_weights.reshape(-1)
    finally:
        regions.log_likelihood = ours
        made.leaves.log_scale.data = log_scale


@pytest.mark.parametrize("kind", KINDS)
def test_scores_are_those_of_spflow(kind):
    made, x = circuit(kind), torch.rand(20, 8)
    torch.testing.assert_close(made.class_scores(x), by_spflow(made, x), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_are_those_of_spflow(kind):
    made, x = circuit(kind), torch.rand(20, 8)
    made.class_scores(x).sum().backward()
    ours = made.leaves.loc.grad.clone()
    made.zero_grad()
    by_spflow(made, x).sum().backward()
    torch.testing.assert_close(ours, made.leaves.loc.grad, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_the_density_integrates_to_one(kind):
    made = circuit(kind, n_features=2, depth=1).double()
    grid = torch.linspace(-8, 9, 601, dtype=torch.float64)
    with torch.no_grad():
        density = made.log_prob(torch.cartesian_prod(grid, grid)).exp().reshape(601, 601)
    total = np.trapezoid(np.trapezoid(density.numpy(), grid.numpy()), grid.numpy())
    assert total == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_not_known_is_integrated_out(kind):
    made = circuit(kind, n_features=2, depth=1).double()
    x = torch.tensor([[0.3, math.nan]], dtype=torch.float64)
    observed = torch.tensor([[True, False]])
    grid = torch.linspace(-8, 9, 4001, dtype=torch.float64)
    rows = torch.stack([torch.full_like(grid, 0.3), grid], 1)
    with torch.no_grad():
        expected = np.trapezoid(made.class_scores(rows).exp().numpy(), grid.numpy(), axis=0)
        marginal = made.marginal_class_scores(x, observed).exp()[0].numpy()
    np.testing.assert_allclose(marginal, expected, rtol=1e-4)


@pytest.mark.parametrize("n_classes", [1, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_draws_are_those_of_the_conditional(kind, n_classes):
    """Moments, and labels, of all three features but one, against quadrature."""
    made = circuit(kind, n_features=3, n_classes=n_classes, depth=1, repetitions=3).double()
    assert isinstance(made, Queryable)
    made.leaves.loc.data *= 3  # far enough apart for choices to matter
    nan = math.nan
    x = torch.tensor([[0.3, nan, nan], [nan, 1.0, nan], [nan, nan, -0.5]], dtype=torch.float64)
    evidence = Evidence(x, y=torch.tensor([-1, n_classes - 1, -1]))
    generator = torch.Generator().manual_seed(0)
    drawn = made.draw(evidence, 20_000, generator)
    assert drawn.log_weight.exp().sum(1).tolist() == pytest.approx([1] * 3)
    grid = torch.linspace(-10, 12, 201, dtype=torch.float64)
    points = torch.cartesian_prod(grid, grid)
    marginal = made.marginal(evidence, 1, generator)
    assert marginal.is_exact
    for row in range(3):
        free = ~evidence.known[row]
        rows = evidence.x[row].repeat(len(points), 1)
        rows[:, free] = points
        with torch.no_grad():
            p = evidence[row : row + 1].restrict(made.class_scores(rows)[None])[0].exp()
        total = p.sum() * (grid[1] - grid[0]) ** 2
        assert marginal.log_prob[row].item() == pytest.approx(total.log().item(), abs=1e-4)
        p = p / p.sum()
        found = drawn.x[row][:, free]
        assert (drawn.x[row][:, ~free] == evidence.x[row, ~free]).all()
        mean = p.sum(1) @ points
        second = torch.einsum("n,na,nb->ab", p.sum(1), points - mean, points - mean)
        torch.testing.assert_close(found.mean(0), mean, atol=0.05, rtol=0)
        torch.testing.assert_close(torch.cov(found.T), second, atol=0.05, rtol=0.04)
        frequency = torch.bincount(drawn.y[row], minlength=n_classes) / 20_000
        torch.testing.assert_close(frequency.double(), p.sum(0), atol=0.015, rtol=0)


def test_samples_have_the_classes_shares():
    made = circuit("rat")
    x, y = made.sample(4000, generator=torch.Generator().manual_seed(0))
    assert x.shape == (4000, 8)
    share = made.marginal(
        Evidence.nothing(8, 3).with_label(1), 1, torch.Generator()
    ).log_prob.exp()
    assert (y == 1).float().mean().item() == pytest.approx(share[0].item(), abs=0.03)
    assert made.sample(0)[0].shape == (0, 8)


def test_any_leading_shape_and_one_class():
    made = circuit("rat", n_classes=1)
    assert made.class_scores(torch.rand(2, 5, 8)).shape == (2, 5, 1)


def test_too_few_features_are_refused():
    with pytest.raises(ValueError, match="depth=3 needs 8 features, there are 5"):
        Circuit(5, 2, depth=3)


@pytest.mark.parametrize("kind", KINDS)
def test_it_learns_digits(kind):
    x, y = load_digits(return_X_y=True)
    x, y = torch.tensor(x, dtype=torch.float32) / 16, torch.tensor(y)
    torch.manual_seed(0)
    made = Circuit(64, 10, kind, channels=8, repetitions=4, depth=3)
    made.init_from(x[:1200], y[:1200])
    optimizer = torch.optim.Adam(made.parameters(), 0.02)
    for _ in range(8):
        for rows in torch.randperm(1200).split(100):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(made.class_scores(x[rows]), y[rows]).backward()
            optimizer.step()
    assert (made.predict(x[1200:]) == y[1200:]).float().mean() > 0.88
