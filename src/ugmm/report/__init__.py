"""Tables and plots: they read what runs wrote, and never train.

The pictures of many runs are in `ugmm.report.study`. Each name is loaded when it is first used, so
`import ugmm.report` imports no matplotlib, rich or torch.
"""

from typing import TYPE_CHECKING

from ugmm._lazy import load_on_use

if TYPE_CHECKING:
    from ugmm.report.run import (
        completed_images,
        confusion_matrix,
        draw_run,
        first_layer_images,
        image_samples,
        lost_classes,
        metrics_table,
        neuron_densities,
        pair_plot,
        predicted_numbers,
        reliability_diagram,
        robustness_table,
        target_calibration,
        training_curves,
    )
    from ugmm.report.style import save

__all__ = [
    "completed_images",
    "confusion_matrix",
    "draw_run",
    "first_layer_images",
    "image_samples",
    "lost_classes",
    "metrics_table",
    "neuron_densities",
    "pair_plot",
    "predicted_numbers",
    "reliability_diagram",
    "robustness_table",
    "save",
    "target_calibration",
    "training_curves",
]

_HOME = {name: "style" if name == "save" else "run" for name in __all__}

if not TYPE_CHECKING:  # else any name would pass
    __getattr__, __dir__ = load_on_use(__name__, _HOME)
