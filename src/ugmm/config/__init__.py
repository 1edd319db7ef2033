"""Typed settings: composed from YAML and the command line, and checked.

What is imported here is what declaring a choice of one's own needs; see docs/extending.md.
"""

from ugmm.config.choices import Choice, choice
from ugmm.config.data import DataConfig
from ugmm.config.models import LayeredConfig, ModelConfig
from ugmm.config.schema import Config
from ugmm.config.tasks import DiscriminativeConfig, GenerativeConfig, TaskConfig
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
