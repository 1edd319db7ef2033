"""A mixture of Bernoulli products: the baseline for densities of features that are 0 or 1."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ugmm.nn import Density
from ugmm.nn.checks import check_binary, check_draws, check_positive, check_tensors
from ugmm.nn.evidence import Draws, Evidence, Marginal
from ugmm.nn.labels import count_labels, draw_labels, rows_of

__all__ = ["BernoulliMixture"]


class BernoulliMixture(Density):
    r"""For each class, K products of Bernoulli distributions over D features.

    .. math::
        p(x, y) = p(y) \sum_{k=1}^{K} \pi_{yk}
            \prod_d \theta_{ykd}^{x_d} (1 - \theta_{ykd})^{1 - x_d}

    Arguments:
        n_features: D.
        n_classes: Number of classes; 1 where there is no label.
        components: K.

    Shapes:
        features (..., D), 0 or 1; labels (...); results (...).

    Raises:
        ValueError: If a size is not positive.
    """

    levels = 2

    def __init__(self, n_features: int, n_classes: int = 1, components: int = 100) -> None:
        super().__init__()
        check_positive(n_features=n_features, n_classes=n_classes, components=components)
        self.n_features, self.n_classes = n_features, n_classes
        self.class_logits = nn.Parameter(torch.zeros(n_classes))
        self.weight_logits = nn.Parameter(torch.zeros(n_classes, components))
        self.logits = nn.Parameter(torch.randn(n_classes, components, n_features))

    def class_scores(self, x: Tensor) -> Tensor:
        """Return log p(x, c) for every class: (..., D) to (..., C).

        Raises:
            ValueError: If a feature is neither 0 nor 1 (nor NaN).
        """
        check_tensors(x=x)
        check_binary(x)
        # x log theta + (1 - x) log(1 - theta) = x logit - softplus(logit)
        constant = self.weight_logits.log_softmax(-1) - F.softplus(self.logits).sum(-1)
        within = (torch.einsum("...d,ckd->...ck", x, self.logits) + constant).logsumexp(-1)
        return within + self.class_logits.log_softmax(0)

    def marginal_class_scores(self, x: Tensor, observed: Tensor) -> Tensor:
        """Return log p(x_O, c) where only the features O are known: (..., D) to (..., C), float64.

        Args:
            x: (..., D).
            observed: True where a feature is known, (..., D).

        Raises:
            ValueError: If a known feature is neither 0 nor 1.
        """
        return self._joint(x, observed).logsumexp(-1)

    def marginal(self, evidence: Evidence, n: int, generator: torch.Generator) -> Marginal:  # noqa: ARG002
        """Return log p of each row's evidence, exactly.

        Raises:
            ValueError: If the evidence is not of these features and classes, or a feature is
                neither 0 nor 1.
        """
        evidence.check(self.n_features, self.n_classes)
        evidence = evidence.to(self.logits.device)
        scores = evidence.restrict(self.marginal_class_scores(evidence.x, evidence.known))
        return Marginal.exact(scores.logsumexp(-1).masked_fill(evidence.is_empty(), 0))

    @torch.no_grad()
    def draw(self, evidence: Evidence, n: int, generator: torch.Generator) -> Draws:
        """Return n exact draws for each row of the evidence.

        Raises:
            ValueError: See `marginal`.
        """
        check_positive(n=n)
        marginal = self.marginal(evidence, n, generator)
        evidence = evidence.to(self.logits.device)
        joint = evidence.restrict(self._joint(evidence.x, evidence.known).mT).mT.flatten(1)
        chosen = torch.multinomial(
            joint.softmax(1).cpu(), n, replacement=True, generator=generator
        )
        k = self.weight_logits.shape[1]
        theta = self.logits.flatten(0, 1).sigmoid()
        x = evidence.x.unsqueeze(1).repeat(1, n, 1)
        for row, components in enumerate(chosen.to(x.device)):  # D numbers for each draw of one
            free = ~evidence.known[row]
            chance = torch.rand(n, int(free.sum()), generator=generator).to(x.device)
            x[row][:, free] = (chance < theta[components][:, free]).to(x.dtype)
        even = torch.full(chosen.shape, -math.log(n), dtype=torch.float64, device=x.device)
        return Draws(x, (chosen // k).to(x.device), even, marginal)

    def _joint(self, x: Tensor, observed: Tensor) -> Tensor:
        """Return log p(x_O, c, k) of each class's components: (..., D) to (..., C, K)."""
        check_tensors(x=x)
        known, logits = observed.double(), self.logits.double()
        values = x.double().masked_fill(~observed, 0)
        check_binary(values)
        of_features = torch.einsum("...d,ckd->...ck", values, logits)
        of_features = of_features - torch.einsum("...d,ckd->...ck", known, F.softplus(logits))
        weights = self.weight_logits.double().log_softmax(-1)
        return of_features + weights + self.class_logits.double().log_softmax(0).unsqueeze(1)

    @torch.no_grad()
    def init_from(self, x: Tensor, y: Tensor | None = None) -> None:
        """Start each component half-way between a row of its class and the mean of all rows.

        Args:
            x: (batch, D).
            y: (batch,); None takes any row for any class and leaves p(y) as it is.
        """
        check_tensors(x=x)
        check_binary(x)
        mean = x.mean(0)
        for c, logits in enumerate(self.logits):
            rows = x if y is None or not (y == c).any() else x[y == c]
            chosen = rows[torch.randint(len(rows), (len(logits),), device=x.device)]
            logits.copy_((0.5 * (chosen + mean)).clamp(0.01, 0.99).logit())
        if y is not None:
            counts = count_labels(y, len(self.class_logits))
            self.class_logits.copy_((counts + 0.5).log())

    @torch.no_grad()
    def sample(
        self, n: int, y: Tensor | None = None, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """Draw features (n, D) and labels (n,).

        Args:
            n: Number of draws.
            y: The labels to draw features for, (n,); by default, they are drawn too.
            generator: Source of randomness, on the model's device; by default, torch's own.

        Raises:
            IndexError: If a label is out of range.
            ValueError: If n is negative.
        """
        check_draws(n)
        if y is None:
            y = draw_labels(self.class_logits, n, generator)
        weights = rows_of(self.weight_logits.softmax(-1), y)
        k = torch.multinomial(weights, 1, generator=generator).squeeze(-1)
        return torch.bernoulli(self.logits[y, k].sigmoid(), generator=generator), y

    def extra_repr(self) -> str:
        """Describe the mixture in `repr`."""
        n_classes, components, n_features = self.logits.shape
        return f"n_features={n_features}, n_classes={n_classes}, components={components}"
