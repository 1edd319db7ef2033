"""Marginals of small densities against SciPy's adaptive cubature.

    python benchmarks/queries/small.py [--networks 100] [--first 0] [--quick] [--write]

Iris and wine as trained, one to three features free; networks that nobody trained, of 1 to 4
features, each with evidence at random; and Z of those of 1 or 2. What is compared is log Z p: the
error of Z, which is the same for all, is looked at apart.
"""

import argparse
import math
import time
from typing import NamedTuple

import numpy as np
import torch
from results import read_options, show, table
from scipy.integrate import cubature
from torch import Tensor
from trained import train_tilted

from ugmm import inference
from ugmm.density import TiltedGaussian
from ugmm.density.conditional import ConditionalGaussians
from ugmm.nn import Evidence, JointScore, UGMMNetwork

WITHIN, NATS = 3.0, 0.01
POINTS = 2**15  # for each row: of the 8,192 by default, a row or two in a hundred is 0.02 off


class Found(NamedTuple):
    """An estimate beside the truth."""

    off: float  # in nats
    error: float  # as stated
    cubature: float  # its own relative error


@torch.no_grad()
def by_cubature(density: TiltedGaussian, row: Evidence) -> tuple[float, float]:
    """Return log Z p of one row's evidence, and the relative error that the cubature states.

    Free features are integrated in coordinates in which the base's conditional is round, from its
    centre on: of narrow correlated ones a box's first points see nothing.
    """
    base = density.base
    known = row.known[0]
    conditional = ConditionalGaussians(base.mean[None], base.tril[None], known)
    _, mean = conditional.given(row.x)
    tril = conditional.free_tril[0]
    log_det, b = float(tril.diagonal().log().sum()), len(tril)

    def log_p(white: Tensor) -> Tensor:
        x = row.x.double().repeat(len(white), 1)
        x[:, ~known] = mean[0, 0] + white @ tril.T
        scores = density.score.class_scores(x.float()).double()
        return row.restrict(scores.unsqueeze(0))[0].logsumexp(1) + base.log_prob(x)

    peak = float(log_p(2 * torch.randn(2**12, b, dtype=torch.float64)).max())

    def f(points: np.ndarray) -> np.ndarray:
        return (log_p(torch.from_numpy(points)) - peak).exp().numpy()

    rule, low, high = "gk21" if b <= 2 else "genz-malik", np.full(b, -8.0), np.full(b, 8.0)
    options = {
        "rtol": (1e-6, 2e-5, 2e-3)[b - 1],  # it stops early where scales are small
        "atol": 0,
        "max_subdivisions": 600 if b == 3 else 200,
        "points": [np.zeros(b)],
    }
    with density.score.prepared():
        found = cubature(f, low, high, rule=rule, **options)
    return math.log(found.estimate) + peak + log_det, float(found.error / found.estimate)


def compare(density: TiltedGaussian, rows: Evidence, seed: int) -> list[Found]:
    """Compare the marginals of rows with cubature."""
    answer = inference.marginal(density, rows, n=POINTS, seed=seed)
    assert answer.shared is not None
    own = (answer.error.square() - answer.shared.square()).clamp(min=0).sqrt()
    found = []
    for i, value in enumerate(answer.log_prob + density.log_z):
        truth, error = by_cubature(density, rows[i : i + 1])
        found.append(Found(float(value) - truth, float(own[i]), error))
    return found


def some_free(rows: Tensor, most: int, seed: int) -> Evidence:
    """Return evidence of rows in which one to `most` features are not known."""
    generator = torch.Generator().manual_seed(seed)
    known = torch.ones(rows.shape, dtype=torch.bool)
    for i, mask in enumerate(known):
        mask[torch.randperm(rows.shape[1], generator=generator)[: 1 + i % most]] = False
    return Evidence(rows, known)


@torch.no_grad()
def make(seed: int) -> tuple[TiltedGaussian, Evidence]:
    """Draw a network of 1 to 4 features, and a row of evidence."""
    torch.manual_seed(seed)
    d, n_classes = 1 + seed % 4, 1 + int(torch.randint(3, ()))
    label = "none" if n_classes == 1 else "onehot"
    network = UGMMNetwork([d + (n_classes if n_classes > 1 else 0), 8, 4, 1], min_scale=0.1)
    density = TiltedGaussian(JointScore(network, n_classes, label), d, n_classes).eval()
    y = torch.arange(60) % n_classes
    x = torch.randn(60, d) * 0.6 + torch.randn(n_classes, d)[y]
    density.fit_base(x, y)
    density.init_from(x, y)
    for layer in network.layers:
        layer.raw_scale.add_(0.5 * torch.randn_like(layer.raw_scale))
        layer.logits.normal_()
    density.normalize(2**16, seed)
    known = torch.rand(d) < 0.5
    if d == 4:
        known[torch.randint(4, ())] = True  # cubature takes minutes of four
    known[torch.randint(d, ())] = False
    labels = None if label == "none" or known.any() else y[:1]
    return density, Evidence(x[seed % 60], known, labels)


def summary(name: str, found: list[Found]) -> tuple[tuple[object, ...], bool]:
    """Return a line of the table, and whether the bars hold in it."""
    off, error, cubature_error = (np.array(column) for column in zip(*found, strict=True))
    # The truth is not exact either, and scores are float32.
    within = np.abs(off) <= WITHIN * error + cubature_error + 1e-6
    near = np.abs(off) <= NATS
    line = (
        name,
        len(found),
        f"{within.mean():.1%}",
        f"{near.mean():.1%}",
        f"{np.sqrt((off**2).mean()):.5f}",
        f"{np.abs(off).max():.5f}",
        f"{np.sqrt((error**2).mean()):.5f}",
        f"{cubature_error.max():.0e}",
    )
    return line, bool(within.mean() >= 0.98 and near.all())


def main() -> None:
    """Print, and perhaps write, the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", type=int, default=100)
    parser.add_argument("--first", type=int, default=0, help="seed of the first network")
    options = read_options(parser)
    started = time.process_time()
    groups: dict[str, list[Found]] = {}
    for name in ("iris", "wine"):
        density, rows = train_tilted(name)
        evidence = some_free(rows.test_x[: 4 if options.quick else 24], 3, options.first)
        groups[f"{name}, trained"] = compare(density, evidence, options.first)
    random: list[Found] = []
    of_z: list[Found] = []
    for seed in range(options.first, options.first + (8 if options.quick else options.networks)):
        density, row = make(seed)
        if not row.is_empty():
            random += compare(density, row, seed)
        if density.n_features <= 2:
            truth, error = by_cubature(density, Evidence.nothing(density.n_features))
            of_z.append(Found(float(density.log_z) - truth, float(density.log_z_error), error))
    groups |= {"random, 1 to 4 features": random, "log Z of those of 1 or 2": of_z}
    lines, good = zip(*(summary(name, found) for name, found in groups.items()), strict=True)
    columns = "density", "rows", "within 3 errors", "within 0.01 nats", "rms off", "most off"
    text = table((*columns, "rms stated error", "cubature's own error, at most"), lines)
    seconds = time.process_time() - started
    held = "held" if all(good[:3]) else "MISSED"
    text += (
        f"\n\n{POINTS} points for each row; within {WITHIN:g} errors, and the cubature's own. "
        f"Seeds from {options.first}, {seconds:.0f} s. Bars, for marginals: {held}."
    )
    show("small", "marginals against cubature", text, options.write)


if __name__ == "__main__":
    main()
