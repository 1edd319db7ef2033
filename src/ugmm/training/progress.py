"""How a run fares: a bar of all its epochs on a terminal, and lines everywhere else."""

import math
import sys
import time
from collections.abc import Sequence
from typing import Any

import ugmm._torchvision  # noqa: F401  (before lightning: see the module)

from lightning.pytorch import Callback, LightningModule, Trainer
from rich.console import Console, ConsoleOptions, Group, RenderResult
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from ugmm.terminal import say
from ugmm.training.saving.checkpoint import batches_done

__all__ = ["ProgressBars", "ProgressLines", "make_progress"]

_LINE_SECONDS = 10.0  # between two lines
_REFRESHED = 4  # times in a second
_LOOK_SECONDS = 0.5  # between two looks at the metrics, for which a GPU may have to be waited for


def make_progress() -> Callback:
    """Return what suits standard output."""
    console = Console()
    if sys.stdout is not None and sys.stdout.isatty() and console.is_interactive:
        return ProgressBars(console)
    return ProgressLines()


class ProgressLines(Callback):
    """Print a line at validations, at most one in ten seconds: for logs, where a bar is no use.

    That of the last one is printed in any case, be it of the last epoch or not.
    """

    def __init__(self) -> None:
        self.printed = -math.inf
        self.line = ""  # what has not been printed yet

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Print the epoch and the validation metrics."""
        if trainer.sanity_checking:
            return
        self.line = "  ".join([_epoch(trainer), *_metrics(trainer)])
        if time.monotonic() - self.printed >= _LINE_SECONDS:
            self.printed = time.monotonic()
            self._print(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Print the last line, if it was too soon for it."""
        self._print(trainer)

    def _print(self, trainer: Trainer) -> None:
        if self.line and trainer.is_global_zero:
            say(self.line)
        self.line = ""


class ProgressBars(Callback):
    """Show one bar for all epochs, with the time that is left of them, and the metrics below it.

    The last of it stays on the terminal, as the last of the lines does elsewhere.

    Args:
        console: Of the terminal.
    """

    def __init__(self, console: Console) -> None:
        self.console = console
        self.live: Live | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Show how far a resumed run has come already."""
        total = (trainer.max_epochs or 1) * trainer.num_training_batches
        done = trainer.current_epoch * trainer.num_training_batches + (batches_done(trainer) or 0)
        self._show(trainer, total, done)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Say which epoch it is."""
        if self.live is not None:
            self.shown.title = _epoch(trainer)

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,  # noqa: ARG002
        outputs: Any,  # noqa: ARG002
        batch: Any,  # noqa: ARG002
        batch_idx: int,
    ) -> None:
        """Move on by one."""
        if self.live is None:
            return
        self.shown.done = trainer.current_epoch * trainer.num_training_batches + batch_idx + 1
        if time.monotonic() - self.looked >= _LOOK_SECONDS:
            self._look(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Show the metrics that are new."""
        if self.live is not None:
            self._look(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Leave the last metrics on the terminal."""
        self._end()

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Show that it is tested."""
        self._show(trainer, sum(map(int, trainer.num_test_batches)), 0)
        if self.live is not None:
            self.shown.title = "testing"

    def on_test_batch_end(self, *_: Any) -> None:
        """Move on by one."""
        if self.live is not None:
            self.shown.done += 1

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Leave nothing: a table of what was tested follows."""
        if self.live is not None:
            self.live.transient = True
        self._end()

    def on_exception(
        self,
        trainer: Trainer,  # noqa: ARG002
        pl_module: LightningModule,  # noqa: ARG002
        exception: BaseException,  # noqa: ARG002
    ) -> None:
        """Give the terminal back."""
        self._end()

    def _show(self, trainer: Trainer, total: float, done: float) -> None:
        self._end()
        if trainer.is_global_zero:
            self.shown = _Shown(_epoch(trainer), total, done)
            self.looked = time.monotonic()
            self.live = Live(self.shown, console=self.console, refresh_per_second=_REFRESHED)
            self.live.start()

    def _look(self, trainer: Trainer) -> None:
        self.looked = time.monotonic()
        self.shown.metrics = _metrics(trainer)

    def _end(self) -> None:
        if self.live is not None:
            self.live.stop()
            self.live = None


class _Shown:
    """What is on the terminal at the moment.

    Args:
        title: What is being done.
        total: Batches of all epochs.
        done: Those of epochs before this process.
    """

    def __init__(self, title: str, total: float, done: float) -> None:
        self.title, self.total, self.done = title, total, done
        self.before, self.started = done, time.monotonic()
        self.metrics: Sequence[str] = ()

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw the bar as wide as there is room for it, and the metrics."""
        line = Table.grid(padding=(0, 2), expand=True)
        line.add_column(no_wrap=True)
        line.add_column(ratio=1)
        line.add_column(no_wrap=True, justify="right")
        bar = ProgressBar(total=self.total, completed=self.done)
        line.add_row(self.title, bar, self._left())
        yield line
        yield Group(*(Text(text) for text in pack(self.metrics, options.max_width)))

    def _left(self) -> str:
        """Say how long the rest takes, going by what this process has done; or all of it."""
        new, left = self.done - self.before, self.total - self.done
        if not new:
            return ""
        seconds = time.monotonic() - self.started
        return f"{_clock(seconds * left / new)} left" if left else f"{_clock(seconds)} in all"


def pack(words: Sequence[str], width: int) -> list[str]:
    """Return lines of words with two blanks between them, none broken that fits into a line."""
    lines: list[str] = []
    for word in words:
        if lines and len(lines[-1]) + 2 + len(word) <= width:
            lines[-1] += f"  {word}"
        else:
            lines.append(word)
    return lines


def _clock(seconds: float) -> str:
    hours, rest = divmod(round(seconds), 3600)
    return f"{hours}:{rest // 60:02}:{rest % 60:02}"


def _epoch(trainer: Trainer) -> str:
    return f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}"


def _metrics(trainer: Trainer) -> list[str]:
    """Return the training loss and the validation, each with its name."""
    # train/accuracy is that of the epoch before: this epoch's is logged at its very end.
    metrics = trainer.callback_metrics.items()
    shown = [(k, v) for k, v in metrics if k.startswith("val/") or k == "train/loss"]
    return [f"{name} {float(value):.4g}" for name, value in shown]
