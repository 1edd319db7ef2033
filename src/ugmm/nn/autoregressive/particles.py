"""What an autoregressive network answers: exactly where a prefix is known, else by particles.

What is known before the first unknown feature is a prefix, whose density is exact. From there on,
particles draw what is not known, each feature given those before it, and are weighed by what is:
sequential Monte Carlo, in several independent populations, whose spread says how sure the answer
is.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ugmm.nn.autoregressive.populations import Arrived, Population, send, systematic
from ugmm.nn.autoregressive.walk import Walk
from ugmm.nn.evidence import UNKNOWN, Draws, Evidence, Marginal

__all__ = ["Question", "draw", "marginal"]

POPULATIONS = 8  # at least
SMALLEST, LARGEST = 32, 1024  # particles of a population, whole vectors of compiled loops
_NUMBERS = 2**22  # held at once, for features or for scores


@dataclass(frozen=True)
class Question:
    """Rows of evidence, of which a prefix of known features has been dealt with.

    Attributes:
        evidence: R rows, where the network is, and of its type.
        begin: Each row's first feature that is not known, (R,).
        end: After each row's last one that is, (R,).
        log_joint: log p of the known prefix and each class that the label admits, (R, C), float64.
    """

    evidence: Evidence
    begin: Tensor
    end: Tensor
    log_joint: Tensor

    @classmethod
    def of(
        cls, evidence: Evidence, score_prefixes: Callable[[Tensor, Tensor], Tensor]
    ) -> "Question":
        """Deal with the prefixes.

        Args:
            evidence: R rows.
            score_prefixes: Given rows and how many first features of each count, (R,), returns
                log p of those and each class, (R, C).
        """
        known = evidence.known
        begin = known.long().cumprod(1).sum(1)
        place = torch.arange(1, known.shape[1] + 1, device=known.device)
        end = (place * known).amax(1)
        log_joint = score_prefixes(evidence.x, begin)
        classes, y = torch.arange(log_joint.shape[1], device=known.device), evidence.y[:, None]
        excluded = (y != UNKNOWN) & (classes != y)
        return cls(evidence, begin, end, log_joint.masked_fill(excluded, -math.inf))

    @property
    def log_prefix(self) -> Tensor:
        """Return log p of the known prefixes and labels, (R,)."""
        return self.log_joint.logsumexp(1)

    def __getitem__(self, rows: Tensor) -> "Question":
        """Return some of the rows."""
        begin, end, log_joint = (each[rows] for each in (self.begin, self.end, self.log_joint))
        return Question(self.evidence[rows], begin, end, log_joint)


def marginal(walk: Walk, question: Question, n: int, generator: torch.Generator) -> Marginal:
    """Return log p of rows of evidence, by about n particles for each that is not exact."""
    answer = Marginal.exact(question.log_prefix)
    rest = (question.end > question.begin).nonzero().squeeze(1)
    if len(rest) == 0:
        return answer
    width, count = _sizes(n)
    log_total = torch.empty(len(rest), count, dtype=torch.float64, device=rest.device)
    for tasks, arrived in _send_all(walk, question[rest], width, count, generator):
        log_total.view(-1)[tasks] = arrived.log_total
    more, error = _mean(log_total, width * count)
    answer.log_prob[rest] += more
    answer.error[rest] = error
    answer.effective[rest] = 1 / (1 + width * count * error.square())
    return answer._replace(is_exact=False)


def draw(walk: Walk, question: Question, n: int, generator: torch.Generator) -> Draws:
    """Return n weighted draws of each row, given the evidence, in no order.

    The effective share that is told is one of lineages: draws that were one particle before some
    resampling have the same features up to there, and count as one here. So it is the share for
    the first unknown features; that for later ones is larger.
    """
    rows, (width, count) = len(question.begin), _sizes(n)
    whole = replace(question, end=torch.full_like(question.end, walk.n_features))
    x = question.evidence.x.new_empty(rows * count, width, walk.n_features)
    y = question.end.new_empty(rows * count, width)
    lineage, log_total = torch.empty_like(y), question.log_joint.new_empty(rows * count)
    weight = log_total.new_empty(y.shape)
    for tasks, arrived in _send_all(walk, whole, width, count, generator):
        x[tasks], log_total[tasks] = arrived.x, arrived.log_total
        y[tasks], lineage[tasks] = arrived.y, arrived.ancestor
        weight[tasks] = arrived.log_weight + arrived.log_total.unsqueeze(1)
    lineage += torch.arange(count, device=y.device).repeat(rows).unsqueeze(1) * width
    weight = weight.view(rows, -1).log_softmax(1)
    of_one = torch.zeros_like(weight).scatter_add_(1, lineage.view(rows, -1), weight.exp())
    worth = 1 / of_one.square().sum(1)
    if weight.shape[1] != n:
        worth = 1 / (1 / worth + 1 / n)
    chosen, weight = _choose(weight, n, generator)
    y, x = y.view(rows, -1).gather(1, chosen), x.view(rows, -1, walk.n_features)
    x = x.gather(1, chosen.unsqueeze(2).expand(-1, -1, walk.n_features))
    is_sure = question.end <= question.begin
    more, error = _mean(log_total.view(rows, count), width * count)
    more, error = more.masked_fill(is_sure, 0), error.masked_fill(is_sure, 0)
    log_prob, effective = question.log_prefix + more, (worth / n).masked_fill(is_sure, 1)
    return Draws(x, y, weight, Marginal(log_prob, error, effective, bool(is_sure.all())))


def _choose(log_weight: Tensor, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Choose n of N draws, in no order, by weights (R, N): numbers and new weights, (R, n)."""
    rows, most = log_weight.shape
    shuffled = torch.rand(rows, n, generator=generator).argsort(1).to(log_weight.device)
    if most == n:
        return shuffled, log_weight.gather(1, shuffled)
    offset = torch.rand(rows, generator=generator).to(log_weight)
    chosen = systematic(log_weight.exp(), offset, n).gather(1, shuffled)
    return chosen, torch.full_like(log_weight[:, :n], -math.log(n))


def _sizes(n: int) -> tuple[int, int]:
    """Return the size and the number of the populations of about n particles."""
    width = -(-n // (16 * POPULATIONS)) * 16
    width = min(max(width, SMALLEST), LARGEST)
    return width, max(POPULATIONS, -(-n // width))


def _send_all(
    walk: Walk, question: Question, width: int, count: int, generator: torch.Generator
) -> Iterator[tuple[slice, Arrived]]:
    """Send each row's populations, some tasks at a time: row 0's first, then row 1's."""
    tasks = torch.arange(len(question.begin), device=question.begin.device).repeat_interleave(
        count
    )
    most = 1 + _NUMBERS // (width * max(walk.n_features, walk.start.shape[1]))
    for first in range(0, len(tasks), most):
        rows = tasks[first : first + most]
        end = int(question.end[rows].max())
        evidence = question.evidence
        part = evidence.x[rows, :end], evidence.known[rows, :end], question.begin[rows]
        posterior = question.log_joint[rows].softmax(1)
        y = systematic(posterior, torch.rand(len(rows), generator=generator).to(posterior), width)
        yield slice(first, first + len(rows)), send(walk, Population(*part, y), generator)


def _mean(logs: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """Return the logarithm of the mean of independent estimates, and its standard error.

    The error is the jackknife's: where few of the estimates carry the mean it grows with what
    would be lost without them, where the delta method sees no more than a relative error of 1.
    It is of few numbers, so it is enlarged as the spread of Student's t is. And it is not below
    1 / n: of what is rarer, n particles need not have met anything.

    Args:
        logs: Their logarithms, (R, K).
        n: How many particles they are from.
    """
    k = logs.shape[1]
    without = logs.unsqueeze(1).masked_fill(torch.eye(k, device=logs.device).bool(), -math.inf)
    left_out = without.logsumexp(2) - math.log(k - 1)
    spread = left_out.var(1, correction=0) * (k - 1)
    error = (spread * (k - 1) / (k - 3) + n**-2.0).sqrt()
    return logs.logsumexp(1) - math.log(k), error
