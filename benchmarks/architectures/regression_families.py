"""The families that `regression.py` compares: each learns from some rows, and predicts others."""

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ugmm.baselines import MLPRegressor
from ugmm.nn import GaussianPredictive, Predictive, RegressionNetwork, Regressor

__all__ = ["FAMILIES", "Family", "Fitted", "Rows", "widen"]

STEPS, LOOK = 500, 20  # of training; a network is looked at every so many
BATCH, BATCHES = 64, 16  # rows of a step: so many, or a table's rows over this
TREES = 300


class Rows(NamedTuple):
    """Features (n, N) and targets (n,), in float64."""

    x: Tensor
    y: Tensor

    def take(self, index: Tensor | np.ndarray | slice) -> "Rows":
        """Return some of the rows."""
        return Rows(self.x[index], self.y[index])


class Fitted(NamedTuple):
    """A model.

    Attributes:
        predict: From features.
        stop: After how many steps, or trees, it was best on rows held out.
    """

    predict: Callable[[Tensor], Predictive]
    stop: int


class Family(NamedTuple):
    """A way to learn a model, and its settings; rows are standardised.

    Attributes:
        fit: From rows, a setting, a seed, and rows held out that say when to stop; or, without
            those, the step to stop at.
        settings: Of which one is chosen on rows that were held out.
        has_spread: Whether its models say how sure they are. The others predict distributions of
            standard deviation 1, and leave the rest to their widening.
    """

    fit: Callable[..., Fitted]
    settings: Sequence[Mapping[str, Any]]
    has_spread: bool = True


def fit_ridge(rows: Rows, setting: Mapping[str, Any], *_: Any, **__: Any) -> Fitted:
    """Return a ridge regression."""
    from sklearn.linear_model import Ridge

    model = Ridge(**setting).fit(rows.x.numpy(), rows.y.numpy())
    return Fitted(lambda x: _of_numbers(model.predict(x.numpy())), 0)


def fit_boosting(
    rows: Rows, setting: Mapping[str, Any], seed: int, held: Rows | None = None, stop: int = 0
) -> Fitted:
    """Return gradient boosting, as many trees as are best on the rows held out."""
    from sklearn.ensemble import GradientBoostingRegressor

    model = GradientBoostingRegressor(n_estimators=stop or TREES, random_state=seed, **setting)
    model.fit(rows.x.numpy(), rows.y.numpy())
    if held is None:
        return Fitted(lambda x: _of_numbers(model.predict(x.numpy())), stop)
    errors = [np.square(p - held.y.numpy()).mean() for p in model.staged_predict(held.x.numpy())]
    stop = int(np.argmin(errors)) + 1

    def predict(x: Tensor) -> Predictive:
        stages = model.staged_predict(x.numpy())
        return _of_numbers(next(itertools.islice(stages, stop - 1, None)))

    return Fitted(predict, stop)


def _of_numbers(predicted: np.ndarray) -> Predictive:
    mean = torch.from_numpy(predicted)
    return GaussianPredictive(mean, torch.ones_like(mean))


def fit_network(
    make: Callable[..., Regressor],
    rows: Rows,
    setting: Mapping[str, Any],
    seed: int,
    held: Rows | None = None,
    stop: int = 0,
) -> Fitted:
    """Return a network trained by maximum likelihood, as it was when best on the rows held out."""
    torch.manual_seed(seed)
    setting = dict(setting)
    rate, noise = setting.pop("lr"), setting.pop("noise")
    network = make(rows.x.shape[1], **setting)
    optimizer = torch.optim.AdamW(network.parameters(), rate, weight_decay=0, fused=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    best, kept = math.inf, (stop, network.state_dict())
    for step, (x, y) in enumerate(itertools.islice(_batches(rows), stop or STEPS), 1):
        predictive = network.train().predictive(x + noise * torch.randn_like(x))
        optimizer.zero_grad()
        (-predictive.log_prob(y).mean()).backward()
        optimizer.step()
        schedule.step()
        if held is not None and step % LOOK == 0 and (loss := _loss(network, held)) < best:
            best = loss
            kept = step, {name: value.clone() for name, value in network.state_dict().items()}
    network.load_state_dict(kept[1])
    network.eval().requires_grad_(False)
    return Fitted(lambda x: network.predictive(x.float()), kept[0])


def _batches(rows: Rows) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield batches of the rows, in another order in every round, in float32, without end."""
    x, y = rows.x.float(), rows.y.float()
    size = max(BATCH, len(x) // BATCHES)
    while True:
        for index in torch.randperm(len(x)).split(size):
            if len(index) == size:
                yield x[index], y[index]


@torch.no_grad()
def _loss(network: Regressor, held: Rows) -> float:
    predictive = network.eval().predictive(held.x.float())
    return float(-predictive.log_prob(held.y.float()).mean())


def widen(predictive: Predictive, factor: float) -> Predictive:
    """Return predictions that are spread so many times as far around their means."""
    return predictive.scaled((1 - factor) * predictive.mean, factor)


def _grid(**axes: Sequence[Any]) -> list[dict[str, Any]]:
    """Return all combinations of the axes' values."""
    return [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]


_NOISE = (0.1, 0.2, 0.3, 0.5)  # of features, in their standard deviations
_NORMAL = ("gaussian", "heteroscedastic")  # one variance for all rows, or one predicted for each

FAMILIES: dict[str, Family] = {
    "Ridge": Family(fit_ridge, _grid(alpha=[float(a) for a in np.logspace(-1, 2.5, 8)]), False),
    "boosting": Family(
        fit_boosting,
        _grid(learning_rate=(0.03, 0.1), max_depth=(2, 4), subsample=(0.5, 1.0)),
        False,
    ),
    "MLP, Gaussian": Family(
        partial(fit_network, MLPRegressor), _grid(noise=_NOISE, head=_NORMAL, lr=(0.003,))
    ),
    "uGMM, Gaussian": Family(
        partial(fit_network, RegressionNetwork), _grid(noise=_NOISE, head=_NORMAL, lr=(0.05,))
    ),
    "uGMM, mixture": Family(
        partial(fit_network, RegressionNetwork),
        _grid(noise=_NOISE, dropout=(0.0, 0.3), head=("mixture",), lr=(0.05,)),
    ),
}
