"""Typed settings: composed from YAML and the command line, and checked.

What is imported here is what declaring a choice of one's own needs; see docs/extending.md.
"""

from ugmm.config.choices import Choice, choice
from ugmm.config.choices.data import DataConfig
from ugmm.config.choices.models import LayeredConfig, ModelConfig
from ugmm.config.choices.tasks import DiscriminativeConfig, GenerativeConfig, TaskConfig
from ugmm.config.schema import Config
from ugmm.keys import key

__all__ = [
    "Choice",
    "Config",
    "DataConfig",
    "DiscriminativeConfig",
    "GenerativeConfig",
    "LayeredConfig",
    "ModelConfig",
    "TaskConfig",
    "choice",
    "key",
]
