"""The families that `regression.py` compares: each learns from some rows, and predicts others."""

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ugmm.baselines import MLPRegressor
from ugmm.nn import GaussianPredictive, MixturePredictive, Predictive, RegressionNetwork, Regressor

__all__ = ["FAMILIES", "Family", "Rows", "pool", "widen"]

EPOCHS, BATCH, LOOK = 60, 64, 3  # a network is looked at every so many epochs


class Rows(NamedTuple):
    """Features (n, N) and targets (n,), in float64 and the table's own units."""

    x: Tensor
    y: Tensor

    def take(self, index: Tensor | np.ndarray) -> "Rows":
        """Return some of the rows."""
        return Rows(self.x[index], self.y[index])


Model = Callable[[Tensor], Predictive]


class Family(NamedTuple):
    """A way to learn a model, and its settings.

    Attributes:
        fit: From rows to learn from, rows that say when to stop, a setting and a seed.
        settings: Of which one is chosen on rows that were held out.
    """

    fit: Callable[[Rows, Rows, Mapping[str, Any], int], Model]
    settings: Sequence[Mapping[str, Any]]


def fit_ridge(rows: Rows, held: Rows, setting: Mapping[str, Any], seed: int) -> Model:  # noqa: ARG001
    """Return a ridge regression; it errs alike everywhere."""
    from sklearn.linear_model import Ridge

    model = Ridge(**setting).fit(rows.x.numpy(), rows.y.numpy())
    return _with_error(lambda x: model.predict(x.numpy()), held)


def fit_boosting(rows: Rows, held: Rows, setting: Mapping[str, Any], seed: int) -> Model:
    """Return gradient boosting, as many trees as are best on the rows held out."""
    from sklearn.ensemble import GradientBoostingRegressor

    model = GradientBoostingRegressor(n_estimators=400, random_state=seed, **setting)
    model.fit(rows.x.numpy(), rows.y.numpy())
    errors = [np.square(p - held.y.numpy()).mean() for p in model.staged_predict(held.x.numpy())]
    best = int(np.argmin(errors))

    def predict(x: Tensor) -> np.ndarray:
        return next(itertools.islice(model.staged_predict(x.numpy()), best, None))

    return _with_error(predict, held)


def _with_error(predict: Callable[[Tensor], np.ndarray], held: Rows) -> Model:
    """Return a model of numbers as one of normal distributions, as wide as it errs."""
    error = (torch.from_numpy(predict(held.x)) - held.y).square().mean().sqrt()

    def model(x: Tensor) -> Predictive:
        mean = torch.from_numpy(predict(x))
        return GaussianPredictive(mean, error.expand_as(mean))

    return model


def fit_network(
    make: Callable[..., Regressor], rows: Rows, held: Rows, setting: Mapping[str, Any], seed: int
) -> Model:
    """Return a network trained by maximum likelihood, as it was when best on the rows held out."""
    torch.manual_seed(seed)
    setting = dict(setting)
    rate, decay = setting.pop("lr"), setting.pop("weight_decay", 0.0)
    network = make(rows.x.shape[1], **setting)
    x, y = rows.x.float(), rows.y.float()
    n_steps = max(1, len(x) // BATCH)
    optimizer = torch.optim.AdamW(network.parameters(), rate, weight_decay=decay)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS * n_steps)
    best, state = math.inf, {}
    for epoch in range(EPOCHS):
        network.train()
        for index in torch.randperm(len(x))[: n_steps * BATCH].chunk(n_steps):
            loss = -network.predictive(x[index]).log_prob(y[index]).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        if (epoch + 1) % LOOK == 0:
            found = _loss(network.eval(), held)
            if found < best:
                best, state = found, {k: v.clone() for k, v in network.state_dict().items()}
    network.load_state_dict(state)
    network.eval().requires_grad_(False)
    return lambda x: network.predictive(x.float())


@torch.no_grad()
def _loss(network: Regressor, held: Rows) -> float:
    return float(-network.predictive(held.x.float()).log_prob(held.y.float()).mean())


def _of(make: Callable[..., Regressor], **fixed: Any) -> Callable[..., Model]:
    def fit(rows: Rows, held: Rows, setting: Mapping[str, Any], seed: int) -> Model:
        return fit_network(make, rows, held, {**fixed, **setting}, seed)

    return fit


def _grid(**axes: Sequence[Any]) -> list[dict[str, Any]]:
    """Return all combinations of the axes' values."""
    return [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]


_OURS = _grid(lr=(0.005, 0.02), dropout=(0.0, 0.3), weight_decay=(0.0, 0.3))
_MLP = _grid(lr=(0.002, 0.005), dropout=(0.0, 0.2), weight_decay=(0.0, 0.3))

FAMILIES: dict[str, Family] = {
    "Ridge": Family(fit_ridge, _grid(alpha=[float(a) for a in np.logspace(-1, 2.5, 8)])),
    "boosting": Family(
        fit_boosting,
        _grid(learning_rate=(0.03, 0.1), max_depth=(2, 4), subsample=(0.5, 1.0)),
    ),
    "MLP 64-64, Gaussian": Family(_of(MLPRegressor, hidden=(64, 64)), _MLP),
    "uGMM 128, Gaussian": Family(_of(RegressionNetwork), _OURS),
    "uGMM 128, mixture": Family(_of(RegressionNetwork, head="mixture"), _OURS),
}


def widen(predictive: Predictive, factor: float) -> Predictive:
    """Return predictions that are spread so many times as far around their means."""
    return predictive.scaled((1 - factor) * predictive.mean, factor)


def pool(members: Sequence[Predictive]) -> MixturePredictive:
    """Return the predictions of several models as one: each of them is as probable."""
    parts = [_as_mixture(member) for member in members]
    weights = torch.cat([part.log_weights for part in parts], -1) - math.log(len(parts))
    means = torch.cat([part.components.mean for part in parts], -1)
    return MixturePredictive(weights, means, torch.cat([p.components.scale for p in parts], -1))


def _as_mixture(predictive: Predictive) -> MixturePredictive:
    if isinstance(predictive, MixturePredictive):
        return predictive
    mean, scale = predictive.mean.unsqueeze(-1), predictive.variance.sqrt().unsqueeze(-1)
    return MixturePredictive(torch.zeros_like(mean), mean, scale)
