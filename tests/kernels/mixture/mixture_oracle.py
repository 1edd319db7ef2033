"""The operation by other means than torch: in mpmath, with digits to spare, or in NumPy."""

from typing import NamedTuple

import mpmath
import numpy as np
import torch
from scipy.special import logsumexp, softmax

NAMES = ("score", "x", "loc", "log_scale", "logits")
HALF_LOG_2PI = 0.5 * np.log(2 * np.pi)


class Layer(NamedTuple):
    x: np.ndarray
    loc: np.ndarray
    log_scale: np.ndarray
    logits: np.ndarray
    grad: np.ndarray


def ordinary_layer(batch, n_out, n_in, seed=0):
    r = np.random.default_rng(seed)
    return Layer(
        r.normal(size=(batch, n_in)),
        r.normal(size=(n_out, n_in)),
        r.normal(scale=0.5, size=(n_out, n_in)),
        r.normal(size=(n_out, n_in)),
        r.normal(size=(batch, n_out)),
    )


def wide_layer(batch, n_out, n_in, seed):
    """Inputs of 1e-6 to 1e6, some near a component's centre, and scales of 1e-4 to 1e4."""
    r = np.random.default_rng(seed)
    signs = r.choice([-1.0, 1.0], size=(2, max(batch, n_out), n_in))
    x = signs[0, :batch] * 10 ** r.uniform(-6, 6, size=(batch, n_in))
    loc = signs[1, :n_out] * 10 ** r.uniform(-6, 6, size=(n_out, n_in))
    scale = 10 ** r.uniform(-4, 4, size=(n_out, n_in))
    near = r.random((n_out, n_in)) < 0.5
    centre = x[r.integers(batch, size=n_out)] + 3 * scale * r.normal(size=(n_out, n_in))
    return Layer(
        x,
        np.where(near, np.clip(centre, -1e6, 1e6), loc),
        np.log(scale),
        r.normal(scale=3, size=(n_out, n_in)),
        r.normal(size=(batch, n_out)),
    )


def rounded(layer, dtype):
    """The layer's arrays as `dtype` has them, in float64."""
    return Layer(*(torch.tensor(a).to(dtype).double().numpy() for a in layer))


def by_torch(function, layer, dtype):
    """Score and gradients of a torch function, as float64 arrays."""
    *inputs, grad = (torch.tensor(a).to(dtype) for a in layer)
    inputs = [i.requires_grad_() for i in inputs]
    score = function(*inputs)
    score.backward(grad)
    results = (score.detach(), *(i.grad for i in inputs))
    return dict(zip(NAMES, (r.double().numpy() for r in results), strict=True))


def eager(x, loc, log_scale, logits):
    z = (x.unsqueeze(1) - loc) / log_scale.exp()
    terms = logits.log_softmax(-1) - log_scale - HALF_LOG_2PI - 0.5 * z**2
    return terms.logsumexp(-1)


def by_numpy(layer, known=None, min_scale=0.0):
    """Score and gradients in float64, for inputs where that loses no digits.

    Of rows and neurons that know nothing the score is 0, and the gradients are.
    """
    x, loc, log_scale, logits, grad = layer
    known = np.ones(x.shape, bool) if known is None else known
    scale = min_scale + np.exp(log_scale)
    z = (np.where(known, x, 0.0)[:, None] - loc) / scale
    log_weight = np.where(known[:, None], logits, -np.inf)
    some = (log_weight > -np.inf).any(2)
    log_weight = np.where(some[:, :, None], log_weight, 0.0)
    terms = log_weight - np.log(scale) - HALF_LOG_2PI - z**2 / 2
    g = np.where(some, grad, 0.0)[:, :, None]
    w, weights = softmax(terms, axis=2) * g, softmax(log_weight, axis=2) * g
    by_mean = w * z / scale
    score = logsumexp(terms, axis=2) - logsumexp(log_weight, axis=2)
    return {
        "score": np.where(some, score, 0.0),
        "x": -by_mean.sum(1),
        "loc": by_mean.sum(0),
        "log_scale": (w * (z**2 - 1) * np.exp(log_scale) / scale).sum(0),
        "logits": (w - weights).sum(0),
    }


def by_mpmath(layer):
    """Score and gradients to 80 digits; and the sums of the magnitudes of what they sum."""
    x, loc, log_scale, logits, grad = layer
    (batch, n_in), n_out = x.shape, len(loc)
    values = {name: np.zeros(shape, object) for name, shape in _shapes(layer).items()}
    sizes = {name: np.zeros(shape, object) for name, shape in _shapes(layer).items()}

    def add(name, index, *terms):
        values[name][index] += sum(terms)
        sizes[name][index] += sum(abs(term) for term in terms)

    with mpmath.workdps(80):
        m = mpmath.mpf
        for j in range(n_out):
            weights = [mpmath.exp(m(v)) for v in logits[j]]
            pi = [w / sum(weights) for w in weights]
            scale = [mpmath.exp(m(v)) for v in log_scale[j]]
            for b in range(batch):
                g = m(grad[b, j])
                z = [(m(x[b, k]) - m(loc[j, k])) / scale[k] for k in range(n_in)]
                density = [pi[k] / scale[k] * mpmath.exp(-(z[k] ** 2) / 2) for k in range(n_in)]
                total = sum(density)
                values["score"][b, j] = mpmath.log(total) - mpmath.log(2 * mpmath.pi) / 2
                for k in range(n_in):
                    r = density[k] / total
                    size = abs(mpmath.log(pi[k])) if pi[k] else 0
                    sizes["score"][b, j] += r * (
                        size + abs(m(log_scale[j, k])) + 1 + z[k] ** 2 / 2
                    )
                    slope = g * r * z[k] / scale[k]
                    add("x", (b, k), -slope)
                    add("loc", (j, k), slope)
                    add("log_scale", (j, k), g * r * z[k] ** 2, -g * r)
                    add("logits", (j, k), g * r, -g * pi[k])
    return (
        {name: array.astype(float) for name, array in values.items()},
        {name: array.astype(float) for name, array in sizes.items()},
    )


def _shapes(layer):
    return {"score": layer.grad.shape, **{n: getattr(layer, n).shape for n in NAMES[1:]}}
