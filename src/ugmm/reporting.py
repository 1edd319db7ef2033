"""`ugmm report`: gathers what the page of a run shows, and writes it."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import ugmm._torchvision  # noqa: F401  (before lightning: see the module)

import numpy as np

from ugmm.cluster.lock import read_holder
from ugmm.columns import UNKNOWN
from ugmm.config.frozen import read_config
from ugmm.data import InMemoryDataModule, Table, TabularDataModule
from ugmm.data.module import SplitName
from ugmm.errors import UserError
from ugmm.report.run.page import DataFacts, RunFacts, read_facts, run_page
from ugmm.runs import locate
from ugmm.spec import Spec
from ugmm.writing import make_folder, write_atomic

__all__ = ["write_report"]


def write_report(place: str, out: str | Path | None = None) -> Path:
    """Write the page of a run, whether it has ended or not.

    Where the data cannot be read any more, the page says so and does without their rows.

    Args:
        place: The run; see `ugmm.runs.locate`.
        out: Where the page goes; by default `report.html` in the run folder.

    Returns:
        The file.

    Raises:
        UserError: If there is no run, a file of it is damaged, or the page cannot be written.
    """
    run, _ = locate(place)
    path = run.folder / "report.html" if out is None else Path(out)
    make_folder(path.parent)
    holder = read_holder(run)
    facts = read_facts(run, is_running=None if holder is None else holder.lives)
    write_atomic(path, run_page(_with_data(facts)))
    return path


def _with_data(facts: RunFacts) -> RunFacts:
    """Return the same, with what the data say, or why they say nothing."""
    try:
        config = read_config(facts.run)
        data = config.data.build(config.seed)
        data.prepare_data()
        data.setup()
        _check_same(facts, data)
    except UserError as error:
        return replace(facts, lost=str(error))
    return replace(facts, data=_describe(data))


def _check_same(facts: RunFacts, data: InMemoryDataModule) -> None:
    """Complain if the data are not those that the run was tested on."""
    changed = UserError("the data are others now than those that this run was trained on")
    saved, spec = facts.spec, data.spec
    if saved is None:
        return
    if (saved.feature_names, saved.class_names) != (spec.feature_names, spec.class_names):
        raise changed
    if "truth" not in facts.answers:
        return
    places = _places(data, "test", facts.answers["row"].tolist())
    if len(places) != len(facts.answers["row"]):
        raise changed
    y = data.splits["test"].y.numpy()[places]
    if data.target is None:
        same = np.array_equal(y, facts.classes_of("truth"))
    else:
        true = y * data.target.std + data.target.mean
        same = np.allclose(true, facts.answers["truth"], rtol=1e-3, atol=1e-3 * data.target.std)
    if not same:
        raise changed


def _describe(data: InMemoryDataModule) -> DataFacts:
    low, high, missing = _columns(data)
    return DataFacts(
        sizes={name: len(split.x) for name, split in data.splits.items()},
        classes={
            name: np.bincount(split.y.numpy(), minlength=data.n_classes)
            for name, split in data.splits.items()
            if data.target is None
        },
        low=low,
        high=high,
        missing=missing,
        find=lambda numbers: _find(data, numbers),
    )


def _columns(data: InMemoryDataModule) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return each column's least and greatest number in training, and its gaps in all rows."""
    if data.image_shape is not None:
        return np.zeros(0), np.zeros(0), np.zeros(0, dtype=int)
    x, spec = _raw(data, "train", data.row_numbers("train").tolist())
    ends = spec.decode(np.stack([np.nanmin(x, axis=0), np.nanmax(x, axis=0)]))
    for place, column in enumerate(data.spec.columns):
        if column.categories:
            ends[:, place] = np.nan
    low, high = ends.astype(np.float64)
    if isinstance(data, TabularDataModule):
        gaps = _gaps(data.table)
    else:
        gaps = np.isnan(np.concatenate([split.x.numpy() for split in data.splits.values()]))
    return low, high, gaps.sum(axis=0)


def _gaps(table: Table) -> np.ndarray:
    """Return where a table has no value, before it was filled in: (n, columns)."""
    gaps, place = [], 0
    for column in table.columns:
        gap = np.isnan(table.x[:, place])
        if UNKNOWN in column.categories:
            gap |= table.x[:, place + column.categories.index(UNKNOWN)] == 1
        gaps.append(gap)
        place += len(column.features)
    return np.stack(gaps, axis=1)


def _find(data: InMemoryDataModule, numbers: Sequence[int]) -> np.ndarray:
    """Return raw test rows by their numbers; what is missing in the data is NaN."""
    x, spec = _raw(data, "test", numbers)
    rows = spec.decode(x)
    if isinstance(data, TabularDataModule):
        rows[_gaps(data.table)[_lines(data.table, numbers)]] = np.nan
    return rows


def _raw(
    data: InMemoryDataModule, split: SplitName, numbers: Sequence[int]
) -> tuple[np.ndarray, Spec]:
    """Return features of rows by their numbers, and the spec that decodes them.

    Of a table they are those that were read: standardising them has cost digits.
    """
    if isinstance(data, TabularDataModule):
        x = data.table.x[_lines(data.table, numbers)]
        return x, replace(data.spec, mean=(), std=())
    return data.splits[split].x.numpy()[_places(data, split, numbers)], data.spec


def _lines(table: Table, numbers: Sequence[int]) -> np.ndarray:
    """Return where in a table rows of these numbers are."""
    own = np.arange(len(table.x)) if table.numbers is None else table.numbers
    return np.searchsorted(own, numbers)


def _places(data: InMemoryDataModule, split: SplitName, numbers: Sequence[int]) -> list[int]:
    """Return where in a split rows of these numbers are, if they are there."""
    known = {int(number): place for place, number in enumerate(data.row_numbers(split))}
    return [known[number] for number in numbers if number in known]
