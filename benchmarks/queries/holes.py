"""Tables with holes: classifiers and densities trained on them as they are, and what fills them in.

    python benchmarks/queries/holes.py [--quick] [--write]

Cells are removed at random from training and test rows alike. Every contender gets the same rows,
standardised by what is known of the training rows; imputers are fitted to these, too. The networks
beside an imputer are the same as the one that is trained with holes, and trained in the same way.
Nothing was chosen by test rows.
"""

import argparse
import itertools
import time
import warnings
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from results import show, table
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer, KNNImputer, SimpleImputer
from sklearn.model_selection import StratifiedKFold
from torch import Tensor

from ugmm.columns import fit_scaling
from ugmm.data.tabular import load_scikit
from ugmm.density import TiltedGaussian, VicinalNoise, fill_gaps
from ugmm.nn import AutoregressiveUGMM, Classifier, JointScore, UGMMNetwork
from ugmm.objectives import CrossEntropy, Likelihood, Objective, RankingNCE

TABLES = {"wine": (0, 1), "breast_cancer": (0,), "digits": (0,)}  # the folds tested, of five
SHARES = (0.2, 0.5)
SEEDS = 3
STEPS, RATE, HIDDEN = 400, 0.02, (40, 16)


class Rows(NamedTuple):
    """Standardised rows with holes, and how many classes there are."""

    x: np.ndarray
    y: np.ndarray
    test_x: np.ndarray
    test_y: np.ndarray
    n_classes: int


def rows_with_holes(name: str, share: float, seed: int, fold: int) -> Rows:
    """Return a fold of a table of which a share of the cells is removed."""
    source = load_scikit(name)
    hidden = np.random.default_rng(seed).random(source.x.shape) < share
    x = np.where(hidden, np.nan, source.x)
    splits = StratifiedKFold(5, shuffle=True, random_state=seed).split(x, source.y)
    train, test = list(splits)[fold]
    mean, scale = fit_scaling(x[train])
    x = (x - mean) / scale
    return Rows(x[train], source.y[train], x[test], source.y[test], len(source.class_names))


def fit(network: Classifier, objective: Objective, x: Tensor, y: Tensor, noise: bool) -> None:
    """Train a network on rows (n, D), all of them at each step."""
    vicinal = VicinalNoise(x.shape[1], None if noise else 0.0)
    vicinal.fit(fill_gaps(x, y), y)
    optimizer = torch.optim.Adam(network.parameters(), RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, STEPS, pct_start=0.2)
    for _ in range(STEPS):
        loss = objective.loss(network, vicinal(x) if noise else x, y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    network.eval()


def classifier(rows: Rows, imputer: object = None) -> np.ndarray:
    """Return the posterior (m, C) of a network, of rows with holes or of an imputer's."""
    x, test_x = rows.x, rows.test_x
    if imputer is not None:
        x, test_x = imputer.fit_transform(x), imputer.transform(test_x)  # type: ignore[attr-defined]
    sizes = [x.shape[1], *HIDDEN, rows.n_classes]
    network = UGMMNetwork(sizes, norm="layer", input_dropout=0.2, missing=imputer is None)
    labels = torch.from_numpy(rows.y)
    network.set_prior(labels.bincount() / len(labels))
    fit(network, CrossEntropy(), torch.from_numpy(x).float(), labels, noise=False)
    return network.posterior(torch.from_numpy(test_x).float()).double().numpy()


def tilted(rows: Rows) -> np.ndarray:
    """Return the posterior of a tilted Gaussian."""
    x, y = torch.from_numpy(rows.x).float(), torch.from_numpy(rows.y)
    d, c = x.shape[1], rows.n_classes
    score = JointScore(UGMMNetwork([d + c, *HIDDEN, 1], init="data", min_scale=0.1), c)
    density = TiltedGaussian(score, d, c, missing=True)
    density.fit_base(x, y)
    density.init_from(fill_gaps(x, y), y)
    fit(density, RankingNCE(), x, y, noise=True)
    density.normalize()
    return density.posterior(torch.from_numpy(rows.test_x).float()).double().numpy()


def autoregressive(rows: Rows) -> np.ndarray:
    """Return the posterior of an autoregressive network."""
    x, y = torch.from_numpy(rows.x).float(), torch.from_numpy(rows.y)
    density = AutoregressiveUGMM(x.shape[1], rows.n_classes, HIDDEN, min_scale=0.1, missing=True)
    density.init_from(fill_gaps(x, y), y)
    fit(density, Likelihood(), x, y, noise=True)
    return density.posterior(torch.from_numpy(rows.test_x).float()).double().numpy()


def boosting(rows: Rows) -> np.ndarray:
    """Return the posterior of boosted trees, which send a missing value one way or the other."""
    model = HistGradientBoostingClassifier(random_state=0).fit(rows.x, rows.y)
    return model.predict_proba(rows.test_x)


def iterative() -> IterativeImputer:
    """Return an imputer that goes round the features, each regressed on the 20 that fit best."""
    return IterativeImputer(max_iter=5, n_nearest_features=20, random_state=0)


CONTENDERS: dict[str, Callable[[Rows], np.ndarray]] = {
    "ours, keep": classifier,
    "ours, keep: tilted Gaussian": tilted,
    "ours, keep: autoregressive": autoregressive,
    "mean + network": lambda rows: classifier(rows, SimpleImputer()),
    "5 nearest + network": lambda rows: classifier(rows, KNNImputer(n_neighbors=5)),
    "iterative + network": lambda rows: classifier(rows, iterative()),
    "boosting": boosting,
}
LEFT_OUT = {("digits", "ours, keep: tilted Gaussian")}  # 11 Gaussians of 64 features: too slow


def score(posterior: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Return the accuracy and the log-loss, in nats."""
    own = np.log(posterior[np.arange(len(y)), y].clip(1e-15))
    return float((posterior.argmax(1) == y).mean()), float(-own.mean())


def main() -> None:
    """Print the table, and write it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one fold of wine")
    parser.add_argument("--write", action="store_true", help="write the section of QUERIES.md")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")  # of imputers that have not converged
    tables, seeds = ({"wine": (0,)}, 1) if arguments.quick else (TABLES, SEEDS)
    started, lines = time.process_time(), []
    seconds = dict.fromkeys(CONTENDERS, 0.0)
    for name, folds in tables.items():
        for share in SHARES:
            found: dict[str, list[tuple[float, float]]] = {each: [] for each in CONTENDERS}
            for seed, fold in itertools.product(range(seeds), folds):
                rows = rows_with_holes(name, share, seed, fold)
                for each, predict in CONTENDERS.items():
                    if (name, each) not in LEFT_OUT:
                        torch.manual_seed(seed)
                        begun = time.process_time()
                        found[each].append(score(predict(rows), rows.test_y))
                        seconds[each] += time.process_time() - begun
            cells = [_cell(np.array(scores)) for scores in found.values()]
            lines.append([f"{name}, {share:.0%}", *cells])
            print(*lines[-1], sep=" | ", flush=True)
    lines.append(["seconds, all fits", *(f"{each:.0f}" for each in seconds.values())])
    text = (
        "Accuracy and log-loss in nats (and its standard deviation over the fits) on test rows "
        f"with holes of the same kind; {seeds} seeds of holes, folds and networks, of wine two "
        "folds each. Networks have the layers 40-16 and 400 steps of all rows; classifiers "
        "input_dropout=0.2, with imputed rows too.\n\n"
        f"{table(['table, holes', *CONTENDERS], lines)}\n\n"
        f"{time.process_time() - started:.0f} s."
    )
    show("holes", "tables with holes", text, arguments.write)


def _cell(scores: np.ndarray) -> str:
    if not len(scores):
        return "–"
    accuracy, loss = scores.mean(0)
    return f"{accuracy:.3f}, {loss:.2f} ({scores[:, 1].std():.2f})"


if __name__ == "__main__":
    main()
