"""A regressor of mixture neurons, in the manner of scikit-learn."""

from typing import Any, ClassVar, Literal

import numpy as np
import torch
from sklearn.base import RegressorMixin
from sklearn.utils import assert_all_finite
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.validation import column_or_1d

from ugmm.config.choices.regression import RegressionConfig, RegressionTaskConfig
from ugmm.deploy.estimators.base import AT_LEAST_0, AUTO, SHARE, UGMMEstimator
from ugmm.nn import Predictive
from ugmm.trained import TrainedRegressor

__all__ = ["UGMMRegressor"]

Head = Literal["gaussian", "heteroscedastic", "mixture", "quantiles"]


class UGMMRegressor(RegressorMixin, UGMMEstimator):
    """Predicts a number's distribution by mixture neurons beside a linear map.

    Features and targets are standardised inside. NaN is a value that is not known: neurons leave
    it out, and to the linear map it is the mean of the training rows.

    Arguments:
        hidden_layer_sizes: See `UGMMClassifier`, as for all that is not named here.
        head: What is predicted: "gaussian", a normal distribution of one variance for all rows;
            "heteroscedastic", of a variance for each; "mixture", of three normal distributions;
            "quantiles", 19 of them, trained by the pinball loss. The others are trained by
            -log p(y | x).
        dropout: See there.
        input_dropout: See there.
        noise: See there.
        max_epochs: See there.
        batch_size: See there.
        learning_rate: See there.
        weight_decay: See there.
        early_stopping: See there.
        validation_fraction: See there.
        n_iter_no_change: See there.
        random_state: See there.

    Attributes:
        trained_: The `ugmm.trained.TrainedRegressor`, whose `predictive` is the distribution.
        n_iter_: Number of epochs.
        n_features_in_: Number of columns.
        feature_names_in_: Their names, if X was a data frame.
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **UGMMEstimator._parameter_constraints,
        "head": [StrOptions({"gaussian", "heteroscedastic", "mixture", "quantiles"})],
        "dropout": [SHARE],
        "input_dropout": [SHARE, AUTO],
        "noise": [AT_LEAST_0],
    }
    _monitor = "val/crps"
    trained_: TrainedRegressor

    def __init__(
        self,
        hidden_layer_sizes: Any = (64,),
        *,
        head: Head = "heteroscedastic",
        dropout: float = 0.0,
        input_dropout: float | Literal["auto"] = "auto",
        noise: float = 0.3,
        max_epochs: int = 100,
        batch_size: int = 64,
        learning_rate: float = 0.03,
        weight_decay: float = 0.0,
        early_stopping: bool | Literal["auto"] = "auto",
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 10,
        random_state: Any = None,
    ) -> None:
        self.hidden_layer_sizes = hidden_layer_sizes
        self.head = head
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
        self.random_state = random_state

    def fit(self, X: Any, y: Any) -> "UGMMRegressor":  # noqa: N803
        """Train.

        Args:
            X: Rows, (n, columns), NaN where a value is missing.
            y: Their targets, (n,), all known.

        Raises:
            ValueError: If they, or a parameter, are not what they should be.
        """
        rows, columns = self._read_training(X, y)
        targets = column_or_1d(y, dtype=np.float64, warn=True)
        assert_all_finite(targets, input_name="y")
        model = RegressionConfig(
            name="regression",
            hidden=self._hidden,
            head=self.head,
            dropout=self.dropout,
            input_dropout=self._input_dropout_of(rows),
        )
        objective: Any = "pinball" if self.head == "quantiles" else "nlpd"
        trained = self._train(
            rows,
            columns,
            targets,
            (),
            model,
            RegressionTaskConfig(name="regression", objective=objective),
            noise=self.noise,
        )
        self.trained_ = TrainedRegressor(*trained)
        return self

    def predict(
        self,
        X: Any,  # noqa: N803
        return_std: bool = False,
    ) -> np.ndarray | tuple[np.ndarray, np.ndarray]:
        """Return the mean of each row's target, (n,); with `return_std`, its deviation too."""
        predictive = self._predictive(X)
        mean = predictive.mean.numpy()
        return (mean, predictive.variance.sqrt().numpy()) if return_std else mean

    def predict_interval(self, X: Any, level: float = 0.9) -> np.ndarray:  # noqa: N803
        """Return the ends of the central interval that should hold a share of targets: (n, 2).

        Raises:
            ValueError: If the share is not between 0 and 1.
        """
        if not 0 < level < 1:
            raise ValueError(f"level={level} must be between 0 and 1, such as 0.9")
        return torch.stack(self._predictive(X).interval(level), -1).numpy()

    def predict_quantile(self, X: Any, q: float = 0.5) -> np.ndarray:  # noqa: N803
        """Return the number that a target stays below with probability q, for each row: (n,).

        Raises:
            ValueError: If q is not between 0 and 1.
        """
        if not 0 < q < 1:
            raise ValueError(f"q={q} must be between 0 and 1, such as 0.5")
        return self._predictive(X).quantile(q).numpy()

    def _predictive(self, x: Any) -> Predictive:
        rows = self._read(x)
        return self.trained_.predictive(rows)
