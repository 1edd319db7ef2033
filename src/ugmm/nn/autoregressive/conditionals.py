"""What an autoregressive network of mixture neurons computes in one pass: prefix scores."""

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from ugmm.functional import cumulative_log_score
from ugmm.kernels import KernelName
from ugmm.nn.autoregressive.heads import HeadName, make_head
from ugmm.nn.autoregressive.layers import LayeredDensity
from ugmm.nn.autoregressive.memory import log_totals, remember_columns
from ugmm.nn.autoregressive.orders import draw_orders, in_turn
from ugmm.nn.images import find_image_shape
from ugmm.nn.labels import rows_of
from ugmm.nn.mixture import UGMM

__all__ = ["Conditionals"]

_LOG_SQRT_2PI = 0.5 * math.log(2 * math.pi)
_SCORES = 2**22  # of prefixes, held at once


class Conditionals(LayeredDensity):
    """The parameters of `AutoregressiveUGMM`, which describes them, and its density."""

    start_logits: nn.Parameter | None  # (M,), if there is a memory

    def __init__(
        self,
        n_features: int,
        n_classes: int = 1,
        hidden: Sequence[int] = (128, 64),
        head: HeadName = "gaussian",
        components: int = 4,
        levels: int = 256,
        neighbours: int = 0,
        image_shape: Sequence[int] | None = None,
        order: Literal["fixed", "random"] = "fixed",
        orders: int = 4,
        memory: Literal["all", "columns"] = "all",
        positions: int | None = None,
        dropout: float = 0.0,
        min_scale: float = 1e-3,
        kernel: KernelName = "auto",
        missing: bool = False,
    ) -> None:
        super().__init__(n_features, n_classes, positions)
        if not hidden:
            raise ValueError("there must be at least one hidden width")
        if order not in ("fixed", "random"):
            raise ValueError(f"order must be 'fixed' or 'random', got {order!r}")
        if order == "random" and orders < 2:
            raise ValueError(f"orders must be at least 2, got {orders}")
        if order == "random" and neighbours:
            raise ValueError("neighbours come before a pixel in a fixed order only, got a random")
        if memory not in ("all", "columns"):
            raise ValueError(f"memory must be 'all' or 'columns', got {memory!r}")
        if order == "random" and memory == "columns":
            raise ValueError("memory='columns' needs the lines of an image in a fixed order")
        self.kernel = kernel
        self.orders = draw_orders(n_features, orders) if order == "random" else None
        self.prefix = UGMM(n_features, hidden[0], dropout, min_scale, kernel=kernel)
        # About as much as one of N components contributes at its mean.
        start = torch.randn(n_classes, hidden[0]) - math.log(n_features) - _LOG_SQRT_2PI
        self.start = nn.Parameter(start)
        self.start_logits = None
        if memory == "columns":
            _, *shape = find_image_shape(n_features, image_shape)
            self.start_logits = nn.Parameter(remember_columns(self.prefix, (shape[0], shape[1])))
        self._add_layers(hidden, min_scale, kernel)
        made = make_head(
            head,
            n_features,
            hidden[-1],
            components=components,
            min_scale=min_scale,
            levels=levels,
            neighbours=neighbours,
            image_shape=image_shape,
        )
        self.read_by(made)
        if missing:
            self.expect_missing()

    def expect_missing(self) -> None:
        r"""See `Classifier.expect_missing`.

        From now on a feature that is missing leaves out its own factor, and its component and its
        part of linear terms in the prefixes of those behind it:
        :math:`p(x_O, y) = p(y) \prod_{d \in O} p(x_d \mid x_k, k < d, k \in O; y)`. For each set O
        this is normalised; it is what a row with gaps is trained by, and not what is left of p
        where the other features are integrated out, which `marginal` estimates. (In a memory of
        columns its weight still counts among those of the prefix.)
        """
        self.missing = self.init_args["missing"] = True

    def features(
        self,
        x: Tensor,
        y: Tensor,
        chosen: Tensor | None = None,
        order: Tensor | None = None,
    ) -> Tensor:
        """Return the scores of each prefix that the head reads: (batch, D or P, hidden[-1]).

        The arguments are those of `conditionals`, but for x, whose columns are in order here.

        Raises:
            ValueError: If there is an order, and the network has a term of neighbours or a memory
                of columns.
        """
        if order is not None:
            self._refuse_lines()
        logits = self.prefix.masked_logits()
        return self._after_first(self._prefix_scores(x, y, logits, chosen, order))

    def _refuse_lines(self) -> None:
        """Refuse another order of the features where parameters are of pixels line by line."""
        near, columns = self.head.near is not None, self.start_logits is not None
        if near or columns:
            what = "neighbours" if near else "memory='columns'"
            raise ValueError(f"with {what} pixels are in one order only: that of lines")

    def _prefix_scores(
        self,
        x: Tensor,
        y: Tensor,
        logits: Tensor,
        chosen: Tensor | None = None,
        order: Tensor | None = None,
    ) -> Tensor:
        log_weights, start = logits.log_softmax(-1), rows_of(self.start, y)
        if self.start_logits is not None:
            log_weights, start = logits, start + self.start_logits
        parameters = [self.prefix.loc, self.prefix.log_scale, log_weights]
        loc, log_scale, log_weights = in_turn(parameters, order)
        scores = cumulative_log_score(
            x, loc, log_scale, log_weights, start, chosen, kernel=self.kernel
        )
        if self.start_logits is None:
            return scores
        before = log_totals(logits, self.start_logits)[:, :-1]
        return scores - (before if chosen is None else before[:, chosen]).t()

    def prefix_class_scores(self, x: Tensor, k: Tensor) -> Tensor:
        """Return log p(x_1, ..., x_k, c) of rows (n, D), each with a k of its own: (n, C)."""
        scores = self.class_logits.log_softmax(0).double().repeat(len(x), 1)
        chosen = torch.arange(int(k.max()), device=x.device)
        if len(chosen) == 0:
            return scores
        rows = 1 + _SCORES // (len(chosen) * self.prefix.out_features)
        for part, lengths, found in zip(*(t.split(rows) for t in (x, k, scores)), strict=True):
            inside = chosen < lengths.unsqueeze(1)
            for c in range(self.n_classes):
                y = torch.full((len(part),), c, device=x.device)
                g = self._after_first(self._prefix_scores(part, y, self.prefix.logits, chosen))
                found[:, c] += self.head(g, part, chosen).double().where(inside, 0).sum(-1)
        return scores

    @torch.no_grad()
    def init_from(self, x: Tensor, y: Tensor | None = None) -> None:
        """Fit the initial parameters of all layers, too, but for the memory of columns.

        Args:
            x: (batch, D).
            y: (batch,), or None to leave p(y) as it is.

        Raises:
            IndexError: If a label is out of range.
            ValueError: If features have levels, and one is between them.
        """
        if self.start_logits is None:
            self.prefix.init_from(x)
        super().init_from(x, y)
        labels = torch.zeros(len(x), dtype=torch.long, device=x.device) if y is None else y
        order = None if self.orders is None else self.orders[0]
        first = x if order is None else x[:, order]
        h = self._prefix_scores(first, labels, self.prefix.masked_logits(), order=order)
        self._init_after_first(h)
