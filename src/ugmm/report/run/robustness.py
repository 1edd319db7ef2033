"""How a network fares on shifted images: accuracy and calibration by the size of the shift."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from ugmm.metrics import find_metric
from ugmm.report.style import FIRST, INK, SECOND, SERIES, new_figure, tidy

__all__ = ["robustness_curves", "robustness_tested"]


class _Line(NamedTuple):
    """A kind of shift: its panel's axis, colour and legend."""

    xlabel: str
    colour: str
    label: str


_LINES = {
    "rotated": _Line("rotation (degrees)", FIRST, "turned"),
    "filled": _Line("pixels not known (%)", SECOND, "replaced by their mean"),
    "missing": _Line("pixels not known (%)", SERIES[2], "left out"),
}


def robustness_tested(results: Mapping[str, float]) -> bool:
    """Whether there is something to draw."""
    return any(_sizes(results, kind) for kind in _LINES)


def robustness_curves(results: Mapping[str, float]) -> Figure:
    """Draw accuracy (above) and calibration error (below) by angle and by share of pixels.

    Args:
        results: See `ugmm.training.robustness`; and `test/...`, of images as they are.
    """
    metrics = [find_metric("accuracy"), find_metric("ece")]
    figure = new_figure(9, 6.2, "Test images turned, or known in part")
    panels = list(dict.fromkeys(line.xlabel for line in _LINES.values()))
    axes = figure.subplots(2, len(panels), sharey="row", sharex="col")
    for kind, line in _LINES.items():
        sizes = _sizes(results, kind)
        for row, metric in enumerate(metrics if sizes else ()):
            splits = ["test", *(f"{kind}_{size}" for size in sizes)]
            values = np.multiply([results[f"{s}/{metric.name}"] for s in splits], metric.factor)
            axes[row, panels.index(line.xlabel)].plot(
                [0, *sizes], values, "o-", color=line.colour, label=line.label
            )
    for row, metric in enumerate(metrics):
        for column, xlabel in enumerate(panels):
            panel = axes[row, column]
            tidy(panel, xlabel if row else "", "" if column else metric.axis)
            panel.set_ylim(-2, 102)
            if row == 0:
                panel.legend(fontsize=9, labelcolor=INK, frameon=False)
    return figure


def _sizes(results: Mapping[str, float], kind: str) -> list[int]:
    """The sizes of a kind of shift that were tested."""
    found = {key.partition("/")[0] for key in results if key.startswith(f"{kind}_")}
    return sorted(int(name.rpartition("_")[2]) for name in found)
