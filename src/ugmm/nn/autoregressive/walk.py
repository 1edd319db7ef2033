"""An autoregressive network from feature to feature: as drawing, weighing and searching go."""

import math
from collections.abc import Callable, Sequence
from functools import cached_property

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ugmm.kernels import KernelName, choose_draws
from ugmm.kernels.draws.table import Table
from ugmm.nn.autoregressive.heads import BernoulliHead, Head
from ugmm.nn.labels import rows_of
from ugmm.nn.mixture import UGMM

__all__ = ["Walk"]

_LOG_SQRT_2PI = 0.5 * math.log(2 * math.pi)


class Walk:
    """A network's parameters, laid out for one feature after another.

    Rows begin with the scores of the empty prefix, `begin`; each feature is read from a row's
    scores, by `draw_feature` or `score_feature`, and then added to them, by `add`.

    Arguments:
        head: The distributions of the features.
        start: The scores of the empty prefix, one row a class, (C, M).
        prefix: The first layer.
        totals: The logarithms of its weights before each feature, and of all, (M, D + 1), if
            scores are of weights that sum to one; see `ugmm.nn.autoregressive.memory`.
        read: Turns that layer's scores (..., M) into those that the head reads.
        norm: The LayerNorm that `read` is, if it is no more.
        kernel: See :func:`ugmm.functional.mixture_log_score`.

    Attributes:
        n_features: D.
    """

    def __init__(
        self,
        head: Head,
        start: Tensor,
        prefix: UGMM,
        totals: Tensor | None,
        read: Callable[[Tensor], Tensor],
        norm: nn.LayerNorm | None,
        kernel: KernelName,
    ) -> None:
        self.head, self.start, self.read, self.kernel = head, start, read, kernel
        self.n_features, self._norm = prefix.in_features, norm
        log_scale, self._keep = prefix.log_scale, None
        log_weights = prefix.logits.log_softmax(-1)
        if totals is not None:
            log_weights = prefix.logits - totals[:, 1:]
            self._keep = (totals[:, :-1] - totals[:, 1:]).t().contiguous()
        level = log_weights - log_scale - _LOG_SQRT_2PI
        # Each feature's components: means, 1 / scale, log-densities there.
        columns = prefix.loc, (-log_scale).exp(), level
        self._loc, self._rate, self._level = (each.t().contiguous() for each in columns)

    def begin(self, y: Tensor) -> Tensor:
        """Return the scores of rows with these labels: (n,) to (n, M)."""
        return rows_of(self.start, y)

    def add(self, h: Tensor, value: Tensor, d: int) -> Tensor:
        """Return scores (..., M) after feature d has this value, (...)."""
        z = (value.unsqueeze(-1) - self._loc[d]) * self._rate[d]
        if self._keep is not None:
            h = h + self._keep[d]
        return torch.logaddexp(h, self._level[d] - 0.5 * z.square())

    def draw_feature(self, g: Tensor, x: Tensor, d: int, noise: Sequence[Tensor]) -> Tensor:
        """Draw feature d, given what the head reads (n, M) and the features before it."""
        return self.head.draw(g, x, d, [each[:, d] for each in noise])

    def score_feature(self, g: Tensor, x: Tensor, d: int) -> Tensor:
        """Return the log-density of feature d of rows (n, D), likewise: (n,)."""
        return self.head(g.unsqueeze(1), x, slice(d, d + 1)).squeeze(1)

    @cached_property
    def table(self) -> Table | None:
        """What a compiled loop takes in place of all this; None if it takes no such network."""
        head, norm = self.head, self._norm
        if norm is None or self._keep is not None:
            return None
        if not isinstance(head, BernoulliHead) or head.near is not None:
            return None
        zeros, ones = (
            self._level - 0.5 * ((value - self._loc) * self._rate).square() for value in (0, 1)
        )
        return Table(zeros, ones, *head.folded(norm), norm.eps)

    def draw(self, y: Tensor, given: Tensor, generator: torch.Generator | None) -> Tensor:
        """Draw rows (n, D) with labels (n,), given their first features (n, k)."""
        n, k = given.shape
        noise = self.head.noise(n, self.n_features - k, generator)
        draw_binary = choose_draws(self.start, self.kernel)
        if draw_binary is not None and self.table is not None:
            x = torch.cat([given, *noise], -1)
            draw_binary(x, k, self.begin(y), self.table)
            return x
        h, x = self.begin(y), F.pad(given, (0, self.n_features - k))
        noise = tuple(F.pad(each, (k, 0)) for each in noise)
        for d in range(self.n_features):
            if d >= k:
                x[:, d] = self.draw_feature(self.read(h), x, d, noise)
            h = self.add(h, x[:, d], d)
        return x
