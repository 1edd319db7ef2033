"""Whether `mpe` finds the best value known: of a grid, of L-BFGS, of a search ten times as large.

A value is found if it is within 1e-3 nats of the best of all four searches. Cases are evidence on
trained tables, and networks with random parameters: moderate ones, and spiky ones, with all scales
near 0.2 under a base of 1.5. The search's constants were chosen on networks of other seeds.
"""

import argparse
import copy
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import NamedTuple

import numpy as np
import torch
from results import read_options, show, table
from scipy.optimize import minimize
from torch import Tensor
from trained import train_tilted

from ugmm.density import TiltedGaussian
from ugmm.inference import Evidence, Mode, mpe
from ugmm.inference.modes.candidates import best_labels, distinct_tops
from ugmm.inference.modes.newton import newton
from ugmm.nn import JointScore, UGMMNetwork

FOUND = 1e-3  # nats
BASE_SCALE = 1.5
GRID = {1: 4001, 2: 201, 3: 41, 4: 19}  # points along each of so many free features
REACH = 4.5  # of the grid, each way
LBFGS_STARTS = 64
WAYS = {
    "mpe": "mpe",
    "grid": "grid and Newton",
    "lbfgs": "64 L-BFGS",
    "wider": "ten times mpe",
}
SCALES = {"moderate": (-1.0, 0.5), "spiky": (-2.3, 0.7)}  # of log(scale - 0.1): mean, deviation
CASES = {"moderate": 6, "spiky": 8}  # of each number of features
TABLES, QUICK_TABLES = {"iris": 12, "wine": 6, "breast_cancer": 2}, {"iris": 3}  # rows of each
PARTS = {"wine": 4, "breast_cancer": 8}  # features that are not known


class Case(NamedTuple):
    """A density, a row of evidence, and the group of the table that they are in."""

    group: str
    density: TiltedGaussian
    evidence: Evidence


def random_tilted(
    n_features: int, n_classes: int, seed: int, scales: tuple[float, float]
) -> TiltedGaussian:
    """Return a density whose network's parameters are random."""
    generator = torch.Generator().manual_seed(seed)
    coded = n_classes if n_classes > 1 else 0
    network = UGMMNetwork([n_features + coded, 20, 8, 1], min_scale=0.1)
    with torch.no_grad():
        for number, layer in enumerate(network.layers):
            for parameter, (mean, deviation) in (
                (layer.loc, (-2.0 if number else 0.0, 1.5)),
                (layer.raw_scale, scales),
                (layer.logits, (0.0, 1.0)),
            ):
                noise = torch.randn(parameter.shape, generator=generator)
                parameter.copy_(mean + deviation * noise)
    score = JointScore(network, n_classes, "onehot" if coded else "none")
    density = TiltedGaussian(score, n_features, n_classes)
    for part in density.proposal.parts:
        part.tril.copy_(BASE_SCALE * torch.eye(n_features))  # type: ignore[operator]
    density.eval().normalize(2**12)
    return density


def trained_cases(quick: bool) -> Iterator[Case]:
    """Yield evidence on test rows, and none, about densities of tables."""
    for name, n in (QUICK_TABLES if quick else TABLES).items():
        density, rows = train_tilted(name)
        generator = torch.Generator().manual_seed(0)
        d = rows.x.shape[1]
        yield Case(f"{name}, all {d} free", density, Evidence.nothing(d))
        for number in range(n):
            free = PARTS.get(name, 2 + number % 2)
            known = torch.ones(d, dtype=torch.bool)
            known[torch.randperm(d, generator=generator)[:free]] = False
            group = f"{name}, {free} free" if name in PARTS else f"{name}, 2 or 3 free"
            yield Case(group, density, Evidence(rows.test_x[number], known))


def random_cases(kind: str, quick: bool) -> Iterator[Case]:
    """Yield no evidence about densities with random parameters."""
    least = 1 if kind == "moderate" else 2
    for number in range(1 if quick else CASES[kind]):
        for d in range(least, 5):
            density = random_tilted(d, 1 + number % 3, 100 * number + d, SCALES[kind])
            yield Case(f"{kind}, {d} free", density, Evidence.nothing(d))


def on_grid(case: Case, exact: TiltedGaussian) -> float:
    """Return the best end of Newton steps from the tops of a dense grid, if one is feasible."""
    free = (~case.evidence.known[0]).nonzero().squeeze(1)
    if len(free) not in GRID:
        return -np.inf
    axis = torch.linspace(-REACH, REACH, GRID[len(free)])
    grid = torch.cartesian_prod(*[axis] * len(free)).reshape(-1, len(free))
    x = case.evidence.x.repeat(len(grid), 1)
    x[:, free] = grid
    value, y = best_labels(case.density, x.unsqueeze(0), case.evidence)
    radius = torch.full_like(case.evidence.x, max(0.1, 1.01 * float(axis[1] - axis[0])))
    tops = distinct_tops(x.unsqueeze(0), y, value, 24, radius)[0]
    return float(newton(exact, *ends(x[tops], y[0, tops], free))[1].max())


def ends(x: Tensor, y: Tensor, free: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the arguments of `newton` for points whose features move in steps of up to 1."""
    moving = torch.zeros(x.shape, dtype=torch.bool)
    moving[:, free] = True
    return x.double(), y, moving, torch.ones_like(x, dtype=torch.float64)


def by_lbfgs(case: Case, exact: TiltedGaussian) -> float:
    """Return the best value of SciPy's L-BFGS from many draws, each with its best label."""
    generator = torch.Generator().manual_seed(1)
    drawn = case.density.draw(case.evidence, LBFGS_STARTS, generator).x
    labels = best_labels(case.density, drawn, case.evidence)[1][0]
    free, best = ~case.evidence.known[0], -np.inf
    for x, y in zip(drawn[0].double(), labels, strict=True):

        def downhill(values: np.ndarray, x: Tensor = x, y: Tensor = y) -> tuple[float, np.ndarray]:
            moving = torch.from_numpy(values).requires_grad_()
            with torch.enable_grad():
                value = exact(x.masked_scatter(free, moving), y)
            (slope,) = torch.autograd.grad(value, moving)
            return -float(value.detach()), -slope.numpy()

        found = minimize(
            downhill, x[free].numpy(), jac=True, method="L-BFGS-B", options={"maxiter": 60}
        )
        best = max(best, -float(found.fun))
    return best


def timed(ask: Callable[[], Mode]) -> tuple[Mode, float]:
    """Return an answer, and the CPU seconds that it took."""
    start = time.process_time()
    answer = ask()
    return answer, time.process_time() - start


def compare(case: Case) -> tuple[dict[str, float], float]:
    """Return the value of each search, and the CPU seconds of `mpe`."""
    exact = in_double(case.density)
    found, seconds = timed(lambda: mpe(case.density, case.evidence))
    wider = mpe(case.density, case.evidence, check=True)
    values = {
        "mpe": float(found.log_prob),
        "grid": on_grid(case, exact),
        "lbfgs": by_lbfgs(case, exact),
        "wider": float(wider.log_prob),
    }
    return values, seconds


def in_double(density: TiltedGaussian) -> TiltedGaussian:
    """Return a copy in float64."""
    exact = copy.deepcopy(density).double()
    for module in exact.modules():
        if hasattr(module, "kernel"):
            module.kernel = "reference"  # type: ignore[assignment]
    return exact


def report(found: Iterable[tuple[str, dict[str, float], float]]) -> str:
    """Return what is to be said of groups, the searches' values and `mpe`'s seconds."""
    groups: dict[str, list[tuple[dict[str, float], float]]] = {}
    for group, values, seconds in found:
        groups.setdefault(group, []).append((values, seconds))
    rows, shares = [], {"Trained and moderate; 99% is due": [], "Spiky; 75% is due": []}
    for group, members in groups.items():
        short = {
            way: [max(values.values()) - values[way] for values, _ in members] for way in WAYS
        }
        hits = {way: [gap <= FOUND for gap in gaps] for way, gaps in short.items()}
        shares[list(shares)[group.startswith("spiky")]] += hits["mpe"]
        cells = [sum(hits[way]) if np.isfinite(short[way]).all() else "" for way in WAYS]
        seconds = np.median([seconds for _, seconds in members])
        rows.append([group, len(members), *cells, f"{max(short['mpe']):.4f}", f"{seconds:.2f}"])
    columns = ["case", "number", *WAYS.values(), "worst gap of mpe, nats", "CPU s a query, median"]
    lines = [
        f"- {title}: {sum(hits)} of {len(hits)} ({sum(hits) / len(hits):.1%})"
        for title, hits in shares.items()
    ]
    about = "How often each search is within 1e-3 nats of the best value that any of them found."
    return "\n\n".join([about, table(columns, rows), "\n".join(lines)])


def main() -> None:
    """Run the check; see `--help`."""
    options = read_options(argparse.ArgumentParser(description=__doc__))
    cases = [trained_cases(options.quick), *(random_cases(kind, options.quick) for kind in CASES)]
    found = ((case.group, *compare(case)) for case in chain(*cases))
    show("modes", "the most probable completion", report(found), options.write)


if __name__ == "__main__":
    main()
