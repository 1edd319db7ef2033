"""How an ablation's metric falls as its networks, their data or their training grow."""

import math
from collections.abc import Callable, Mapping, Sequence
from statistics import fmean
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ugmm.errors import UserError
from ugmm.metrics import find_metric
from ugmm.report.escaping import for_plot
from ugmm.report.statistics import Record, paired_difference
from ugmm.report.study.variants import family_of, size_of
from ugmm.report.style import Look, find_look, label_log, new_figure, tidy
from ugmm.report.tables import format_count

__all__ = [
    "PowerLaw",
    "describe_scaling",
    "draw_scaling",
    "fit_scaling",
]


Places = dict[int, dict[str, tuple[float, float]]]  # by seed and variant


class PowerLaw(NamedTuple):
    """What of a family is proportional to a power of what grows.

    Attributes:
        family: The word that the names of its variants begin with.
        exponent: The mean over seeds of the slope of least squares, between logarithms.
        low: Where Student's 95% interval of that mean begins; None of a single seed.
        high: Where it ends.
        points: How many sizes it is fitted to.
    """

    family: str
    exponent: float
    low: float | None
    high: float | None
    points: int


def _find_loss(metric: str) -> tuple[str, Callable[[float], float]]:
    """Return the name of what falls as a metric gets better, and how it follows from the metric.

    Of one that should be large that is what it lacks of 1, as accuracy, F1 and R squared do; of a
    log-likelihood, which has no such bound, its negative.
    """
    known = find_metric(metric)
    if known.goal != "max":
        return metric, lambda value: value
    if known.unit == "nats":
        return f"-{metric}", lambda value: -value
    return f"1 - {metric}", lambda value: 1 - value


def _collect(records: Sequence[Record], metric: str, along: str) -> dict[str, Places]:
    """Return by family, seed and variant where a run is, or the mean of its folds.

    What has no logarithm is left out.
    """
    found: dict[str, Places] = {}
    for (family, seed, variant), (x, y) in _average(records, metric, along).items():
        if x > 0 and y > 0:
            found.setdefault(family, {}).setdefault(seed, {})[variant] = (x, y)
    return found


def _average(
    records: Sequence[Record], metric: str, along: str
) -> dict[tuple[str, int, str], tuple[float, float]]:
    """Return where each variant of a family is, seed by seed, in the mean over its folds."""
    _, loss_of = _find_loss(metric)
    folds: dict[tuple[str, int, str], list[tuple[float, float]]] = {}
    for record in records:
        if metric in record.summary and along in record.summary:
            at = (family_of(record.variant), record.seed, record.variant)
            place = (record.summary[along], loss_of(record.summary[metric]))
            folds.setdefault(at, []).append(place)
    return {
        at: (fmean(x for x, _ in places), fmean(y for _, y in places))
        for at, places in folds.items()
    }


def fit_scaling(records: Sequence[Record], metric: str, along: str) -> list[PowerLaw]:
    r"""Fit :math:`\text{loss} \propto x^a` to each family, a seed at a time.

    Args:
        records: The runs; a variant belongs to the family that is the first word of its name.
        metric: What falls; of one that should be large, what it lacks of 1, or its negative.
        along: What grows, a key of the summaries, such as `parameters`.

    Returns:
        a law for each family that has two sizes or more.
    """
    laws = []
    for family, seeds in _collect(records, metric, along).items():
        slopes: dict[int, float] = {}
        for seed, variants in seeds.items():
            x, y = np.log(np.array([*variants.values()])).T
            if len(set(x)) > 1:
                slopes[seed] = float(np.polyfit(x, y, 1)[0])
        if spread := paired_difference(slopes, dict.fromkeys(slopes, 0.0)):
            points = max(map(len, seeds.values()))
            laws.append(PowerLaw(family, spread.mean, spread.low, spread.high, points))
    return laws


def describe_scaling(records: Sequence[Record], metric: str, along: str) -> list[str]:
    """Return sentences on the law of each family, and on points that have no place in one.

    Where families have other sizes than one another, there are laws over their common ones, too.

    Args:
        records: See `fit_scaling`, as for the others.
        metric: What falls.
        along: What grows.

    Raises:
        UserError: If no point has a logarithm.
    """
    loss, _ = _find_loss(metric)
    powers = [(law, f"{law.points} sizes") for law in fit_scaling(records, metric, along)]
    common = _keep_common_sizes(records)
    if len(common) < len(records):
        laws = fit_scaling(common, metric, along)
        powers += [(law, f"the {law.points} sizes that all families have") for law in laws]
    said = [
        f"{law.family}: {loss} goes as {along} to the power {law.exponent:.2f}"
        + (f" ({law.low:.2f} to {law.high:.2f})" if law.low is not None else "")
        + f", over {sizes}."
        for law, sizes in powers
    ]
    return said + _describe_left_out(records, metric, along)


def _keep_common_sizes(records: Sequence[Record]) -> list[Record]:
    """Return the runs of sizes that every family has."""
    sizes: dict[str, set[str]] = {}
    for record in records:
        sizes.setdefault(family_of(record.variant), set()).add(size_of(record.variant))
    common = set.intersection(*sizes.values())
    return [record for record in records if size_of(record.variant) in common]


def _describe_left_out(records: Sequence[Record], metric: str, along: str) -> list[str]:
    """Return a sentence on the points that have no logarithm, if there are any.

    Raises:
        UserError: If no point has one.
    """
    places, (loss, _) = _average(records, metric, along).values(), _find_loss(metric)
    left_out = sum(not (x > 0 and y > 0) for x, y in places)
    if left_out == len(places):
        raise UserError(
            f"nothing is left to show along {along}: no run has {along} and {loss} above 0, and "
            "so a logarithm; choose another metric, or take `along` out"
        )
    if not left_out:
        return []
    return [
        f"Left out along {along}: {left_out} of {format_count(len(places), 'point')}, where "
        f"{loss} or {along} is not above 0 and has no logarithm."
    ]


def draw_scaling(records: Sequence[Record], metric: str, along: str, title: str) -> Figure:
    """Draw the loss against what grows, and against the seconds of training; both as logarithms.

    A dot is a run; lines join the geometric means of the variants of a family.
    """
    loss, _ = _find_loss(metric)
    axes_of = [along, *(["seconds"] if along != "seconds" else [])]
    figure = new_figure(5.2 * len(axes_of), 4.4, for_plot(title))
    grid = figure.subplots(1, len(axes_of), squeeze=False)[0]
    for axes, x_name in zip(grid, axes_of, strict=True):
        axes.set_xscale("log")
        axes.set_yscale("log")
        found = _collect(records, metric, x_name)
        for number, (family, seeds) in enumerate(found.items()):
            _draw_family(axes, family, [*seeds.values()], find_look(number))
        tidy(axes, find_metric(x_name).axis, loss)
        label_log(axes.xaxis, *axes.get_xlim())
        label_log(axes.yaxis, *axes.get_ylim())
        axes.legend(frameon=False, fontsize=9)
    return figure


def _draw_family(
    axes: Axes, family: str, seeds: Sequence[Mapping[str, tuple[float, float]]], look: Look
) -> None:
    variants: dict[str, list[tuple[float, float]]] = {}
    for of_seed in seeds:
        for variant, place in of_seed.items():
            variants.setdefault(variant, []).append(place)
    means = sorted(_geometric_mean(places) for places in variants.values())
    colour, style = look
    axes.plot(*zip(*means, strict=True), linestyle=style, color=colour, label=for_plot(family))
    dots = [place for places in variants.values() for place in places]
    axes.plot(*zip(*dots, strict=True), "o", markersize=3.5, alpha=0.45, color=colour)


def _geometric_mean(places: Sequence[tuple[float, float]]) -> tuple[float, float]:
    x, y = (math.exp(fmean(map(math.log, values))) for values in zip(*places, strict=True))
    return x, y
