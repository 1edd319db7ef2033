"""Losing who reads never fails what is printed for."""

import errno
import io
import os
import subprocess
import sys
import warnings

import pytest

from ugmm.__main__ import show_warnings_as_lines
from ugmm.errors import UGMMWarning
from ugmm.terminal import guard_streams, say, warn

COMMAND = [sys.executable, "-m", "ugmm"]
# Whether the work after the printing is reached.
PRINT = """
import sys
from ugmm.terminal import guard_streams
guard_streams()
guard_streams()
for _ in range(100):
    print({text} * 1000)
    print("warning", file=sys.stderr)
open("done", "w").write("done")
"""


def run(tmp_path, text="'a'", shell="", **environment):
    (tmp_path / "print.py").write_text(PRINT.format(text=text), encoding="utf-8")
    done = subprocess.run(
        f"exec {sys.executable} print.py {shell}",
        shell=True,
        cwd=tmp_path,
        env={**os.environ, **environment},
        capture_output=True,
        timeout=60,
    )
    assert (tmp_path / "done").is_file(), done.stderr
    assert done.returncode == 0
    return done


@pytest.mark.parametrize("shell", ["", ">&-", "2>&-", "<&- >&- 2>&-", ">/dev/full 2>/dev/full"])
def test_wherever_the_streams_lead(tmp_path, shell):
    done = run(tmp_path, shell=shell)
    assert b"Traceback" not in done.stderr
    if not shell:
        assert done.stdout.count(b"\n") == 100
        assert done.stderr == b"warning\n" * 100


@pytest.mark.parametrize(
    ("shell", "told"), [(">/dev/full", "the disk is full"), ("|head -c 1", "")]
)
def test_an_answer_is_written_or_the_command_fails(tmp_path, shell, told):
    code = (
        "from ugmm.cli import main; import ugmm.cli as cli;"
        "from ugmm.queries.table import write_csv;"
        "cli._list = lambda _: write_csv([['a' * 99]] * 9999, None);"
        "import sys; sys.exit(main(['list']))"
    )
    done = subprocess.run(
        ["bash", "-c", f'set -o pipefail; {sys.executable} -c "$0" {shell}', code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == bool(told)
    assert done.stderr.count("\n") == bool(told)
    assert told in done.stderr


def test_a_full_disk_is_told_once(tmp_path):
    lines = run(tmp_path, shell=">/dev/full").stderr.decode().splitlines()
    (told,) = set(lines) - {"warning"}
    assert told.startswith("warning: standard output cannot be written (No space left on device)")
    assert lines.count(told) == 1


@pytest.mark.parametrize("text", ["'\\u2013'", "'\\udcff'"])
@pytest.mark.parametrize("encoding", ["ascii", "utf-8", "latin-1"])
def test_what_an_encoding_lacks(tmp_path, text, encoding):
    out = run(tmp_path, text=text, PYTHONIOENCODING=encoding).stdout
    assert "'" + out.decode(encoding)[:6].replace("–", "\\u2013")[:6] + "'" == text  # noqa: RUF001


def test_a_pipe_whose_reader_goes(tmp_path):
    done = run(tmp_path, shell="2>&1 | (read line; echo $line) | head -c 3")
    assert done.stdout == b"aaa"


def test_a_pipe_that_is_full_and_does_not_block(tmp_path):
    (tmp_path / "print.py").write_text(PRINT.format(text="'a'"), encoding="utf-8")
    read, write = os.pipe()
    os.set_blocking(write, False)
    with subprocess.Popen([sys.executable, "print.py"], cwd=tmp_path, stdout=write) as process:
        os.close(write)
        with os.fdopen(read, "rb") as pipe:
            assert len(pipe.read()) == 100 * 1001
        assert process.wait(60) == 0


@pytest.mark.parametrize("shell", ["| true", "2>&1 >/dev/full | head -1", ">&- 2>&-"])
def test_the_command_is_guarded(shell):
    command = f"set -o pipefail; {' '.join(COMMAND)} list {shell}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60)
    assert (done.returncode, "Traceback" in done.stderr) == (0, False)


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_a_line_goes_to_whatever_there_is(monkeypatch, encoding):
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr(sys, "stderr", stream)
    warn("a \N{EN DASH} b")
    shown = "a \N{EN DASH} b" if encoding == "utf-8" else "a \\u2013 b"
    assert stream.buffer.getvalue().decode(encoding) == f"{shown}\n"


class Full(io.StringIO):
    def write(self, text):
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_line_is_lost_where_nothing_takes_it(monkeypatch):
    closed = io.StringIO()
    closed.close()
    for stream in (None, closed, Full()):
        monkeypatch.setattr(sys, "stdout", stream)
        say("a")


def test_where_others_have_put_nothing_what_is_written_is_dropped(monkeypatch):
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(sys, name, None)
    guard_streams()
    with sys.stdout, sys.stderr:
        assert sys.stdout.write("a") == 1
        assert sys.stderr.write("a") == 1


def test_streams_that_others_have_put_in_place_are_left_alone(capsys):
    stdout = sys.stdout
    guard_streams()
    assert sys.stdout is stdout


def test_the_command_shows_a_warning_of_ours_as_one_line(capsys):
    with warnings.catch_warnings(record=True) as others:
        warnings.simplefilter("always")
        show_warnings_as_lines()
        warnings.warn("the reference is slower", UGMMWarning, stacklevel=1)
        warnings.warn("another's", RuntimeWarning, stacklevel=1)
    assert capsys.readouterr().err == "ugmm: warning: the reference is slower\n"
    assert [str(other.message) for other in others] == ["another's"]
