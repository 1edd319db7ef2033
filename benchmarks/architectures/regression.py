"""Regression: networks that predict distributions, beside ridge regression and boosting.

    python benchmarks/architectures/regression.py [--quick] [--write] [--only TABLE ...]

Three tables: scikit-learn's diabetes, friedman1 (600 rows, noise 1), and Abalone, which the
package scikit-lego ships. Every family has eight settings, and is treated alike. In each of five
outer folds its rows are split into four inner folds; every setting is fitted four times, each time
without one of them, which says when to stop. The setting is chosen whose predictions of the rows
that were held out have the greatest log-density, once they are widened by one factor, chosen by
the same rows. Its four models, widened, are pooled, and tested once on the outer fold's rows.
"""

import argparse
import sys
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from regression_families import FAMILIES, Family, Rows, pool, widen
from results import read_options, show, table
from sklearn.model_selection import KFold
from torch import Tensor

from ugmm.columns import fit_scaling
from ugmm.nn import Predictive
from ugmm.report.style import EMPTY, MUTED, SERIES, new_figure, save, tidy

OUTER, INNER = 5, 4
LEVEL = 0.9
FACTORS = np.exp(np.linspace(np.log(0.7), np.log(3), 60))
SEEDS = {"diabetes": (0, 1, 2), "friedman1": (0, 1, 2), "abalone": (0,)}  # of the folds


def load_rows(name: str) -> Rows:
    """Return a table; text columns as indicators."""
    from sklearn.datasets import load_diabetes, make_friedman1

    if name == "diabetes":
        x, y = load_diabetes(return_X_y=True)
    elif name == "friedman1":
        x, y = make_friedman1(600, 10, noise=1.0, random_state=0)
    else:
        try:
            from sklego.datasets import load_abalone
        except ImportError as error:
            raise SystemExit(
                "abalone is a table of the package scikit-lego: pip install scikit-lego, or "
                "leave it out by --only diabetes friedman1"
            ) from error
        frame = load_abalone(as_frame=True)
        kinds = [(frame["sex"] == kind).to_numpy(float) for kind in ("F", "I", "M")]
        x = np.column_stack([*kinds, frame.drop(columns=["sex", "rings"]).to_numpy(float)])
        y = frame["rings"].to_numpy(float)
    return Rows(torch.from_numpy(x), torch.from_numpy(y))


class Found(NamedTuple):
    """Of one outer fold."""

    r2: float
    rmse: float
    nlpd: float
    crps: float
    coverage: float
    as_trained: float  # coverage before widening
    factor: float
    pit: Tensor


class Fitted(NamedTuple):
    """A setting's predictions: of the rows that each model was held from, and of test rows."""

    held: list[tuple[Predictive, Tensor]]
    test: list[Predictive]

    def nlpd(self, factor: float = 1.0) -> float:
        """Return the mean negative log-density of the rows held out."""
        losses = [-widen(predictive, factor).log_prob(y) for predictive, y in self.held]
        return float(torch.cat(losses).mean())

    def best_factor(self) -> float:
        """Return by how much predictions are to be widened."""
        return float(min(FACTORS, key=self.nlpd))


def fit_setting(family: Family, setting: dict, train: Rows, x: Tensor, seed: int) -> Fitted:
    """Fit one setting to all inner folds' rows; targets are standardised, and taken back."""
    held, test = [], []
    splits = KFold(INNER, shuffle=True, random_state=seed).split(train.x)
    for fold, (of, out) in enumerate(splits):
        rows, others = train.take(of), train.take(out)
        mean, scale = (torch.from_numpy(each) for each in fit_scaling(rows.x.numpy()))
        centre, spread = float(rows.y.mean()), float(rows.y.std())

        def model_units(some: Rows, mean=mean, scale=scale, centre=centre, spread=spread) -> Rows:
            return Rows((some.x - mean) / scale, (some.y - centre) / spread)

        model = family.fit(model_units(rows), model_units(others), setting, 10 * seed + fold)
        held.append((model((others.x - mean) / scale).scaled(centre, spread), others.y))
        test.append(model((x - mean) / scale).scaled(centre, spread))
    return Fitted(held, test)


def score(predictive: Predictive, test: Rows, coverage: float, factor: float) -> Found:
    """Compare predictions with the test rows."""
    errors = (predictive.mean - test.y).square()
    return Found(
        r2=float(1 - errors.mean() / test.y.var(correction=0)),
        rmse=float(errors.mean().sqrt()),
        nlpd=float(-predictive.log_prob(test.y).mean()),
        crps=float(predictive.crps(test.y).mean()),
        coverage=covered(predictive, test.y),
        as_trained=coverage,
        factor=factor,
        pit=predictive.cdf(test.y),
    )


def covered(predictive: Predictive, y: Tensor) -> float:
    """Return the share of targets in their central intervals."""
    low, high = predictive.interval(LEVEL)
    return float(((low <= y) & (y <= high)).double().mean())


def cross_validate(rows: Rows, family: Family, seeds: tuple[int, ...], folds: int) -> list[Found]:
    """Return what each outer fold found."""
    found = []
    for seed in seeds:
        splits = list(KFold(OUTER, shuffle=True, random_state=seed).split(rows.x))
        for of, out in splits[:folds]:
            train, test = rows.take(of), rows.take(out)
            fits = [fit_setting(family, s, train, test.x, seed) for s in family.settings]
            factors = [fit.best_factor() for fit in fits]
            losses = [fit.nlpd(f) for fit, f in zip(fits, factors, strict=True)]
            best = int(np.argmin(losses))
            members, factor = fits[best].test, factors[best]
            before = covered(pool(members), test.y)
            widened = pool([widen(member, factor) for member in members])
            found.append(score(widened, test, before, factor))
    return found


def mean_and_error(values: list[float]) -> tuple[float, float]:
    """Return the mean over outer folds, and its standard error as if they were independent."""
    return float(np.mean(values)), float(np.std(values, ddof=1) / np.sqrt(len(values)))


def describe(found: dict[str, list[Found]]) -> str:
    """Return the table of one data set."""
    columns = (
        "family", "R²", "RMSE", "NLPD, nats", "CRPS", f"in {LEVEL:.0%} intervals, %",
        "not widened, %", "factor",
    )  # fmt: skip
    rows = []
    for family, folds in found.items():
        fields = zip(*(fold[:-1] for fold in folds), strict=True)
        r2, rmse, nlpd, crps, coverage, before, factor = map(mean_and_error, map(list, fields))
        rows.append(
            (
                family, f"{r2[0]:.3f} ± {r2[1]:.3f}", f"{rmse[0]:.3f} ± {rmse[1]:.3f}",
                f"{nlpd[0]:.3f} ± {nlpd[1]:.3f}", f"{crps[0]:.3f} ± {crps[1]:.3f}",
                f"{100 * coverage[0]:.1f} ± {100 * coverage[1]:.1f}", f"{100 * before[0]:.1f}",
                f"{factor[0]:.2f}",
            )
        )  # fmt: skip
    return table(columns, rows)


def judge(found: dict[str, list[Found]]) -> str:
    """Say what holds of each of our families, and what does not."""
    means = {family: mean_and_error([f.r2 for f in folds]) for family, folds in found.items()}
    others = {family: each for family, each in means.items() if not family.startswith("uGMM")}
    best = max(others, key=lambda family: others[family][0])
    perceptron = next(folds for family, folds in found.items() if family.startswith("MLP"))
    lines = []
    for family, folds in found.items():
        if not family.startswith("uGMM"):
            continue
        r2, error = mean_and_error([a.r2 - b.r2 for a, b in zip(folds, found[best], strict=True)])
        within = "holds" if r2 >= -others[best][1] else "does NOT hold"
        nats, sure = mean_and_error(
            [b.nlpd - a.nlpd for a, b in zip(folds, perceptron, strict=True)]
        )
        better = "holds" if nats > 0 else "does NOT hold"
        coverage = 100 * (np.mean([fold.coverage for fold in folds]) - LEVEL)
        near = "holds" if abs(coverage) <= 2 else "does NOT hold"
        lines.append(
            f"- {family}: R² within one standard error of the best of the others, {best}, "
            f"{within} ({r2:+.3f}, paired error {error:.3f}); NLPD better than the MLP's "
            f"{better} (by {nats:.3f} nats, paired error {sure:.3f}); coverage within 2 points "
            f"{near} ({coverage:+.1f})."
        )
    return "\n".join(lines)


def draw(results: dict[str, dict[str, list[Found]]], path: Path) -> None:
    """Draw how many targets are in central intervals of every level, beside the level."""
    figure = new_figure(4.2 * len(results), 4.4, "Targets in central intervals, beside the level")
    panels = figure.subplots(1, len(results), sharey=True, squeeze=False)[0]
    levels = np.linspace(0.01, 0.99, 99)
    for axes, (name, found) in zip(panels, results.items(), strict=True):
        for (family, folds), colour in zip(found.items(), SERIES, strict=False):
            inside = np.abs(2 * torch.cat([fold.pit for fold in folds]).numpy() - 1)
            share = (inside[:, None] <= levels).mean(0)
            axes.plot(100 * levels, 100 * (share - levels), color=colour, label=family, lw=1.6)
        n_rows = len(inside) / len(SEEDS[name])
        error = 200 * np.sqrt(levels * (1 - levels) / n_rows)
        axes.fill_between(100 * levels, -error, error, color=EMPTY, label="two standard errors")
        axes.axvline(100 * LEVEL, color=MUTED, lw=0.8, ls=":")
        label = "observed less nominal, points" if axes is panels[0] else ""
        tidy(axes, "nominal level, %", label, name)
    panels[0].legend(fontsize=8, frameon=False, loc="lower left")
    save(figure, path)


def main() -> None:
    """Compare the families on each table; print or write what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", choices=list(SEEDS), default=list(SEEDS))
    parser.add_argument("--picture", help="where to draw the coverage, a PNG file")
    options = read_options(parser)
    results, parts = {}, []
    for name in options.only:
        rows, found = load_rows(name), {}
        for label, family in FAMILIES.items():
            start = time.process_time()
            if options.quick:
                rows, family = rows.take(slice(200)), family._replace(settings=family.settings[:1])
            seeds, folds = (SEEDS[name][:1], 2) if options.quick else (SEEDS[name], OUTER)
            found[label] = cross_validate(rows, family, seeds, folds)
            took = time.process_time() - start
            print(f"{name}, {label}: {took:.0f} s", file=sys.stderr, flush=True)
        results[name] = found
        n_folds = len(next(iter(found.values())))
        parts.append(
            f"{name}, {len(rows.x):,} rows, {rows.x.shape[1]} features; means over {n_folds} "
            f"outer folds ± standard error:\n\n{describe(found)}\n\n{judge(found)}"
        )
    if options.picture:
        draw(results, Path(options.picture))
    text = f"{__doc__.split(chr(10) * 2, 2)[2]}\n" + "\n\n".join(parts)
    show("regression", "predicted distributions of numbers", text, options.write)


if __name__ == "__main__":
    main()
