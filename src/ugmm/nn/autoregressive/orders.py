r"""Autoregressive networks of random order, which answer what is asked of any of their features.

A network of fixed order knows the exact marginals of its first features only. If training draws
orders :math:`o` anew at each step, one set of parameters serves them all: the first layer's
cumulative sum runs over permuted columns, each feature keeps its components and its head, and the
head's linear term sees the features that come earlier in the order. The loss

.. math::
    -\mathbb{E}_o \sum_d \log p(x_{o_d} \mid x_{o_1}, \dots, x_{o_{d-1}}, y)

is that of EoNADE. Each part of a batch has an order of its own, since one for all rows makes
gradients noisy: on MNIST that costs 12 nats after one epoch. In evaluation the density is a
mixture of K orders, drawn once and kept in a buffer, so that a checkpoint always gives the same
answer:

.. math::
    p(x, y) = \frac1K \sum_{k=1}^K p_k(x, y), \qquad
    p_k(x, y) = p(y) \prod_d p(x_{o^k_d} \mid x_{o^k_1}, \dots, x_{o^k_{d-1}}, y)

*Evidence* about any features moves them to the front of every order, where they keep the sequence
that they had, and so do the others behind them. Then :math:`p_k(x_E, y)` is the product of the
first factors, and what is not known is drawn from the others: a pass for each order, in which
nothing is estimated. With all features known this is p(x, y), and with none known draws are p's.

In between, the K moved orders are another mixture than p, since orders share their parameters and
need not agree on one joint distribution. Nothing is estimated by draws (`effective` is 1), and the
answer is exact for the moved orders; it is *not* called exact, for p's own marginal is another.
`error` says how far orders disagree: it is the standard deviation, over the K orders, of what each
says of log p. It is no standard error, and more orders do not make it smaller.

To let the network see which features are known, as EoNADE does by a mask that is an input, made
it worse here: a cumulative sum knows already what it has summed up.

Reference:
    B. Uria, I. Murray and H. Larochelle, *A Deep and Tractable Density Estimator*, ICML 2014,
    arXiv:1310.1757 (EoNADE).
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ugmm.kernels.roads import has_numbers
from ugmm.nn.autoregressive.beams import Beam
from ugmm.nn.evidence import UNKNOWN, Draws, Evidence, Marginal
from ugmm.nn.labels import refuse_strangers

__all__ = [
    "beam",
    "by_orders",
    "check_order",
    "draw",
    "draw_orders",
    "in_turn",
    "known_first",
    "marginal",
    "mixed",
    "sample",
]

_SEED = 0


def draw_orders(n_features: int, n: int) -> Tensor:
    """Return n orders of the features, (n, D), int64: always the same."""
    generator = torch.Generator().manual_seed(_SEED)
    return torch.stack([torch.randperm(n_features, generator=generator) for _ in range(n)])


def check_order(order: Tensor, n_features: int) -> None:
    """Check that an order is a permutation of the features, where it has numbers to look at.

    Raises:
        ValueError: If it is not.
    """
    if torch.jit.is_tracing():  # where a size is a tensor
        return
    if order.shape != (n_features,):
        raise ValueError(f"an order is ({n_features},), got {tuple(order.shape)}")
    if has_numbers(order):
        every = torch.arange(n_features, device=order.device)
        if not torch.equal(order.sort().values, every):
            raise ValueError(f"an order has each of 0 to {n_features - 1} once")


def in_turn(parameters: Sequence[Tensor], order: Tensor | None) -> Sequence[Tensor]:
    """Return parameters with a column a feature, (M, D) each, in an order of the features."""
    if order is None:
        return parameters
    # The gradient of index_select takes a third of the time of an index's.
    return [each.index_select(1, order) for each in parameters]


def mixed(log_probs: Sequence[Tensor]) -> Tensor:
    """Return the logarithm of the mean of what K orders say, each of the same shape."""
    if len(log_probs) == 1:
        return log_probs[0]
    return torch.stack(list(log_probs)).logsumexp(0) - math.log(len(log_probs))


def known_first(orders: Tensor, known: Tensor) -> Tensor:
    """Return the orders (K, D) with the features that are known (D,) moved to the front."""
    return orders.gather(1, (~known[orders]).long().argsort(dim=1, stable=True))


class _Network(Protocol):
    """What is asked of a network here; `AutoregressiveUGMM` says what each is."""

    n_features: int
    n_classes: int
    orders: Tensor | None
    start: nn.Parameter

    def __call__(self, x: Tensor, y: Tensor) -> Tensor: ...

    def in_order(self, order: Tensor) -> "_Network": ...

    def beam(self, evidence: Evidence, width: int) -> Beam: ...

    def prefix_class_scores(self, x: Tensor, k: Tensor) -> Tensor: ...

    def sample(
        self,
        n: int,
        y: Tensor | None,
        generator: torch.Generator | None,
        given: Tensor | None,
    ) -> tuple[Tensor, Tensor]: ...


class _Moved:
    """The K orders of a network, with some features moved to the front.

    Arguments:
        network: Of random order.
        known: Which features, (D,).
        orders: The K orders, if they are not the network's own.

    Attributes:
        are_kept: Whether that leaves all orders as they are.
    """

    def __init__(self, network: _Network, known: Tensor, orders: Tensor | None = None) -> None:
        orders = cast("Tensor", network.orders) if orders is None else orders
        self.network, self.orders = network, known_first(orders, known)
        self.are_kept = torch.equal(self.orders, orders)
        self.n_known = int(known.sum())

    def scores(self, evidence: Evidence) -> Tensor:
        """Return log p_k(x_E, c), (n, K, C), float64; -inf where the label is known and not c."""
        k = torch.full_like(evidence.y, self.n_known)
        found = [
            self.network.in_order(order).prefix_class_scores(evidence.x[:, order], k)
            for order in self.orders
        ]
        return evidence.restrict(torch.stack(found, 1))

    def draw(
        self, x: Tensor, scores: Tensor, n: int, generator: torch.Generator | None
    ) -> tuple[Tensor, Tensor]:
        """Return n whole rows (m, n, D), and labels (m, n), for rows x (m, D) of these scores."""
        weights, n_classes = scores.flatten(1).softmax(-1), scores.shape[-1]
        which = torch.multinomial(weights, n, replacement=True, generator=generator)
        y, found = which % n_classes, x.unsqueeze(1).repeat(1, n, 1)
        for k, order in enumerate(self.orders):
            chosen = which // n_classes == k
            given = found[chosen][:, order[: self.n_known]]
            twin = self.network.in_order(order)
            drawn, _ = twin.sample(len(given), y[chosen], generator, given)
            found[chosen] = drawn[:, order.argsort()]
        return found, y


def _marginal(evidence: Evidence, answers: Iterable[tuple[Tensor, _Moved, Tensor]]) -> Marginal:
    """Return what the scores (m, K, C) of some rows at a time say of all the evidence."""
    log_prob = torch.zeros(len(evidence), dtype=torch.float64, device=evidence.x.device)
    error, is_exact = torch.zeros_like(log_prob), True
    for rows, moved, scores in answers:
        of_orders = scores.logsumexp(-1)
        log_prob[rows] = mixed(of_orders.unbind(1))
        if not moved.are_kept:
            error[rows], is_exact = of_orders.std(1), False
    return Marginal(log_prob, error, torch.ones_like(error), is_exact)


def _ask(network: _Network, evidence: Evidence) -> Iterator[tuple[Tensor, _Moved, Tensor]]:
    """Yield the rows that share a mask, the orders that answer them and what these say."""
    for known, rows in evidence.patterns():
        moved = _Moved(network, known)
        yield rows, moved, moved.scores(evidence[rows])


@torch.no_grad()
def marginal(network: _Network, evidence: Evidence) -> Marginal:
    """Return log p of evidence by a network of random order; see the head of this file."""
    return _marginal(evidence, _ask(network, evidence))


@torch.no_grad()
def draw(network: _Network, evidence: Evidence, n: int, generator: torch.Generator) -> Draws:
    """Return draws by a network of random order, all of the same weight; n is at least 1."""
    if evidence.x.device.type != "cpu":  # where numbers come from a generator of that device only
        seed = int(torch.randint(2**62, (), generator=generator))
        generator = torch.Generator(evidence.x.device).manual_seed(seed)
    answers = list(_ask(network, evidence))
    y = evidence.y.unsqueeze(1).repeat(1, n)
    x = evidence.x.unsqueeze(1).repeat(1, n, 1)
    for rows, moved, scores in answers:
        x[rows], y[rows] = moved.draw(evidence.x[rows], scores, n, generator)
    log_weight = torch.full_like(y, -math.log(n), dtype=torch.float64)
    return Draws(x, y, log_weight, _marginal(evidence, answers))


@torch.no_grad()
def beam(network: _Network, evidence: Evidence, width: int) -> Beam:
    """Return the completions of most p(x, y) among those that beams in the moved orders find."""
    best = evidence.x.new_full((len(evidence),), -math.inf, dtype=torch.float64)
    answer = Beam(evidence.x.clone(), evidence.y.clone(), best)
    for known, rows in evidence.patterns():
        part = evidence[rows]
        for order in _Moved(network, known).orders:
            moved = Evidence(part.x[:, order], part.known[:, order], part.y)
            found = network.in_order(order).beam(moved, width)
            x = found.x[:, order.argsort()]
            log_prob = network(x, found.y).double()
            better = log_prob > best[rows]
            for whole, new in zip(answer, (x, found.y, log_prob), strict=True):
                whole[rows[better]] = new[better]
    return answer


@torch.no_grad()
def by_orders(
    network: _Network, row: Evidence, features: Tensor, values: Tensor
) -> tuple[Tensor, Tensor]:
    """Do what `ugmm.nn.evidence.InOrders` says: the features follow behind the evidence."""
    first = _Moved(network, row.known[0])
    rows = row[torch.zeros(len(values), dtype=torch.long)].with_features(features, values)
    known = row.known[0].index_fill(0, features.to(row.known.device), True)
    log_prob = first.scores(row).logsumexp(-1)
    then = _Moved(network, known, first.orders).scores(rows).logsumexp(-1)
    return log_prob[0], (then - log_prob).t()


@torch.no_grad()
def sample(
    network: _Network,
    n: int,
    y: Tensor | None,
    generator: torch.Generator | None,
    given: Tensor,
) -> tuple[Tensor, Tensor]:
    """Do what `AutoregressiveUGMM.sample` says for a network of random order.

    What is given is (1, k) or (n, k), and n is at least 1.
    """
    k, d = given.shape[1], network.n_features
    if y is None:
        y = torch.full((len(given),), UNKNOWN, device=given.device)
    else:
        refuse_strangers(y, network.n_classes)
        given = given.expand(n, k)
    x, known = F.pad(given, (0, d - k)), torch.arange(d, device=given.device) < k
    moved = _Moved(network, known)
    scores = moved.scores(Evidence(x, known.expand(x.shape), y))
    x, y = moved.draw(x, scores, n // len(x), generator)
    return x.flatten(0, 1), y.flatten()
