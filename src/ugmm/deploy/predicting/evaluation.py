"""`ugmm eval --data`: a trained network tested on other rows, in the user's units."""

from collections.abc import Callable
from dataclasses import replace

import ugmm._torchvision  # noqa: F401  (before lightning: see the module)

import torch

from ugmm.config.frozen import read_config
from ugmm.data import InMemoryDataModule, Split
from ugmm.data.module import SplitName
from ugmm.deploy.predicting.rows import RowReader
from ugmm.deploy.predicting.tables import open_table
from ugmm.loading import load, load_task
from ugmm.runs import Confusion, locate
from ugmm.spec import Spec
from ugmm.stated import Stated
from ugmm.training.run import test_alone

__all__ = ["evaluate_rows"]


class GivenRows(InMemoryDataModule):
    """Rows to test on, in model units, of which it is known what they are.

    Args:
        rows: They.
        spec: What they are.
        batch_size: See `InMemoryDataModule`.
    """

    def __init__(self, rows: Split, spec: Spec, batch_size: int) -> None:
        super().__init__(batch_size=batch_size, seed=0)
        self.n_features, self.n_classes = spec.n_features, spec.n_classes
        self.class_names, self.target = spec.class_names, spec.target
        self.keeps_missing, self.spec = spec.keeps_missing, spec
        self.splits = {"train": Split(rows.x[:0], rows.y[:0]), "test": rows}

    def load(self) -> dict[SplitName, Split]:
        """Return the rows."""
        return self.splits


def evaluate_rows(
    run: str, data: str, stated: Callable[[object], Stated]
) -> tuple[dict[str, float], Confusion | None]:
    """Test a run's network on the rows of a file; writes nothing.

    Args:
        run: The run folder.
        data: A CSV or Parquet file with the label or target, too; `-` is standard input.
        stated: See `ugmm.deploy.predicting.predict.predict`.

    Returns:
        See `ugmm.training.run.evaluate`.

    Raises:
        UserError: If the run or the file cannot be used, or a row's label or target is none that
            the network knows.
    """
    folder, checkpoint = locate(run)
    config, place = read_config(folder), checkpoint or folder.folder
    spec, task = load(place).spec, load_task(place)
    if spec.label is None and spec.n_classes > 1:
        spec = replace(spec, label="label")
    # What models no label is asked for the density alone.
    knows = spec.target is not None or config.task.has_label
    with open_table(data, stated(config.data)) as table:
        reader = RowReader(table, spec, answer=spec.answer_name if knows else None)
        parts = [(x, torch.zeros(len(x)).long() if y is None else y) for x, y, _ in reader.parts()]
    split = Split(*map(torch.cat, zip(*parts, strict=True)))
    tested = GivenRows(split, spec, getattr(config.data, "batch_size", len(split.x)))
    # All of these rows, though the run's own test may have taken a part.
    everything = replace(config, trainer=replace(config.trainer, limit_test_batches=None))
    return test_alone(task, tested, everything)
