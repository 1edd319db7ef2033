"""LightningModules: a network with an objective, metrics and an optimiser."""

import ugmm._torchvision  # noqa: F401  (before lightning and torchmetrics: see the module)

from ugmm.tasks.classification import DiscriminativeTask, Task
from ugmm.tasks.fitted import FittedTask
from ugmm.tasks.generative import GenerativeTask

__all__ = ["DiscriminativeTask", "FittedTask", "GenerativeTask", "Task"]
