"""A density of mixture neurons, in the manner of scikit-learn."""

from typing import Any, ClassVar, Literal

import numpy as np
import torch
from sklearn.base import DensityMixin
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.validation import check_is_fitted

from ugmm.config.choices.models import (
    AutoregressiveConfig,
    MixtureCircuitConfig,
    ModelConfig,
    UGMMConfig,
)
from ugmm.config.choices.tasks import GenerativeConfig
from ugmm.deploy.estimators.base import AT_LEAST_0, UGMMEstimator
from ugmm.trained import TrainedNetwork

__all__ = ["UGMMDensity"]

Kind = Literal["autoregressive", "circuit", "tilted"]
_Z_DRAWS = 2**16  # for the partition function of a tilted Gaussian


class UGMMDensity(DensityMixin, UGMMEstimator):
    """A normalised density of the rows, built on mixture neurons.

    Features are standardised inside; densities are in the units of X. NaN is a value that is not
    known: the density is that of what is known.

    Arguments:
        kind: "autoregressive", each column given those before it; "circuit", a probabilistic
            circuit, whose marginals are exact; "tilted", a Gaussian tilted by a network, whose
            normalising constant is estimated.
        hidden_layer_sizes: Widths of the hidden layers; a circuit has none.
        noise: Width of Gaussian noise on training rows, in standard deviations of the columns;
            None takes Silverman's rule.
        max_epochs: See `UGMMClassifier`, as for all that follows.
        batch_size: See there.
        learning_rate: See there.
        weight_decay: See there.
        early_stopping: See there.
        validation_fraction: See there.
        n_iter_no_change: See there.
        random_state: See there.

    Attributes:
        trained_: The `ugmm.trained.TrainedNetwork`, which answers more questions: `given`.
        n_iter_: Number of epochs.
        n_features_in_: Number of columns.
        feature_names_in_: Their names, if X was a data frame.
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **UGMMEstimator._parameter_constraints,
        "kind": [StrOptions({"autoregressive", "circuit", "tilted"})],
        "noise": [AT_LEAST_0, None],
    }
    _monitor = "val/log_prob"
    trained_: TrainedNetwork

    def __init__(
        self,
        kind: Kind = "autoregressive",
        *,
        hidden_layer_sizes: Any = (40,),
        noise: float | None = 0.3,
        max_epochs: int = 200,
        batch_size: int = 256,
        learning_rate: float = 0.02,
        weight_decay: float = 0.0,
        early_stopping: bool | Literal["auto"] = "auto",
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 10,
        random_state: Any = None,
    ) -> None:
        self.kind = kind
        self.hidden_layer_sizes = hidden_layer_sizes
        self.noise = noise
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None) -> "UGMMDensity":  # noqa: N803, ARG002
        """Train.

        Args:
            X: Rows, (n, columns), NaN where a value is missing.
            y: Not used.

        Raises:
            ValueError: If they, or a parameter, are not what they should be.
        """
        rows, columns = self._read_training(X, None)
        task = GenerativeConfig(
            name="generative",
            objective="ranking_nce" if self.kind == "tilted" else "likelihood",
            label="none",
            noise=self.noise,
            z_draws=_Z_DRAWS,
        )
        labels = np.zeros(len(rows), dtype=np.int64)
        trained = self._train(rows, columns, labels, ("all",), self._model(), task)
        self.trained_ = TrainedNetwork(*trained)
        return self

    def score_samples(self, X: Any) -> np.ndarray:  # noqa: N803
        """Return log p of each row, in nats and the units of X: (n,)."""
        rows = self._read(X)
        return self.trained_.log_prob(rows).double().numpy()

    def score(self, X: Any, y: Any = None) -> float:  # noqa: N803, ARG002
        """Return the mean of log p over rows."""
        return float(self.score_samples(X).mean())

    def sample(self, n_samples: int = 1, random_state: Any = None) -> np.ndarray:
        """Draw rows in the units of X: (n_samples, columns), of objects if some hold words."""
        check_is_fitted(self)
        seed = int(check_random_state(random_state).randint(2**31 - 1))
        return self.trained_.sample(n_samples, torch.Generator().manual_seed(seed)).rows

    def _model(self) -> ModelConfig:
        if self.kind == "autoregressive":
            return AutoregressiveConfig(name="autoregressive", hidden=self._hidden, init="data")
        if self.kind == "circuit":
            return MixtureCircuitConfig(name="ugmm_circuit")
        return UGMMConfig(name="ugmm", hidden=self._hidden, init="data", min_scale=0.1)
