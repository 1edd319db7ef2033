"""Probabilistic circuits of the package spflow."""

import math
from typing import Any

import torch
from torch import Tensor

from ugmm.nn import Density
from ugmm.nn.checks import check_draws, check_positive, check_tensors
from ugmm.nn.evidence import Draws, Evidence, Marginal

__all__ = ["Circuit"]

_NEVER = -1e30  # the score of what was not drawn: -inf has no derivative where all are
_NUMBERS = 2**22  # scores of regions that are computed together


class Circuit(Density):
    r"""A random circuit with Gaussian leaves and one root for each class.

    Sums, products and the random division of the features into regions are spflow's. The leaves
    are evaluated here, by products of matrices, since spflow would store a number for every row,
    feature, channel and repetition. With the leaves' :math:`\mu, \sigma` and a region R,

    .. math::
        \sum_{d \in R} \log \mathcal{N}(x_d; \mu_d, \sigma_d^2)
        = \sum_{d \in R} \Big[ -\frac{x_d^2}{2 \sigma_d^2} + \frac{x_d \mu_d}{\sigma_d^2}
            - \frac{\mu_d^2}{2 \sigma_d^2} - \log \sigma_d - \frac{1}{2} \log 2 \pi \Big]

    Unknown features are integrated out exactly, by leaving out their terms.

    Reference:
        R. Peharz et al., *Random sum-product networks* (RAT-SPN), arXiv:1806.01910;
        R. Peharz et al., *Einsum networks*, arXiv:2004.06231.

    Arguments:
        n_features: D.
        n_classes: Number of classes, hence of roots.
        kind: ``"rat"`` or ``"einet"``.
        channels: Number of leaves for a feature and of sums for a region, in each repetition.
        repetitions: Number of random divisions of the features.
        depth: How often the features are halved: there are 2^depth regions at the leaves.
        scale: Initial scale of every leaf. With spflow's own, uniform in [0, 1], training fails.
        min_scale: Floor under every leaf's scale.

    Shapes:
        features (..., D); labels (...); results (...).

    Raises:
        ModuleNotFoundError: If spflow is not installed.
        ValueError: If a size is not positive, there are fewer features than regions, or no such
            kind.
    """

    def __init__(
        self,
        n_features: int,
        n_classes: int,
        kind: str = "rat",
        channels: int = 10,
        repetitions: int = 5,
        depth: int = 3,
        scale: float = 0.5,
        min_scale: float = 0.05,
    ) -> None:
        super().__init__()
        check_positive(
            n_features=n_features,
            n_classes=n_classes,
            channels=channels,
            repetitions=repetitions,
            depth=depth,
        )
        if n_features < 2**depth:
            raise ValueError(f"depth={depth} needs {2**depth} features, there are {n_features}")
        from spflow.modules.leaves import Normal
        from spflow.modules.rat.factorize import Factorize

        self.n_features, self.n_classes, self.kind = n_features, n_classes, kind
        self.channels, self.repetitions, self.depth = channels, repetitions, depth
        self.min_scale = min_scale
        shape = (n_features, channels, repetitions)
        leaves = Normal(
            scope=list(range(n_features)),
            out_channels=channels,
            num_repetitions=repetitions,
            loc=torch.rand(shape),
            scale=torch.full(shape, max(scale - min_scale, scale / 10)),
            validate_args=False,
        )
        circuit = _circuit(kind, leaves, n_classes, channels, repetitions, depth)
        self.root = circuit.root_node
        self.leaves = leaves
        regions: Any = next(m for m in circuit.modules() if isinstance(m, Factorize))
        self.register_buffer("members", regions.indices.clone())  # (D, regions, repetitions)
        # The circuit above the regions is given their scores in the place of the features.
        regions.log_likelihood = _as_given

    members: Tensor

    def class_scores(self, x: Tensor) -> Tensor:
        """Return log p(x, c) for every class: (..., D), NaN where unknown, to (..., C)."""
        check_tensors(x=x)
        scores = self._above(self._region_scores(x.reshape(-1, x.shape[-1])))
        return scores.reshape(*x.shape[:-1], self.n_classes)

    def expect_missing(self) -> None:
        """See `Classifier.expect_missing`: it always does so, and integrates them out."""
        self.missing = True

    def marginal_class_scores(self, x: Tensor, observed: Tensor) -> Tensor:
        """Return log p(x_O, c) where only the features O are known: (..., D) to (..., C).

        Args:
            x: (..., D).
            observed: True where a feature is known, (..., D).
        """
        return self.class_scores(x.masked_fill(~observed, math.nan))

    @torch.no_grad()
    def init_from(self, x: Tensor, y: Tensor | None = None) -> None:  # noqa: ARG002
        """Spread the leaves' means as the data is spread, feature by feature.

        Args:
            x: (batch, D).
            y: Not used.
        """
        check_tensors(x=x)
        spread, mean = torch.std_mean(x, dim=0, correction=0)
        loc = self.leaves.loc
        loc.normal_().mul_(spread[:, None, None]).add_(mean[:, None, None])

    def marginal(self, evidence: Evidence, n: int, generator: torch.Generator) -> Marginal:  # noqa: ARG002
        """Return log p of each row's evidence, exactly.

        Raises:
            ValueError: If the evidence is not of these features and classes.
        """
        evidence.check(self.n_features, self.n_classes)
        evidence = evidence.to(self.members.device, self.leaves.loc.dtype)
        scores = self.marginal_class_scores(evidence.x, evidence.known)
        log_prob = evidence.restrict(scores.double()).logsumexp(-1)
        return Marginal.exact(log_prob.masked_fill(evidence.is_empty(), 0))

    @torch.no_grad()
    def draw(self, evidence: Evidence, n: int, generator: torch.Generator) -> Draws:
        """Return n exact draws for each row of the evidence.

        Raises:
            ValueError: See `marginal`.
        """
        check_positive(n=n)
        marginal = self.marginal(evidence, n, generator)
        evidence = evidence.to(self.members.device, self.leaves.loc.dtype)
        each = torch.arange(len(evidence), device=self.members.device).repeat_interleave(n)
        at_once = max(1, _NUMBERS // (self.members.shape[1] * self.leaves.loc[0].numel()))
        drawn = [self._complete(evidence[rows], generator) for rows in each.split(at_once)]
        x = torch.cat([x for x, _ in drawn]).reshape(len(evidence), n, -1)
        y = torch.cat([y for _, y in drawn]).reshape(len(evidence), n)
        even = torch.full(y.shape, -math.log(n), dtype=torch.float64, device=y.device)
        return Draws(x, y, even, marginal)

    def sample(self, n: int, *, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """Draw features (n, D) and labels (n,).

        Args:
            n: Number of draws.
            generator: Source of randomness, on the CPU; by default, torch's own.
        """
        check_draws(n)
        if n == 0:
            return self.leaves.loc.new_empty(0, self.n_features), self.members.new_empty(0).long()
        nothing = Evidence.nothing(self.n_features)
        drawn = self.draw(nothing, n, generator or torch.default_generator)
        return drawn.x[0], drawn.y[0]

    def _complete(self, rows: Evidence, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draw the unknown features of rows, (m, D), and the labels, (m,).

        A circuit is a mixture of products, each of one channel for each region of one repetition.
        The derivative of log p by a region's score is the posterior probability of that channel:
        they are drawn one after the other, each given those before.
        """
        known = rows.x.masked_fill(~rows.known, math.nan)
        scores = self._region_scores(known)
        m, regions, channels, repetitions = scores.shape

        def draw(probabilities: Tensor) -> Tensor:
            drawn = torch.multinomial(probabilities.cpu(), 1, generator=generator)
            return drawn.squeeze(1).to(scores.device)

        repetition = draw(self._posterior(scores, rows)[:, 0].sum(1))
        others = torch.arange(repetitions, device=scores.device) != repetition.unsqueeze(1)
        scores = scores.masked_fill(others[:, None, None], _NEVER)
        chosen = repetition.new_empty(m, regions)
        for region in range(regions):
            chosen[:, region] = draw(self._posterior(scores, rows)[:, region].sum(2))
            others = torch.arange(channels, device=scores.device) != chosen[:, region, None]
            scores[:, region] = scores[:, region].masked_fill(others.unsqueeze(2), _NEVER)
        home = self.members.argmax(1)[:, repetition].T  # each feature's region, (m, D)
        at = (torch.arange(self.n_features, device=home.device), chosen.gather(1, home))
        loc, scale = self.leaves.loc, self.min_scale + self.leaves.log_scale.exp()
        normal = torch.randn(home.shape, generator=generator).to(loc)
        free = loc[*at, repetition[:, None]] + scale[*at, repetition[:, None]] * normal
        x = torch.where(rows.known, rows.x, free)
        return x, draw(rows.restrict(self.class_scores(x)).softmax(-1))

    def _posterior(self, scores: Tensor, rows: Evidence) -> Tensor:
        """Return the posterior probability that each region's channel takes part, as `scores`."""
        with torch.enable_grad():
            scores = scores.detach().requires_grad_()
            total = rows.restrict(self._above(scores)).logsumexp(-1).sum()
            return torch.autograd.grad(total, scores)[0]

    def _above(self, scores: Tensor) -> Tensor:
        """Return log p(x, c) from the regions' scores: (m, regions, ...) to (m, C)."""
        if self.n_classes == 1:
            return self.root.log_likelihood(scores).reshape(-1, 1)
        # The root mixes the classes: its inputs are log p(x | c), its weights log p(c).
        within = self.root.inputs.log_likelihood(scores).reshape(-1, self.n_classes)
        return within + self.root.log_weights.reshape(-1)

    def extra_repr(self) -> str:
        """Describe the circuit in `repr`."""
        names = (
            "n_features",
            "n_classes",
            "kind",
            "channels",
            "repetitions",
            "depth",
            "min_scale",
        )
        return ", ".join(f"{name}={getattr(self, name)!r}" for name in names)

    def _region_scores(self, data: Tensor) -> Tensor:
        """Return the log-density of each region's features.

        Args:
            data: (batch, D), NaN where unknown.

        Returns:
            (batch, regions, channels, repetitions).
        """
        scale = self.min_scale + self.leaves.log_scale.exp()
        loc, precision = self.leaves.loc, scale.pow(-2)
        constant = -0.5 * precision * loc**2 - scale.log() - 0.5 * math.log(2 * math.pi)

        def summed(inputs: Tensor, terms: Tensor) -> Tensor:
            """Sum over each region's features: (batch, D) and (D, channels, repetitions)."""
            spread = torch.einsum("icr,ior->iocr", terms, self.members)
            return inputs @ spread.flatten(1)

        known = ~data.isnan()
        x = data.nan_to_num(0.0)
        scores = summed(x, precision * loc) - 0.5 * summed(x * x, precision)
        # If everything is known, the constants are the same for every row: (1, ...).
        counted = known[:1] if known.all() else known
        scores = scores + summed(counted.to(x.dtype), constant)
        return scores.reshape(len(x), self.members.shape[1], *loc.shape[1:])


def _as_given(data: Tensor, cache: Any = None) -> Tensor:  # noqa: ARG001
    return data


def _circuit(
    kind: str, leaves: Any, n_classes: int, channels: int, repetitions: int, depth: int
) -> Any:
    if kind == "rat":
        from spflow.zoo.rat.rat_spn import RatSPN

        return RatSPN(
            [leaves],
            n_root_nodes=n_classes,
            n_region_nodes=channels,
            num_repetitions=repetitions,
            depth=depth,
        )
    if kind == "einet":
        from spflow.zoo.einet.einet import Einet

        return Einet(
            [leaves],
            num_classes=n_classes,
            num_sums=channels,
            num_leaves=channels,
            depth=depth,
            num_repetitions=repetitions,
        )
    raise ValueError(f"kind must be 'rat' or 'einet', got {kind!r}")
