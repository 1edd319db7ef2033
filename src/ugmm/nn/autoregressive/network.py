"""The autoregressive network: normalised by construction, exact in one pass."""

import copy
from typing import Self, cast

import torch
from torch import Tensor, nn

from ugmm.nn.autoregressive.beams import Beam, search
from ugmm.nn.autoregressive.conditionals import Conditionals
from ugmm.nn.autoregressive.memory import log_totals
from ugmm.nn.autoregressive.orders import beam as beam_in_orders
from ugmm.nn.autoregressive.orders import by_orders, check_order, sample
from ugmm.nn.autoregressive.orders import draw as draw_in_orders
from ugmm.nn.autoregressive.orders import marginal as marginal_in_orders
from ugmm.nn.autoregressive.particles import Question, draw, marginal
from ugmm.nn.autoregressive.walk import Walk
from ugmm.nn.checks import check_draws, check_given, check_levels, check_positive, check_tensors
from ugmm.nn.evidence import Draws, Evidence, Marginal
from ugmm.nn.labels import draw_labels

__all__ = ["AutoregressiveUGMM"]

_ROWS = 2**12  # drawn at once: what they need beside their features stays small


class AutoregressiveUGMM(Conditionals):
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
      features that are 0 or 1;
    - ``"levels"``: a mixture of J discretised logistics, for features that have L levels, 0 to 1
      in equal steps: what grey pixels are. See `ugmm.nn.autoregressive.heads.levels`.

    To what the last two read off the scores, a linear term of the pixels near each may be added,
    among those before it: see `ugmm.nn.autoregressive.heads.neighbours`.

    That all conditionals share one cumulative layer is the idea of NADE (H. Larochelle and
    I. Murray, AISTATS 2011), here with mixture neurons in place of sigmoid ones.

    Arguments:
        n_features: D.
        n_classes: Number of classes; 1 where there is no label.
        hidden: Widths of the layers, beginning with the cumulative one.
        head: The distribution of a feature.
        components: J, of a mixture.
        levels: L, used by the head ``"levels"`` only.
        neighbours: How far off, in lines and columns, the pixels of the linear term may be; 0 for
            none. For images and a fixed order.
        image_shape: Height and width of these; None for square ones.
        order: What d counts: ``"fixed"``, the features as they are numbered; or ``"random"``, for
            a density that answers what is asked of any of its features; see
            `ugmm.nn.autoregressive.orders`.
        orders: K, how many orders are mixed in evaluation if the order is random.
        memory: ``"all"``, of all that came before; or ``"columns"``, of the last lines of each
            column of an image: see `ugmm.nn.autoregressive.memory`.
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

    def in_order(self, order: Tensor) -> Self:
        """Return the network of a fixed order that this one is for an order of the features.

        Its feature d is feature `order[d]` here. It is a copy, for evaluation.

        Raises:
            ValueError: If the order is none of all features, or the network has a term of
                neighbours or a memory of columns.
        """
        check_order(order, self.n_features)
        self._refuse_lines()
        twin = copy.deepcopy(self).requires_grad_(False).eval()
        twin.orders = None
        for parameter in (twin.prefix.loc, twin.prefix.raw_scale, twin.prefix.logits):
            parameter.copy_(parameter[:, order])
        twin.head.reorder(order)
        return twin

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
            check_levels(given, self.levels)
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
        evidence = self._check(evidence)
        if self.orders is not None:
            return marginal_in_orders(self, evidence)
        with self.prepared():
            question = Question.of(evidence, self.prefix_class_scores)
            return marginal(self.walk(), question, n, generator)

    @torch.no_grad()
    def draw(self, evidence: Evidence, n: int, generator: torch.Generator) -> Draws:
        """Return n weighted draws of whole rows for each row, see :class:`ugmm.nn.Queryable`.

        They are exact where the known features are the first ones of a row. Else
        they are particles of sequential Monte Carlo, of which many share their first features:
        the effective share that is told counts those as one. If the order is random, see above.

        Raises:
            ValueError: If the evidence is not of such rows.
        """
        evidence = self._check(evidence)
        if self.orders is not None:
            return draw_in_orders(self, evidence, n, generator)
        with self.prepared():
            question = Question.of(evidence, self.prefix_class_scores)
            return draw(self.walk(), question, n, generator)

    @torch.no_grad()
    def beam(self, evidence: Evidence, width: int) -> Beam:
        """Return the most probable completion of each row that a beam search finds.

        If the order is random, it is the best by p(x, y) of what is found in K orders, each with
        the known features first.

        Args:
            evidence: Rows of binary features. A label that is not known is completed, too.
            width: How many beginnings of a row are kept at each feature. With 1 it is greedy.

        Raises:
            ValueError: If features are not binary, the width is not positive, or the evidence is
                not of such rows.
        """
        check_positive(width=width)
        if not self.binary:
            raise ValueError("a beam search is for binary features")
        if self.head.near is not None:
            raise ValueError("a beam search is for a head without a term of neighbours")
        evidence = self._check(evidence)
        if self.orders is not None:
            return beam_in_orders(self, evidence, width)
        with self.prepared():
            return search(self.walk(), evidence, self.class_logits.log_softmax(0), width)

    def by_orders(self, row: Evidence, features: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Return what each order of a random one says; see :class:`ugmm.nn.evidence.InOrders`."""
        return by_orders(self, self._check(row), features, values)

    def _check(self, evidence: Evidence) -> Evidence:
        """Return evidence where the network is, and of its type, if it is of its rows."""
        evidence.check(self.n_features, self.n_classes)
        check_levels(evidence.x, self.levels)
        return evidence.to(self.start.device, self.start.dtype)

    def walk(self) -> Walk:
        """Return the parameters as they are now, for going from feature to feature."""
        norm = None if self.layers else cast("nn.LayerNorm", self.norms[0])
        b, totals = self.start_logits, None
        if b is not None:
            totals = log_totals(self.prefix.logits, b)
        read = self._after_first
        return Walk(self.head, self.start, self.prefix, totals, read, norm, self.kernel)
