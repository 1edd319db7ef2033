"""The autoregressive network: normalised by construction, exact in one pass."""

import copy
import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Literal, cast

import torch
from torch import Tensor, nn

from ugmm.functional import cumulative_log_score
from ugmm.kernels import KernelName
from ugmm.nn.autoregressive.beams import Beam, search
from ugmm.nn.autoregressive.heads import BernoulliHead, GaussianHead
from ugmm.nn.autoregressive.orders import check_order, draw_orders, in_turn, mixed, sample
from ugmm.nn.autoregressive.orders import draw as draw_in_orders
from ugmm.nn.autoregressive.orders import marginal as marginal_in_orders
from ugmm.nn.autoregressive.particles import Question, draw, marginal
from ugmm.nn.autoregressive.walk import Walk
from ugmm.nn.checks import check_binary, check_draws, check_given, check_positive, check_tensors
from ugmm.nn.classifier import Density
from ugmm.nn.evidence import Draws, Evidence, Marginal
from ugmm.nn.labels import count_labels, draw_labels, rows_of, values_of
from ugmm.nn.mixture import UGMM

__all__ = ["AutoregressiveUGMM"]

_FAR = 1e6  # there a component says nothing: it adds exactly 0 to a prefix
_LOG_SQRT_2PI = 0.5 * math.log(2 * math.pi)
_ROWS = 2**12  # drawn at once: what they need beside their features stays small
_SCORES = 2**22  # of prefixes, held at once


class AutoregressiveUGMM(Density):
    r"""A density of features and label: each feature given the label and all earlier features.

    .. math::
        p(x, y) = p(y) \prod_d p(x_d \mid x_{<d}, y)

    The first layer scores every prefix of the inputs in one pass, by a cumulative sum over its
    components:

    .. math::
        h_j^{(d)} = \log \Big( e^{a_{yj}}
            + \sum_{k < d} \pi_{jk} \, \mathcal{N}(x_k; \mu_{jk}, \sigma_{jk}^2) \Big)

    The component :math:`a_{yj}`, one for each class, looks at no input and is never dropped, so
    that even the empty prefix has a score. More layers of mixture neurons may follow, shared by
    all prefixes, with a LayerNorm before each. For every feature, a *head* turns the last layer's
    scores :math:`g^{(d)}` into the parameters of that feature's distribution:

    - ``"gaussian"``: a mixture of J Gaussians whose means also depend on the earlier features,
      :math:`\sum_i \operatorname{softmax}(V_d g^{(d)})_i \,
      \mathcal{N}(x_d; m_{di} + A_{di} x_{<d}, s_{di}^2)`;
    - ``"bernoulli"``: :math:`p(x_d = 1) = \operatorname{sigmoid}(v_d g^{(d)} + c_d)`, for
      features that are 0 or 1.

    That all conditionals share one cumulative layer is the idea of NADE (H. Larochelle and
    I. Murray, AISTATS 2011), here with mixture neurons in place of sigmoid ones.

    Arguments:
        n_features: D.
        n_classes: Number of classes; 1 where there is no label.
        hidden: Widths of the layers, beginning with the cumulative one.
        head: The distribution of a feature.
        components: J, used by the Gaussian head only.
        order: What d counts: ``"fixed"``, the features as they are numbered; or ``"random"``, for
            a density that answers what is asked of any of its features; see
            `ugmm.nn.autoregressive.orders`.
        orders: K, how many orders are mixed in evaluation if the order is random.
        positions: In training, how many features' conditionals are computed at each step. They
            are drawn at random and their sum is scaled up, so that the loss is right on average.
            None computes all.
        dropout: Probability that an input's component of the first layer is dropped.
        min_scale: Floor under every scale, the neurons' and the head's.
        kernel: See :func:`ugmm.functional.mixture_log_score`.
        missing: Whether NaN says that a feature is not known; see :meth:`expect_missing`.

    Shapes:
        features (..., D), labels (...), results (...).

    Raises:
        ValueError: If a size is not positive, or there is no such head.
    """

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
        random, if the order is: a bound on the mixture's, on average.
        """
        check_tensors(x=x, y=y)
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

    def in_order(self, order: Tensor) -> "AutoregressiveUGMM":
        """Return the network of a fixed order that this one is for an order of the features.

        Its feature d is feature `order[d]` here. It is a copy, for evaluation.
        """
        check_order(order, self.n_features)
        twin = copy.deepcopy(self).requires_grad_(False).eval()
        twin.orders = None
        for parameter in (twin.prefix.loc, twin.prefix.raw_scale, twin.prefix.logits):
            parameter.copy_(parameter[:, order])
        twin.head.reorder(order)
        return twin

    def class_scores(self, x: Tensor) -> Tensor:
        """Return log p(x, c) for every class: (..., D) to (..., C)."""
        check_tensors(x=x)
        c = self.n_classes
        y = torch.arange(c, device=x.device).expand(*x.shape[:-1], c)
        return self(x.unsqueeze(-2).expand(*y.shape, self.n_features), y)

    @torch.no_grad()
    def sample(
        self,
        n: int,
        y: Tensor | None = None,
        generator: torch.Generator | None = None,
        given: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Draw features (n, D) and labels (n,), exactly: one feature after another.

        A seed decides the draws, on however many threads they are computed.

        Args:
            n: Number of draws.
            y: The labels to draw features for, (n,); by default, they are drawn too.
            generator: Source of randomness, on the network's device; by default, torch's own.
            given: The first features of all draws, (k,), or of each, (n, k): what is drawn, labels
                included, is drawn given these.

        Raises:
            IndexError: If a label is out of range.
            ValueError: If n is negative, if y are not n labels, or if what is given cannot be.
        """
        check_draws(n)
        if given is None:
            given = self.start.new_empty(0)
        else:
            check_given(given, n, self.n_features)
            if self.binary:
                check_binary(given)
        given = torch.atleast_2d(given).to(self.start)
        if y is not None:
            check_tensors(y=y)
            if y.shape != (n,):
                raise ValueError(f"y must be {n} labels, got {tuple(y.shape)}")
        if self.orders is not None and n > 0:
            return sample(self, n, y, generator, given)
        if y is None:
            y = self._draw_labels(n, given, generator)
        given, walk = given.expand(n, -1), self.walk()
        x = self.start.new_empty(n, self.n_features)
        with self.prepared():
            for first in range(0, n, _ROWS):
                rows = slice(first, first + _ROWS)
                x[rows] = walk.draw(y[rows], given[rows], generator)
        return x, y

    def _draw_labels(self, n: int, given: Tensor, generator: torch.Generator | None) -> Tensor:
        """Draw labels (n,), given the first features of all draws (1, k) or of each (n, k)."""
        if given.shape[1] == 0 or self.n_classes == 1 or n == 0:
            return draw_labels(self.class_logits, n, generator)
        k = torch.full((len(given),), given.shape[1], device=given.device)
        x = nn.functional.pad(given, (0, self.n_features - given.shape[1]))
        weights = self.prefix_class_scores(x, k).softmax(-1).expand(n, -1)
        return torch.multinomial(weights, 1, generator=generator).squeeze(1)

    @torch.no_grad()
    def marginal(self, evidence: Evidence, n: int, generator: torch.Generator) -> Marginal:
        """Return log p of each row's evidence, see :class:`ugmm.nn.Queryable`.

        It is exact where the known features are the first ones of a row; else it is an estimate
        by sequential Monte Carlo, unbiased as a probability, with about n particles (at least 256)
        in 8 or more independent populations, whose spread is its error. If the order is random,
        `ugmm.nn.autoregressive.orders` says how it is answered.

        Raises:
            ValueError: If the evidence is not of such rows.
        """
        if self.orders is not None:
            return marginal_in_orders(self, evidence)
        with self.prepared():
            return marginal(self.walk(), self._ask(evidence), n, generator)

    @torch.no_grad()
    def draw(self, evidence: Evidence, n: int, generator: torch.Generator) -> Draws:
        """Return n weighted draws of whole rows for each row, see :class:`ugmm.nn.Queryable`.

        They are exact and independent where the known features are the first ones of a row. Else
        they are particles of sequential Monte Carlo, of which many share their first features:
        the effective share that is told counts those as one. If the order is random, see above.

        Raises:
            ValueError: If the evidence is not of such rows.
        """
        if self.orders is not None:
            return draw_in_orders(self, evidence, n, generator)
        with self.prepared():
            return draw(self.walk(), self._ask(evidence), n, generator)

    @torch.no_grad()
    def beam(self, evidence: Evidence, width: int) -> Beam:
        """Return the most probable completion of each row that a beam search finds.

        Args:
            evidence: Rows of binary features. A label that is not known is completed, too.
            width: How many beginnings of a row are kept at each feature. With 1 it is greedy.

        Raises:
            ValueError: If features are not binary, their order is random, the width is not
                positive, or the evidence is not of such rows.
        """
        check_positive(width=width)
        if not self.binary or self.orders is not None:
            raise ValueError("a beam search is for binary features in a fixed order")
        check_binary(evidence.x)
        evidence = evidence.to(self.start.device, self.start.dtype)
        with self.prepared():
            return search(self.walk(), evidence, self.class_logits.log_softmax(0), width)

    def _ask(self, evidence: Evidence) -> Question:
        if self.binary:
            check_binary(evidence.x)
        return Question.of(
            evidence.to(self.start.device, self.start.dtype), self.prefix_class_scores
        )

    def walk(self) -> Walk:
        """Return the parameters as they are now, for going from feature to feature."""
        norm = None if self.layers else cast("nn.LayerNorm", self.norms[0])
        return Walk(self.head, self.start, self.prefix, self._after_first, norm, self.kernel)

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
