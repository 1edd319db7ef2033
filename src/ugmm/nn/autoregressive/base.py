"""A density that is a product: each feature given those before it, read off scores by a head."""

import math
from abc import abstractmethod

import torch
from torch import Tensor, nn

from ugmm.nn.autoregressive.heads import Head
from ugmm.nn.autoregressive.orders import check_order, mixed
from ugmm.nn.checks import check_draws, check_levels, check_positive, check_tensors
from ugmm.nn.classifier import Density
from ugmm.nn.labels import count_labels, draw_labels, values_of
from ugmm.ranks import chunk_rows

__all__ = ["FAR", "AutoregressiveDensity"]

FAR = 1e6  # there a component says nothing: it adds exactly 0 to a prefix
_PARTS = 8  # of a batch, with an order each: one order for all rows makes gradients noisy


class AutoregressiveDensity(Density):
    r"""A density :math:`p(x, y) = p(y) \prod_d p(x_d \mid x_{<d}, y)`.

    A class derived from it defines `features`, the scores of the prefixes, which must not depend
    on what comes after them, and calls `read_by` with the head that makes a distribution of each
    feature's scores.

    Arguments:
        n_features: D.
        n_classes: Number of classes; 1 where there is no label.
        positions: In training, how many features' conditionals are computed at each step. They
            are drawn at random and their sum is scaled up, so that the loss is right on average.
            None computes all.

    Shapes:
        features (..., D), labels (...), results (...).

    Raises:
        ValueError: If a size is not positive.
    """

    head: Head
    class_logits: nn.Parameter
    orders: Tensor | None  # (K, D), int64, if the order is random

    def __init__(self, n_features: int, n_classes: int, positions: int | None = None) -> None:
        super().__init__()
        check_positive(n_features=n_features, n_classes=n_classes)
        if positions is not None:
            check_positive(positions=positions)
        self.n_features, self.n_classes, self.positions = n_features, n_classes, positions
        self.register_buffer("orders", None)

    def read_by(self, head: Head) -> None:
        """Take the head, and begin with classes that are as likely as each other."""
        self.class_logits = nn.Parameter(torch.zeros(self.n_classes))
        self.head = head
        self.levels = head.levels

    @abstractmethod
    def features(
        self,
        x: Tensor,
        y: Tensor,
        chosen: Tensor | None = None,
        order: Tensor | None = None,
    ) -> Tensor:
        """Return the scores of each prefix that the head reads: (batch, D or P, M).

        The arguments are those of `conditionals`, but for x, whose columns are in order here.
        """

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
            ValueError: If the order is none of all features, or if features have levels and one
                is between them.
        """
        check_tensors(x=x, y=y)
        if order is not None:
            check_order(order, self.n_features)
            x = x[:, order]
        check_levels(x, self.levels)
        # What follows must not know of a value that is not finite: times a weight of 0, it still
        # is a NaN, in the conditionals that it comes after and in their gradients.
        finite, gaps = x.isfinite(), x.isnan()
        strange = ~finite & ~gaps if self.missing else ~finite
        known = strange.long().cumsum(-1) == 0
        # Pixels enter linear terms as 2 x - 1: there, what is left out of them is grey, not black.
        x = x.where(finite, 0 if self.levels is None else 0.5)
        seen = x.masked_fill(gaps, FAR) if self.missing else x
        found = self.head(self.features(seen, y, chosen, order), x, chosen, order)
        found = found.where(known if chosen is None else known[:, chosen], math.nan)
        if not self.missing:
            return found
        return found.masked_fill(gaps if chosen is None else gaps[:, chosen], 0)

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

    @torch.no_grad()
    def sample(
        self, n: int, y: Tensor | None = None, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """Draw features (n, D) and labels (n,), exactly: one feature after another.

        Args:
            n: Number of draws.
            y: The labels to draw features for, (n,); by default, they are drawn too.
            generator: Source of randomness, on the network's device; by default, torch's own.

        Raises:
            IndexError: If a label is out of range.
            ValueError: If n is negative.
        """
        check_draws(n)
        if y is None:
            y = draw_labels(self.class_logits, n, generator)
        x = self.class_logits.new_zeros(n, self.n_features)
        noise = self.head.noise(n, self.n_features, generator)
        for d in range(self.n_features):
            g = self.features(x, y, torch.tensor([d], device=x.device)).squeeze(1)
            x[:, d] = self.head.draw(g, x, d, [each[:, d] for each in noise])
        return x, y

    @torch.no_grad()
    def init_from(self, x: Tensor, y: Tensor | None = None) -> None:
        """Fit the initial parameters of the head and p(y) to a batch of data.

        Args:
            x: (batch, D).
            y: (batch,), or None to leave p(y) as it is.

        Raises:
            IndexError: If a label is out of range.
            ValueError: If features have levels, and one is between them.
        """
        check_tensors(x=x)
        check_levels(x, self.levels)
        if y is not None:
            counts = count_labels(y, self.n_classes)
            self.class_logits.copy_((counts + 0.5).log())
        self.head.init_from(x)

    def extra_repr(self) -> str:
        """Describe the network in `repr`; its layers and head describe themselves."""
        text = f"n_features={self.n_features}, n_classes={self.n_classes}"
        text = f"{text}, positions={self.positions}"
        return text if self.orders is None else f"{text}, orders={len(self.orders)}"
