"""Tables and plots of a run: they read metrics and layers and never train.

Each name is loaded when it is first used, so `import ugmm.report` imports no matplotlib or rich.
"""

import importlib
from typing import Any

__all__ = [
    "confusion_matrix",
    "draw_run",
    "first_layer_images",
    "image_samples",
    "metrics_table",
    "neuron_densities",
    "pair_plot",
    "reliability_diagram",
    "save",
    "shifts_table",
    "training_curves",
]

_HOME = {
    "confusion_matrix": "plots",
    "draw_run": "pictures",
    "first_layer_images": "neurons",
    "image_samples": "samples",
    "metrics_table": "table",
    "neuron_densities": "neurons",
    "pair_plot": "samples",
    "reliability_diagram": "plots",
    "save": "style",
    "shifts_table": "table",
    "training_curves": "curves",
}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f"ugmm.report.{_HOME[name]}"), name)
    raise AttributeError(f"module 'ugmm.report' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
