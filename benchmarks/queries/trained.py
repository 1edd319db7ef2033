"""Small trained densities of tables, as `iris_gen` trains them, in a few seconds each."""

from typing import NamedTuple

import torch
from torch import Tensor

from ugmm.density import TiltedGaussian, VicinalNoise
from ugmm.nn import JointScore, UGMMNetwork
from ugmm.objectives import RankingNCE

__all__ = ["HIDDEN", "Rows", "rows_of_table", "train_tilted"]

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
    n_features, n_classes = rows.x.shape[1], int(rows.y.max()) + 1
    torch.manual_seed(seed)
    sizes = [n_features + n_classes, *HIDDEN[name], 1]
    network = UGMMNetwork(sizes, init="data", min_scale=0.1)
    density = TiltedGaussian(JointScore(network, n_classes), n_features, n_classes)
    density.fit_base(rows.x, rows.y)
    density.init_from(rows.x, rows.y)
    noise = VicinalNoise(n_features)
    noise.fit(rows.x, rows.y)
    steps, objective = STEPS.get(name, 300), RankingNCE()
    optimizer = torch.optim.Adam(density.parameters(), 0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.02, steps, pct_start=0.2)
    for _ in range(steps):
        loss = objective.loss(density, noise(rows.x), rows.y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    density.eval().normalize()
    return density, rows
