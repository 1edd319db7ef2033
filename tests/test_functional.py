"""The public operations: shapes, and errors that say what is wrong."""

import numpy as np
import pytest
import torch

from ugmm.functional import coordinate_log_scores, cumulative_log_score, mixture_log_score


def parameters(n_out=4, n_in=3):
    return [torch.randn(n_out, n_in) for _ in range(3)]


@pytest.mark.parametrize("kernel", ["auto", "reference", "cpu"])
@pytest.mark.parametrize("leading", [(), (5,), (2, 5), (2, 0, 3), (1, 2, 3, 4)])
def test_leading_dimensions(kernel, leading):
    x, (loc, log_scale, logits) = torch.randn(*leading, 3), parameters()
    score = mixture_log_score(x, loc, log_scale, logits, kernel=kernel)
    assert score.shape == (*leading, 4)
    flat = mixture_log_score(x.reshape(-1, 3), loc, log_scale, logits, kernel=kernel)
    torch.testing.assert_close(score.reshape(-1, 4), flat)


def test_one_input_is_a_normal_density():
    x, (loc, log_scale, logits) = torch.randn(6, 1), parameters(1, 1)
    expected = torch.distributions.Normal(loc[0], log_scale[0].exp()).log_prob(x)
    torch.testing.assert_close(mixture_log_score(x, loc, log_scale, logits), expected)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"x": torch.zeros(2, 5)}, ValueError, "3 inputs"),
        ({"x": torch.zeros(())}, ValueError, "3 inputs"),
        ({"loc": torch.zeros(3)}, ValueError, r"\(M, N\)"),
        ({"logits": torch.zeros(4, 2)}, ValueError, "same shape"),
        ({"x": torch.zeros(2, 3, dtype=torch.float64)}, TypeError, "one dtype"),
        ({"x": torch.zeros(2, 3, dtype=torch.int64)}, TypeError, "float32 or float64"),
        ({"loc": torch.zeros(4, 3, device="meta")}, ValueError, "one device"),
        ({"x": [[0.0] * 3]}, TypeError, "x must be .* not list: torch.as_tensor"),
        ({"x": np.zeros((2, 3))}, TypeError, "x must be .* not ndarray: .*torch.from_numpy"),
        ({"logits": np.zeros((4, 3))}, TypeError, "logits must be .*torch.from_numpy"),
        ({"x": torch.zeros(2, 3).half()}, TypeError, "one dtype"),
        ({"kernel": "fast"}, ValueError, "kernel must be one of"),
    ],
)
def test_errors(change, error, message):
    loc, log_scale, logits = parameters()
    inputs = {"x": torch.zeros(2, 3), "loc": loc, "log_scale": log_scale, "logits": logits}
    with pytest.raises(error, match=message):
        mixture_log_score(**(inputs | change))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"x": torch.zeros(2, 5)}, ValueError, "3 inputs"),
        ({"x": torch.zeros(3)}, ValueError, r"x must be \(B, N\)"),
        ({"log_weights": torch.zeros(4, 2)}, ValueError, "log_weights .* same shape"),
        ({"log_weights": torch.zeros(4, 3, dtype=torch.float64)}, TypeError, "one dtype"),
        ({"start": torch.zeros(4)}, ValueError, r"start must be \(B, M\), here \(2, 4\)"),
        ({"start": torch.zeros(2, 4, dtype=torch.float64)}, TypeError, "start must have x's"),
        ({"start": torch.zeros(2, 4, device="meta")}, ValueError, "on x's device"),
        ({"positions": torch.zeros(1)}, TypeError, "int64"),
        ({"positions": torch.zeros(1, 1, dtype=torch.int64)}, ValueError, r"\(P,\)"),
        ({"positions": torch.tensor([1, 3])}, ValueError, "0 at least to 2"),
        ({"positions": torch.tensor([-1, 1])}, ValueError, "0 at least to 2"),
        ({"positions": torch.tensor([1, 1])}, ValueError, "increase"),
        ({"positions": torch.zeros(1).long().to("meta")}, ValueError, "on x's device"),
        ({"start": np.zeros((2, 4))}, TypeError, "start must be .*torch.from_numpy"),
        ({"positions": [0, 1]}, TypeError, "positions must be .*torch.as_tensor"),
        ({"kernel": "fast"}, ValueError, "kernel must be one of"),
    ],
)
def test_errors_of_the_cumulative_score(change, error, message):
    loc, log_scale, log_weights = parameters()
    inputs = {"x": torch.zeros(2, 3), "loc": loc, "log_scale": log_scale}
    inputs |= {"log_weights": log_weights, "start": torch.zeros(2, 4)}
    with pytest.raises(error, match=message):
        cumulative_log_score(**(inputs | change))


def test_scores_without_data():
    """On the device "meta" only shapes are computed, as the constructors with device= allow."""
    layer = [tensor.to("meta") for tensor in parameters()]
    score = mixture_log_score(torch.empty(2, 5, 3, device="meta"), *layer)
    assert score.is_meta
    assert score.shape == (2, 5, 4)
    start = torch.empty(5, 4, device="meta")
    prefixes = cumulative_log_score(torch.empty(5, 3, device="meta"), *layer, start)
    assert prefixes.is_meta
    assert prefixes.shape == (5, 3, 4)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("kernel", ["auto", "reference"])
def test_half_precision_is_computed_in_float32(dtype, kernel):
    """The scores are rounded once, at the end; so is each gradient."""
    layer = [torch.randn(5, 3), *parameters()]
    halves = [t.to(dtype).requires_grad_() for t in layer]
    wide = [t.detach().float().requires_grad_() for t in halves]
    for operation, more in ((mixture_log_score, 0), (cumulative_log_score, 1)):
        start = more * [torch.randn(5, 4).to(dtype)]
        found = operation(*halves, *start, kernel=kernel)
        expected = operation(*wide, *(t.float() for t in start), kernel=kernel)
        assert torch.equal(found, expected.to(dtype))
        found = torch.autograd.grad(found.float().sum(), halves)
        expected = torch.autograd.grad(expected.sum(), wide)
        assert all(
            torch.equal(half, full.to(dtype)) for half, full in zip(found, expected, strict=True)
        )


@pytest.mark.parametrize("kernel", ["auto", "reference"])
@pytest.mark.parametrize(
    "context", [lambda: torch.autocast("cpu", torch.bfloat16), lambda: torch.device("cpu")],
    ids=["autocast", "device"],
)  # fmt: skip
@pytest.mark.parametrize("positions", [[1, 3], [-1, 1], [2, 1]])
def test_positions_are_checked_whoever_watches(kernel, context, positions):
    x, start = torch.zeros(2, 3), torch.zeros(2, 4)
    with context(), pytest.raises(ValueError, match="positions must increase strictly"):
        cumulative_log_score(x, *parameters(), start, torch.tensor(positions), kernel=kernel)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"x": torch.zeros(2, 5)}, ValueError, "3 inputs"),
        ({"x": torch.zeros(())}, ValueError, "3 inputs"),
        ({"logits": torch.zeros(4, 2)}, ValueError, "same shape"),
        ({"x": torch.zeros(2, 3).double()}, TypeError, "one dtype"),
        ({"values": torch.zeros(5).double()}, TypeError, "values must have x's dtype"),
        ({"values": torch.zeros(())}, ValueError, r"\(G\), \(3, G\), \(2, 3, G\), not \(\)"),
        ({"values": torch.zeros(2, 5)}, ValueError, r"not \(2, 5\)"),
        ({"values": torch.zeros(3, 3, 5)}, ValueError, r"not \(3, 3, 5\)"),
        ({"values": torch.zeros(5, device="meta")}, ValueError, "on x's device"),
        ({"values": np.zeros(5)}, TypeError, "values must be .*torch.from_numpy"),
        ({"coordinates": torch.zeros(1)}, TypeError, "int64"),
        ({"coordinates": torch.zeros(1, 1).long()}, ValueError, r"\(C,\)"),
        ({"coordinates": torch.tensor([3])}, ValueError, "from 0 to 2"),
        ({"coordinates": torch.tensor([-1])}, ValueError, "from 0 to 2"),
        ({"coordinates": torch.zeros(1).long().to("meta")}, ValueError, "on x's device"),
        ({"coordinates": [0]}, TypeError, "coordinates must be .*torch.as_tensor"),
        ({"min_scale": -1.0}, ValueError, "min_scale must be finite and not negative"),
        ({"kernel": "fast"}, ValueError, "kernel must be one of"),
        ({"kernel": "cuda"}, ValueError, "needs tensors on a CUDA device"),
    ],
)
def test_errors_of_candidates(change, error, message):
    loc, log_scale, logits = parameters()
    inputs = {"x": torch.zeros(2, 3), "loc": loc, "log_scale": log_scale, "logits": logits}
    with pytest.raises(error, match=message):
        coordinate_log_scores(**(inputs | {"values": torch.zeros(5)} | change))
