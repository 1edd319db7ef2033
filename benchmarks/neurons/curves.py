"""What is left of a network from which components are taken: its curves, and its times."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import results  # noqa: F401  (where `common` is found)
import torch
from subjects import layers_of, told
from torch import Tensor, nn

from common import Lap, Step, Timing, alternate, between, now
from ugmm.kernels.prepared import Prepared
from ugmm.nn import Classifier
from ugmm.nn.mixture import prepared
from ugmm.report.style import MUTED, SERIES, new_figure, save, tidy

__all__ = ["Curve", "Found", "cell", "draw", "times"]


class Found(NamedTuple):
    """Of a network on some rows."""

    accuracy: float
    nll: float


def cell(found: Sequence[Found]) -> str:
    """Return accuracies in percent and negative log-likelihoods, over seeds."""
    accuracy = told([each.accuracy for each in found], 2, 100)
    return f"{accuracy}, {told([each.nll for each in found], 3)}"


class Curve(NamedTuple):
    """What is left after pruning a scope by weight, by shares: of each seed."""

    scope: str
    mended: bool
    val: dict[float, list[Found]]
    test: dict[float, list[Found]]


def draw(found: Sequence[Curve], path: Path) -> None:
    """Draw accuracy and negative log-likelihood against the share that is pruned."""
    figure = new_figure(9.6, 4.2, "mnist_disc without most of its components, on test rows")
    for axes, name in zip(figure.subplots(1, 2), Found._fields, strict=True):
        for i, curve in enumerate(found):
            shares = [share for share in curve.test if share]
            values = [[getattr(f, name) for f in curve.test[share]] for share in shares]
            factor = 100 if name == "accuracy" else 1
            ways = {"marker": "o", "markersize": 4, "color": SERIES[(0, 5)[i // 2]]}
            style = "-" if curve.mended else (0, (3, 2))
            label = curve.scope + (", and an epoch of training" if curve.mended else "")
            kept = [100 * (1 - share) for share in shares]
            means = [factor * sum(v) / len(v) for v in values]
            axes.plot(kept, means, linestyle=style, label=label, **ways)
        whole = [getattr(f, name) for f in found[0].test[0.0]]
        axes.axhline(factor * sum(whole) / len(whole), color=MUTED, linewidth=1)
        axes.set_xscale("log")
        axes.set_xticks([1, 5, 10, 25, 50], ["1", "5", "10", "25", "50"])
        axes.minorticks_off()
        axes.invert_xaxis()
        labels = {"accuracy": "test accuracy, %", "nll": "test nll, nats"}
        tidy(axes, "components that are left, %", labels[name])
        if name == "nll":
            axes.set_yscale("log")
            axes.set_yticks(
                [0.1, 0.2, 0.5, 1, 2, 5, 10], ["0.1", "0.2", "0.5", "1", "2", "5", "10"]
            )
            axes.minorticks_off()
            axes.legend(fontsize=8, frameon=False, loc="upper left")
        else:
            axes.set_ylim(80, 100)
    save(figure, path)


def times(contenders: Mapping[float, Classifier], x: Tensor, seconds: float) -> list[list[str]]:
    """Return the lines of the table of times: a forward pass of these rows, and of random ones.

    Args:
        contenders: Networks by the share that they have lost, the whole one among them.
        x: Rows.
        seconds: For all of it.
    """
    dense, steps = torch.rand(x.shape, generator=torch.Generator().manual_seed(0)), {}
    for kind, rows in (("digits", x), ("no zeros", dense)):
        for share, network in contenders.items():
            steps[kind, share] = timed(network, rows)
    laps, failed = alternate(steps, seconds)
    if failed:
        raise SystemExit(f"failed: {failed}")
    lines = []
    for share, network in contenders.items():
        cells = []
        for kind in ("digits", "no zeros"):
            ours, first = (Timing.of(laps[kind, s]).cpu.median for s in (share, 0.0))
            cells += [f"{1000 * ours:.1f}", f"{first / ours:.1f}x"]
        left = sum(int((layer.logits > -math.inf).sum()) for layer in layers_of(network))
        lines.append([f"{share:.0%}", f"{left:,}", *cells])
    return lines


def timed(network: Classifier, x: Tensor) -> Step:
    """A step: one forward pass, with what is made of the parameters once."""
    kept: dict[nn.Module, Prepared] = {}

    @torch.no_grad()
    def step() -> list[Lap]:
        with prepared(network, kept):
            start = now()
            network(x)
            return between(start, now())

    return step
