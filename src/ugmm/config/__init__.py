"""Typed settings: composed from YAML and the command line, and checked.

What is named here is what declaring a choice of one's own needs; see docs/extending.md.
"""

from typing import TYPE_CHECKING

from ugmm._lazy import load_on_use
from ugmm.keys import key

if TYPE_CHECKING:
    from ugmm.config.choices.data import DataConfig
    from ugmm.config.choices.declare import Choice, choice
    from ugmm.config.choices.models import LayeredConfig, ModelConfig
    from ugmm.config.choices.regression import RegressionTaskConfig, RegressorConfig
    from ugmm.config.choices.tasks import DiscriminativeConfig, GenerativeConfig, TaskConfig
    from ugmm.config.schema import Config

__all__ = [
    "Choice",
    "Config",
    "DataConfig",
    "DiscriminativeConfig",
    "GenerativeConfig",
    "LayeredConfig",
    "ModelConfig",
    "RegressionTaskConfig",
    "RegressorConfig",
    "TaskConfig",
    "choice",
    "key",
]

_HOME = {
    "Choice": "choices.declare",
    "Config": "schema",
    "DataConfig": "choices.data",
    "DiscriminativeConfig": "choices.tasks",
    "GenerativeConfig": "choices.tasks",
    "LayeredConfig": "choices.models",
    "ModelConfig": "choices.models",
    "RegressionTaskConfig": "choices.regression",
    "RegressorConfig": "choices.regression",
    "TaskConfig": "choices.tasks",
    "choice": "choices.declare",
}

if not TYPE_CHECKING:  # else any name would pass
    __getattr__, __dir__ = load_on_use(__name__, _HOME)
