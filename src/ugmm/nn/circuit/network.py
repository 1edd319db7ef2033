"""The circuit of mixture neurons: a density whose marginals, conditionals and draws are exact."""

import copy
import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ugmm.nn.checks import check_draws, check_positive, check_tensors
from ugmm.nn.circuit.leaves import MixtureLeaves, Sampler, choose, uniform
from ugmm.nn.classifier import Density
from ugmm.nn.evidence import UNKNOWN, Draws, Evidence, Marginal
from ugmm.nn.labels import count_labels, pick_scores

__all__ = ["UGMMCircuit"]

_NUMBERS = 2**22  # held at once by a query: about so many for each level


class _Levels(NamedTuple):
    """What a circuit computes on its way up.

    Attributes:
        below: Log-densities below each level of sums, (batch, R, regions, K), leaves first.
        top: Those below the roots, (batch, R K).
        scores: log p(x_O, c), (batch, C).
    """

    below: list[Tensor]
    top: Tensor
    scores: Tensor


class UGMMCircuit(Density):
    r"""A probabilistic circuit whose leaves are mixture neurons of one variable.

    Each of R repetitions puts the features into an order of its own and halves it again and again
    until every region is one feature. Bottom up, with K channels everywhere,

    - a *leaf* is a density of one feature: a mixture neuron all of whose J components look at
      it, or a network of mixture neurons of it (see `MixtureLeaves`);
    - a *product* joins two regions that share no feature, channel by channel;
    - a *sum* mixes the channels of a region with weights :math:`\operatorname{softmax}(a)`. It is
      a mixture neuron without the Gaussian of its inputs, and that is why the whole is
      normalised, whichever features are summed out;
    - a *root* for each class mixes all channels of all repetitions, and
      :math:`p(x, c) = p(c)\, p(x \mid c)`.

    A feature that is not known contributes 1, exactly. So one pass answers any marginal, the ratio
    of two is a conditional, and draws given evidence descend from a root, choosing at each sum a
    channel in proportion to its weight and to what is known below it.

    Reference:
        H. Poon and P. Domingos, *Sum-product networks*, UAI 2011; Y. Choi, A. Vergari and G. Van
        den Broeck, *Probabilistic circuits*, 2020; R. Peharz et al., *Random sum-product
        networks*, arXiv:1806.01910, whose random regions these are.

    Arguments:
        n_features: D.
        n_classes: C, hence of roots; 1 where there is no label.
        channels: K.
        components: J, of a mixture of one variable.
        repetitions: R.
        leaf_hidden: Widths of the layers between a feature and its leaves.
        min_scale: Floor under every scale.
        structure_seed: Decides the orders of the features.
        missing: Whether NaN says that a feature is not known.

    Shapes:
        features (..., D); labels (...); results (...).

    Raises:
        ValueError: If a size is not positive.
    """

    order: Tensor

    def __init__(
        self,
        n_features: int,
        n_classes: int = 1,
        channels: int = 8,
        components: int = 4,
        repetitions: int = 6,
        leaf_hidden: Sequence[int] = (),
        min_scale: float = 0.05,
        structure_seed: int = 0,
        missing: bool = False,
    ) -> None:
        super().__init__()
        check_positive(
            n_features=n_features,
            n_classes=n_classes,
            channels=channels,
            components=components,
            repetitions=repetitions,
            leaf_hidden=min(leaf_hidden, default=1),
        )
        if not min_scale > 0:
            raise ValueError(f"min_scale must be positive, got {min_scale}")
        self.n_features, self.n_classes = n_features, n_classes
        self.channels, self.structure_seed = channels, structure_seed
        generator = torch.Generator().manual_seed(structure_seed)
        orders = [torch.randperm(n_features, generator=generator) for _ in range(repetitions)]
        self.register_buffer("order", torch.stack(orders))  # (R, D)
        self.leaves = MixtureLeaves(
            repetitions, n_features, channels, components, leaf_hidden, min_scale
        )
        self.sums = nn.ParameterList()  # the logits of each level, (R, regions, K, K)
        regions = _halved(n_features)
        while regions > 1:
            shape = (repetitions, regions, channels, channels)
            self.sums.append(nn.Parameter(0.5 * torch.randn(shape)))
            regions = _halved(regions)
        self.roots = nn.Parameter(0.1 * torch.randn(n_classes, repetitions * channels))
        self.class_logits = nn.Parameter(torch.zeros(n_classes))
        if missing:
            self.expect_missing()

    def class_scores(self, x: Tensor) -> Tensor:
        """Return log p(x, c) for every class: (..., D) to (..., C)."""
        check_tensors(x=x)
        if self.missing:
            return self.marginal_class_scores(x, ~x.isnan())
        scores = self._ascend(x.reshape(-1, self.n_features)).scores
        return scores.reshape(*x.shape[:-1], self.n_classes)

    def expect_missing(self) -> None:
        """See `Classifier.expect_missing`: what is missing is integrated out, exactly."""
        self.missing = self.init_args["missing"] = True

    def marginal_class_scores(self, x: Tensor, observed: Tensor) -> Tensor:
        """Return log p(x_O, c) where only the features O are known: (..., D) to (..., C).

        Args:
            x: (..., D); the values of unknown features are ignored.
            observed: True where a feature is known, (..., D).
        """
        check_tensors(x=x, observed=observed)
        rows = (t.reshape(-1, self.n_features) for t in (x.masked_fill(~observed, 0), observed))
        return self._ascend(*rows).scores.reshape(*x.shape[:-1], self.n_classes)

    def _ascend(self, x: Tensor, known: Tensor | None = None) -> _Levels:
        """Evaluate everything, bottom up, for rows (batch, D)."""
        leaves = self.leaves(x[:, self.order])
        if known is not None:
            leaves = leaves.masked_fill(~known[:, self.order].unsqueeze(-1), 0)
        h, below = _multiply(leaves), []
        for logits in self.sums:
            below.append(h)
            h = _multiply(_mix(h, logits))
        top = h.flatten(1)
        scores = _mix(top, self.roots) + self.class_logits.log_softmax(0)
        return _Levels(below, top, scores)

    @torch.no_grad()
    def marginal(
        self,
        evidence: Evidence,
        n: int = 0,  # noqa: ARG002  nothing is drawn
        generator: torch.Generator | None = None,  # noqa: ARG002
    ) -> Marginal:
        """Return log p of each row's evidence, exactly; see `Queryable`.

        Raises:
            IndexError: If a label is out of range.
        """
        wide = self._wide()
        found = [_log_prob(part, levels) for part, levels in wide._levels(evidence)]
        return Marginal.exact(torch.cat(found))

    @torch.no_grad()
    def draw(self, evidence: Evidence, n: int, generator: torch.Generator | None) -> Draws:
        """Return n draws of whole rows for each row of the evidence; see `Queryable`.

        They are exact and independent: their weights are equal.

        Raises:
            IndexError: If a label is out of range.
            ValueError: If n is negative.
        """
        check_draws(n)
        wide = self._wide()
        sampler = wide.leaves.sampler()
        found: list[tuple[Tensor, ...]] = []
        for part, levels in wide._levels(evidence):
            rows = torch.arange(len(part), device=part.x.device).repeat_interleave(n)
            log_prob = _log_prob(part, levels)
            at_once = max(1, _NUMBERS // (self.n_features * self.channels))
            drawn = [
                wide._descend(some, part, levels, sampler, generator)
                for some in rows.split(at_once)
            ]
            x, y = (torch.cat(each) for each in zip(*drawn, strict=True))
            found.append((x.view(len(part), n, self.n_features), y.view(len(part), n), log_prob))
        x, y, log_prob = (torch.cat(each) for each in zip(*found, strict=True))
        log_weight = torch.full_like(y, -math.log(max(n, 1)), dtype=torch.float64)
        return Draws(x.to(self.roots.dtype), y, log_weight, Marginal.exact(log_prob))

    @torch.no_grad()
    def sample(
        self, n: int, y: Tensor | None = None, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """Draw features (n, D) and labels (n,), exactly.

        Args:
            n: Number of draws.
            y: The labels to draw features for, (n,); by default, they are drawn too.
            generator: Source of randomness, on the CPU; by default, torch's own.

        Raises:
            IndexError: If a label is out of range.
            ValueError: If n is negative.
        """
        check_draws(n)
        one = Evidence.nothing(self.n_features, 1 if y is None else n).to(self.roots.device)
        evidence, each = (one, n) if y is None else (Evidence(one.x, one.known, y), 1)
        drawn = self.draw(evidence, each, generator)
        return drawn.x.flatten(0, 1), drawn.y.flatten()

    def _wide(self) -> "UGMMCircuit":
        """Return the same circuit in float64, for evaluation."""
        return copy.deepcopy(self).double().eval()

    def _levels(self, evidence: Evidence) -> Iterator[tuple[Evidence, _Levels]]:
        """Yield parts of the evidence, on the circuit's device, with all that is known of them."""
        largest = max(parameter.numel() for parameter in self.leaves.parameters())
        at_once = max(1, _NUMBERS // largest)
        for part in evidence.split(at_once) if len(evidence) else [evidence]:
            moved = part.to(self.roots.device, self.roots.dtype)
            yield moved, self._ascend(moved.x, moved.known)

    def _descend(
        self,
        rows: Tensor,
        evidence: Evidence,
        levels: _Levels,
        sampler: Sampler,
        generator: torch.Generator | None,
    ) -> tuple[Tensor, Tensor]:
        """Draw a whole row, (S, D) and (S,), for each number (S,) of a row of the evidence."""
        y = evidence.y[rows]
        y = torch.where(y == UNKNOWN, choose(levels.scores[rows], uniform(y, generator)), y)
        weights = levels.top[rows] + self.roots[y]
        chosen = choose(weights, uniform(y, generator))
        r, k = chosen // self.channels, (chosen % self.channels).unsqueeze(-1)
        for logits, h in reversed(list(zip(self.sums, levels.below, strict=True))):
            regions = h.shape[2]
            k = _parted(k, regions)
            weights = logits[r.unsqueeze(-1), torch.arange(regions, device=k.device), k]
            k = choose(weights + h[rows, r], uniform(k, generator))
        drawn = sampler(r, _parted(k, self.n_features), generator)
        known, x = evidence.known[rows], evidence.x[rows]
        return x.where(known, torch.empty_like(x).scatter_(1, self.order[r], drawn)), y

    @torch.no_grad()
    def init_from(self, x: Tensor, y: Tensor | None = None) -> None:
        """Spread the leaves as the data is spread, feature by feature; set p(c).

        Args:
            x: (batch, D).
            y: (batch,); None leaves p(c) as it is.

        Raises:
            IndexError: If a label is out of range.
        """
        check_tensors(x=x)
        self.leaves.init_from(x[:, self.order])
        if y is not None:
            counts = count_labels(y, self.n_classes)
            self.class_logits.copy_((counts + 0.5).log())

    def extra_repr(self) -> str:
        """Describe the circuit in `repr`."""
        return (
            f"n_features={self.n_features}, n_classes={self.n_classes}, "
            f"channels={self.channels}, repetitions={len(self.order)}, "
            f"structure_seed={self.structure_seed}"
        )


def _halved(regions: int) -> int:
    return (regions + 1) // 2


def _parted(k: Tensor, regions: int) -> Tensor:
    """Return the channels of the regions that products joined, (S, regions)."""
    return k.repeat_interleave(2, -1)[:, :regions]


def _multiply(h: Tensor) -> Tensor:
    """Join regions two by two, (batch, R, regions, K); a last one without a partner stays."""
    if h.shape[2] == 1:
        return h
    if h.shape[2] % 2:
        h = nn.functional.pad(h, (0, 0, 0, 1))
    return h[:, :, 0::2] + h[:, :, 1::2]


def _mix(h: Tensor, logits: Tensor) -> Tensor:
    r"""Return :math:`\log \sum_k \operatorname{softmax}(a)_{jk} \exp h_k`: (..., K) to (..., J).

    The sum is a product of matrices, of numbers with the largest `h` of a row taken out. So the
    largest has a term of exactly its weight, and no weight is 0: nothing is lost, however small
    all densities are.

    Args:
        h: (batch, ..., K).
        logits: (..., J, K), without a batch.
    """
    weights = logits.softmax(-1)
    weights = weights.clamp(min=torch.finfo(weights.dtype).tiny)
    least = torch.finfo(h.dtype).min  # rather than -inf, from which -inf cannot be taken
    top = h.detach().amax(-1, keepdim=True).clamp(min=least)
    mixed = torch.einsum("b...k,...jk->b...j", (h - top).exp(), weights)
    return top + mixed.log()


def _log_prob(evidence: Evidence, levels: _Levels) -> Tensor:
    """Return log p of each row of the evidence, its label too where it is known."""
    own = pick_scores(levels.scores, evidence.y.clamp(min=0))
    return own.where(evidence.y != UNKNOWN, levels.scores.logsumexp(-1))
