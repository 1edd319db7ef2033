"""The most probable rows of binary features, searched for from feature to feature."""

from typing import NamedTuple, cast

import torch
from torch import Tensor
from torch.nn import functional as F

from ugmm.nn.autoregressive.heads import BernoulliHead
from ugmm.nn.autoregressive.walk import Walk
from ugmm.nn.evidence import UNKNOWN, Evidence

__all__ = ["Beam", "search"]

_NUMBERS = 2**22  # held at once


class Beam(NamedTuple):
    """What a beam search found for R rows of evidence.

    Attributes:
        x: Completed features, (R, D).
        y: Labels, (R,).
        log_prob: log p(x, y), in nats, (R,), float64.
    """

    x: Tensor
    y: Tensor
    log_prob: Tensor


def search(walk: Walk, evidence: Evidence, log_prior: Tensor, width: int) -> Beam:
    """Complete rows, keeping so many beginnings of each: those that are most probable so far.

    It begins with every label that may be; a feature that is known is taken, and one that is not
    makes two beginnings of one. So with a width of 1 it is greedy, and no width looks ahead.

    Args:
        walk: A network of binary features.
        evidence: R rows, where the network is, and of its type.
        log_prior: log p(y), (C,).
        width: How many beginnings.

    """
    head = cast("BernoulliHead", walk.head)
    rows = 1 + _NUMBERS // (max(width, len(log_prior)) * walk.start.shape[1])
    parts = [_search(walk, head, part, log_prior, width) for part in evidence.split(rows)]
    if not parts:
        return Beam(evidence.x, evidence.y, evidence.x.new_empty(0, dtype=torch.float64))
    return Beam(*(torch.cat(each) for each in zip(*parts, strict=True)))


def _search(
    walk: Walk, head: BernoulliHead, evidence: Evidence, log_prior: Tensor, width: int
) -> Beam:
    n, device = len(evidence), log_prior.device
    y = torch.arange(len(log_prior), device=device)
    excluded = (evidence.y != UNKNOWN).unsqueeze(1) & (evidence.y.unsqueeze(1) != y)
    score = log_prior.double().masked_fill(excluded, -torch.inf)
    score, first = score.topk(min(width, len(y)))
    h, values, parents = walk.begin(first), [], []
    options, rows = (
        torch.tensor([0.0, 1.0], device=device),
        torch.arange(n, device=device)[:, None],
    )
    for d in range(walk.n_features):
        g = walk.read(h).flatten(0, 1).unsqueeze(1)
        logits = head.logits(g, evidence.x, slice(d, d + 1)).view_as(score).double()
        gain = F.logsigmoid(torch.stack([-logits, logits], -1))
        known, value = evidence.known[:, d, None], evidence.x[:, d, None]
        gain = gain.masked_fill((known & (value != options)).unsqueeze(1), -torch.inf)
        both = (score.unsqueeze(2) + gain).flatten(1)
        most = score.shape[1] if known.all() else min(width, both.shape[1])
        score, chosen = both.topk(most)
        parents.append(chosen // 2)
        values.append((chosen % 2).to(h.dtype))
        h = walk.add(h[rows, parents[-1]], values[-1], d)
    best, x = torch.zeros_like(rows), evidence.x.clone()
    for d in reversed(range(walk.n_features)):
        x[:, d : d + 1], best = values[d].gather(1, best), parents[d].gather(1, best)
    return Beam(x, first.gather(1, best).squeeze(1), score[:, 0])
