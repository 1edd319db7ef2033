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
    "robustness_table",
    "save",
    "training_curves",
]

_HOME = {
    "confusion_matrix": "run.classification",
    "draw_run": "run.pictures",
    "first_layer_images": "run.neurons",
    "image_samples": "run.samples",
    "metrics_table": "run.table",
    "neuron_densities": "run.neurons",
    "pair_plot": "run.samples",
    "reliability_diagram": "run.classification",
    "save": "style",
    "robustness_table": "run.table",
    "training_curves": "run.curves",
}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f"ugmm.report.{_HOME[name]}"), name)
    raise AttributeError(f"module 'ugmm.report' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
