"""A trained network that takes rows as the user has them, and answers in the user's own units."""

from collections.abc import Callable
from dataclasses import replace
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ugmm.answers import class_columns, density_column, number_columns
from ugmm.config.schema import Config
from ugmm.density import TiltedGaussian
from ugmm.errors import UserError
from ugmm.given import Given
from ugmm.nn import Classifier, Evidence, Network, Predictive, Regressor
from ugmm.nn.classifier import CanSample
from ugmm.spec import Spec

__all__ = ["NotOfNumbersError", "Sample", "TrainedNetwork", "TrainedRegressor", "check_level"]

_CELLS, _LEAST, _MOST = 2**19, 1000, 2**14  # features and rows that the network sees at once


class Sample(NamedTuple):
    """What a network drew.

    Attributes:
        rows: Raw rows, (n, columns); see `ugmm.spec.Spec.decode`.
        labels: The names of their classes, (n,); None if the network knows no label.
    """

    rows: np.ndarray
    labels: np.ndarray | None


class _Trained:
    """What is shared by trained networks of classes and of numbers; see `TrainedNetwork`."""

    network: Network

    def __init__(
        self, network: Network, spec: Spec, config: Config, kept: Tensor | None = None
    ) -> None:
        self.network = network
        self.spec = spec
        self.config = config
        self.kept = kept

    def _encode(self, rows: Any) -> Tensor:
        return torch.from_numpy(self.spec.encode(rows))

    @torch.no_grad()
    def _outputs(self, of: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        """Return what a function of the network gives for features in model units (n, N)."""
        parameter = next(self.network.parameters(), None)
        device = next(chain(self.network.parameters(), self.network.buffers())).device
        dtype = x.dtype if parameter is None else parameter.dtype
        # Rows of a table take half the time in parts of 16,000; images would fill the memory.
        rows = min(max(_CELLS // max(x.shape[-1], 1), _LEAST), _MOST)
        with self.network.prepared():
            parts = [of(part.to(device, dtype)) for part in x.split(rows)]
        return torch.cat(parts)


class TrainedNetwork(_Trained):
    """A network that takes rows as the user has them; `ugmm.load` returns it.

    Rows may be a tensor, an array, lists, a data frame or a mapping from names to columns, in the
    user's own units; see `ugmm.spec.Spec.encode`. One row alone is a batch of one.

    Arguments:
        network: The bare module, in evaluation mode and in model units.
        spec: What a row is.
        config: The run's configuration.
        kept: Some training rows in model units, (k, N), which the run kept.
    """

    network: Classifier
    _is_normalized = False

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes, in the order of `posterior`."""
        return self.spec.class_names

    def predict(self, rows: Any) -> np.ndarray:
        """Return the name of each row's most probable class: (n,), of texts.

        Raises:
            UserError: If the rows are not what the network was trained on, or it knows no classes.
        """
        return self._name(self._label_scores(self._encode(rows)).argmax(-1))

    def posterior(self, rows: Any) -> Tensor:
        """Return p(class | row), in the order of `class_names`: (n, classes).

        Raises:
            UserError: See `predict`.
        """
        return self._label_scores(self._encode(rows)).softmax(-1)

    def answer(self, rows: Any) -> dict[str, np.ndarray]:
        """Return all that it says about rows, as columns: see `ugmm.answers`.

        They are `prediction` and p(class | row) for each class, where there are classes, and
        `log_density`, as `log_prob` has it, where the network is a density: (n,) each.

        Raises:
            UserError: If the rows are not what the network was trained on, or it says neither.
        """
        return self.answer_features(self._encode(rows))

    def answer_features(self, x: Tensor) -> dict[str, np.ndarray]:
        """Return the same about rows that are in model units already, (n, N)."""
        ranking = self._ranking(x)
        columns = class_columns(self.class_names, ranking.cpu().numpy())
        if self.network.normalized:
            self.normalize()
            is_joint = not isinstance(self.network, TiltedGaussian)
            joint = ranking if is_joint else self._scores(self.network, x)
            columns |= density_column(self.spec, joint.cpu().numpy(), x.numpy())
        if not columns:
            raise UserError(
                "this network tells no classes apart and is no density: it has no answers; train "
                "one with task.label=onehot"
            )
        return columns

    def class_scores(self, rows: Any) -> Tensor:
        """Return the network's log-score of every class, in model units: (n, classes).

        Differences between classes mean something for any network; the scores themselves are
        log-likelihoods only if the network is a density.

        Raises:
            UserError: If the rows are not what the network was trained on.
        """
        x = self._encode(rows)
        self.normalize()
        return self._scores(self.network, x)

    def log_prob(self, rows: Any) -> Tensor:
        """Return log p(row) in nats, in the units of the raw rows, the label summed out: (n,).

        Features made of a categorical column count as numbers. Of a row with values missing it is
        the log-density of those that are known.

        Raises:
            UserError: If the network is no density, or the rows are not what it was trained on.
        """
        if not self.network.normalized:
            raise UserError(
                "this network is no density: its scores are no log-likelihoods; train one by "
                "task=generative, or compare classes by class_scores"
            )
        x = self._encode(rows)
        self.normalize()
        log_prob = self._scores(self.network, x).logsumexp(-1)
        if not self.network.missing:
            return log_prob + self.spec.log_jacobian
        units = self.spec.log_jacobians((~x.isnan()).numpy())
        return log_prob + torch.from_numpy(units).to(log_prob)

    def given(self, rows: Any) -> Given:
        """Return rows of which not everything is known, ready to be asked about.

        ``network.given({"petal length": [1.4, None]}).posterior()`` and the like: see
        `ugmm.given.Given`.

        Args:
            rows: As `predict` takes them. What is missing (None, NaN, an empty text) is not known,
                and neither is a column that a data frame or a mapping has not got. They may also
                hold the label's column.

        Raises:
            UserError: If what is known is not what the network was trained on.
        """
        evidence = Evidence(torch.from_numpy(self.spec.encode_given(rows)))
        labels = self.spec.given_labels(rows)
        if labels is not None and self.spec.n_classes > 1:
            evidence = replace(evidence, y=torch.from_numpy(labels))
        return self.ask(evidence)

    def given_nothing(self) -> Given:
        """Return one row of which nothing is known."""
        return self.ask(Evidence.nothing(self.spec.n_features))

    def ask(self, evidence: Evidence) -> Given:
        """Return evidence in model units, ready to be asked about."""
        return Given(self.network, self.spec, evidence, self.kept, self.normalize)

    def sample(self, n: int, generator: torch.Generator | None = None) -> Sample:
        """Draw rows, in raw units.

        Args:
            n: How many.
            generator: Of random numbers; by default, torch's.

        Raises:
            UserError: If the network cannot be drawn from.
        """
        if not isinstance(self.network, CanSample):
            raise UserError("this network cannot be drawn from; train one by task=generative")
        if n < 0:
            raise UserError(f"{n} rows cannot be drawn; ask for 0 or more")
        x, y = self.network.sample(n, generator=generator)
        labelled = self._scores(self.network, x[:1]).shape[-1] > 1
        return Sample(self.spec.decode(x), self._name(y) if labelled else None)

    def _name(self, labels: Tensor) -> np.ndarray:
        return np.array(self.class_names)[labels.cpu().numpy()]

    def _label_scores(self, x: Tensor) -> Tensor:
        """Return scores that rank the classes of rows in model units: (n, classes)."""
        scores = self._ranking(x)
        if scores.shape[-1] < 2:
            raise UserError(
                "this network knows no classes; train one with task.label=onehot, and on a table "
                "of your own with data.label=..."
            )
        return scores

    def _ranking(self, x: Tensor) -> Tensor:
        """Return the same; (n, 1) if the network knows no classes."""
        whole = not self.network.missing
        if isinstance(self.network, TiltedGaussian) and whole:  # Z is the same for all classes
            return self._scores(self.network.score, x)
        self.normalize()
        return self._scores(self.network, x)

    def _scores(self, network: Classifier, x: Tensor) -> Tensor:
        """Return the class scores of features in model units (n, N): (n, classes)."""
        return self._outputs(network.class_scores, x)

    def normalize(self) -> None:
        """Estimate the partition functions, once, by as many draws as at the run's test.

        Those of a checkpoint may be missing, or of an earlier epoch.
        """
        if self._is_normalized:
            return
        for module in self.network.modules():
            if isinstance(module, TiltedGaussian):
                module.normalize(self.config.task.z_draws)  # type: ignore[attr-defined]
        self._is_normalized = True


class NotOfNumbersError(UserError, AttributeError):
    """What a network of classes can be asked, and one that predicts numbers cannot."""


class TrainedRegressor(_Trained):
    """A network that predicts numbers, likewise; `ugmm.load` returns it.

    See `TrainedNetwork` for the rows and the arguments.

    Raises:
        UserError: Whenever it is asked what only a `TrainedNetwork` can tell.
    """

    network: Regressor

    def predict(self, rows: Any) -> np.ndarray:
        """Return the mean of each row's target, in the user's units: (n,) float64.

        Raises:
            UserError: If the rows are not what the network was trained on.
        """
        return self.predictive(rows).mean.numpy()

    def predictive(self, rows: Any) -> Predictive:
        """Return the distribution of each row's target, in the user's units: a batch of (n,).

        Raises:
            UserError: See `predict`.
        """
        return self._predictive(self._encode(rows))

    def _predictive(self, x: Tensor) -> Predictive:
        target = self.spec.target
        assert target is not None  # a run of a regression has one
        parameters = self._outputs(self.network, x)
        of_model = self.network.distribution(parameters.cpu().double())
        return of_model.scaled(target.mean, target.std)

    def interval(self, rows: Any, level: float = 0.9) -> np.ndarray:
        """Return the ends of the central interval that should hold a share of the targets: (n, 2).

        Args:
            rows: As `predict` takes them.
            level: The share.

        Raises:
            UserError: See `predict`; also if the share is not between 0 and 1.
        """
        check_level(level)
        return torch.stack(self.predictive(rows).interval(level), -1).numpy()

    def answer(self, rows: Any, level: float = 0.9) -> dict[str, np.ndarray]:
        """Return all that it says about rows, as columns: see `ugmm.answers.number_columns`.

        Args:
            rows: As `predict` takes them.
            level: The share of the targets that the interval should hold.

        Raises:
            UserError: See `interval`.
        """
        return self.answer_features(self._encode(rows), level)

    def answer_features(self, x: Tensor, level: float = 0.9) -> dict[str, np.ndarray]:
        """Return the same about rows that are in model units already, (n, N)."""
        check_level(level)
        found = self._predictive(x)
        low, high = (end.numpy() for end in found.interval(level))
        return number_columns(found.mean.numpy(), low, high, level)

    def __getattr__(self, name: str) -> Any:
        if hasattr(TrainedNetwork, name):
            raise NotOfNumbersError(
                f"this network predicts a number, and has no {name}; ask it by predict, "
                "predictive or interval"
            )
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")


def check_level(level: float) -> None:
    """Refuse what is no share of the targets that an interval could hold.

    Raises:
        UserError: If it is one.
    """
    if not 0 < level < 1:
        raise UserError(f"level={level} must be between 0 and 1, such as 0.9")
