"""A classifier of mixture neurons, in the manner of scikit-learn."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.utils import compute_class_weight
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import column_or_1d

from ugmm.config.choices.models import UGMMConfig
from ugmm.config.choices.tasks import DiscriminativeConfig
from ugmm.deploy.estimators.base import AT_LEAST_0, AUTO, SHARE, UGMMEstimator
from ugmm.trained import TrainedNetwork

__all__ = ["UGMMClassifier"]


class UGMMClassifier(ClassifierMixin, UGMMEstimator):
    """Tells classes apart by a network of mixture neurons, trained by cross-entropy.

    Features are standardised inside. NaN (and None in a data frame) is a value that is not known:
    components that look at it are left out, in training as in prediction. Columns of words in a
    data frame become features of 0 and 1; a word that was not there in training is not known.

    Arguments:
        hidden_layer_sizes: Widths of the hidden layers.
        dropout: Probability that a component of the first layer is dropped in a step.
        input_dropout: Probability that a feature of a row is not known in a step; "auto" is 0.2
            if values are missing in training, else 0.
        noise: Standard deviation of Gaussian noise on the standardised training features: much
            where there are some hundred rows, less where there are many.
        max_epochs: How often all rows are seen, at most.
        batch_size: Rows in a step.
        learning_rate: The largest. It rises over a fifth of the epochs and falls to 0 until the
            last; with early stopping it stays.
        weight_decay: Of AdamW; it touches neither scales nor weights of mixtures.
        early_stopping: Whether rows are held out, by which the best epoch is chosen; "auto" does
            so from 10,000 rows on.
        validation_fraction: Share of the rows that is held out then.
        n_iter_no_change: After how many epochs without a better one training ends then.
        class_weight: "balanced", or a number for each class, by which the loss of its rows is
            multiplied; None weighs all alike.
        random_state: Of all that is left to chance.

    Attributes:
        classes_: The classes, (C,).
        trained_: The `ugmm.trained.TrainedNetwork`, whose `network` is the bare module.
        n_iter_: Number of epochs.
        n_features_in_: Number of columns.
        feature_names_in_: Their names, if X was a data frame.
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **UGMMEstimator._parameter_constraints,
        "dropout": [SHARE],
        "input_dropout": [SHARE, AUTO],
        "noise": [AT_LEAST_0],
        "class_weight": [StrOptions({"balanced"}), dict, None],
    }
    _monitor = "val/nll"
    trained_: TrainedNetwork

    def __init__(
        self,
        hidden_layer_sizes: Any = (64,),
        *,
        dropout: float = 0.0,
        input_dropout: float | Literal["auto"] = "auto",
        noise: float = 0.5,
        max_epochs: int = 100,
        batch_size: int = 256,
        learning_rate: float = 0.03,
        weight_decay: float = 0.0,
        early_stopping: bool | Literal["auto"] = "auto",
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 10,
        class_weight: Mapping[Any, float] | Literal["balanced"] | None = None,
        random_state: Any = None,
    ) -> None:
        self.hidden_layer_sizes = hidden_layer_sizes
        self.dropout = dropout
        self.input_dropout = input_dropout
        self.noise = noise
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.class_weight = class_weight
        self.random_state = random_state

    def fit(self, X: Any, y: Any) -> "UGMMClassifier":  # noqa: N803
        """Train.

        Args:
            X: Rows, (n, columns), NaN where a value is missing.
            y: Their classes, (n,): numbers, texts or truth values.

        Raises:
            ValueError: If they, or a parameter, are not what they should be.
        """
        rows, columns = self._read_training(X, y)
        y = column_or_1d(y, warn=True)
        check_classification_targets(y)
        self.classes_, labels = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError("there must be two classes or more, and y has one class only")
        weights = None
        if self.class_weight is not None:
            weights = compute_class_weight(self.class_weight, classes=self.classes_, y=y)
        model = UGMMConfig(
            name="ugmm",
            hidden=self._hidden,
            dropout=self.dropout,
            input_dropout=self._input_dropout_of(rows),
            norm="layer",
            head="gain",
        )
        names = tuple(map(str, self.classes_.tolist()))
        trained = self._train(
            rows,
            columns,
            labels,
            names,
            model,
            DiscriminativeConfig(name="discriminative"),
            noise=self.noise,
            class_weights=weights,
        )
        self.trained_ = TrainedNetwork(*trained)
        return self

    def predict(self, X: Any) -> np.ndarray:  # noqa: N803
        """Return the most probable class of each row, (n,)."""
        best = self._class_scores(X).argmax(1)
        return self.classes_[best]

    def predict_proba(self, X: Any) -> np.ndarray:  # noqa: N803
        """Return p(class | row), in the order of `classes_`: (n, C) float64."""
        return np.exp(self.predict_log_proba(X))

    def predict_log_proba(self, X: Any) -> np.ndarray:  # noqa: N803
        """Return log p(class | row), in nats: (n, C) float64."""
        scores = self._class_scores(X)
        scores = scores - scores.max(1, keepdims=True)
        return scores - np.log(np.exp(scores).sum(1, keepdims=True))

    def decision_function(self, X: Any) -> np.ndarray:  # noqa: N803
        """Return the classes' log-scores, (n, C); of two classes the second's log-odds, (n,)."""
        scores = self._class_scores(X)
        return scores[:, 1] - scores[:, 0] if len(self.classes_) == 2 else scores

    def _class_scores(self, x: Any) -> np.ndarray:
        rows = self._read(x)
        return self.trained_.class_scores(rows).double().numpy()
