"""`metrics.csv`: the record of a run that survives whatever happens to the process."""

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any, BinaryIO

from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only

from ugmm.runs import Run
from ugmm.terminal import warn
from ugmm.writing import explaining, write_atomic

__all__ = ["MetricsCSV"]


class MetricsCSV(Logger):
    """Append a row at every logging, with columns `epoch`, `step` and one for each metric.

    Arguments:
        run: Whose `metrics.csv` is written.
        epochs: How many were over in a run that goes on; rows of later ones, of work that will be
            done again, are dropped,
        steps: but not those of so many steps in all, of the epoch that was under way.
    """

    def __init__(self, run: Run, epochs: int = 0, steps: int | None = None) -> None:
        super().__init__()
        self.run = run
        self.columns = ["epoch", "step"]
        self.file: BinaryIO | None = None  # open: a small network's epoch is not much longer
        self._start(epochs, steps or 0)

    @rank_zero_only
    def _start(self, epochs: int, steps: int) -> None:
        if (epochs or steps) and not self.run.metrics.exists():
            warn(f"warning: {self.run.metrics} is lost; it starts anew from epoch {epochs + 1}")

        def is_done(row: Mapping[str, float | None]) -> bool:
            epoch, step = row["epoch"] or 0, row["step"] or 0
            return epoch < epochs or (epoch == epochs and step < steps)

        rows = [row for row in self.run.read_metrics() if is_done(row)]
        if rows:
            self.columns = list(rows[0])
        self._rewrite(rows)

    @property
    def name(self) -> str:
        """The logger's name."""
        return "metrics"

    @property
    def version(self) -> str:
        """The run's id."""
        return self.run.id

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """Nothing: the run folder holds the configuration."""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Append a row."""
        row = {**metrics, "epoch": int(metrics["epoch"]), "step": step}
        if new := [name for name in row if name not in self.columns]:
            rows = self.run.read_metrics()
            self.columns += sorted(new)
            self._rewrite(rows)
        with explaining(self.run.metrics):
            self.file = self.file or self.run.metrics.open("ab", buffering=0)
            rest = _lines(self.columns, [row])
            while rest:  # a disk that is getting full takes a part of it, and then complains
                rest = rest[self.file.write(rest) :]

    def _rewrite(self, rows: list[dict[str, float | None]]) -> None:
        header = dict(zip(self.columns, self.columns, strict=True))
        whole = [{**row, **{n: int(row[n] or 0) for n in ("epoch", "step")}} for row in rows]
        self.close()
        write_atomic(self.run.metrics, _lines(self.columns, [header, *whole]))

    def close(self) -> None:
        """Let go of the file; the next row opens it again."""
        if self.file is not None:
            self.file.close()
            self.file = None


def _lines(columns: list[str], rows: Sequence[Mapping[str, Any]]) -> bytes:
    text = io.StringIO()
    csv.DictWriter(text, columns, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()
