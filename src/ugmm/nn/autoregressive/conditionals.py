"""What an autoregressive network computes in one pass: the conditionals of all features."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Literal, cast

import torch
from torch import Tensor, nn

from ugmm.functional import cumulative_log_score
from ugmm.kernels import KernelName
from ugmm.nn.autoregressive.heads import BernoulliHead, GaussianHead
from ugmm.nn.autoregressive.orders import check_order, draw_orders, in_turn, mixed
from ugmm.nn.checks import check_binary, check_positive, check_tensors
from ugmm.nn.classifier import Density
from ugmm.nn.labels import count_labels, rows_of, values_of
from ugmm.nn.mixture import UGMM
from ugmm.ranks import chunk_rows

__all__ = ["Conditionals"]

_FAR = 1e6  # there a component says nothing: it adds exactly 0 to a prefix
_LOG_SQRT_2PI = 0.5 * math.log(2 * math.pi)
_PARTS = 8  # of a batch, with an order each: one order for all rows makes gradients noisy
_SCORES = 2**22  # of prefixes, held at once


class Conditionals(Density):
    """The parameters of `AutoregressiveUGMM`, which describes them, and its density."""

    head: GaussianHead | BernoulliHead
    orders: Tensor | None  # (K, D), int64, if the order is random

    def __init__(
        self,
        n_features: int,
        n_classes: int = 1,
        hidden: Sequence[int] = (128, 64),
        head: Literal["gaussian", "bernoulli"] = "gaussian",
        components: int = 4,
        order: Literal["fixed", "random"] = "fixed",
        orders: int = 4,
        positions: int | None = None,
        dropout: float = 0.0,
        min_scale: float = 1e-3,
        kernel: KernelName = "auto",
        missing: bool = False,
    ) -> None:
        super().__init__()
        check_positive(n_features=n_features, n_classes=n_classes, components=components)
        if positions is not None:
            check_positive(positions=positions)
        if not hidden:
            raise ValueError("there must be at least one hidden width")
        if head not in ("gaussian", "bernoulli"):
            raise ValueError(f"head must be 'gaussian' or 'bernoulli', got {head!r}")
        if order not in ("fixed", "random"):
            raise ValueError(f"order must be 'fixed' or 'random', got {order!r}")
        if order == "random" and orders < 2:
            raise ValueError(f"orders must be at least 2, got {orders}")
        self.n_features, self.n_classes = n_features, n_classes
        self.positions, self.kernel = positions, kernel
        self.binary = head == "bernoulli"
        kept = draw_orders(n_features, orders) if order == "random" else None
        self.register_buffer("orders", kept)
        self.prefix = UGMM(n_features, hidden[0], dropout, min_scale, kernel=kernel)
        # About as much as one of N components contributes at its mean.
        start = torch.randn(n_classes, hidden[0]) - math.log(n_features) - _LOG_SQRT_2PI
        self.start = nn.Parameter(start)
        self.class_logits = nn.Parameter(torch.zeros(n_classes))
        self.norms = nn.ModuleList(nn.LayerNorm(width) for width in hidden)
        self.layers = nn.ModuleList(
            UGMM(n, m, min_scale=min_scale, kernel=kernel) for n, m in pairwise(hidden)
        )
        if head == "gaussian":
            self.head = GaussianHead(n_features, hidden[-1], components, min_scale)
        else:
            self.head = BernoulliHead(n_features, hidden[-1])
        if missing:
            self.expect_missing()

    def expect_missing(self) -> None:
        r"""See `Classifier.expect_missing`.

        From now on a feature that is missing leaves out its own factor, and its component in the
        prefixes of those behind it:
        :math:`p(x_O, y) = p(y) \prod_{d \in O} p(x_d \mid x_k, k < d, k \in O; y)`. For each set O
        this is normalised; it is what a row with gaps is trained by, and not what is left of p
        where the other features are integrated out, which `marginal` estimates.
        """
        self.missing = self.init_args["missing"] = True

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Return log p(x, y), in nats.

        In training it is an estimate if `positions` is given, and that of one order, drawn at
        random, if the order is: a bound on the mixture's, on average. Parts of a batch have orders
        (and positions) of their own.
        """
        check_tensors(x=x, y=y)
        if not self.training or self.orders is None or y.dim() == 0:
            return self._forward(x, y)
        parts = zip(chunk_rows(x, _PARTS), chunk_rows(y, _PARTS), strict=True)
        return torch.cat([self._forward(*part) for part in parts])

    def _forward(self, x: Tensor, y: Tensor) -> Tensor:
        shape, d = x.shape[:-1], self.n_features
        x, y = x.reshape(-1, d), y.reshape(-1)
        chosen, orders = None, [None] if self.orders is None else list(self.orders.unbind())
        if self.training and self.orders is not None:
            orders = [torch.randperm(d, device=x.device)]
        if self.training and self.positions is not None and self.positions < d:
            chosen = torch.randperm(d, device=x.device)[: self.positions].sort().values
        total = mixed([self.conditionals(x, y, chosen, order).sum(-1) for order in orders])
        if chosen is not None:
            total = total * (d / len(chosen))
        return (total + values_of(self.class_logits.log_softmax(0), y)).reshape(shape)

    def conditionals(
        self,
        x: Tensor,
        y: Tensor,
        chosen: Tensor | None = None,
        order: Tensor | None = None,
    ) -> Tensor:
        r"""Return :math:`\log p(x_d \mid x_{<d}, y)` of every feature, or of some.

        Args:
            x: (batch, D).
            y: (batch,).
            chosen: Positions of the features asked for, increasing, (P,), int64; None for all.
            order: Which feature comes first, which next: a permutation, (D,), int64; None for
                the features as they are numbered. Of an order that the network was not trained
                for the conditionals are normalised, too, but poor.

        Returns:
            (batch, D) or (batch, P), by position; NaN from the first feature on that is not
            finite; but 0 of one that is missing, where that is expected.

        Raises:
            IndexError: If a label is out of range.
            ValueError: If the order is none of all features, or if the head is Bernoulli's and a
                feature is neither 0 nor 1 (nor NaN).
        """
        check_tensors(x=x, y=y)
        if order is not None:
            check_order(order, self.n_features)
            x = x[:, order]
        if self.binary:
            check_binary(x)
        # What follows must not know of a value that is not finite: times a weight of 0, it still
        # is a NaN, in the conditionals that it comes after and in their gradients.
        finite, gaps = x.isfinite(), x.isnan()
        strange = ~finite & ~gaps if self.missing else ~finite
        known = strange.long().cumsum(-1) == 0
        x = x.where(finite, 0)
        seen = x.masked_fill(gaps, _FAR) if self.missing else x
        found = self.head(self.features(seen, y, chosen, order), x, chosen, order)
        found = found.where(known if chosen is None else known[:, chosen], math.nan)
        if not self.missing:
            return found
        return found.masked_fill(gaps if chosen is None else gaps[:, chosen], 0)

    def features(
        self,
        x: Tensor,
        y: Tensor,
        chosen: Tensor | None = None,
        order: Tensor | None = None,
    ) -> Tensor:
        """Return the scores of each prefix that the head reads: (batch, D or P, hidden[-1]).

        The arguments are those of `conditionals`, but for x, whose columns are in order here.
        """
        logits = self.prefix.masked_logits()
        return self._after_first(self._prefix_scores(x, y, logits, chosen, order))

    def _prefix_scores(
        self,
        x: Tensor,
        y: Tensor,
        logits: Tensor,
        chosen: Tensor | None = None,
        order: Tensor | None = None,
    ) -> Tensor:
        parameters = [self.prefix.loc, self.prefix.log_scale, logits.log_softmax(-1)]
        loc, log_scale, log_weights = in_turn(parameters, order)
        start = rows_of(self.start, y)
        return cumulative_log_score(
            x, loc, log_scale, log_weights, start, chosen, kernel=self.kernel
        )

    def prefix_log_prob(self, x: Tensor, y: Tensor, order: Tensor | None = None) -> Tensor:
        """Return log p(x_1, ..., x_d, y) for every d, exact marginals: (batch, D).

        If the order is random, they are those of the one order asked for (see `conditionals`),
        and not of the mixture.
        """
        prior = values_of(self.class_logits.log_softmax(0), y)
        return self.conditionals(x, y, order=order).cumsum(-1) + prior.unsqueeze(-1)

    def class_scores(self, x: Tensor) -> Tensor:
        """Return log p(x, c) for every class: (..., D) to (..., C)."""
        check_tensors(x=x)
        c = self.n_classes
        y = torch.arange(c, device=x.device).expand(*x.shape[:-1], c)
        return self(x.unsqueeze(-2).expand(*y.shape, self.n_features), y)

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
        """Fit the initial parameters of all layers, the head and p(y) to a batch of data.

        Args:
            x: (batch, D).
            y: (batch,), or None to leave p(y) as it is.

        Raises:
            IndexError: If a label is out of range.
            ValueError: If the head is Bernoulli's and a feature is neither 0 nor 1 (nor NaN).
        """
        check_tensors(x=x)
        if self.binary:
            check_binary(x)
        self.prefix.init_from(x)
        if y is not None:
            counts = count_labels(y, self.n_classes)
            self.class_logits.copy_((counts + 0.5).log())
        labels = torch.zeros(len(x), dtype=torch.long, device=x.device) if y is None else y
        self.head.init_from(x)
        order = None if self.orders is None else self.orders[0]
        first = x if order is None else x[:, order]
        h = self._prefix_scores(first, labels, self.prefix.masked_logits(), order=order)
        for norm, layer in zip(self.norms, cast("list[UGMM]", list(self.layers)), strict=False):
            h = norm(h)
            layer.init_from(h.reshape(-1, h.shape[-1]))
            h = layer(h)

    def extra_repr(self) -> str:
        """Describe the network in `repr`; its layers and head describe themselves."""
        text = f"n_features={self.n_features}, n_classes={self.n_classes}"
        text = f"{text}, positions={self.positions}"
        return text if self.orders is None else f"{text}, orders={len(self.orders)}"

    def _after_first(self, h: Tensor) -> Tensor:
        for norm, layer in zip(self.norms, self.layers, strict=False):
            h = layer(norm(h))
        return self.norms[-1](h)
