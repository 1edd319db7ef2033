"""A neuron, and layers of them: `python docs/figures/architecture.py light|dark FILE.svg`."""

import io
import sys
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle

from ugmm.report.style import INK, MUTED, SERIES
from ugmm.writing import write_atomic

WIDTH, HEIGHT = 8.0, 3.9  # inches; texts are large, so that a phone's width is enough for them


@dataclass(frozen=True)
class Ink:
    """What is written and drawn with on one kind of page."""

    text: str
    line: str
    paper: str
    series: tuple[str, ...]  # a colour an input


INKS = {
    "light": Ink(text=INK, line=MUTED, paper="#FFFFFF", series=SERIES[:4]),
    "dark": Ink("#E6E6E6", line="#9A9A9A", paper="#0D1117", series=(SERIES[4], *SERIES[1:4])),
}


@dataclass(frozen=True)
class Component:
    """One input of the neuron, and the component that looks at it, at a height of the page."""

    name: str
    y: float
    loc: float
    scale: float
    weight: float
    seen: float  # the value of the input


COMPONENTS = (
    Component("1", 2.46, 0.40, 0.12, 0.50, 0.50),
    Component("2", 1.52, 0.62, 0.08, 0.15, 0.50),
    Component("N", 0.18, 0.50, 0.17, 0.35, 0.64),
)


def draw(ink: Ink) -> bytes:
    """Return the picture, as an SVG that is the same each time."""
    figure = Figure(figsize=(WIDTH, HEIGHT))
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, WIDTH), ylim=(0, HEIGHT))
    axes.set_axis_off()
    _draw_neuron(axes, ink)
    _draw_layers(axes, ink)
    drawn = io.BytesIO()
    with rc_context({"svg.hashsalt": "ugmm"}):
        figure.savefig(
            drawn, format="svg", transparent=True, metadata={"Date": None, "Creator": None}
        )
    return drawn.getvalue()


def _draw_neuron(axes: Axes, ink: Ink) -> None:
    """A Gaussian over each input, weighed and summed."""
    left, width, tall, weights, centre = 0.64, 1.35, 0.68, 2.44, (3.24, 1.60)
    axes.text(1.95, 3.60, "one neuron", fontsize=19, color=ink.text, **_CENTRED)
    grid = np.linspace(0, 1, 200)
    for colour, part in zip(ink.series, COMPONENTS, strict=False):
        across, curve = left + width * grid, part.y + tall * _bell(grid, part)
        axes.plot([left, left + width], [part.y] * 2, color=ink.line, linewidth=1)
        axes.plot(across, curve, color=colour, linewidth=2.2)
        axes.fill_between(across, part.y, curve, color=colour, alpha=0.22, linewidth=0)
        x, y = left + width * part.seen, part.y + tall * _bell(part.seen, part)
        axes.plot([x, x], [part.y, y], color=ink.text, linewidth=1.3, linestyle=(0, (2, 2)))
        axes.plot([x], [y], "o", color=ink.text, markersize=5.5)
        middle = part.y + tall / 2
        axes.text(0.32, middle, f"$x_{part.name}$", fontsize=21, color=ink.text, **_CENTRED)
        axes.plot([left + width + 0.05, weights], [middle] * 2, color=colour, linewidth=1.4)
        ends = [weights, centre[0]], [middle, centre[1]]
        axes.plot(*ends, color=colour, linewidth=11 * part.weight)
        axes.add_patch(Circle((weights, middle), 0.27, fc=ink.paper, ec=colour, lw=1.8, zorder=3))
        weight = rf"$\pi_{part.name}$"
        axes.text(weights, middle, weight, fontsize=18, color=ink.text, zorder=4, **_CENTRED)
    for x in (0.32, left + width / 2, weights):
        axes.text(x, 1.17, "⋮", fontsize=18, color=ink.text, **_CENTRED)
    axes.add_patch(Circle(centre, 0.42, fc=ink.paper, ec=ink.text, lw=2, zorder=3))
    axes.text(*centre, r"$\log\Sigma$", fontsize=17, color=ink.text, zorder=4, **_CENTRED)
    arrow = {"arrowstyle": "-|>", "color": ink.text, "linewidth": 1.6, "mutation_scale": 14}
    axes.annotate("", (4.12, centre[1]), (3.66, centre[1]), arrowprops=arrow)
    axes.text(3.92, centre[1] + 0.22, "score", fontsize=13, color=ink.text, **_CENTRED)


def _draw_layers(axes: Axes, ink: Ink) -> None:
    """Columns of neurons, each of which sees the whole column before it."""
    axes.text(6.24, 3.60, "layers of neurons", fontsize=19, color=ink.text, **_CENTRED)
    columns = [
        [(x, y) for y in np.linspace(1.85 - high / 2, 1.85 + high / 2, count)]
        for x, count, high in ((4.72, 4, 2.2), (5.72, 5, 2.7), (6.70, 4, 2.1), (7.62, 3, 1.4))
    ]
    chosen = columns[1][3]
    for before, column in pairwise(columns):
        for end in column:
            for i, start in enumerate(reversed(before)):
                told = end == chosen
                axes.plot(
                    *zip(start, end, strict=True),
                    color=ink.series[i] if told else ink.line,
                    linewidth=2.6 if told else 0.7,
                    alpha=1 if told else 0.45,
                    zorder=1.5 if told else 1,
                )
    for x, y in columns[0]:
        axes.add_patch(Circle((x, y), 0.11, fc=ink.text, ec=ink.text, zorder=3))
    for column in columns[1:]:
        for x, y in column:
            _draw_glyph(axes, ink, x, y, told=(x, y) == chosen)
    for x, name in ((4.72, "inputs"), (6.21, "log-scores"), (7.55, "classes")):
        axes.text(x, 0.12, name, fontsize=15, color=ink.text, **_CENTRED)


def _draw_glyph(axes: Axes, ink: Ink, x: float, y: float, told: bool) -> None:
    """A neuron: a circle with a mixture in it."""
    edge = ink.text if told else ink.line
    axes.add_patch(Circle((x, y), 0.235, fc=ink.paper, ec=edge, lw=2.2 if told else 1.2, zorder=3))
    grid = np.linspace(-1, 1, 60)
    curve = np.exp(-0.5 * ((grid + 0.35) / 0.22) ** 2) + 0.55 * np.exp(
        -0.5 * ((grid - 0.4) / 0.2) ** 2
    )
    across, up = x + 0.17 * grid, y - 0.08 + 0.18 * curve
    axes.plot(across, up, color=ink.series[0], linewidth=1.6, zorder=4)


def _bell(x: np.ndarray | float, part: Component) -> np.ndarray | float:
    return np.exp(-0.5 * ((x - part.loc) / part.scale) ** 2)


_CENTRED = {"ha": "center", "va": "center"}

if __name__ == "__main__":
    write_atomic(Path(sys.argv[2]), draw(INKS[sys.argv[1]]))
