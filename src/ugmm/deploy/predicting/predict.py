"""`ugmm predict`: what a trained network says of the rows of a file."""

import csv
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ugmm.deploy.predicting.outputs import Columns, check_output, writing_answers
from ugmm.deploy.predicting.rows import Part, RowReader
from ugmm.deploy.predicting.tables import open_table
from ugmm.errors import UserError
from ugmm.loading import load
from ugmm.stated import Stated
from ugmm.terminal import progress_bar
from ugmm.trained import TrainedNetwork, TrainedRegressor, check_level

__all__ = ["predict", "read_names"]


def predict(
    run: str,
    data: str,
    *,
    out: str | None,
    keep: str | None,
    level: float | None,
    stated: Callable[[object], Stated],
) -> None:
    """Write the answers of a trained network about the rows of a file, which may be large.

    Args:
        run: The run folder.
        data: A CSV or Parquet file; `-` is standard input.
        out: Where the answers go; see `ugmm.deploy.predicting.outputs.writing_answers`.
        keep: Columns that are copied from the file, separated by commas.
        level: The share of the targets that a regression's intervals should hold; None: 0.9.
        stated: Gives, for the settings of the run's data, how a CSV file is written.

    Raises:
        UserError: If the run or the file cannot be used, or the answers cannot be written.
    """
    check_output(out, data)
    kept = read_names(keep)
    network = load(run)  # and all that can be wrong, before what may be gigabytes is read
    if level is not None:
        if not isinstance(network, TrainedRegressor):
            raise UserError("--level is of a predicted number's interval; leave it out")
        check_level(level)
    asked = {} if level is None else {"level": level}
    with open_table(data, stated(network.config.data)) as table:
        reader = RowReader(table, network.spec, kept)
        # A bar would stand among the answers where both are on the terminal.
        shown, done = out is not None or not sys.stdout.isatty(), 0
        with progress_bar("predicting", shown=shown) as progress, writing_answers(out) as write:
            for done, columns in _answers(network, reader, asked):
                if not write(columns):
                    return
                progress(done, max(done, table.rows))
            progress(done, done)


def _answers(
    network: TrainedNetwork | TrainedRegressor, reader: RowReader, asked: dict[str, Any]
) -> Iterator[tuple[int, Columns]]:
    """Yield how many rows are answered, and the columns of a block of them."""
    with network.network.prepared():
        done = 0
        for x, _, kept in _ahead(reader.parts()):
            answers = network.answer_features(x, **asked)
            if taken := answers.keys() & kept.keys():
                name = min(taken)
                raise UserError(
                    f"--keep {name}: the answers have a column of that name; rename yours"
                )
            done += len(x)
            yield done, {**kept, **answers}


def _ahead(parts: Iterator[Part]) -> Iterator[Part]:
    """Yield parts, of which the next is being read while one is answered."""
    with ThreadPoolExecutor(1) as pool:
        following = pool.submit(next, parts, None)
        while (part := following.result()) is not None:
            following = pool.submit(next, parts, None)
            yield part


def read_names(text: str | None) -> list[str]:
    """Return names that commas separate; one that holds a comma is quoted, as in CSV.

    Raises:
        UserError: If the quotes are wrong.
    """
    try:
        names = next(csv.reader([text or ""], strict=True), [])
    except csv.Error as error:
        raise UserError(f"--keep {text}: {error}; mend the quotes") from None
    return list(dict.fromkeys(name.strip() for name in names if name.strip()))
