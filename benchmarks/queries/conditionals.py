"""Conditionals and samples of trained and random densities, against quadrature and exact draws.

    python benchmarks/queries/conditionals.py [--quick] [--write]

- Conditionals of one feature integrate to one, by `scipy.integrate.quad`.
- Their means, variances and quantiles are those of `scipy.integrate.cubature`.
- Those of networks of one layer at 1 to 30 dimensions, estimated all the same (`oracle.py` makes
  them), are the closed form's.
- Samples pass energy-distance permutation tests against draws by rejection from a wide Gaussian as
  often as they should: a test of level 5% fails 5% of the time. The same test of the proposal's
  draws, their weights ignored, shows what it would find.
"""

import argparse
import copy
import itertools
import math
import warnings
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import oracle
import torch
from results import read_options, show, table
from scipy.integrate import IntegrationWarning, cubature, quad
from torch import Tensor
from torch.distributions import MultivariateNormal
from trained import train_tilted

from ugmm.density import TiltedGaussian
from ugmm.errors import UGMMWarning
from ugmm.inference import Evidence, conditional, sample
from ugmm.nn import JointScore, UGMMNetwork

warnings.simplefilter("ignore", IntegrationWarning)  # float32 has rounding errors
warnings.simplefilter("ignore", UGMMWarning)  # that float64, for cubature, is slow

LEVEL, PERMUTATIONS = 0.05, 199


class Case(NamedTuple):
    """A density and one row of evidence."""

    name: str
    density: TiltedGaussian
    row: Evidence
    feature: int  # that is asked for
    seed: int


def random_density(seed: int) -> tuple[TiltedGaussian, Tensor]:
    """Return an untrained density of 1 to 4 features, as its data make it, and some rows."""
    torch.manual_seed(seed)
    n_features, n_classes = 1 + seed % 4, 2 + seed % 2
    y = torch.arange(60) % n_classes
    x = 0.5 * torch.randn(60, n_features) + 1.5 * torch.randn(n_classes, n_features)[y]
    x = (x - x.mean(0)) / x.std(0)
    sizes = [n_features + n_classes, 8, 5, 1]
    network = UGMMNetwork(sizes, init="data", min_scale=0.1)
    density = TiltedGaussian(JointScore(network, n_classes), n_features, n_classes)
    density.fit_base(x, y)
    density.init_from(x, y)
    density.eval().normalize()
    return density, x


def cases(n_random: int) -> Iterator[Case]:
    """Yield trained and random densities, each with evidence of some of its features."""
    for name in ("iris", "wine"):
        density, rows = train_tilted(name)
        width = density.n_features
        for i, known in enumerate((0, 1, width // 2, width - 2, width - 1)):
            yield _case(name, density, rows.test_x[i], known, i)
    for seed in range(n_random):
        density, x = random_density(seed)
        known = int(torch.randint(density.n_features, ()))
        yield _case(f"random, {density.n_features}", density, x[0], known, seed)


def _case(name: str, density: TiltedGaussian, x: Tensor, known: int, seed: int) -> Case:
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))
    mask = torch.zeros(len(x), dtype=torch.bool)
    mask[order[:known]] = True
    return Case(name, density, Evidence(x, mask), int(order[-1]), seed)


def integral(case: Case) -> float:
    """Return how far the conditional's integral is from 1."""
    found = conditional(case.density, case.feature, case.row, n=256, seed=case.seed)
    marks = found.quantile(torch.linspace(0.02, 0.98, 13))[:, 0].tolist()
    reach = 12 * float(found.stddev) + 1

    def density(value: float) -> float:
        return float(found.log_prob(torch.tensor([value])).exp())

    ends = (marks[0] - reach, marks[-1] + reach)
    return quad(density, *ends, points=marks, epsabs=1e-7, epsrel=1e-7)[0] - 1


def moments(case: Case) -> tuple[float, float, float, bool]:
    """Return how far the mean and variance are off, in errors, and the quantiles, in mass.

    Where the answer is exact they are in units of 1e-6.
    """
    found = conditional(case.density, case.feature, case.row, seed=case.seed)
    free = (~case.row.known[0]).nonzero().squeeze(1).tolist()
    order = [case.feature, *(f for f in free if f != case.feature)]
    scale = case.density.base.tril.square().sum(1).sqrt()
    low = (case.density.base.mean - 8 * scale)[order].numpy()
    high = (case.density.base.mean + 8 * scale)[order].numpy()
    levels = torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64)
    cuts = found.quantile(levels)[:, 0].numpy()

    double = copy.deepcopy(case.density).double()  # cubature sees no rounding errors then

    def integrands(points: np.ndarray) -> np.ndarray:
        x = case.row.x.double().repeat(len(points), 1)
        x[:, order] = torch.from_numpy(np.ascontiguousarray(points))
        with torch.no_grad():
            p = double.log_prob(x).exp().numpy()
        q = points[:, 0]
        return np.stack([p, p * q, p * q * q], -1)

    # Cut at the quantiles, so that the mass below each is an integral of its own.
    edges = [low[0], *cuts, high[0]]
    parts = np.array(
        [
            cubature(integrands, [a, *low[1:]], [b, *high[1:]], rtol=1e-6, atol=1e-9).estimate
            for a, b in itertools.pairwise(edges)
        ]
    )
    mass, first, second = parts.sum(0)
    mean = first / mass
    below = parts[:-1, 0].cumsum() / mass
    errors = [1e-6, 1e-6] if found.is_exact else [float(found.error), float(found.variance_error)]
    off_mean = (float(found.mean) - mean) / errors[0]
    off_variance = (float(found.variance) - (second / mass - mean**2)) / errors[1]
    return off_mean, off_variance, float(np.abs(below - levels.numpy()).max()), found.is_exact


def oracle_errors(seed: int) -> list[float]:
    """Return how far a conditional is from a closed form, in errors: mean, variance, log p."""
    case = oracle.make(seed)
    case.density.normalize(2**12, seed)
    free = (~case.evidence.known[0]).nonzero().squeeze(1)
    feature = int(free[torch.randint(len(free), ())])
    found = conditional(case.density, feature, case.evidence, n=2048, seed=seed)
    if found.is_exact:  # the last feature: there is no error to compare with
        return []
    mean, covariance = case.exact.conditional_moments(case.evidence)
    mean, variance = mean[:, feature], covariance[:, feature, feature]
    value = mean + variance.sqrt() * torch.randn(1, dtype=torch.float64)
    joint = case.evidence.with_features(torch.tensor([feature]), value.unsqueeze(1))
    both = case.exact.marginal(joint.to(dtype=torch.float64)).log_prob
    log_p = both - case.exact.marginal(case.evidence).log_prob
    off = [
        (found.mean - mean) / found.error,
        (found.variance - variance) / found.variance_error,
        (found.log_prob(value) - log_p) / found.log_prob_error(value),
    ]
    return [float(z) for z in off]


def by_rejection(case: Case, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw exactly: free features (n, b) and labels (n,), by no code of what is tested."""
    density, row = case.density, case.row
    free = ~row.known[0]
    covariance = 2.0 * (density.base.tril @ density.base.tril.T)[free][:, free]
    mean = density.base.mean[free]
    wide = MultivariateNormal(mean, covariance)
    most, xs, ys, found = None, [], [], 0
    while found < n:
        noise = torch.randn(2**15, int(free.sum()), generator=generator, dtype=torch.float64)
        z = mean + noise @ wide.scale_tril.T
        x = row.x.repeat(len(z), 1)
        x[:, free] = z.to(x.dtype)
        with torch.no_grad():
            scores = density.class_scores(x).double()
        log_w = scores.logsumexp(-1) - wide.log_prob(z)
        if most is None:  # these show the bound, and are not used
            most = log_w.max() + math.log(1.5)
            continue
        taken = torch.rand(len(z), generator=generator, dtype=torch.float64).log() < log_w - most
        xs.append(z[taken])
        ys.append(torch.multinomial(scores[taken].softmax(-1), 1, generator=generator)[:, 0])
        found += int(taken.sum())
    return torch.cat(xs)[:n], torch.cat(ys)[:n]


def energy_p(a: Tensor, b: Tensor, generator: torch.Generator) -> float:
    """Return the p-value of a permutation test of whether two samples (n, d) are alike."""
    both = torch.cat([a, b])
    distances = torch.cdist(both, both, compute_mode="donot_use_mm_for_euclid_dist")
    sign = torch.ones(PERMUTATIONS + 1, len(both), dtype=torch.float64)
    sign[:, len(a) :] = -1
    for i in range(1, PERMUTATIONS + 1):
        sign[i] = sign[i][torch.randperm(len(both), generator=generator)]
    energy = -((sign @ distances) * sign).sum(1)  # for samples of the same size
    return float((energy >= energy[0] * (1 - 1e-12)).double().mean())


def sample_tests(case: Case, n: int) -> tuple[float, float]:
    """Return p-values: of samples, and of the proposal's draws with their weights ignored."""
    # Another seed than the samples': with the same random numbers they would not be independent.
    generator = torch.Generator().manual_seed(case.seed + 10**6)
    free = ~case.row.known[0]
    exact = _joined(*by_rejection(case, n, generator))
    drawn = sample(case.density, n, case.row, seed=case.seed)
    ours = _joined(drawn.features[0][:, free], drawn.labels[0])
    raw = case.density.draw(case.row, n, generator)
    unweighted = _joined(raw.x[0][:, free], raw.y[0])
    return energy_p(ours, exact, generator), energy_p(unweighted, exact, generator)


def _joined(x: Tensor, y: Tensor) -> Tensor:
    return torch.cat([x.double(), torch.nn.functional.one_hot(y, 3).double()], 1)


def main() -> None:
    """Print, and perhaps write, what was found."""
    options = read_options(argparse.ArgumentParser(description=__doc__))
    every = list(cases(4 if options.quick else 100))
    off = [abs(integral(case)) for case in every]
    worst = table(
        ["densities", "conditionals", "largest distance of the integral from 1"],
        [(name, len(those), f"{max(those):.1e}") for name, those in _by_name(every, off)],
    )
    low = [case for case in every if int((~case.row.known).sum()) <= 2]
    found = [moments(case) for case in low]
    z = np.array([f[:2] for f in found if not f[3]])
    exact = np.array([f[:3] for f in found if f[3]])
    by_draws = np.array([f[2] for f in found if not f[3]])
    checked = table(
        ["against cubature, up to two free features", "cases", "means", "variances", "quantiles"],
        [
            (
                "exact: largest error",
                len(exact),
                *(f"{1e-6 * v:.1e}" for v in np.abs(exact[:, :2]).max(0)),
                f"{exact[:, 2].max():.1e} of mass",
            ),
            (
                "by draws: within 3 of their errors; rms of errors",
                len(z),
                *(f"{np.mean(np.abs(c) < 3):.0%}; {np.sqrt(np.mean(c**2)):.2f}" for c in z.T),
                f"{by_draws.max():.3f} of mass",
            ),
        ],
    )
    errors = [z for z in map(oracle_errors, range(20 if options.quick else 200)) if z]
    z = np.array(errors)
    shallow = table(
        ["against the closed form of one layer", "cases", "within 3 errors", "rms z"],
        [
            (name, len(z), f"{np.mean(np.abs(c) < 3):.1%}", f"{np.sqrt(np.mean(c**2)):.2f}")
            for name, c in zip(("mean", "variance", "log p of a value"), z.T, strict=True)
        ],
    )
    repeats = 1 if options.quick else 2
    again = [case._replace(seed=case.seed + 1000 * i) for i in range(repeats) for case in every]
    low = [case for case in again if int((~case.row.known).sum()) <= 4]
    p = np.array([sample_tests(case, 300) for case in low])
    n, rejected = len(p), (p <= LEVEL).sum(0)
    sd = math.sqrt(n * LEVEL * (1 - LEVEL))
    tests = (
        f"Energy-distance tests of 300 samples against 300 exact draws, up to four free features, "
        f"level {LEVEL:.0%}: {rejected[0]} of {n} say that they differ (expected {n * LEVEL:.1f}, "
        f"sd {sd:.1f}); of the proposal's draws with their weights ignored, {rejected[1]}."
    )
    show(
        "conditionals",
        "conditionals and samples against quadrature and exact draws",
        f"{worst}\n\n{checked}\n\n{shallow}\n\n{tests}",
        options.write,
    )


def _by_name(every: list[Case], values: list[float]) -> Iterator[tuple[str, list[float]]]:
    for name in ("iris", "wine", "random"):
        yield (
            name,
            [v for case, v in zip(every, values, strict=True) if case.name.startswith(name)],
        )


if __name__ == "__main__":
    main()
