"""The picture of the benchmarks: `docs/images/speed.png`."""

from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from ugmm.report.style import FIRST, INK, MUTED, SERIES, label_log, new_figure, save, tidy

GREY = "#B8B8B8"


def draw(parts: dict[str, Any], path: Path) -> None:
    """Draw what parts were measured.

    Args:
        parts: The content of the parts' JSON files, by part: `kernels`, `steps` and `scaling`.
        path: The PNG file.
    """
    figure = new_figure(12.5, 8.6, f"Speed on {parts['kernels']['machine']}, float32")
    (left, right), (lower_left, lower_right) = figure.subplots(2, 2)
    _draw_layers(left, parts["kernels"]["data"])
    _draw_steps(right, parts["steps"]["data"])
    _draw_scaling(lower_left, parts["scaling"]["data"]["sweeps"])
    _draw_memory(lower_right, parts["scaling"]["data"]["cubes"])
    save(figure, path)


def _bars(axes: Axes, groups: list[tuple[str, list[tuple[str, float, str]]]]) -> None:
    """Horizontal bars in milliseconds, in titled groups: (name, seconds, colour) each."""
    position, places, names = 0.0, [], []
    longest = max(1e3 * seconds for _, bars in groups for _, seconds, _ in bars)
    for title, bars in groups:
        axes.text(
            0.0,
            position,
            title,
            transform=axes.get_yaxis_transform(),
            fontsize=9,
            color=INK,
            fontweight="bold",
            va="center",
        )
        position += 0.9
        for name, seconds, colour in bars:
            axes.barh(position, 1e3 * seconds, 0.74, color=colour)
            axes.text(
                1e3 * seconds * 1.12,
                position,
                _short(1e3 * seconds),
                va="center",
                fontsize=8,
                color=INK,
            )
            places.append(position)
            names.append(name)
            position += 0.9
        position += 0.3
    axes.set_xscale("log")
    shortest = min(1e3 * seconds for _, bars in groups for _, seconds, _ in bars)
    axes.set_xlim(shortest / 2, longest * 3)
    label_log(axes.xaxis, shortest, 1000 * shortest)
    axes.set_ylim(position, -0.7)
    axes.yaxis.set_major_locator(FixedLocator(places))
    axes.set_yticklabels(names)


def _short(value: float) -> str:
    """Three digits, and never an exponent."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _draw_layers(axes: Axes, sizes: list[dict[str, Any]]) -> None:
    groups = []
    for measured in (m for m in sizes if max(m["size"]) >= 784):
        bars = [
            (c["name"], c["seconds"], FIRST if "cpu" in c["name"] else GREY)
            for c in measured["contenders"]
        ]
        bars.append(("the machine's limit", measured["limit"], SERIES[2]))
        groups.append((" x ".join(map(str, measured["size"])), bars))
    tidy(axes, "ms, log scale", title="One layer (batch x out x in), forward and backward")
    _bars(axes, groups)
    axes.grid(visible=False, axis="y")


def _draw_steps(axes: Axes, steps: list[dict[str, Any]]) -> None:
    groups = []
    for batch in dict.fromkeys(step["batch"] for step in steps):
        bars = [
            (s["name"], s["seconds"], FIRST if s["name"].startswith("ugmm") else GREY)
            for s in steps
            if s["batch"] == batch
        ]
        groups.append((f"batch {batch}", bars))
    tidy(axes, "ms, log scale", title="One training step of 784-128-64-10")
    _bars(axes, groups)
    axes.grid(visible=False, axis="y")


def _draw_scaling(axes: Axes, points: list[dict[str, Any]]) -> None:
    """Time against the components of a step: a straight line is a constant rate."""
    most = max(point["threads"] for point in points)
    for colour, what in zip(SERIES, ("batch", "width", "depth"), strict=False):
        for threads in sorted({1, most}):
            found = [p for p in points if p["what"] == what and p["threads"] == threads]
            axes.plot(
                [p["components"] for p in found],
                [1e3 * p["seconds"] for p in found],
                "o-" if threads > 1 else "o--",
                color=colour,
                linewidth=1.4,
                markersize=3.5,
                label=f"{what} doubles, {threads} thread" + "s" * (threads > 1),
            )
    tidy(
        axes,
        "components of a step, log scale",
        "ms, log scale",
        "Forward and backward of a network as it grows",
    )
    axes.set_xscale("log")
    axes.set_yscale("log")
    times = [1e3 * p["seconds"] for p in points]
    label_log(axes.yaxis, min(times), 1000 * min(times))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v / 1e6:,.12g} M"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.legend(fontsize=9, frameon=False, labelcolor=INK)


def _draw_memory(axes: Axes, cubes: list[dict[str, Any]]) -> None:
    lines = (
        ("one (batch, out, in) tensor; eager holds 8", "eager", MUTED),
        ("our extra memory", "extra", FIRST),
        ("batch x (in + out) + in x out floats", "unit", SERIES[2]),
    )
    sizes = [cube["n"] for cube in cubes]
    for label, key, colour in lines:
        axes.plot(
            sizes,
            [cube[key] for cube in cubes],
            "o-",
            color=colour,
            linewidth=1.6,
            markersize=4,
            label=label,
        )
    tidy(axes, "batch = out = in", "MiB, log scale", "Memory of one layer beyond its tensors")
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    label_log(axes.yaxis, 1, 1e5)
    axes.xaxis.set_major_locator(FixedLocator(sizes))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:.0f}"))
    axes.legend(fontsize=9, frameon=False, labelcolor=INK)
