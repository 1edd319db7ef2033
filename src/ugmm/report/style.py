"""How every figure looks, and writing one to disk."""

import io
import os
import textwrap
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from ugmm.report.escaping import for_plot
from ugmm.writing import make_folder, write_atomic

__all__ = [
    "EMPTY",
    "FIRST",
    "INK",
    "MUTED",
    "SECOND",
    "SERIES",
    "Look",
    "find_look",
    "label_log",
    "new_figure",
    "save",
    "shorten",
    "tidy",
]

# Okabe and Ito's colours, told apart under every common colour blindness; their yellow is too
# pale for a line on white, so a wine red stands in for it.
FIRST, SECOND = "#0072B2", "#D55E00"
SERIES = (FIRST, "#E69F00", "#009E73", "#CC79A7", "#56B4E9", SECOND, "#882255", "#8C8C8C")
_DPI = 150
_LETTERS, _LINE = 11, 0.2  # of a title: letters to an inch, and the inches that a line takes
_MOST_POINTS = 2000  # of a vector graphic: some 100 bytes each
_UNDATED = {"pdf": {"CreationDate": None}, "svg": {"Date": None}}
INK, MUTED, EMPTY = "#222222", "#6B6B6B", "#EDEDED"


class Look(NamedTuple):
    """How one of several lines looks.

    Attributes:
        colour: Of `SERIES`.
        style: matplotlib's style of a line.
    """

    colour: str
    style: Any

    @property
    def is_solid(self) -> bool:
        """Whether it is one of those that a colour tells apart."""
        return bool(self.style == "-")


def find_look(number: int) -> Look:
    """Return how the line of a number, from 0, looks: like that of no other number.

    Solid in each colour, then dashed, then dashed with a dot in each gap, with two dots ...
    """
    times, place = divmod(number, len(SERIES))
    return Look(SERIES[place], (0, (4, 2, *[1, 2] * (times - 1))) if times else "-")


def new_figure(width: float, height: float, title: str) -> Figure:
    """Return an empty white figure of `width` x `height` inches that keeps its texts apart.

    A title that is too long for one line takes more, and the figure grows by them.
    """
    given = title.split("\n")
    lines = [part for line in given for part in textwrap.wrap(line, int(_LETTERS * width)) or [""]]
    height, title = height + _LINE * (len(lines) - len(given)), "\n".join(lines)
    figure = Figure(figsize=(width, height), facecolor="white", dpi=_DPI)
    figure.set_layout_engine("constrained", w_pad=0.1, h_pad=0.08)  # inches
    figure.suptitle(title, fontsize=12, color=INK)
    return figure


def tidy(axes: Axes, xlabel: str = "", ylabel: str = "", title: str = "") -> None:
    """Label `axes` and take away what carries no data.

    Everything is set here and not through matplotlib's global settings, so drawing a report
    changes nothing for the caller and a caller's style sheet changes nothing in the report.
    """
    axes.set_facecolor("white")
    axes.set_xlabel(xlabel, fontsize=10, color=INK)
    axes.set_ylabel(ylabel, fontsize=10, color=INK)
    axes.set_title(title, fontsize=10, color=INK)
    axes.tick_params(labelsize=9, color=MUTED, labelcolor=INK)
    axes.grid(visible=True, color=EMPTY, linewidth=0.8)
    axes.set_axisbelow(True)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(MUTED)


def label_log(axis: Axis, low: float, high: float) -> None:
    """Label a logarithmic axis from `low` to `high` as 0.1, 0.2, 0.5, 1 or, if long, 0.1, 1."""
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if high < 200 * low else (1.0,)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.12g}"))
    axis.set_minor_locator(NullLocator())


def shorten(name: str, most: int = 24) -> str:
    """Return a name for a figure, cut to `most` letters if it is longer."""
    return for_plot(name if len(name) <= most else f"{name[: most - 1]}…")


def save(figure: Figure, path: str | os.PathLike[str]) -> None:
    """Write `figure` to `path`: all of it, or (when drawing fails) nothing.

    What ends in .pdf or .svg is written so, everything else as a PNG. Thousands of points are
    pixels in a PDF or an SVG too, or it would be slow to open.

    The folder is made if it is missing; an older picture is replaced in one step, so that whoever
    looks at it meanwhile sees the old or the new one and never half a file.
    """
    path = Path(path)
    kind = path.suffix[1:].lower()
    drawn = io.BytesIO()
    if figure.axes and (layout := figure.get_layout_engine()) is not None:
        layout.execute(figure)
        figure.set_layout_engine("none")  # or it would all be drawn twice
    if kind not in _UNDATED:
        figure.savefig(drawn, format="png", dpi=_DPI, facecolor="white")
    else:
        _rasterize_many_points(figure)
        # Fonts that publishers take; and the same figure gives the same file.
        with mpl.rc_context({"pdf.fonttype": 42, "svg.hashsalt": "ugmm"}):
            figure.savefig(
                drawn, format=kind, dpi=2 * _DPI, facecolor="white", metadata=_UNDATED[kind]
            )
    make_folder(path.parent)
    write_atomic(path, drawn.getvalue())


def _rasterize_many_points(figure: Figure) -> None:
    """Mark points to be drawn as pixels, if a figure has very many."""
    artists = figure.findobj()
    lines = [a for a in artists if isinstance(a, Line2D) and a.get_linestyle() == "None"]
    clouds = [a for a in artists if isinstance(a, PathCollection)]
    points = sum(np.size(line.get_xdata()) for line in lines)
    points += sum(np.size(cloud.get_offsets()) // 2 for cloud in clouds)
    if points > _MOST_POINTS:
        for artist in (*lines, *clouds):
            artist.set_rasterized(True)
