"""`metrics.csv`: the record of a run that survives whatever happens to the process."""

import csv
import io
from collections.abc import Mapping
from typing import Any

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
        epoch: The epoch from which a resumed run continues; later rows, of work that will be done
            again, are dropped.
    """

    def __init__(self, run: Run, epoch: int = 0) -> None:
        super().__init__()
        self.run = run
        self.columns = ["epoch", "step"]
        self._start(epoch)

    @rank_zero_only
    def _start(self, epoch: int) -> None:
        if epoch and not self.run.metrics.exists():
            warn(f"warning: {self.run.metrics} is lost; it starts anew from epoch {epoch + 1}")
        rows = [row for row in self.run.read_metrics() if (row["epoch"] or 0) < epoch]
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
        with explaining(self.run.metrics), self.run.metrics.open("a", newline="") as file:
            csv.DictWriter(file, self.columns, lineterminator="\n").writerow(row)

    def _rewrite(self, rows: list[dict[str, float | None]]) -> None:
        text = io.StringIO()
        writer = csv.DictWriter(text, self.columns, lineterminator="\n")
        writer.writeheader()
        for row in rows:
            whole = {name: int(row[name] or 0) for name in ("epoch", "step")}
            writer.writerow({**row, **whole})
        write_atomic(self.run.metrics, text.getvalue())
