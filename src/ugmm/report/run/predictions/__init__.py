"""How well a network predicts, and whether it knows how well: of classes, and of numbers."""

from ugmm.report.run.predictions.classes import confusion_matrix, reliability_diagram
from ugmm.report.run.predictions.numbers import predicted_numbers, target_calibration

__all__ = [
    "confusion_matrix",
    "predicted_numbers",
    "reliability_diagram",
    "target_calibration",
]
