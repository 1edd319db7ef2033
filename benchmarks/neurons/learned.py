"""What components learn: how many weigh, how many speak, of what, and where their means go.

    python benchmarks/neurons/learned.py [--runs FOLDER] [--quick] [--write]

Networks are those of runs in the folder, and are trained there where they are missing. Each is
looked at as it was before its first step and as it ended, by the same training rows: all of Iris,
1,000 of MNIST.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from statistics import mean
from typing import NamedTuple

import torch
from results import read_options, show, table
from subjects import EXPERIMENTS, FOLDER, SEEDS, Trained, inputs_of, layers_of, train, trained_at
from torch import Tensor

from ugmm.data import Split
from ugmm.nn import UGMM, effective_number, responsibilities

ROWS = 1000
CHUNK = 2**24  # components at once
NEAR = 0.25  # of a pixel's values 0 and 1
MODES = ("near 0", "between", "near 1", "beyond")


class Layer(NamedTuple):
    """What is found of a layer by rows.

    Attributes:
        weights: The effective number of components by their weights, of each neuron, (M,).
        speaking: The same by responsibilities, the mean over rows, (M,).
        heaviest: The largest weight of each neuron, (M,).
        bits: What the component that speaks tells of the class, of each neuron, (M,).
        mean: Mean responsibilities, (M, N).
    """

    weights: Tensor
    speaking: Tensor
    heaviest: Tensor
    bits: Tensor
    mean: Tensor


@torch.no_grad()
def look(layer: UGMM, x: Tensor, y: Tensor) -> Layer:
    """Look at a layer by its inputs (rows, N) and the rows' labels."""
    weights = layer.logits.softmax(-1)
    by_class = torch.zeros(int(y.max()) + 1, *weights.shape, dtype=torch.float64)
    speaking, step = torch.zeros(len(weights)), max(1, CHUNK // weights.numel())
    for some, labels in zip(x.split(step), y.split(step), strict=True):
        r = responsibilities(layer, some)
        speaking += effective_number(r).sum(0)
        by_class.index_add_(0, labels, r.double())
    joint = by_class / len(x)
    return Layer(
        effective_number(weights),
        speaking / len(x),
        weights.amax(-1),
        information(joint),
        joint.sum(0).float(),
    )


def information(joint: Tensor) -> Tensor:
    """Return the mutual information of class and component, in bits: (C, M, N) to (M,)."""
    entropy = torch.special.entr
    of_class = entropy(joint.sum(2)).sum(0)
    of_component = entropy(joint.sum(0)).sum(-1)
    return (of_class + of_component - entropy(joint).sum((0, 2))) / torch.tensor(2.0).log()


def layer_rows(experiment: str, networks: Sequence[Trained]) -> list[list[str]]:
    """Return the lines of the table of layers."""
    found = []
    for each in networks:
        rows = each.rows("train", ROWS)
        for network in (each.before, each.after):
            layers = zip(layers_of(network), inputs_of(network, rows), strict=True)
            found.append([look(layer, x, rows.y) for layer, x in layers])
    begun, ended = found[::2], found[1::2]
    lines = []
    for i, layer in enumerate(layers_of(networks[0].after)):
        cells = [experiment, f"{layer.in_features} to {layer.out_features}"]
        for name, digits in (("weights", 1), ("speaking", 1), ("heaviest", 3), ("bits", 3)):
            for when in (begun, ended):
                values = [float(getattr(layers[i], name).median()) for layers in when]
                text = f"{mean(values):.{digits}f}"
                if when is ended:
                    text += f" ({min(values):.{digits}f} to {max(values):.{digits}f})"
                cells.append(text)
        lines.append(cells)
    return lines


@torch.no_grad()
def pixel_rows(networks: Sequence[Trained]) -> list[list[str]]:
    """Return the lines of the table of the means of a layer that sees pixels of 0 to 1."""
    lines = []
    for when in ("before", "after"):
        shares: dict[str, list[list[float]]] = {"components": [], "weight": [], "speaking": []}
        scales, dark = [], []
        for each in networks:
            layer, rows = layers_of(getattr(each, when))[0], each.rows("train", ROWS)
            modes = which_mode(layer.loc)
            weighed = {
                "components": torch.full_like(layer.loc, 1 / layer.loc.numel()),
                "weight": layer.logits.softmax(-1) / layer.out_features,
                "speaking": look(layer, rows.x, rows.y).mean / layer.out_features,
            }
            for name, weight in weighed.items():
                shares[name].append([float(weight[modes == m].sum()) for m in range(len(MODES))])
            scales.append(layer.scale.flatten().quantile(torch.tensor([0.05, 0.5, 0.95])))
            dark.append(spoken_in_the_dark(layer, rows.x))
        low, middle, high = torch.stack(scales).mean(0).tolist()
        for name, found in shares.items():
            cells = [f"{mean(column):.1%}" for column in zip(*found, strict=True)]
            own = [f"{middle:.2f} ({low:.2f} to {high:.2f})", f"{mean(dark):.1%}"]
            lines.append([when, name, *cells, *(own if name == "components" else ["", ""])])
    return lines


def which_mode(loc: Tensor) -> Tensor:
    """Number the place of means among `MODES`."""
    found = torch.full(loc.shape, MODES.index("beyond"))
    found[(loc > 0) & (loc < 1)] = MODES.index("between")
    found[loc.abs() <= NEAR] = MODES.index("near 0")
    found[(loc - 1).abs() <= NEAR] = MODES.index("near 1")
    return found


@torch.no_grad()
def spoken_in_the_dark(layer: UGMM, x: Tensor) -> float:
    """Return the share of the responsibility that components have whose pixel is 0."""
    step = max(1, CHUNK // layer.loc.numel())
    parts = [(responsibilities(layer, some).mean(1) * (some == 0)).sum() for some in x.split(step)]
    return float(sum(parts) / len(x))


@torch.no_grad()
def weight_of_pixels(networks: Sequence[Trained]) -> str:
    """Say which pixels the heavy components look at."""
    rank, on_constant, constant = [], [], []
    for each in networks:
        spread = each.rows("train").x.std(0)
        weight = layers_of(each.after)[0].logits.softmax(-1).mean(0)
        ranks = torch.stack([v.argsort().argsort().float() for v in (spread, weight)])
        rank.append(float(torch.corrcoef(ranks)[0, 1]))
        on_constant.append(float(weight[spread == 0].sum()))
        constant.append(float((spread == 0).float().mean()))
    return (
        f"The rank correlation of a pixel's standard deviation and its mean weight is "
        f"{mean(rank):.2f} ({min(rank):.2f} to {max(rank):.2f}). The pixels that are 0 in all "
        f"training rows, {mean(constant):.1%} of them, have {mean(on_constant):.1%} of the weight."
    )


@torch.no_grad()
def iris_rows(experiment: str, networks: Sequence[Trained]) -> list[list[str]]:
    """Return the lines of the table of means among the classes' own, of the four features."""
    lines = []
    for when in ("before", "after"):
        distances: list[list[float]] = [[], [], []]
        scales = []
        for each in networks:
            layer, rows = layers_of(getattr(each, when))[0], each.rows("train")
            n = rows.x.shape[1]
            found = from_classes(layer.loc[:, :n], rows)
            weight = layer.logits.softmax(-1)[:, :n]
            distances[0].append(float(found.median()))
            distances[1].append(float((found * weight).sum() / weight.sum()))
            others = torch.randn(10_000, n, generator=torch.Generator().manual_seed(0))
            spread = rows.x.std(0, correction=0)
            distances[2].append(float(from_classes(rows.x.mean(0) + spread * others, rows).mean()))
            scales.append(float((layer.scale[:, :n] / spread).median()))
        cells = [f"{mean(d):.2f} ({min(d):.2f} to {max(d):.2f})" for d in distances[:2]]
        cells += [f"{mean(each):.2f}" for each in (distances[2], scales)]
        lines.append([experiment, when, *cells])
    return lines


def from_classes(loc: Tensor, rows: Split) -> Tensor:
    """Return how far means (M, N) are from the nearest class's, in its standard deviations."""
    of_class = [rows.x[rows.y == c] for c in range(int(rows.y.max()) + 1)]
    means = torch.stack([x.mean(0) for x in of_class])
    spreads = torch.stack([x.std(0) for x in of_class])
    return ((loc.unsqueeze(1) - means) / spreads).abs().amin(1)


def main() -> None:
    """Look at all networks, and tabulate."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--runs", type=Path, default=FOLDER, help="of the networks")
    options = read_options(parser)
    seeds = SEEDS[:2] if options.quick else SEEDS
    networks = {
        name: [train(name, seed, options.runs, options.quick) for seed in seeds]
        for name in EXPERIMENTS
    }
    layers = [line for name in networks for line in layer_rows(name, networks[name])]
    text = [
        f"{len(seeds)} seeds of each experiment, mnist_disc with 15 epochs, "
        f"{trained_at([each for group in networks.values() for each in group])}. Medians over a "
        "layer's neurons: means over the seeds, and after training their least and greatest. "
        "Effective: the exponential of the entropy, of the weights or of a row's "
        "responsibilities. Bits: the mutual information of a row's class and the component that "
        "speaks, drawn by its responsibility; one that knows the class would tell 3.32 of MNIST, "
        "1.58 of Iris.",
        table(
            [
                "network", "layer", "effective weights, before", "after",
                "effective a row, before", "after", "heaviest weight, before", "after",
                "bits, before", "after",
            ],
            layers,
        ),
        f"The means of mnist_disc's first layer: within {NEAR} of a pixel's values 0 and 1, "
        "between these, and beyond. Of components, of their weight, and of what they are "
        "responsible for. Scales: median (5% to 95%). In the dark: the share of the "
        "responsibility of components whose pixel is 0 in that row.",
        table(
            ["", "share of", *MODES, "scale", "in the dark"], pixel_rows(networks["mnist_disc"])
        ),
        weight_of_pixels(networks["mnist_disc"]),
        "The first layers of Iris: how far a mean is from the nearest class's mean of its "
        "feature, in that class's standard deviations. By chance: means drawn from a normal "
        "distribution with the mean and spread of the feature. Scales are in standard deviations "
        "of the feature.",
        table(
            ["network", "", "median", "mean by weight", "by chance, mean", "scale, median"],
            [r for name in ("iris_disc", "iris_gen") for r in iris_rows(name, networks[name])],
        ),
    ]  # fmt: skip
    show("learned", "how many components, and what they learn", "\n\n".join(text), options.write)


if __name__ == "__main__":
    main()
