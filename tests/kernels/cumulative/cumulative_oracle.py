"""The cumulative score by other means: a loop over the inputs, in NumPy and float64."""

from typing import NamedTuple

import numpy as np
import torch

NAMES = ("score", "x", "loc", "log_scale", "log_weights", "start")
HALF_LOG_2PI = 0.5 * np.log(2 * np.pi)


class Prefixes(NamedTuple):
    x: np.ndarray
    loc: np.ndarray
    log_scale: np.ndarray
    log_weights: np.ndarray
    start: np.ndarray
    grad: np.ndarray
    positions: np.ndarray | None = None


def ordinary(batch, n_out, n_in, positions=None, seed=0):
    r = np.random.default_rng(seed)
    wanted = n_in if positions is None else len(positions)
    arrays = (
        r.normal(size=(batch, n_in)),
        r.normal(size=(n_out, n_in)),
        r.normal(scale=0.5, size=(n_out, n_in)),
        r.normal(size=(n_out, n_in)),
        r.normal(size=(batch, n_out)),
        r.normal(size=(batch, wanted, n_out)),
    )
    return Prefixes(*(a.astype(np.float32).astype(np.float64) for a in arrays), positions)


def by_torch(function, problem, dtype=torch.float32):
    """Score and gradients of a torch function, as float64 arrays."""
    *inputs, grad = (torch.tensor(a).to(dtype) for a in problem[:-1])
    positions = problem.positions
    inputs = [i.requires_grad_() for i in inputs]
    score = function(*inputs, None if positions is None else torch.as_tensor(positions))
    score.backward(grad)
    results = (score.detach(), *(i.grad for i in inputs))
    return dict(zip(NAMES, (r.double().numpy() for r in results), strict=True))


def naive(x, loc, log_scale, log_weights, start, positions=None):
    """The formula in torch, for its own gradients: NaN where a prefix scores -inf."""
    z = (x.unsqueeze(1) - loc) / log_scale.exp()
    terms = log_weights - log_scale - HALF_LOG_2PI - 0.5 * z**2
    sums = torch.cat([start.unsqueeze(-1), terms[..., :-1]], -1).logcumsumexp(-1)
    return (sums if positions is None else sums[..., positions]).transpose(1, 2)


def by_loop(problem):
    """Score and gradients, input by input; what no prefix scores has no gradient."""
    x, loc, log_scale, log_weights, start, grad, positions = problem
    n_in, scale = x.shape[1], np.exp(log_scale)
    positions = np.arange(n_in) if positions is None else np.asarray(positions, int)
    z = (x[:, None] - loc) / scale
    terms = log_weights - log_scale - HALF_LOG_2PI - z**2 / 2
    sums = [start]
    for k in range(n_in - 1):
        sums.append(np.logaddexp(sums[-1], terms[..., k]))
    h, by_start = np.zeros_like(terms), np.zeros_like(start)
    for i, d in enumerate(positions):
        if (g := np.where(np.isneginf(sums[d]), 0.0, grad[:, i])).any():
            total = np.where(np.isneginf(sums[d]), 0.0, sums[d])
            h[..., :d] += g[..., None] * np.exp(terms[..., :d] - total[..., None])
            by_start += g * np.exp(start - total)
    hz = np.where(h == 0, 0.0, h * z)
    return {
        "score": np.stack(sums, 1)[:, positions],
        "x": -(hz / scale).sum(1),
        "loc": (hz / scale).sum(0),
        "log_scale": (hz * np.where(hz == 0, 0.0, z) - h).sum(0),
        "log_weights": h.sum(0),
        "start": by_start,
    }
