"""Regression: networks that predict distributions, beside ridge regression and boosting.

    python benchmarks/architectures/regression.py [--quick] [--write] [--keep FOLDER]

Three tables: scikit-learn's diabetes, friedman1 (600 rows, noise 1), and Abalone, which the
package scikit-lego ships. Every family has eight settings, and is treated alike. In each of five
outer folds its rows are split into three inner folds, and every setting is fitted three times,
each time without one of them, which says when to stop. That setting is chosen whose predictions
of the rows held out have the greatest log-density, once they are all widened by the one factor
that is best for it. It is fitted again, to all rows, for as many steps as the three stopped at on
average, and widened by that factor; and the outer fold's rows, which nothing has looked at before,
are predicted once.
"""

import argparse
import math
import pickle
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from regression_families import FAMILIES, Family, Fitted, Rows, widen
from results import read_options, show, table
from scipy.optimize import minimize_scalar
from sklearn.model_selection import KFold
from torch import Tensor

from ugmm.columns import fit_scaling
from ugmm.nn import Predictive
from ugmm.report.style import EMPTY, MUTED, SERIES, new_figure, save, tidy

OUTER, INNER = 5, 3
LEVEL = 0.9
FACTORS = math.log(0.05), math.log(5)
SEEDS = {"diabetes": (0,), "friedman1": (0,), "abalone": (0,)}  # of the folds


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
    setting: Mapping[str, Any]


class Tried(NamedTuple):
    """What a setting predicted of the rows that its models were held from."""

    setting: Mapping[str, Any]
    predictions: list[tuple[Predictive, Tensor]]
    stop: int

    def nlpd(self, factor: float) -> float:
        """Return the mean negative log-density of their targets."""
        losses = [-widen(predictive, factor).log_prob(y) for predictive, y in self.predictions]
        return float(torch.cat(losses).mean())

    def best_factor(self) -> float:
        """Return by how much its predictions are to be widened."""
        found = minimize_scalar(lambda log: self.nlpd(math.exp(log)), bounds=FACTORS)
        return math.exp(found.x)


def fit_in_units(family: Family, rows: Rows, *rest: Any, held: Rows | None = None, **more: Any):
    """Fit to standardised rows; return a model of the rows in their own units."""
    mean, scale = (torch.from_numpy(each) for each in fit_scaling(rows.x.numpy()))
    centre, spread = rows.y.mean(), rows.y.std()

    def inside(some: Rows) -> Rows:
        return Rows((some.x - mean) / scale, (some.y - centre) / spread)

    fitted = family.fit(inside(rows), *rest, held=held and inside(held), **more)

    def predict(x: Tensor) -> Predictive:
        return fitted.predict((x - mean) / scale).scaled(float(centre), float(spread))

    return Fitted(predict, fitted.stop)


def try_setting(family: Family, setting: Mapping[str, Any], train: Rows, seed: int) -> Tried:
    """Fit a setting without each of the inner folds in turn."""
    predictions, stops = [], []
    splits = KFold(INNER, shuffle=True, random_state=seed).split(train.x)
    for fold, (of, out) in enumerate(splits):
        held = train.take(out)
        fitted = fit_in_units(family, train.take(of), setting, 10 * seed + fold, held=held)
        predictions.append((fitted.predict(held.x), held.y))
        stops.append(fitted.stop)
    return Tried(setting, predictions, round(float(np.mean(stops))))


def score(predicted: Predictive, test: Rows, factor: float, setting: Mapping) -> Found:
    """Compare predictions, widened, with the test rows."""
    predictive = widen(predicted, factor)
    errors = (predictive.mean - test.y).square()
    return Found(
        r2=float(1 - errors.mean() / test.y.var(correction=0)),
        rmse=float(errors.mean().sqrt()),
        nlpd=float(-predictive.log_prob(test.y).mean()),
        crps=float(predictive.crps(test.y).mean()),
        coverage=covered(predictive, test.y),
        as_trained=covered(predicted, test.y),
        factor=factor,
        pit=predictive.cdf(test.y),
        setting=setting,
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
            tried = [try_setting(family, each, train, seed) for each in family.settings]
            factors = [each.best_factor() for each in tried]
            losses = [each.nlpd(f) for each, f in zip(tried, factors, strict=True)]
            best = int(np.argmin(losses))
            setting, stop = tried[best].setting, tried[best].stop
            model = fit_in_units(family, train, setting, 10 * seed + INNER, stop=stop)
            found.append(score(model.predict(test.x), test, factors[best], setting))
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
        fields = zip(*(fold[:-2] for fold in folds), strict=True)
        r2, rmse, nlpd, crps, coverage, before, factor = map(mean_and_error, map(list, fields))
        rows.append(
            (
                family, f"{r2[0]:.3f} ± {r2[1]:.3f}", f"{rmse[0]:.3f} ± {rmse[1]:.3f}",
                f"{nlpd[0]:.3f} ± {nlpd[1]:.3f}", f"{crps[0]:.3f} ± {crps[1]:.3f}",
                f"{100 * coverage[0]:.1f} ± {100 * coverage[1]:.1f}",
                f"{100 * before[0]:.1f}" if FAMILIES[family].has_spread else "",
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
    figure = new_figure(4.2 * len(results), 4.6, "Targets in central intervals, beside the level")
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
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside lower center", ncols=min(6, 2 * len(results)), fontsize=9,
        frameon=False,
    )  # fmt: skip
    save(figure, path)


def compare(name: str, rows: Rows, quick: bool) -> dict[str, list[Found]]:
    """Return what each family found on a table; say how long it took."""
    found = {}
    for label, family in FAMILIES.items():
        start = time.process_time()
        seeds, folds = SEEDS[name], OUTER
        if quick:
            rows, family = rows.take(slice(200)), family._replace(settings=family.settings[:1])
            seeds, folds = seeds[:1], 2
        found[label] = cross_validate(rows, family, seeds, folds)
        print(f"{name}, {label}: {time.process_time() - start:.0f} s", file=sys.stderr)
    return found


def main() -> None:
    """Compare the families on each table; print or write what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", choices=list(SEEDS), default=list(SEEDS))
    parser.add_argument("--keep", help="a folder: what it has of a table is not computed again")
    parser.add_argument("--picture", help="where to draw the coverage, a PNG file")
    options = read_options(parser)
    results, parts = {}, []
    for name in options.only:
        rows, kept = load_rows(name), Path(options.keep or "", f"{name}.pickle")
        if options.keep and kept.exists():
            results[name] = found = pickle.loads(kept.read_bytes())
        else:
            results[name] = found = compare(name, rows, options.quick)
        if options.keep:
            kept.write_bytes(pickle.dumps(found))
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
