"""Tables and pictures of one run, each loaded when it is first used."""

from typing import TYPE_CHECKING

from ugmm._lazy import load_on_use

if TYPE_CHECKING:
    from ugmm.report.run.completions import completed_images
    from ugmm.report.run.curves import training_curves
    from ugmm.report.run.neurons import first_layer_images, neuron_densities
    from ugmm.report.run.pictures import draw_run
    from ugmm.report.run.predictions import (
        confusion_matrix,
        predicted_numbers,
        reliability_diagram,
        target_calibration,
    )
    from ugmm.report.run.robustness import robustness_curves, robustness_tested
    from ugmm.report.run.samples import image_samples, pair_plot
    from ugmm.report.run.table import lost_classes, metrics_table, robustness_table

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
    "robustness_curves",
    "robustness_table",
    "robustness_tested",
    "target_calibration",
    "training_curves",
]

_HOME = {
    "completed_images": "completions",
    "confusion_matrix": "predictions",
    "draw_run": "pictures",
    "first_layer_images": "neurons",
    "image_samples": "samples",
    "lost_classes": "table",
    "metrics_table": "table",
    "neuron_densities": "neurons",
    "pair_plot": "samples",
    "predicted_numbers": "predictions",
    "reliability_diagram": "predictions",
    "robustness_curves": "robustness",
    "robustness_table": "table",
    "robustness_tested": "robustness",
    "target_calibration": "predictions",
    "training_curves": "curves",
}

if not TYPE_CHECKING:  # else any name would pass
    __getattr__, __dir__ = load_on_use(__name__, _HOME)
