"""A layer's scores of rows near one: those of the layer, whatever the rows are."""

import pytest
import torch

from ugmm import kernels
from ugmm.functional import mixture_log_score
from ugmm.kernels.coordinates.nearby import Nearby
from ugmm.kernels.problem import Problem
from ugmm.nn import UGMM, UGMMNetwork


def layer(n_out=33, n_in=21, seed=0, min_scale=0.2):
    torch.manual_seed(seed)
    made = UGMM(n_in, n_out, min_scale=min_scale).eval()
    made.requires_grad_(False)
    made.raw_scale.normal_(std=0.5)
    made.logits.normal_()
    return made


def exact(made, x):
    parameters = (t.double() for t in (made.loc, made.raw_scale, made.logits))
    return mixture_log_score(x.double(), *parameters, min_scale=made.min_scale, kernel="reference")


@pytest.mark.parametrize("sizes", [(33, 21), (16, 16), (5, 40), (40, 1)])
@pytest.mark.parametrize("spread", [1e-3, 0.1, 0.5])
def test_scores_are_the_layers(sizes, spread):
    made, base = layer(*sizes), torch.randn(1, sizes[1])
    x = base + spread * torch.randn(75, sizes[1]) ** 3  # a few far, most near
    scores = made.near(base)(x)
    torch.testing.assert_close(scores.double(), exact(made, x), atol=2e-6, rtol=3e-7)
    assert made.near(base)(x[:0]).shape == (0, sizes[0])


def test_rows_far_from_the_base_are_computed_otherwise():
    made, base = layer(), 4 * torch.randn(1, 21)
    x = torch.cat([base + 1e-3 * torch.randn(40, 21), torch.randn(30, 21)])
    x[41], x[42, 3], x[43, 5] = 1e6, torch.inf, torch.nan
    problem = Problem(base, made.loc, made.raw_scale, made.logits, None, made.min_scale)
    _, lost = Nearby(problem).scores(x)
    assert set(range(44, 64)) <= set(lost.tolist())  # their sums are not like the base's
    assert not set(range(32)) & set(lost.tolist())
    scores, expected = made.near(base)(x), exact(made, x)
    assert scores[43].isnan().all()
    torch.testing.assert_close(scores.double(), expected, equal_nan=True, atol=2e-6, rtol=1e-6)


def test_where_nothing_is_prepared():
    made, base = layer(), torch.randn(1, 21)
    x = base + 0.1 * torch.randn(9, 21)
    for strange in (torch.full_like(base, torch.nan), torch.full_like(base, torch.inf)):
        torch.testing.assert_close(made.near(strange)(x), made(x), rtol=0, atol=0)
    double = layer().double()
    torch.testing.assert_close(double.near(base.double())(x.double()), double(x.double()))
    made.requires_grad_(True)
    assert made.near(base)(x).requires_grad
    assert kernels.choose_nearby(Problem(base, made.loc, made.raw_scale, made.logits)) is None


@torch.no_grad()
def test_many_candidates_of_a_row_go_through_it(monkeypatch):
    torch.manual_seed(0)
    network = UGMMNetwork([70, 72, 60, 10], norm="layer", min_scale=0.2).eval()
    x, values = torch.randn(2, 70), torch.randn(2, 70, 64)
    counted = []
    scores = Nearby.scores
    monkeypatch.setattr(Nearby, "scores", lambda *args: counted.append(0) or scores(*args))
    found = network.coordinate_scores(x, values)
    assert counted
    monkeypatch.setattr("ugmm.nn.network._MANY", 10**9)
    torch.testing.assert_close(found, network.coordinate_scores(x, values), atol=2e-5, rtol=0)
