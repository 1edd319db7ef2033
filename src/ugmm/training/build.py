"""From a configuration to a data module and a task, with the network that is to be trained."""

import ugmm._torchvision  # noqa: F401  (before lightning: see the module)

import numpy as np
import torch
from lightning.pytorch import seed_everything
from torch import Tensor

from ugmm.config.schema import Config
from ugmm.data import InMemoryDataModule, Split
from ugmm.density import fill_gaps
from ugmm.errors import UserError
from ugmm.nn import Classifier, Regressor
from ugmm.nn.checks import check_levels
from ugmm.tasks import Task

__all__ = ["build", "build_task", "prepare", "some_rows"]

_INIT_ROWS = 1000  # of the training data, for an initialisation that looks at it
_KEPT_ROWS = 5000  # of the training data, which a run keeps beside its network


def build(config: Config) -> tuple[InMemoryDataModule, Task]:
    """Return the data module and the task of an experiment, with freshly drawn parameters.

    Raises:
        UserError: If the configuration asks for what they refuse.
    """
    data = config.data.build(config.seed)
    if not isinstance(data, InMemoryDataModule):
        raise _wrong_kind("data", config.data.name, data, "ugmm.data.InMemoryDataModule")
    lacking = [] if hasattr(data, "n_features") else ["n_features"]
    if not data.n_classes and data.target is None:
        lacking.append("n_classes, or a target," if config.data.has_target else "n_classes")
    if lacking:
        raise UserError(
            f"{type(data).__name__} must state {' and '.join(lacking)} before its rows are read"
        )
    return data, build_task(config, data)


def build_task(config: Config, data: InMemoryDataModule) -> Task:
    """Return the task of an experiment on any data, with freshly drawn parameters.

    Raises:
        UserError: If the configuration asks for what it refuses.
    """
    if config.trainer.threads is not None:
        torch.set_num_threads(config.trainer.threads)
    seed_everything(config.seed, verbose=False)
    try:
        network = config.network(data.n_features, data.n_classes)
    except ValueError as error:
        raise UserError(f"model: {error}") from error
    kind = Regressor if config.task.is_regression else Classifier
    if not isinstance(network, kind):
        raise _wrong_kind("model", config.model.name, network, f"ugmm.nn.{kind.__name__}")
    return config.task.build(network, data.n_classes, **config.training())


def _wrong_kind(group: str, choice: str, built: object, base: str) -> UserError:
    name = type(built).__name__
    return UserError(f"{group}={choice} builds a {name}, which is no {base}; derive it from that")


def prepare(task: Task, data: InMemoryDataModule, config: Config) -> None:
    """Show the training rows to what is not trained by gradients, and to the initialisation.

    Raises:
        UserError: If they are no rows for this network.
    """
    data.prepare_data()
    data.setup("fit")
    x, y = data.splits["train"]
    try:
        check_levels(x, task.network.levels)
    except ValueError as error:
        kind, remedy = "0 and 1", "data=mnist data.binarize=0, or another model"
        if not task.network.binary:
            kind = f"{task.network.levels} levels"
            remedy = "other rows, or model=autoregressive model.head=gaussian"
        raise UserError(
            f"model={config.model.name} is a distribution of {kind}, and the rows of "
            f"data={config.data.name} are not ({error}); use {remedy}"
        ) from None
    task.prepare(x, y)
    if config.model.starts_from_data:
        labels = task.labels(y[:_INIT_ROWS])
        task.network.init_from(_without_gaps(x[:_INIT_ROWS], labels), labels)
    if config.trainer.precision == "64-true":
        task.double()  # Lightning would, but after it has put a checkpoint's weights in


def some_rows(rows: Split, seed: int) -> np.ndarray:
    """Return up to 5,000 of some rows' features, chosen at random, with their gaps filled."""
    x, y = rows
    if len(x) > _KEPT_ROWS:
        generator = torch.Generator().manual_seed(seed)
        chosen = torch.randperm(len(x), generator=generator)[:_KEPT_ROWS]
        x, y = x[chosen], y[chosen]
    return _without_gaps(x, y).numpy()


def _without_gaps(x: Tensor, y: Tensor) -> Tensor:
    """Return rows with their gaps filled, class by class; rows with targets are all of one."""
    return fill_gaps(x, torch.zeros_like(y) if y.is_floating_point() else y)
