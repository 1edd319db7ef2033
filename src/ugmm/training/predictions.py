"""`predictions.csv`: what the tested network answered about each test row."""

from typing import Any

import numpy as np
from lightning.pytorch import Trainer

from ugmm.answers import LEVEL, class_columns, density_column, number_cell, number_columns
from ugmm.data import InMemoryDataModule
from ugmm.report.escaping import csv_text
from ugmm.runs import Run
from ugmm.tasks import Task
from ugmm.writing import write_atomic

__all__ = ["write_predictions"]


def write_predictions(run: Run, trainer: Trainer, task: Task, data: InMemoryDataModule) -> None:
    """Write down, row by row, the test that has been run; on the leading process.

    The columns are `row`, which row of the user's data it is (of a CSV file counted from 1 below
    the names, of other data from 0), `truth`, `prediction`, and what else `ugmm.answers` says of
    the network. The rows are in the data's order.

    Args:
        run: The run.
        trainer: It has tested.
        task: What was tested.
        data: The rows.

    Raises:
        WriteError: If it cannot be written.
    """
    tested = data.test_dataloader().gathered(int(trainer.num_test_batches[0]))
    columns = {"row": data.row_numbers("test")[tested], **_answers(task, data, tested)}
    order = columns["row"].argsort(kind="stable")
    cells = [map(_cell, column[order].tolist()) for column in columns.values()]
    write_atomic(run.predictions, csv_text([list(columns), *zip(*cells, strict=True)]))


def _answers(task: Task, data: InMemoryDataModule, tested: np.ndarray) -> dict[str, np.ndarray]:
    """Return the columns of the answers about the rows that were tested, in that order."""
    record = {name: of_rows.numpy() for name, of_rows in task.test_record.items()}
    if data.target is not None:
        numbers = number_columns(record["mean"], record["low"], record["high"], LEVEL)
        return {"truth": record["true"], **numbers}
    scores, (x, y) = record["scores"], data.splits["test"]
    answers = class_columns(data.class_names, scores)
    if answers:
        truth = np.array(data.class_names, dtype=object)[y.numpy()[tested]]
        answers = {"truth": truth, **answers}
    if task.network.normalized:
        answers |= density_column(data.spec, scores, x.numpy()[tested])
    return answers


def _cell(value: Any) -> Any:
    return number_cell(value) if isinstance(value, float) else value
