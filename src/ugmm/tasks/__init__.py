"""LightningModules: a network with an objective, metrics and an optimiser."""

import ugmm._torchvision  # noqa: F401  (before lightning and torchmetrics: see the module)

from ugmm.tasks.classification import ClassificationTask
from ugmm.tasks.discriminative import DiscriminativeTask
from ugmm.tasks.fitted import FittedTask
from ugmm.tasks.generative import GenerativeTask
from ugmm.tasks.regression import RegressionTask
from ugmm.tasks.task import Task

__all__ = [
    "ClassificationTask",
    "DiscriminativeTask",
    "FittedTask",
    "GenerativeTask",
    "RegressionTask",
    "Task",
]
