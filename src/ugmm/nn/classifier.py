"""What every classifier can tell: the classes' scores, their posterior, the best class."""

from typing import Literal, Protocol, runtime_checkable

import torch
from torch import Tensor

from ugmm.nn.base import Network
from ugmm.nn.checks import check_candidates, check_positive, check_tensors
from ugmm.nn.labels import pick_scores, rows_of

__all__ = ["CanSample", "Classifier", "Density", "JointScore", "Label"]

Label = Literal["onehot", "real", "none"]
_CANDIDATES = 4096  # whole rows at once: more leave the processor's cache


class Classifier(Network):
    """A network that scores the classes of an input; by default, its outputs are the scores.

    Attributes:
        normalized: Whether the class scores are log p(x, c), normalised over x and c.
    """

    normalized = False

    def class_scores(self, x: Tensor) -> Tensor:
        """Return one log-score per class: (..., features) to (..., classes)."""
        check_tensors(x=x)
        return self(x)

    def score_pairs(self, x: Tensor, codes: Tensor) -> Tensor:
        """Return the outputs for every input joined with every code.

        Args:
            x: The leading inputs, (..., F).
            codes: The remaining inputs, (C, L), one code in each row.

        Returns:
            (..., C, outputs).
        """
        check_tensors(x=x, codes=codes)
        codes = codes.to(x.dtype).expand(*x.shape[:-1], *codes.shape)
        x = x.unsqueeze(-2).expand(*codes.shape[:-1], -1)
        return self(torch.cat([x, codes], -1))

    def coordinate_scores(
        self, x: Tensor, values: Tensor, coordinates: Tensor | None = None
    ) -> Tensor:
        """Return the class scores where one feature has other values, each in turn.

        Args:
            x: (..., features).
            values: Candidates of a feature, (G,), (C, G) for each feature its own, or (..., C, G)
                for each row, too.
            coordinates: Which features are replaced, int64, (C,); by default all, in turn.

        Returns:
            (..., C, G, classes).

        Raises:
            TypeError: If a tensor's type is wrong; see `functional.coordinate_log_scores`.
            ValueError: If the shapes do not fit, or a feature has no such number.
        """
        coordinates, values = check_candidates(x, values, coordinates)
        rows, n_wanted, n_values = x.reshape(-1, x.shape[-1]), len(coordinates), values.shape[-1]
        pairs = torch.arange(len(rows) * n_wanted, device=x.device)
        scores = []
        for some in pairs.split(max(1, _CANDIDATES // max(1, n_values))):
            row, own = some // max(1, n_wanted), some % max(1, n_wanted)
            whole = rows[row].unsqueeze(1).repeat(1, n_values, 1)
            at = torch.arange(len(some), device=x.device)
            whole[at, :, coordinates[own]] = values[row if len(values) != 1 else 0, own]
            scores.append(self.class_scores(whole.flatten(0, 1)))
        whole = torch.cat(scores)
        return whole.reshape(*x.shape[:-1], n_wanted, n_values, whole.shape[-1])

    def coordinates_pay(self, n_candidates: int, n_codes: int = 1) -> bool:  # noqa: ARG002
        """Return whether `coordinate_scores` is cheaper than scores of whole rows."""
        return False

    def set_prior(self, shares: Tensor) -> None:
        """Say what the classes' shares are, (classes,): what a row says of which nothing is known.

        A density knows by itself.
        """

    @torch.no_grad()
    def posterior(self, x: Tensor) -> Tensor:
        r"""Return :math:`p(y \mid x)`, the softmax of the class scores, (..., classes).

        It keeps no graph: what is to be differentiated begins at :meth:`class_scores`.
        """
        return self.class_scores(x).softmax(-1)

    @torch.no_grad()
    def predict(self, x: Tensor) -> Tensor:
        """Return the class with the highest score, (...), as int64."""
        return self.class_scores(x).argmax(-1)


class Density(Classifier):
    """A network whose class scores are log p(x, c), in nats: normalised over x and c."""

    normalized = True

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Return log p(x, y), in nats: (..., D) and (...) to (...)."""
        return pick_scores(self.class_scores(x), y)

    def log_prob(self, x: Tensor) -> Tensor:
        """Return log p(x), the label summed out: (..., D) to (...)."""
        return self.class_scores(x).logsumexp(-1)


@runtime_checkable
class CanSample(Protocol):
    """A density that can be drawn from."""

    def sample(self, n: int, *, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
        """Draw features (n, D), in model units, and labels (n,)."""


class JointScore(Classifier):
    r"""The paper's generative model: one neuron scores the features and the label together.

    The class posterior comes from evaluating every label:
    :math:`p(y \mid x) = \exp f(x, y) / \sum_c \exp f(x, c)`.

    Reference:
        Ali, Z. S., arXiv:2509.07569.

    Arguments:
        network: Maps features and encoded label, (..., features + `label_size`), to (..., 1).
        n_classes: Number of classes.
        label: How the label enters: ``"onehot"``; ``"real"``, as one real number (the paper); or
            ``"none"``: there is one class, and the network sees the features only.

    Raises:
        ValueError: If there is no such way for a label to enter, or no class.
    """

    codes: Tensor

    def __init__(self, network: Classifier, n_classes: int, label: Label = "onehot") -> None:
        super().__init__()
        check_positive(n_classes=n_classes)
        self.network = network
        self.missing = network.missing
        self.label = label
        self.register_buffer("codes", _label_codes(n_classes, label), persistent=False)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the log-score of features (..., features) with their labels (...): (...)."""
        return self.network(self._joined(x, y)).squeeze(-1)

    def class_scores(self, x: Tensor) -> Tensor:
        """Return the log-score of `x` with every label: (..., features) to (..., classes)."""
        check_tensors(x=x)
        if self.codes.shape[1] == 0:
            return self.network(x)
        return self.network.score_pairs(x, self.codes).squeeze(-1)

    def coordinate_scores(
        self, x: Tensor, values: Tensor, coordinates: Tensor | None = None
    ) -> Tensor:
        """See `Classifier.coordinate_scores`; every label is joined with x, not the candidates."""
        wanted, spread = check_candidates(x, values, coordinates)
        n_codes = len(self.codes)
        if not self.network.coordinates_pay(spread.shape[1] * spread.shape[2], n_codes):
            return super().coordinate_scores(x, values, coordinates)
        leading = x.shape[:-1]
        x = x.reshape(-1, 1, x.shape[-1]).expand(-1, n_codes, -1)
        joined = torch.cat([x, self.codes.to(x.dtype).expand(len(x), -1, -1)], -1)
        each = spread.unsqueeze(1).expand(len(x), n_codes, -1, -1)
        scores = self.network.coordinate_scores(joined, each, wanted).squeeze(-1)
        return scores.movedim(1, -1).reshape(*leading, *scores.shape[2:], n_codes)

    def init_from(self, x: Tensor, y: Tensor | None = None) -> None:
        """Set the network's initial parameters from a batch of features and labels.

        Args:
            x: (batch, features).
            y: Labels, (batch,).

        Raises:
            ValueError: If there are no labels.
        """
        if y is None:
            raise ValueError("a joint score is initialised from features and labels")
        self.network.init_from(self._joined(x, y))

    def expect_missing(self) -> None:
        """See `Classifier.expect_missing`; the label is known."""
        self.network.expect_missing()
        self.missing = True

    def extra_repr(self) -> str:
        """Describe the score in `repr`."""
        return f"n_classes={len(self.codes)}, label={self.label!r}"

    def _joined(self, x: Tensor, y: Tensor) -> Tensor:
        check_tensors(x=x, y=y)
        return torch.cat([x, rows_of(self.codes, y).to(x.dtype)], -1)


def _label_codes(n_classes: int, label: Label) -> Tensor:
    """Return the inputs that stand for each label, (classes, inputs)."""
    if label == "none":
        return torch.empty(1, 0)
    if label == "onehot":
        return torch.eye(n_classes)
    if label == "real":
        return torch.arange(n_classes, dtype=torch.get_default_dtype()).unsqueeze(1)
    raise ValueError(f"label must be 'onehot', 'real' or 'none', got {label!r}")
