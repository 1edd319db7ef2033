"""What components are worth: networks from which most are taken, and how much faster they are.

    python benchmarks/neurons/pruning.py [--runs FOLDER] [--quick] [--write] [--picture OUT]

Networks are those of `learned.py`. Components are chosen by their weights, by their mean
responsibilities on 10,000 training rows, or at random. Of a neuron whose components are taken out
the others renormalise, or do not: then the logarithm of the weight that is left is added to its
score. Everything is decided on validation rows; test rows are scored once, for the way that was
decided on.
"""

import argparse
import copy
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from curves import Curve, Found, cell, draw, times
from results import read_options, show, table
from subjects import (
    EXPERIMENTS,
    FOLDER,
    SEEDS,
    Trained,
    inputs_of,
    layers_of,
    told,
    train,
    trained_at,
)
from torch import Tensor, nn
from torch.nn import functional as F

from ugmm.data import Split
from ugmm.density import TiltedGaussian
from ugmm.nn import Classifier, prune_components
from ugmm.tasks.optimization import make_optimizer

PRUNED = (0.5, 0.75, 0.9, 0.95, 0.99)
TUNED = (0.9, 0.99)
RATES = (0.005, 0.02)  # of the epoch that mends
CRITERIA = ("weight", "responsibility", "random")
SCOPES = ("first layer", "all layers")
JUDGED = 10_000  # training rows whose responsibilities are asked for
Importance = Mapping[nn.Module, Tensor]


@torch.no_grad()
def test(network: Classifier, rows: Split) -> Found:
    """Score rows."""
    with network.prepared():
        scores = torch.cat([network.class_scores(x) for x in rows.x.split(1000)])
    right = (scores.argmax(-1) == rows.y).float().mean()
    return Found(float(right), float(F.cross_entropy(scores, rows.y)))


def mean_responsibilities(network: Classifier, rows: Split) -> list[Tensor]:
    """Return each layer's, (M, N): weights, and the gradient of the mean score by the logits."""
    found = []
    for layer, x in zip(layers_of(network), inputs_of(network, rows), strict=True):
        (gradient,) = torch.autograd.grad(layer(x).sum(0).sum() / len(x), layer.logits)
        found.append(layer.logits.detach().softmax(-1) + gradient)
    return found


def importance(network: Classifier, rows: Split, criterion: str) -> list[Tensor]:
    """Return by what the components of each layer are chosen."""
    if criterion == "weight":
        return [layer.logits.detach().clone() for layer in layers_of(network)]
    if criterion == "responsibility":
        return mean_responsibilities(network, rows)
    generator = torch.Generator().manual_seed(0)
    return [torch.rand(each.loc.shape, generator=generator) for each in layers_of(network)]


def prune(network: Classifier, share: float, chosen: Sequence[Tensor], scope: str) -> Classifier:
    """Return a copy without a share of the components of its first layer, or of all."""
    pruned = copy.deepcopy(network)
    layers = layers_of(pruned)[: 1 if scope == SCOPES[0] else None]
    prune_components(pruned, 1 - share, dict(zip(layers, chosen, strict=False)))
    if isinstance(pruned, TiltedGaussian):
        pruned.normalize()
    return pruned


def prune_by_weight(network: Classifier, share: float, scope: str = "all layers") -> Classifier:
    """Return a copy without the lightest components."""
    return prune(network, share, [layer.logits.detach() for layer in layers_of(network)], scope)


def shifted(network: Classifier, original: Classifier) -> Classifier:
    """Return a copy whose neurons do not renormalise: scores lose what was taken out."""
    copied = copy.deepcopy(network)
    for layer, whole in zip(layers_of(copied), layers_of(original), strict=True):
        left = layer.logits > -math.inf
        log_kept = whole.logits.detach().log_softmax(-1).where(left, -math.inf).logsumexp(-1)

        def shift(
            _layer: nn.Module, _args: object, scores: Tensor, by: Tensor = log_kept
        ) -> Tensor:
            return scores + by

        layer.register_forward_hook(shift)
    return copied


def mend(network: Classifier, rows: Split, rate: float, quick: bool) -> Classifier:
    """Return a copy after an epoch more, as mnist_disc trains, at a rate that falls to 0."""
    tuned = copy.deepcopy(network).train()
    torch.manual_seed(0)
    batches = torch.randperm(len(rows.x)).split(256)[: 3 if quick else None]
    optimizer = make_optimizer(tuned, "adam", lr=rate)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, len(batches))
    for batch in batches:
        scores = tuned.class_scores(rows.x[batch])
        optimizer.zero_grad()
        F.cross_entropy(scores, rows.y[batch], label_smoothing=0.05).backward()
        optimizer.step()
        schedule.step()
    return tuned.eval()


def compare_criteria(networks: Sequence[Trained]) -> list[list[str]]:
    """Return the lines of the table of criteria, on validation rows."""
    lines = []
    chosen = [
        {c: importance(n.after, n.rows("train", JUDGED), c) for c in CRITERIA} for n in networks
    ]
    for scope in SCOPES:
        for criterion in CRITERIA:
            cells: dict[str, list[str]] = {"yes": [], "no": []}
            for share in PRUNED:
                found: dict[str, list[Found]] = {"yes": [], "no": []}
                for n, by in zip(networks, chosen, strict=True):
                    pruned, rows = prune(n.after, share, by[criterion], scope), n.rows("val")
                    found["yes"].append(test(pruned, rows))
                    found["no"].append(test(shifted(pruned, n.after), rows))
                for way, results in found.items():
                    cells[way].append(cell(results))
            lines += [[scope, criterion, way, *cells[way]] for way in cells]
            print(*lines[-2], *lines[-1], sep="\n", flush=True)
    return lines


def curves(networks: Sequence[Trained], rate: float, quick: bool) -> list[Curve]:
    """Prune by weight, without and with an epoch that mends; score validation and test rows."""
    whole = [[test(n.after, n.rows(split)) for n in networks] for split in ("val", "test")]
    found = []
    for scope in SCOPES:
        for mended in (False, True):
            curve = Curve(scope, mended, {0.0: whole[0]}, {0.0: whole[1]})
            for share in TUNED if mended else PRUNED:
                results: list[list[Found]] = [[], []]
                for n in networks:
                    pruned = prune(
                        n.after, share, importance(n.after, n.rows("val"), "weight"), scope
                    )
                    if mended:
                        pruned = mend(pruned, n.rows("train"), rate, quick)
                    for split, into in zip(("val", "test"), results, strict=True):
                        into.append(test(pruned, n.rows(split)))
                curve.val[share], curve.test[share] = results
                print(scope, mended, share, cell(results[0]), flush=True)
            found.append(curve)
    return found


def choose_rate(networks: Sequence[Trained], quick: bool) -> tuple[float, str]:
    """Return the better rate of the epoch that mends, by a seed's validation rows."""
    first = networks[0]
    pruned = prune_by_weight(first.after, 0.9)
    rows = first.rows("val")
    tried = {r: test(mend(pruned, first.rows("train"), r, quick), rows).nll for r in RATES}
    best = min(tried, key=lambda rate: tried[rate])
    said = ", ".join(f"{rate:g}: {nll:.3f}" for rate, nll in tried.items())
    return best, said


def small_rows(runs: Path, seeds: Sequence[int], quick: bool) -> list[list[str]]:
    """Return the lines of the table of Iris, on test rows: all layers, by weight."""
    lines = []
    for name in ("iris_disc", "iris_gen"):
        networks = [train(name, seed, runs, quick) for seed in seeds]
        for share in (0.0, 0.25, 0.5, 0.75):
            found, densities = [], []
            for n in networks:
                rows = n.rows("test")
                pruned = prune_by_weight(n.after, share) if share else n.after
                found.append(test(pruned, rows))
                if isinstance(pruned, TiltedGaussian):
                    with torch.no_grad():
                        densities.append(float(pruned(rows.x, rows.y).mean()))
            density = told(densities, 2) if densities else ""
            lines.append([name, f"{share:.0%}", cell(found), density])
    return lines


def main() -> None:
    """Prune all networks, and tabulate."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--runs", type=Path, default=FOLDER, help="of the networks")
    parser.add_argument("--picture", type=Path, metavar="OUT", help="draw what is lost, too")
    options = read_options(parser)
    seeds = SEEDS[:2] if options.quick else SEEDS
    networks = [train("mnist_disc", seed, options.runs, options.quick) for seed in seeds]
    criteria = compare_criteria(networks)
    rate, tried = choose_rate(networks, options.quick)
    found = curves(networks, rate, options.quick)
    contenders = {s: prune_by_weight(networks[0].after, s) for s in PRUNED}
    contenders = {0.0: networks[0].after, **contenders}
    if options.picture:
        draw(found, options.picture)
    shown = [
        [
            c.scope,
            "yes" if c.mended else "no",
            split,
            *(cell(rows[share]) if share in rows else "" for share in (0.0, *PRUNED)),
        ]
        for c in found
        for split, rows in (("validation", c.val), ("test", c.test))
    ]
    epochs = EXPERIMENTS["mnist_disc"][0].partition("=")[2]
    columns = [f"{share:.0%} pruned" for share in PRUNED]
    text = [
        f"`mnist_disc` with {epochs} epochs, {len(seeds)} seeds, {trained_at(networks)}. Accuracy "
        "in percent and nll in nats: means over the seeds and their standard errors. The first "
        "layer has 92% of all components; every neuron loses the same share of its own. On "
        "validation rows, without further training:",
        table(["pruned", "chosen by", "renormalised", *columns], criteria),
        "By weight, renormalised; with or without an epoch of training as before, Adam's rate "
        f"falling from {rate:g} to 0. Two were tried on the validation rows of seed 0 at 90% of "
        f"all layers (nll {tried}). Test rows were scored once:",
        table(["pruned", "an epoch more", "rows", "0%", *columns], shown),
        "A forward pass of 1,000 rows, with `network.prepared()`, all layers pruned, in CPU ms; "
        "of digits, four fifths of whose pixels are 0, and of random inputs:",
        table(
            ["pruned", "components left", "digits", "", "no zeros", ""],
            times(contenders, networks[0].rows("test", 1000).x, 2 if options.quick else 12),
        ),
        "Iris, all layers by weight, without further training, on the 30 test rows of a fold; the "
        "tilted Gaussian's partition function is estimated anew:",
        table(
            ["network", "pruned", "accuracy, nll", "log p(x, y), nats"],
            small_rows(options.runs, seeds, options.quick),
        ),
    ]
    show("pruning", "what components are worth", "\n\n".join(text), options.write)


if __name__ == "__main__":
    main()
