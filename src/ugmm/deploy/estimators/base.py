"""What the estimators share: their parameters, how they read rows, and how they train."""

from dataclasses import replace
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.model_selection import train_test_split
from sklearn.utils import Tags, check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_consistent_length, check_is_fitted

from ugmm.columns import Column, is_missing
from ugmm.config.choices.models import ModelConfig
from ugmm.config.choices.tasks import TaskConfig
from ugmm.config.schema import Config
from ugmm.deploy.estimators.rows import fit_columns, fit_spec, read_rows
from ugmm.deploy.estimators.training import make_config, train_rows
from ugmm.spec import Spec
from ugmm.trained import TrainedNetwork, TrainedRegressor

__all__ = ["AT_LEAST_0", "AT_LEAST_1", "AUTO", "SHARE", "UGMMEstimator"]

AT_LEAST_0 = Interval(Real, 0, None, closed="left")
AT_LEAST_1 = Interval(Integral, 1, None, closed="left")
SHARE = Interval(Real, 0, 1, closed="left")
AUTO = StrOptions({"auto"})
_INPUT_DROPOUT = 0.2  # "auto", where values are missing
_MANY = 10_000  # rows, from which "auto" stops early


class UGMMEstimator(BaseEstimator):
    """What the estimators share; see `UGMMClassifier` for the parameters."""

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "hidden_layer_sizes": ["array-like"],
        "max_epochs": [AT_LEAST_1],
        "batch_size": [AT_LEAST_1],
        "learning_rate": [Interval(Real, 0, None, closed="neither")],
        "weight_decay": [AT_LEAST_0],
        "early_stopping": ["boolean", AUTO],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "n_iter_no_change": [AT_LEAST_1],
        "random_state": ["random_state"],
    }
    _monitor: ClassVar[str]  # what stops early

    # Of every estimator; each has an __init__ of its own, as scikit-learn asks.
    hidden_layer_sizes: Any
    max_epochs: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    early_stopping: bool | str
    validation_fraction: float
    n_iter_no_change: int
    random_state: Any
    n_features_in_: int
    trained_: TrainedNetwork | TrainedRegressor

    def __sklearn_tags__(self) -> Tags:
        """Say that NaN is a value that is missing."""
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags

    def __sklearn_is_fitted__(self) -> bool:
        """Whether there is a trained network."""
        return hasattr(self, "trained_")

    @property
    def _hidden(self) -> list[int]:
        """The hidden widths.

        Raises:
            ValueError: If one is no width.
        """
        widths = list(self.hidden_layer_sizes)
        if not all(isinstance(width, Integral) and int(width) >= 1 for width in widths):
            raise ValueError(
                f"hidden_layer_sizes must be whole numbers from 1 up, got {widths}; such as (64,)"
            )
        return list(map(int, widths))

    def _read_training(self, x: Any, y: Any) -> tuple[np.ndarray, tuple[Column, ...]]:
        """Check the training rows; return them, and what their columns are."""
        self._validate_params()
        rows = read_rows(self, x)
        if len(rows) < 2:
            raise ValueError(f"X has {len(rows)} sample(s), and two or more are needed")
        check_consistent_length(rows, y)
        return rows, fit_columns(rows, getattr(self, "feature_names_in_", None))

    def _read(self, x: Any) -> np.ndarray:
        """Check rows that are asked about."""
        check_is_fitted(self)
        return read_rows(self, x, self._columns)

    def _input_dropout_of(self, rows: np.ndarray) -> float:
        """Return the probability of `input_dropout`, which a density has not got."""
        chosen = self.input_dropout
        if chosen != "auto":
            return chosen
        gaps = any(map(is_missing, rows.flat)) if rows.dtype == object else np.isnan(rows).any()
        return _INPUT_DROPOUT if gaps else 0.0

    def _train(
        self,
        rows: np.ndarray,
        columns: tuple[Column, ...],
        y: np.ndarray,
        class_names: tuple[str, ...],
        model: ModelConfig,
        task: TaskConfig,
        *,
        noise: float = 0.0,
        class_weights: np.ndarray | None = None,
    ) -> tuple[Any, Spec, Config]:
        """Train on rows and labels, or targets where there are no classes.

        Returns:
            What a `TrainedNetwork` or `TrainedRegressor` is made of.
        """
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        stops = self.early_stopping
        if stops == "auto":
            stops = len(rows) >= _MANY
        config = make_config(
            type(self).__name__,
            model,
            task,
            seed=seed,
            batch_size=self.batch_size,
            noise=noise,
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
            max_epochs=self.max_epochs,
            monitor=self._monitor,
            patience=self.n_iter_no_change if stops else None,
        )
        held_out = None
        if stops:
            rows, held_rows, y, held_y = train_test_split(
                rows,
                y,
                test_size=self.validation_fraction,
                random_state=seed,
                stratify=y if len(class_names) > 1 else None,
            )
        spec = fit_spec(rows, columns, class_names)
        if stops:
            held_out = spec.encode(held_rows), held_y
        trained = train_rows(
            config, spec.encode(rows), y, len(class_names), held_out, class_weights
        )
        if task.is_regression:
            spec = replace(spec, target=trained.target)
        self._columns = columns
        self.n_iter_ = int(trained.trainer.current_epoch)
        return trained.network, spec, config
