"""How sure the networks of a study are of digits, of spoiled digits, and of what is no digit.

    ugmm ablate mnist_families
    ugmm train mnist_gen
    python benchmarks/uncertainty/digits.py [--write] [--picture docs/images/uncertainty.png]

Asks the checkpoints of a study's finished runs (`--study`), and keeps what they say beside them.
Of `mnist_gen` the newest run is asked how probable images are.
"""

import argparse
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import NamedTuple

import numpy as np
import torch
from answers import SETS, Answers, list_runs, measure, sets
from judging import SURENESS, area_under_risk, auroc, false_positives, judge, pool, risks
from matplotlib.ticker import PercentFormatter
from results import read_options, show, table
from scipy.special import log_softmax

from ugmm.calibration import fit_temperature
from ugmm.data import MNISTDataModule
from ugmm.loading import load_network
from ugmm.nn import Density
from ugmm.report.statistics import adjust_by_holm, paired_difference
from ugmm.report.style import MUTED, SERIES, new_figure, save, tidy

SPOILED = SETS[1:-2]  # digits all the same
FOREIGN = SETS[1:]
BASE = "ugmm"  # that the others are compared with

Of = dict[str, dict[int, Answers]]  # by variant and seed


class Network(NamedTuple):
    """What is found of one network, or of an ensemble.

    Attributes:
        plain: Its accuracy, nll and ece.
        scaled: The same after temperature scaling.
        temperature: That it was scaled by.
        risk: The area under its curve of risk against coverage.
        log_posterior: After scaling, by set.
    """

    plain: dict[str, float]
    scaled: dict[str, float]
    temperature: float
    risk: float
    log_posterior: dict[str, np.ndarray]


def read_all(study: str, data: MNISTDataModule, quick: bool) -> Of:
    """Return what all networks of a study say."""
    found: Of = defaultdict(dict)
    for record in list_runs(study)[: 2 if quick else None]:
        print(record.variant, record.seed, flush=True)
        found[record.variant][record.seed] = measure(record.folder, data)
    return found


def examine(members: Sequence[Answers]) -> Network:
    """Judge the mean of the posteriors of networks, or of one, with a temperature for the whole.

    All were validated on the same rows, to which it is fitted.
    """
    first = members[0]
    temperature = fit_temperature(pool(np.stack([m.val for m in members])), first.val_labels)
    pooled = {name: pool(np.stack([m.scores[name] for m in members])) for name in SETS}
    scaled = {name: log_softmax(of_set / temperature, -1) for name, of_set in pooled.items()}
    labels = first.labels
    return Network(
        judge(pooled["test"], labels),
        judge(scaled["test"], labels),
        temperature,
        area_under_risk(scaled["test"], labels),
        scaled,
    )


def told(values: Sequence[float], digits: int, factor: float = 1) -> str:
    """Return the mean and the standard deviation between seeds."""
    text = f"{factor * mean(values):.{digits}f}"
    return text if len(values) < 2 else f"{text} ± {factor * stdev(values):.{digits}f}"


def calibrated(singles: Mapping[str, Mapping[int, Network]], pools: Mapping[str, Network]) -> str:
    """Tabulate posteriors of the test digits, single networks above their ensemble."""
    rows = []
    for name, of_seed in singles.items():
        for what, found in ((name, [*of_seed.values()]), (f"{name}, all seeds", [pools[name]])):
            rows.append(
                (
                    what,
                    told([one.plain["accuracy"] for one in found], 2, 100),
                    told([one.plain["nll"] for one in found], 4),
                    told([one.scaled["nll"] for one in found], 4),
                    told([one.plain["ece"] for one in found], 2, 100),
                    told([one.scaled["ece"] for one in found], 2, 100),
                    told([one.temperature for one in found], 2),
                    told([one.risk for one in found], 2, 1000),
                )
            )
    heads = ("network", "accuracy, %", "nll, nats", "scaled", "ece, %", "scaled", "T", "risk, ‰")
    return table(heads, rows)


def spoiled(singles: Mapping[str, Mapping[int, Network]], labels: np.ndarray) -> str:
    """Tabulate accuracy and scaled nll of spoiled digits."""
    rows = []
    for name, of_seed in singles.items():
        cells = []
        for of_set in SPOILED:
            found = [judge(one.log_posterior[of_set], labels) for one in of_seed.values()]
            right = 100 * mean(one["accuracy"] for one in found)
            cells.append(f"{right:.1f}, {mean(one['nll'] for one in found):.2f}")
        rows.append((name, *cells))
    return table(("network", *SPOILED), rows)


def detected(of: Of, density: Mapping[str, np.ndarray] | None) -> str:
    """Tabulate how well other images are told from test digits: AUROC, and false positives."""
    rows = []
    for name, of_seed in of.items():
        for sureness, measure_of in SURENESS.items():
            cells = []
            for of_set in FOREIGN:
                pairs = [
                    (measure_of(one.scores["test"]), measure_of(one.scores[of_set]))
                    for one in of_seed.values()
                ]
                area = mean(auroc(*pair) for pair in pairs)
                cells.append(f"{area:.3f}, {100 * mean(false_positives(*p) for p in pairs):.0f}%")
            rows.append((name, sureness, *cells))
    if density is not None:
        cells = [
            f"{auroc(density['test'], density[s]):.3f}, "
            f"{100 * false_positives(density['test'], density[s]):.0f}%"
            for s in FOREIGN
        ]
        rows.append(("`mnist_gen`, one run", "density", *cells))
    return table(("network", "sure by", *FOREIGN), rows)


def compared(of: Of, singles: Mapping[str, Mapping[int, Network]]) -> str:
    """Tabulate differences from the base, paired by seed, with Holm's p for each column."""

    def clothes(name: str, seed: int, sureness: str) -> float:
        scores, measure_of = of[name][seed].scores, SURENESS[sureness]
        return auroc(measure_of(scores["test"]), measure_of(scores["clothes"]))

    def spoiled_by(how: str, metric: str) -> Callable[[str, int], float]:
        def value(name: str, seed: int) -> float:
            log_posterior = singles[name][seed].log_posterior[how]
            return judge(log_posterior, of[name][seed].labels)[metric]

        return value

    columns: dict[str, Callable[[str, int], float]] = {
        "nll, scaled": lambda name, seed: singles[name][seed].scaled["nll"],
        "turned 30°: nll, scaled": spoiled_by("turned 30°", "nll"),
        "noisy: accuracy": spoiled_by("noisy", "accuracy"),
        "blurred: accuracy": spoiled_by("blurred", "accuracy"),
        "risk, ‰": lambda name, seed: 1000 * singles[name][seed].risk,
        "AUROC of clothes, posterior": lambda n, seed: clothes(n, seed, "posterior"),
        "AUROC of clothes, log-sum": lambda n, seed: clothes(n, seed, "log-sum"),
    }
    others = [name for name in of if name != BASE]
    cells: list[list[str]] = [[name] for name in others]
    for value in columns.values():
        base = {seed: value(BASE, seed) for seed in of[BASE]}
        found = [paired_difference({s: value(n, s) for s in of[n]}, base) for n in others]
        for row, difference in zip(cells, adjust_by_holm(found), strict=True):
            if difference is None or difference.low is None or difference.adjusted is None:
                row.append("-")
                continue
            span = f"{difference.low:+.3g} to {difference.high:+.3g}"
            p = "< 0.001" if difference.adjusted < 0.001 else f"= {difference.adjusted:.3f}"
            row.append(f"{difference.mean:+.3g} ({span}), p {p}")
    return table((f"less {BASE}", *columns), cells)


@torch.no_grad()
def ask_density(data: MNISTDataModule) -> dict[str, np.ndarray] | None:
    """Return log p of each set's images by the newest run of `mnist_gen`; None without one."""
    if not Path("runs/mnist_gen").is_dir():
        return None
    network = load_network("runs/mnist_gen")
    assert isinstance(network, Density)
    found = {}
    with network.prepared():
        # Not a seed that images were drawn with: of the same numbers, none is below itself.
        generator = torch.Generator().manual_seed(784)
        for name, make in sets(data.splits["test"].x, data.image_shape):
            x = make()
            x = (torch.rand(x.shape, generator=generator) < x).float()
            found[name] = torch.cat([network.log_prob(rows) for rows in x.split(500)]).numpy()
    return found


def draw(singles: Mapping[str, Mapping[int, Network]], of: Of, path: Path) -> None:
    """Draw risk against coverage, and how clothes are told from digits, run by run."""
    figure = new_figure(10, 4.2, "How sure networks are of digits, and of clothes")
    left, right = figure.subplots(1, 2)
    for colour, (name, of_seed) in zip(SERIES, singles.items(), strict=False):
        labels = of[name][next(iter(of_seed))].labels
        curve = np.mean([risks(o.log_posterior["test"], labels) for o in of_seed.values()], axis=0)
        shown = slice(len(curve) // 2, None)
        coverage = np.arange(1, len(curve) + 1) / len(curve)
        left.plot(coverage[shown], curve[shown], color=colour, label=name)
    tidy(left, "share of digits that are answered, the surest first", "mistakes among them")
    for axis in (left.xaxis, left.yaxis):
        axis.set_major_formatter(PercentFormatter(1))
    left.legend(frameon=False, fontsize=9)
    for row, of_seed in enumerate(of.values()):
        for shift, (sureness, measure_of) in zip((-0.2, 0.0, 0.2), SURENESS.items(), strict=True):
            found = [
                auroc(measure_of(one.scores["test"]), measure_of(one.scores["clothes"]))
                for one in of_seed.values()
            ]
            colour = SERIES[list(SURENESS).index(sureness)]
            label = sureness if row == 0 else None
            right.plot(found, [row + shift] * len(found), "o", ms=4, color=colour, label=label)
    right.set_yticks(range(len(of)), list(of))
    right.invert_yaxis()
    right.axvline(0.5, color=MUTED, lw=0.8)
    tidy(right, "AUROC of clothes against digits, a dot a seed")
    right.legend(frameon=False, fontsize=9, title="sure by", loc="lower left")
    save(figure, path)


def main() -> None:
    """Ask, judge, tabulate and draw."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--study", default="mnist_families", help="an ablation that was run")
    parser.add_argument("--picture", type=Path, help="where to draw")
    options = read_options(parser)
    data = MNISTDataModule()
    data.prepare_data()
    data.setup()
    of = read_all(options.study, data, options.quick)
    singles = {
        name: {seed: examine([one]) for seed, one in of_seed.items()}
        for name, of_seed in of.items()
    }
    pools = {name: examine([*of_seed.values()]) for name, of_seed in of.items()}
    labels = data.splits["test"].y.numpy()
    text = "\n\n".join(
        (
            f"The finished runs of `ugmm ablate {options.study}`: means over seeds ± their "
            "standard deviation; below each network the mean of the posteriors of all its seeds. "
            "*Scaled*: after temperature scaling, fitted to the rows that a run was validated on. "
            "*Risk*: the area under the curve of risk against coverage, in thousandths; the less, "
            "the better mistakes are known beforehand.",
            calibrated(singles, pools),
            "Test digits, spoiled: accuracy in percent, and nll in nats with the same "
            "temperature. Turned by so many degrees; with noise of 0.3 a pixel; blurred by 1.5 "
            "pixels; at 0.3 of their contrast; with a square of 10 by 10 pixels hidden.",
            spoiled(singles, labels),
            "Told from test digits, by how sure a network is: AUROC, and the share that passes "
            "where 95% of the digits do. Clothes are Fashion-MNIST, static is even noise.",
            detected(of, ask_density(data)),
            f"Differences from `{BASE}`, paired by seed: Student's 95% interval, and the p-value "
            "of the paired t-test, adjusted by Holm's method for each column.",
            compared(of, singles) if len(of) > 1 else "",
        )
    )
    show("digits", "networks that were tuned alike", text, options.write)
    if options.picture:
        draw(singles, of, options.picture)


if __name__ == "__main__":
    main()
