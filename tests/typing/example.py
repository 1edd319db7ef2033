"""What a user writes, as a type checker sees it: `make lint` checks it as `mypy --strict` would.

Nothing here is run; docs/python.md is. `assert_type` fails wherever a name of the package has
become an `Any`.
"""

from typing import assert_type

import lightning
import numpy as np
import torch
from torch import Tensor, nn

import ugmm
from ugmm.config import Config
from ugmm.data import IrisDataModule, MNISTDataModule, TabularDataModule, read_csv
from ugmm.density import TiltedGaussian
from ugmm.inference import Conditional, Mode, Posterior, Samples
from ugmm.nn import (
    UGMM,
    UGMMRNN,
    AutoregressiveUGMM,
    Draws,
    Evidence,
    JointScore,
    Marginal,
    Predictive,
    RegressionNetwork,
    UGMMConv2d,
    UGMMNetwork,
)
from ugmm.sklearn import UGMMClassifier
from ugmm.tasks import DiscriminativeTask, GenerativeTask, RegressionTask, Task
from ugmm.trained import Sample, TrainedNetwork, TrainedRegressor


def through_the_package() -> None:
    """`import ugmm` alone is enough: its rooms are loaded when they are used."""
    assert_type(ugmm.nn.UGMM(4, 3), UGMM)
    assert_type(ugmm.data.IrisDataModule(fold=1), IrisDataModule)
    assert_type(ugmm.baselines.MLP([4, 3]), ugmm.baselines.MLP)
    assert_type(ugmm.spec.Spec.from_json({}), ugmm.spec.Spec)
    assert_type(ugmm.__version__, str)
    _ = ugmm.nothing  # type: ignore[attr-defined]
    _ = ugmm.baselines.Nothing  # type: ignore[attr-defined]


class Mine(nn.Module):
    """A layer within a network of one's own."""

    def __init__(self) -> None:
        super().__init__()
        self.mixture = UGMM(4, 8, dropout=0.1, min_scale=0.1)
        self.images = UGMMConv2d(1, 4, 3, padding=1)
        self.lines = UGMMRNN(28, 16, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        """Return scores."""
        assert_type(self.mixture.scale, Tensor)
        return self.mixture.forward(x)


def train(folder: str) -> list[lightning.LightningDataModule]:
    network = UGMMNetwork([4, 10, 3], norm="layer", dropout=0.2)
    assert_type(network.class_scores(torch.rand(2, 4)), Tensor)
    task = DiscriminativeTask(network, n_classes=3, optimizer={"name": "adam", "lr": 0.01})
    data = IrisDataModule(fold=1)
    trainer = lightning.Trainer(max_epochs=1)
    trainer.fit(task, datamodule=data)
    trainer.test(task, datamodule=data)
    table = read_csv(f"{folder}/flowers.csv", label="species")
    tables = TabularDataModule(table, folds=5, fold=0, val_fraction=0.2, batch_size=32, seed=0)
    return [data, tables, MNISTDataModule(batch_size=256, seed=0)]


def density(data: IrisDataModule) -> TiltedGaussian:
    score = JointScore(UGMMNetwork([4 + 3, 20, 8, 1], norm="layer"), n_classes=3)
    tilted = TiltedGaussian(score, 4, 3)
    task = GenerativeTask(tilted, n_classes=3)
    task.prepare(*data.splits["train"])
    tilted.normalize(4096)
    return tilted.eval()


def number(x: Tensor) -> Predictive:
    network = RegressionNetwork(8, hidden=[16])
    RegressionTask(network, optimizer={"lr": 0.01})
    predictive = network.distribution(network.forward(x))
    assert_type(predictive.mean, Tensor)
    return predictive


def ask(density: TiltedGaussian | AutoregressiveUGMM, rows: Tensor) -> None:
    evidence = Evidence(rows.masked_fill(rows < 0, torch.nan))
    assert_type(ugmm.inference.posterior(density, evidence), Posterior)
    assert_type(ugmm.inference.marginal(density, evidence), Marginal)
    assert_type(ugmm.inference.conditional(density, 0, evidence), Conditional)
    assert_type(ugmm.inference.sample(density, 10, evidence), Samples)
    assert_type(ugmm.inference.mpe(density, evidence), Mode)
    assert_type(density.draw(evidence, 10, torch.Generator()), Draws)


def estimate(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    assert_type(ugmm.sklearn.UGMMClassifier(), UGMMClassifier)
    classifier = UGMMClassifier(random_state=0)
    assert_type(classifier.fit(x, y), UGMMClassifier)
    return classifier.predict(x)


def load(run: str) -> np.ndarray:
    task = ugmm.load_task(run)
    assert_type(task, Task)
    trained = ugmm.load(run)
    assert_type(trained, TrainedNetwork | TrainedRegressor)
    if isinstance(trained, TrainedRegressor):
        assert_type(trained.predictive([[1.0, 2.0]]), Predictive)
        return trained.interval([[1.0, 2.0]], level=0.9)
    assert_type(trained.posterior({"petal length": [1.4]}), Tensor)
    assert_type(trained.given({"petal length": [1.4, None]}).posterior(), Posterior)
    assert_type(trained.sample(3), Sample)
    assert_type(trained.config, Config)
    return trained.predict([[5.1, 3.5, 1.4, 0.2]])
