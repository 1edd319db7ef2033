"""Small trained densities of tables, as `iris_gen` trains them, in a few seconds each."""

from typing import NamedTuple

import torch
from torch import Tensor

from ugmm.density import TiltedGaussian, VicinalNoise
from ugmm.nn import Density, JointScore, UGMMNetwork
from ugmm.objectives import Objective, RankingNCE

__all__ = ["HIDDEN", "Rows", "fit", "make_tilted", "rows_of_table", "train_tilted"]

HIDDEN = {"iris": (20, 8), "wine": (20, 8), "breast_cancer": (40, 16)}
STEPS = {"breast_cancer": 400}  # else 300


class Rows(NamedTuple):
    """Standardised rows of a table."""

    x: Tensor  # (n, D) float32, training rows
    y: Tensor  # (n,)
    test_x: Tensor
    test_y: Tensor


def rows_of_table(name: str, fold: int = 0) -> Rows:
    """Return one of five stratified folds as test rows and the others as training rows."""
    from ugmm.data import TabularDataModule

    module = TabularDataModule(name, fold=fold, val_fraction=0)
    module.setup()
    return Rows(*module.splits["train"], *module.splits["test"])


def train_tilted(name: str, fold: int = 0, seed: int = 0) -> tuple[TiltedGaussian, Rows]:
    """Train a tilted Gaussian on a table of scikit-learn's; Z is estimated, too."""
    rows = rows_of_table(name, fold)
    torch.manual_seed(seed)
    density = make_tilted(name, rows.x, rows.y)
    fit(density, RankingNCE(), rows.x, rows.y, STEPS.get(name, 300), lr=0.02)
    density.normalize()
    return density, rows


def make_tilted(name: str, x: Tensor, y: Tensor) -> TiltedGaussian:
    """Return a tilted Gaussian of a table's size, to be trained on rows (n, D), labels (n,)."""
    n_features, n_classes = x.shape[1], int(y.max()) + 1
    sizes = [n_features + n_classes, *HIDDEN[name], 1]
    network = UGMMNetwork(sizes, init="data", min_scale=0.1)
    density = TiltedGaussian(JointScore(network, n_classes), n_features, n_classes)
    density.fit_base(x, y)
    density.init_from(x, y)
    return density


def fit(
    density: Density,
    objective: Objective,
    x: Tensor,
    y: Tensor,
    steps: int,
    lr: float,
    noise: float | None = None,
) -> None:
    """Train a density on rows (n, D), labels (n,) with vicinal noise, one batch a step."""
    vicinal = VicinalNoise(x.shape[1], noise)
    vicinal.fit(x, y)
    optimizer = torch.optim.Adam(density.parameters(), lr)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, steps, pct_start=0.2)
    for _ in range(steps):
        loss = objective.loss(density, vicinal(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    density.eval()
