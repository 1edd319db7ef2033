"""One fit of a cross-validation: its rows, its model, its metrics; and many in parallel."""

import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from multiprocessing import get_context
from typing import Any, NamedTuple

import numpy as np

from ugmm._lean import starting
from ugmm.baselines.estimators import Estimator, LogJoint
from ugmm.columns import fit_scaling
from ugmm.config.schema import Config
from ugmm.errors import UserError
from ugmm.studies.crossval.tables import Imputer, Rows, fill_gaps, hide_cells
from ugmm.studies.obstacles import find_obstacle
from ugmm.studies.processes import end_with_parent
from ugmm.terminal import guard_streams

__all__ = [
    "Candidate",
    "NetworkEstimator",
    "Place",
    "compute_metrics",
    "fit_all",
    "fit_one",
    "split_rows",
]


@dataclass(frozen=True)
class Place:
    """Which rows a fit is given.

    Attributes:
        folds: Number of outer folds.
        inner_folds: Into how many folds the training rows are divided again, to choose by.
        seed: Of the folds, and of the model.
        fold: The outer fold that is the test set.
        inner: The inner fold that is tested on; None for a fit to all training rows.
        data: The data set.
        missing: The share of its cells that is hidden, in training rows and in test rows.
    """

    folds: int
    inner_folds: int
    seed: int
    fold: int
    inner: int | None = None
    data: str = ""
    missing: float = 0.0


class Candidate(NamedTuple):
    """A model with one of the settings that it is tried with.

    Attributes:
        values: What it has of the grid.
        estimator: What is fitted.
        impute: How gaps are filled for it; None leaves them, to a model that takes them so.
    """

    values: dict[str, Any]
    estimator: Estimator
    impute: Imputer | None = None


def split_rows(y: np.ndarray, place: Place) -> tuple[np.ndarray, np.ndarray]:
    """Return the row numbers to fit and to test on, of labels (n,).

    Those of an inner fold lie within the training rows of its outer fold.
    """
    train, test = _split_fold(y, place.folds, place.seed, place.fold)
    if place.inner is None:
        return train, test
    inner_train, inner_test = _split_fold(y[train], place.inner_folds, place.seed, place.inner)
    return train[inner_train], train[inner_test]


def _split_fold(y: np.ndarray, folds: int, seed: int, fold: int) -> tuple[np.ndarray, np.ndarray]:
    from sklearn.model_selection import StratifiedKFold

    splits = StratifiedKFold(folds, shuffle=True, random_state=seed).split(y, y)
    return list(splits)[fold]


def _refuse_missing_classes(y: np.ndarray, train: np.ndarray, place: Place) -> None:
    rows = np.bincount(y[train], minlength=int(y.max()) + 1)
    if not rows.all():
        inner = "" if place.inner is None else f", inner fold {place.inner}"
        raise UserError(
            f"class {rows.argmin()} has no row to fit to in fold {place.fold}{inner} (seed "
            f"{place.seed}); use fewer folds, or leave that class out"
        )


def compute_metrics(joint: np.ndarray, y: np.ndarray, normalized: bool) -> dict[str, float | None]:
    """Return means over test rows, from log p(x, c) (m, C) and labels (m,).

    Returns:
        `accuracy`; `label`, the mean log p(c | x); `log_prob`, the mean log p(x, c), in nats,
        None where the scores are no log-density.

    Raises:
        FloatingPointError: If any of them is not finite.
    """
    own = joint[np.arange(len(y)), y]
    top = joint.max(1)
    evidence = top + np.log(np.exp(joint - top[:, None]).sum(1))
    found = {
        "accuracy": float((joint.argmax(1) == y).mean()),
        "label": float((own - evidence).mean()),
        "log_prob": float(own.mean()) if normalized else None,
    }
    for name, value in found.items():
        if value is not None and not np.isfinite(value):
            raise FloatingPointError(f"{name} is {value}")
    return found


def fit_one(candidate: Candidate, place: Place, rows: Rows) -> dict[str, Any]:
    """Fit a model and test it.

    Args:
        candidate: Its estimator is given the training rows alone, standardised by themselves; so
            is what fills gaps for it.
        place: Which rows those are.
        rows: All rows of the table.

    Returns:
        See `compute_metrics`, of which `log_prob` is None where values are missing; and `seconds`,
        of the processor, without what filled gaps; `columns`, how many features and the label are;
        `error`, what went wrong or None; `warnings`, what the model warned of.

    Raises:
        UserError: If the user can mend what is wrong, such as a class without a row to fit to.
    """
    model, y = candidate.estimator, rows.y
    train, test = split_rows(y, place)
    _refuse_missing_classes(y, train, place)
    x = hide_cells(rows, place.missing, place.seed)
    has_gaps = bool(np.isnan(x).any())
    mean, scale = fit_scaling(x[train])
    z, z_test = ((x[chosen] - mean) / scale for chosen in (train, test))
    if has_gaps and candidate.impute is not None:
        z, z_test = fill_gaps(candidate.impute, z, z_test)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", RuntimeWarning)  # ConvergenceWarning of EM, unknown Z
        warnings.filterwarnings("always", module="sklearn")
        # Every fit has one thread, so this is what it would take on an idle processor.
        started = time.process_time()
        try:
            log_joint = model.fit(z, y[train], int(y.max()) + 1, place.seed)
            seconds = time.process_time() - started
            is_density = model.normalized and not has_gaps
            found = compute_metrics(log_joint(z_test), y[test], is_density)
            found |= {"seconds": seconds, "columns": z.shape[1] + 1}
            error = None
        except UserError:
            raise  # the same for every fit: the user can mend it
        except Exception as problem:  # it is reported, and the others go on
            if (obstacle := find_obstacle(problem)) is not None:
                raise obstacle from problem
            found, error = {}, f"{type(problem).__name__}: {problem}".split("\n", 1)[0]
    return {**found, "error": error, "warnings": sorted({str(w.message) for w in caught})}


class NetworkEstimator:
    """The network of an experiment as an estimator: trained to its last epoch, on the CPU.

    Arguments:
        config: The resolved configuration; its data are only asked for the batch size, the noise,
            and whether values may be missing.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        self.normalized = False

    def fit(self, x: np.ndarray, y: np.ndarray, n_classes: int, seed: int) -> LogJoint:
        """See `Estimator.fit`; `normalized` says afterwards what the scores are."""
        import torch

        from ugmm.nn import Classifier
        from ugmm.training.fit import RowsDataModule, train

        wanted = self.config.data
        data = RowsDataModule(
            x,
            y,
            n_classes,
            wanted.batch_size,
            seed,
            getattr(wanted, "noise", 0.0),
            keeps_missing=wanted.keeps_missing,
        )
        network = train(replace(self.config, seed=seed), data).network
        assert isinstance(network, Classifier)  # as the data has classes
        self.normalized = network.normalized

        @torch.no_grad()
        def log_joint(x: np.ndarray) -> np.ndarray:
            return network.class_scores(torch.tensor(x).float()).double().numpy()

        if log_joint(x[:1]).shape[-1] != n_classes:
            raise UserError(
                "this experiment models no label (task.label=none): nothing to compare"
            )
        return log_joint


Job = tuple[Candidate, Place]


def fit_all(
    jobs: Sequence[Job], tables: Mapping[str, Rows], processes: int
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the number of each job with its result (see `fit_one`), as they end.

    Args:
        jobs: What to fit.
        tables: By the names of data sets.
        processes: How many work at a time; 1 means this one.

    Raises:
        UserError: If the user can mend what is wrong, or if a process was killed.
    """
    networks = any(isinstance(model.estimator, NetworkEstimator) for model, _ in jobs)
    if processes == 1 or len(jobs) < 2:
        _warm_up(networks)
        for number, (model, place) in enumerate(jobs):
            yield number, fit_one(model, place, tables[place.data])
        return
    pool = ProcessPoolExecutor(
        min(processes, len(jobs)), get_context("spawn"), _start_worker, (networks,)
    )
    try:
        futures = {
            pool.submit(fit_one, *job, tables[job[1].data]): n for n, job in enumerate(jobs)
        }
        for future in as_completed(futures):
            yield futures[future], future.result()
    except BrokenProcessPool as error:
        raise UserError(
            "a worker process died, perhaps for want of memory; the same command goes on, and "
            "--jobs makes it fewer at a time"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _start_worker(networks: bool) -> None:
    """Prepare a worker process, which ends with the main one."""
    end_with_parent()
    guard_streams()
    _warm_up(networks)


def _warm_up(networks: bool) -> None:
    """Import what fits need, so that the first is not timed with it; use one thread."""
    import sklearn.discriminant_analysis
    import sklearn.mixture
    import sklearn.neighbors  # noqa: F401
    import torch
    from threadpoolctl import threadpool_limits

    import ugmm.density

    torch.set_num_threads(1)
    threadpool_limits(1)
    if networks:
        with starting(told=False):
            import ugmm.training.fit  # noqa: F401
