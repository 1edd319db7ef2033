"""Every estimator against the closed form: tilted networks of one layer are Gaussian mixtures.

    python benchmarks/queries/oracle.py [--cases 200] [--first 0] [--quick] [--write]

Each case has its seed: a base, a network, a label or none, and evidence at random, at 1 to 30
dimensions. A z is how far an estimate is from the truth, in its stated errors. Such networks are
answered exactly, so the general estimators are forced here.
"""

import argparse
import math
import time
from collections import defaultdict
from dataclasses import dataclass

import torch
from results import read_options, show, table
from torch import Tensor

from ugmm import inference
from ugmm.density import ClassMixture, TiltedGaussian
from ugmm.nn import Evidence, JointScore, UGMMNetwork

WITHIN, LEAST = 3.0, 0.98
HONEST = (0.8, 1.3)


class Forced(TiltedGaussian):
    """A tilted Gaussian that is estimated, even where it is a mixture."""

    def mixture(self) -> None:
        """Return none."""


@dataclass
class Case:
    """One network, and one row of evidence."""

    density: Forced
    exact: ClassMixture
    evidence: Evidence


@torch.no_grad()
def make(seed: int) -> Case:
    """Draw a case."""
    torch.manual_seed(seed)
    d = 1 + seed % 30
    label = ("onehot", "real", "none")[int(torch.randint(3, ()))]
    n_classes = 1 if label == "none" else 2 + int(torch.randint(3, ()))
    size = {"onehot": n_classes, "real": 1, "none": 0}[label]
    network = UGMMNetwork([d + size, 1], init="data", min_scale=0.05)
    density = Forced(JointScore(network, n_classes, label), d, n_classes).eval()
    y = torch.arange(100) % n_classes
    x = torch.randn(100, d) @ torch.randn(d, d) / math.sqrt(d) + 0.5 * torch.randn(100, d)
    x = x + torch.randn(n_classes, d)[y]
    density.fit_base(x, y)
    density.init_from(x, y)
    layer = network.layers[0]
    layer.logits.normal_()
    layer.raw_scale.add_(0.5 * torch.randn_like(layer.raw_scale) - 0.5)
    known = torch.rand(d) < torch.rand(())
    known[torch.randint(d, ())] = False  # something is to be integrated out
    row = int(torch.randint(100, ()))
    labelled = label != "none" and bool(torch.rand(()) < 0.3 or not known.any())
    labels = y[row : row + 1] if labelled else None
    exact = TiltedGaussian.mixture(density)
    assert exact is not None
    return Case(density, exact, Evidence(x[row] + 0.2 * torch.randn(d), known, labels))


def ask(case: Case, seed: int) -> dict[str, float]:
    """Return the z of every estimate of a case."""
    density, evidence = case.density, case.evidence
    found: dict[str, float] = {}
    first, second = density.normalize(2**14, seed), density.second_estimate(2**14, seed)
    log_z = float(case.exact.log_z)
    found["log Z, importance"] = (first.value - log_z) / first.error
    found["log Z, Sobol"] = (second.value - log_z) / second.error
    truth = case.exact.marginal(evidence).log_prob[0]
    if bool(evidence.is_empty()):
        return found  # there is nothing to estimate but Z
    marginal = inference.marginal(density, evidence, seed=seed)
    assert marginal.shared is not None
    found["log p, with Z"] = float((marginal.log_prob - truth) / marginal.error)
    own = (marginal.error.square() - marginal.shared.square()).sqrt()
    of_z = first.value - log_z
    found["log p, Z aside"] = float((marginal.log_prob + of_z - truth) / own)
    return found | _moments(case, seed)


def _moments(case: Case, seed: int) -> dict[str, float]:
    """Return the z of moments along a random direction of the free features."""
    evidence, free = case.evidence, ~case.evidence.known[0]
    mean, covariance = (moment[0] for moment in case.exact.conditional_moments(evidence))
    inner = covariance[free][:, free]
    generator = torch.Generator().manual_seed(seed)
    towards = torch.randn(int(free.sum()), generator=generator, dtype=torch.float64)
    towards = torch.linalg.solve(torch.linalg.cholesky(inner).mT, towards)
    variance = towards @ inner @ towards

    def along(x: Tensor) -> Tensor:
        return (x[..., free].double() - mean[free]) @ towards

    drawn = case.density.draw(evidence, 4096, generator)
    u, w = along(drawn.x[0]), drawn.log_weight[0].exp()
    samples = inference.sample(case.density, 1000, evidence, seed=seed)
    v = along(samples.features[0])
    error = v.std() / samples.effective[0].sqrt()
    return {
        "mean, weighted draws": _weighted_z(u, w, 0),
        "variance, weighted draws": _weighted_z(u.square(), w, float(variance)),
        "mean, samples": float(v.mean() / error),
    }


def _weighted_z(values: Tensor, w: Tensor, truth: float) -> float:
    """Return how far a self-normalised mean is off, in its errors (the delta method)."""
    mean = w @ values
    error = (w * (values - mean)).square().sum().sqrt()
    return float((mean - truth) / error)


def main() -> None:
    """Print, and perhaps write, the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=200)
    parser.add_argument("--first", type=int, default=0, help="seed of the first case")
    options = read_options(parser)
    cases = 20 if options.quick else options.cases
    started = time.process_time()
    off = defaultdict(list)
    for seed in range(options.first, options.first + cases):
        for name, z in ask(make(seed), seed).items():
            off[name].append(z)
    rows, good = [], True
    for name, zs in off.items():
        z = torch.tensor(zs, dtype=torch.float64)
        within = float((z.abs() <= WITHIN).double().mean())
        rms = float(z.square().mean().sqrt())
        good &= within >= LEAST and HONEST[0] <= rms <= HONEST[1]
        rows.append((name, len(z), f"{within:.1%}", f"{rms:.2f}", f"{float(z.mean()):+.2f}"))
    text = table(("estimate", "cases", f"within {WITHIN:g} errors", "rms z", "mean z"), rows)
    seconds = time.process_time() - started
    text += (
        f"\n\nSeeds {options.first} to {options.first + cases - 1}, {seconds:.0f} s. "
        f"Bars: {LEAST:.0%} within {WITHIN:g} errors, an rms of {HONEST[0]} to {HONEST[1]}: "
        f"{'held' if good else 'MISSED'}."
    )
    title = "estimators against the closed form of one layer"
    show("oracle", title, text, options.write)


if __name__ == "__main__":
    main()
