"""Probabilistic circuits of the package spflow."""

import math
from typing import Any

import torch
from torch import Tensor

from ugmm.nn import Density
from ugmm.nn.checks import check_positive, check_tensors

__all__ = ["Circuit"]


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
        # The products ask the regions for this; it takes the place of spflow's own evaluation.
        regions.log_likelihood = self._region_scores

    members: Tensor

    def class_scores(self, x: Tensor) -> Tensor:
        """Return log p(x, c) for every class: (..., D), NaN where unknown, to (..., C)."""
        check_tensors(x=x)
        rows = x.reshape(-1, x.shape[-1])
        if self.n_classes == 1:
            scores = self.root.log_likelihood(rows).reshape(-1, 1)
        else:  # the root mixes the classes: its inputs are log p(x | c), its weights log p(c)
            within = self.root.inputs.log_likelihood(rows).reshape(-1, self.n_classes)
            scores = within + self.root.log_weights.reshape(-1)
        return scores.reshape(*x.shape[:-1], self.n_classes)

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

    def _region_scores(self, data: Tensor, cache: Any = None) -> Tensor:  # noqa: ARG002
        """Return the log-density of each region's features.

        Args:
            data: (batch, D), NaN where unknown.
            cache: What spflow hands down; not used.

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
