"""The picture of the benchmarks: `docs/images/speed.png`."""

from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

import layers
import scaling
import steps
from cases import NOW
from ugmm.report.style import FIRST, INK, MUTED, SERIES, label_log, new_figure, save, tidy

GREY = "#B8B8B8"
MS = "ms of one thread, log scale"
SHOWN = (layers.FIRST, layers.FEW, layers.LARGE)

Record = dict[str, Any]


def draw(machine: str, records: list[Record], path: Path) -> None:
    """Draw what was measured of this tree.

    Args:
        machine: What it was measured on.
        records: Of all parts; a part that is missing leaves its panel empty.
        path: The PNG file.
    """
    figure = new_figure(12.5, 9.2, f"Speed on {machine}, float32")
    (left, right), (lower_left, lower_right) = figure.subplots(2, 2)
    by_part: dict[str, list[Record]] = {}
    for record in records:
        if record["tree"] == NOW:
            by_part.setdefault(record["part"], []).append(record)
    _draw_layers(left, by_part.get("layers", []))
    _draw_steps(right, by_part.get("steps", []))
    _draw_scaling(lower_left, by_part.get("scaling", []))
    _draw_memory(lower_right, by_part.get("memory", []))
    save(figure, path)


def _draw_layers(axes: Axes, records: list[Record]) -> None:
    groups = []
    for size in map(layers.name_of, SHOWN):
        hidden = (layers.LINEAR, layers.LIMIT + layers.NO_DX)
        found = [r for r in records if r["case"] == size and r["contender"] not in hidden]
        groups.append((size.replace("x", " x "), _bars_of(found)))
    tidy(axes, MS, title="One layer (batch x out x in), forward and backward")
    _bars(axes, groups)


def _draw_steps(axes: Axes, records: list[Record]) -> None:
    found = [r for r in records if r["case"] == steps.TRAINING]
    tidy(axes, MS, title="One training step of mnist_disc and of its peers")
    _bars(axes, [(f"batch {steps.BATCH}", _bars_of(found))])


def _bars_of(records: list[Record]) -> list[tuple[str, float, str]]:
    """Bars: (name, seconds, colour) each."""
    colours = {layers.OURS: FIRST, layers.LIMIT: SERIES[2]}
    return [
        (r["contender"], r["seconds"], colours.get(layers.kind_of(r["contender"]), GREY))
        for r in records
    ]


def _bars(axes: Axes, groups: list[tuple[str, list[tuple[str, float, str]]]]) -> None:
    """Horizontal bars in milliseconds, in titled groups."""
    position, places, names = 0.0, [], []
    groups = [(title, bars) for title, bars in groups if bars]
    for title, bars in groups:
        # A title stands at the left edge, whatever the scale.
        edge = {"transform": axes.get_yaxis_transform(), "va": "center", "color": INK}
        axes.text(0.0, position, title, fontsize=9, fontweight="bold", **edge)
        position += 0.9
        for name, seconds, colour in bars:
            value = 1e3 * seconds
            axes.barh(position, value, 0.74, color=colour)
            axes.text(value * 1.12, position, _short(value), va="center", fontsize=8, color=INK)
            places.append(position)
            names.append(name)
            position += 0.9
        position += 0.3
    values = [1e3 * seconds for _, bars in groups for _, seconds, _ in bars] or [1.0]
    axes.set_xscale("log")
    axes.set_xlim(min(values) / 2, max(values) * 3)
    label_log(axes.xaxis, min(values), max(values))
    axes.set_ylim(position, -0.7)
    axes.yaxis.set_major_locator(FixedLocator(places))
    axes.set_yticklabels(names)
    axes.grid(visible=False, axis="y")


def _short(value: float) -> str:
    """Three digits, and never an exponent."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _draw_scaling(axes: Axes, records: list[Record]) -> None:
    """Time against the components of a step: a straight line is a constant rate."""
    counts = sorted({r["contender"] for r in records}, key=lambda name: int(name.split()[0]))
    for colour, what in zip(SERIES, scaling.SWEEPS, strict=False):
        for threads in counts:
            found = [
                (scaling.components(r["case"]), 1e3 * r["seconds"])
                for r in records
                if r["contender"] == threads and r["case"].startswith(what)
            ]
            axes.plot(
                *zip(*found, strict=True),
                "o--" if threads == counts[0] else "o-",
                color=colour,
                linewidth=1.4,
                markersize=3.5,
                label=f"{what} grows, {threads}",
            )
    tidy(
        axes,
        "components of a step, log scale",
        "ms on the wall, log scale",
        "Forward and backward of a network as it grows",
    )
    if not records:
        return
    axes.set_xscale("log")
    axes.set_yscale("log")
    times = [1e3 * r["seconds"] for r in records]
    label_log(axes.yaxis, min(times), max(times))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v / 1e6:,.12g} M"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.legend(fontsize=9, frameon=False, labelcolor=INK)


def _draw_memory(axes: Axes, records: list[Record]) -> None:
    cubes = [r for r in records if r["case"] == layers.name_of([r["n"]] * 3)]
    sizes = [r["n"] for r in cubes]
    lines = (
        ("one (batch, out, in) tensor; eager code holds 8", "one", MUTED),
        ("inputs, outputs, parameters and gradients", "tensors", SERIES[2]),
        ("the extra memory of ours", "extra", FIRST),
    )
    for label, key, colour in lines:
        values = [r[key] for r in cubes]
        axes.plot(sizes, values, "o-", color=colour, linewidth=1.6, markersize=4, label=label)
    tidy(axes, "batch = out = in", "MiB, log scale", "Memory of one layer, forward and backward")
    if not cubes:
        return
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    label_log(axes.yaxis, 1, 1e5)
    axes.xaxis.set_major_locator(FixedLocator(sizes))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:.0f}"))
    axes.legend(fontsize=9, frameon=False, labelcolor=INK)
