"""How a run fares: epochs are counted from 1, the time that is left, and metrics left whole."""

import fcntl
import io
import os
import pty
import re
import struct
import sys
import termios
from types import SimpleNamespace
from unittest.mock import Mock

import pytest
from rich.console import Console

from ugmm.training import progress

ESCAPE = re.compile(r"\x1b\[[?0-9;]*[A-Za-z]")
METRIC = re.compile(r"(?:train|val)/\w+ -?[\d.]+(?:e-?\d+)?")


def terminal(width):
    return Console(file=io.StringIO(), force_terminal=True, force_interactive=True, width=width)


def screen_lines(text):
    return [line.strip() for line in ESCAPE.sub("", text).replace("\r", "\n").split("\n")]


def check_lines(lines, width):
    """No metric is broken from its value, nor the title or the time by the bar."""
    shown = [line for line in lines if line]
    assert [line for line in shown if len(line) > width] == []
    for line in shown:
        if "/" in line and not line.startswith("epoch"):
            assert " ".join(METRIC.findall(line)) == " ".join(line.split())
    return shown


@pytest.mark.parametrize("width", [40, 60, 80])
def test_a_bar_of_the_whole_run(train, monkeypatch, width):
    console = terminal(width)
    monkeypatch.setattr(
        "ugmm.training.trainer.make_progress", lambda: progress.ProgressBars(console)
    )
    train("iris_disc", "data.batch_size=16", "trainer.max_epochs=3")
    shown = check_lines(screen_lines(console.file.getvalue()), width)
    bars = [line for line in shown if line.startswith("epoch")]
    assert {line.split()[1] for line in bars} <= {"1/3", "2/3", "3/3"}
    assert re.fullmatch(r"epoch 3/3 .* \d:\d\d:\d\d in all", bars[-1])
    assert METRIC.findall(" ".join(shown[-3:])), shown[-3:]


def test_the_time_that_is_left_is_of_all_epochs(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    console = terminal(60)
    bars = progress.ProgressBars(console)
    trainer = SimpleNamespace(
        max_epochs=50, num_training_batches=10, current_epoch=40, is_global_zero=True,
        callback_metrics={"train/loss": 0.5, "lr": 1.0},
        fit_loop=SimpleNamespace(
            batch_idx=1, epoch_progress=SimpleNamespace(current=Mock(started=41, processed=40))
        ),
    )  # fmt: skip
    bars.on_train_start(trainer, None)  # behind the second step of an epoch
    now[0] += 5
    bars.on_train_batch_end(trainer, None, None, None, 6)
    bars.on_train_end(trainer, None)
    last = screen_lines(console.file.getvalue())
    assert any(re.fullmatch(r"epoch 41/50 .* 0:01:33 left", line) for line in last)
    assert "train/loss 0.5" in last


@pytest.mark.parametrize(
    ("width", "lines"),
    [
        (80, ["a/b 1  c/d 2  e/f 3"]),
        (14, ["a/b 1  c/d 2", "e/f 3"]),
        (12, ["a/b 1  c/d 2", "e/f 3"]),
        (3, ["a/b 1", "c/d 2", "e/f 3"]),
    ],
)
def test_words_stay_whole(width, lines):
    assert progress.pack(["a/b 1", "c/d 2", "e/f 3"], width) == lines
    assert progress.pack([], width) == []


@pytest.mark.parametrize("terminal", ["xterm", "dumb"])
def test_lines_where_there_is_no_terminal(monkeypatch, terminal):
    monkeypatch.setenv("TERM", terminal)
    monkeypatch.setattr(sys, "stdout", SimpleNamespace(isatty=lambda: terminal == "dumb"))
    assert isinstance(progress.make_progress(), progress.ProgressLines)
    monkeypatch.setattr(sys, "stdout", None)
    assert isinstance(progress.make_progress(), progress.ProgressLines)


def test_the_last_line_is_printed_however_soon(capsys):
    """Such as that of a run that stops early, or whose last epoch is not validated."""
    lines = progress.ProgressLines()
    trainer = SimpleNamespace(
        max_epochs=9, is_global_zero=True, sanity_checking=False, callback_metrics={"val/nll": 0.5}
    )
    for trainer.current_epoch in (1, 3, 5):
        lines.on_validation_end(trainer, None)
    for _ in range(2):
        lines.on_train_end(trainer, None)
    assert capsys.readouterr().out == "epoch 2/9  val/nll 0.5\nepoch 6/9  val/nll 0.5\n"


@pytest.mark.slow
@pytest.mark.parametrize("width", [60, 80])
def test_on_a_real_terminal(tmp_path, width):
    command = [sys.executable, "-m", "ugmm", "train", "iris_disc", "trainer.max_epochs=60"]
    command += ["tracking.mode=disabled"]  # what W&B says of itself is no line of ours
    # Where tests run in workers, COLUMNS stands for the terminal that those were started from.
    environment = {k: v for k, v in os.environ.items() if k != "COLUMNS"} | {"TERM": "xterm"}
    pid, descriptor = pty.fork()
    if pid == 0:
        fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 40, width, 0, 0))
        os.chdir(tmp_path)
        os.execve(command[0], command, environment)
    shown = b""
    try:
        while data := os.read(descriptor, 1 << 16):
            shown += data
    except OSError:  # its end, on Linux
        pass
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    text = shown.decode()
    assert text.startswith("loading ...\r           \r")
    check_lines(screen_lines(text.partition("┏")[0].removeprefix("loading ...")), width)
    assert "epoch 60/60" in text
    assert "epoch 0/" not in text
    assert text.count("\x1b[?25l") == text.count("\x1b[?25h")  # the cursor is shown again
