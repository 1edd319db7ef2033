"""Sequential Monte Carlo: populations of particles that go from feature to feature together."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ugmm.kernels import choose_populations
from ugmm.nn.autoregressive.walk import Walk

__all__ = ["Arrived", "Population", "send", "systematic"]

_ENOUGH = 0.5  # effective share of a population's weights under which they are resampled


class Population(NamedTuple):
    """What T populations of P particles set out with.

    Attributes:
        x: The known features, of the E features that they go, (T, E).
        known: Which they are, (T, E).
        begin: From which feature on they are weighed, (T,): all those before are known.
        y: The particles' labels, (T, P).
    """

    x: Tensor
    known: Tensor
    begin: Tensor
    y: Tensor


class Arrived(NamedTuple):
    """What T populations of P particles have come to.

    Attributes:
        x: Their features, (T, P, E).
        y: Their labels, (T, P).
        log_total: log of the estimates of the density of what they were weighed by, (T,), float64.
        log_weight: Of the particles; those of a population sum to 1, (T, P), float64.
        ancestor: As which particle each of them set out, (T, P).
    """

    x: Tensor
    y: Tensor
    log_total: Tensor
    log_weight: Tensor
    ancestor: Tensor


def send(walk: Walk, setting_out: Population, generator: torch.Generator) -> Arrived:
    """Let particles draw what is not known, weigh them by what is, and resample them on the way.

    Args:
        walk: The network.
        setting_out: The populations; those of a compiled loop are of a multiple of 16 particles.
        generator: On the CPU.
    """
    (n, end), width = setting_out.x.shape, setting_out.y.shape[1]
    offsets = torch.rand(n, end, generator=generator).to(walk.start.device)
    noise = walk.head.noise(n * width, end, generator)
    compiled = choose_populations(walk.start, walk.kernel)
    if compiled is None or walk.table is None:
        return _send_in_turn(walk, setting_out, offsets, noise)
    x = noise[0].reshape(n, width, end)
    known = setting_out.x.masked_fill(~setting_out.known, -1)
    y, begin = setting_out.y, setting_out.begin
    total, weight, ancestor = compiled(x, y, known, begin, offsets, walk.start, walk.table)
    return Arrived(x, y.gather(1, ancestor), total, weight.double(), ancestor)


def _send_in_turn(
    walk: Walk, setting_out: Population, offsets: Tensor, noise: Sequence[Tensor]
) -> Arrived:
    """Do the same in plain PyTorch, for every head, number of layers, device and type."""
    values, known, begin, y = setting_out
    (n, end), width = values.shape, y.shape[1]
    weighed = known & (torch.arange(end, device=known.device) >= begin.unsqueeze(1))
    h = walk.begin(y.flatten())
    x = h.new_zeros(n * width, walk.n_features)
    ancestor = torch.arange(width, device=h.device).repeat(n, 1)
    log_total = torch.zeros(n, dtype=torch.float64, device=h.device)
    log_weight = torch.zeros(n, width, dtype=torch.float64, device=h.device)
    for d in range(end):
        is_known, is_weighed = known[:, d, None], weighed[:, d, None]
        x[:, d] = values[:, d].repeat_interleave(width)
        g = walk.read(h) if is_weighed.any() or not is_known.all() else h
        if not is_known.all():
            drawn = walk.draw_feature(g, x, d, noise)
            x[:, d] = x[:, d].where(is_known.expand(n, width).flatten(), drawn)
        if is_weighed.any():
            gain = walk.score_feature(g, x, d).double().view(n, width)
            log_weight += gain.where(is_weighed, 0)
        h = walk.add(h, x[:, d], d)
        poor = is_weighed.squeeze(1) & (_share(log_weight) < _ENOUGH)
        if poor.any():
            source = _resampled(log_weight[poor].softmax(1), offsets[poor, d])
            log_total[poor] += log_weight[poor].logsumexp(1) - math.log(width)
            log_weight[poor] = 0
            ancestor[poor] = ancestor[poor].gather(1, source)
            rows, place = poor.nonzero() * width, torch.arange(width, device=h.device)
            to, of = (rows + place).flatten(), (rows + source).flatten()
            h[to], x[to] = h[of], x[of]
    top = log_weight.logsumexp(1)
    x = x[:, :end].reshape(n, width, end)
    log_total += top - math.log(width)
    return Arrived(x, y.gather(1, ancestor), log_total, log_weight - top.unsqueeze(1), ancestor)


def _share(log_weight: Tensor) -> Tensor:
    """Return the effective share of weights: (..., P) to (...)."""
    weight = log_weight.softmax(-1)
    return 1 / (weight.square().sum(-1) * weight.shape[-1])


def systematic(weight: Tensor, offset: Tensor, n: int) -> Tensor:
    """Draw n numbers of each row by its weights: those in whose part positions (k + u) / n lie.

    Args:
        weight: (R, K), float64.
        offset: u in [0, 1), (R,).
        n: How many, in order.

    Returns:
        (R, n), from 0 to K - 1.
    """
    upto = weight.cumsum(1)
    position = (torch.arange(n, device=weight.device) + offset.unsqueeze(1).double()) / n
    found = torch.searchsorted(upto, position * upto[:, -1:], right=True)
    return found.clamp(max=weight.shape[1] - 1)


def _resampled(weight: Tensor, offset: Tensor) -> Tensor:
    """Return which particle shall be in each place: (T, P) and (T,) to (T, P).

    Those that stay do so in their own places, and copies of them fill the places of those that
    go, in their order.
    """
    n, width = weight.shape
    chosen = systematic(weight, offset, width)
    counts = torch.zeros_like(chosen).scatter_add(1, chosen, torch.ones_like(chosen))
    source = torch.arange(width, device=weight.device).repeat(n, 1)
    more = (counts - 1).clamp(min=0).flatten()
    source[counts == 0] = source.flatten().repeat_interleave(more)
    return source
