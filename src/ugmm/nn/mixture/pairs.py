"""The scores of inputs joined with codes: each half is scored once."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.fx import wrap

from ugmm.functional import mixture_log_score
from ugmm.kernels import KernelName
from ugmm.kernels.prepared import Prepared, split_columns, whole_neurons
from ugmm.kernels.roads import has_numbers

__all__ = ["pair_scores"]

wrap("mixture_log_score")  # see ugmm.nn.mixture.layer


def pair_scores(
    x: Tensor,
    codes: Tensor,
    parameters: Sequence[Tensor],
    *,
    known: Tensor | None,
    min_scale: float,
    kernel: KernelName,
    prepared: Prepared | None,
) -> Tensor:
    """Return what `ugmm.nn.UGMM.score_pairs` does: (..., C, M).

    Args:
        x: The first F inputs, (..., F).
        codes: The other N - F inputs, (C, N - F).
        parameters: `loc`, `raw_scale` and `logits`, each (M, N).
        known: True where one of the first inputs is known, (..., F); None if all are.
        min_scale: See `ugmm.functional.mixture_log_score`, as for the others.
        kernel: See there.
        prepared: See there.
    """

    def part(
        values: Tensor, of: Sequence[Tensor], half: Prepared | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return a part's log-score, and the log-sum of its weights, which it includes."""
        loc, raw_scale, logits = of
        whole, weight = logits, None
        if half is None:
            whole, weight = whole_neurons(logits)
        score = mixture_log_score(
            values,
            loc,
            raw_scale,
            whole,
            known=known if values is x else None,
            min_scale=min_scale,
            kernel=kernel,
            prepared=half,
        )
        if values is x and known is not None:
            weight = _log_sum(logits, known)
        elif weight is None:
            weight = logits.logsumexp(-1)
        return score + weight, weight

    loc, raw_scale, logits = parameters
    halves = None
    if prepared is not None and has_numbers(x):
        prepared.check(loc, raw_scale, logits, min_scale=min_scale)  # halves know only themselves
        halves = prepared.split(x.shape[-1])
    if halves is not None:
        both = zip((x, codes), halves, strict=True)
        found = [part(values, half.parameters, half) for values, half in both]
    else:
        columns = zip((x, codes), split_columns(parameters, x.shape[-1]), strict=True)
        found = [part(*each) for each in columns]
    (of_x, weight), (of_codes, weight_of_codes) = found
    joined = torch.logaddexp(of_x.unsqueeze(-2), of_codes)
    if known is None:
        return joined - logits.logsumexp(-1)
    return joined - torch.logaddexp(weight, weight_of_codes).unsqueeze(-2)


def _log_sum(logits: Tensor, known: Tensor) -> Tensor:
    """Return the log-sum of e**logits (M, N) over each row's known inputs (..., N): (..., M)."""
    info = torch.finfo(logits.dtype)
    top = logits.detach().amax(-1, keepdim=True).clamp(min=info.min)
    total = known.to(logits.dtype) @ (logits - top).exp().T
    log_sum = total.clamp(min=info.tiny).log() + top.squeeze(-1)
    return log_sum.where(total > 0, -math.inf)  # of which the derivative would be NaN
