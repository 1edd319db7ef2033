"""One process at a time works on a run; a second says in one line who does."""

import errno
import fcntl
import os
import re
import resource
import signal
import socket

import pytest

from ugmm.cli import main
from ugmm.cluster.lock import RunInUseError, holding
from ugmm.runs import Run
from ugmm.writing import WriteError


@pytest.fixture
def run(tmp_path):
    return Run.create(tmp_path, "group", "name")


def test_a_second_is_told_who_holds_it(run):
    with holding(run):
        with pytest.raises(RunInUseError) as caught, holding(run):
            pytest.fail("two hold it")
        line = str(caught.value)
    who = rf"process {os.getpid()} on {re.escape(socket.gethostname())}, since \d{{4}}-\d\d-\d\d "
    assert re.search(who, line)
    assert "wait for its end, or stop it" in line
    assert "\n" not in line
    with holding(run):  # it is free again, also for the one that was refused
        pass


def test_it_is_told_of_a_holder_that_has_not_signed_yet(run):
    with (run.folder / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(RunInUseError, match="another process has just taken it"), holding(run):
            pass


def test_a_killed_process_holds_nothing(run):
    ready, told = os.pipe()
    child = os.fork()
    if not child:
        with holding(run):
            os.write(told, b"!")
            signal.pause()
    os.read(ready, 1)
    with pytest.raises(RunInUseError, match=f"process {child} on"), holding(run):
        pass
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    with holding(run):
        pass


def test_where_there_are_no_locks_a_line_says_so(run, monkeypatch, capsys):
    def refuse(file, how):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with holding(run):
        error = capsys.readouterr().err
    assert error.startswith("warning: this file system does not lock files (No locks available)")
    assert error.count("\n") == 1


def test_a_disk_too_full_for_the_name_is_one_line(run):
    """Python's files would try again as they close, and that error be the last word."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        with pytest.raises(WriteError) as caught, holding(run):
            pytest.fail("it runs")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    line = f"cannot write {run.folder}/.lock: files may not grow so large here"
    assert str(caught.value).startswith(line)


def test_resuming_what_another_process_trains_is_one_line(trained, capfd):
    run = trained("iris_disc")
    run.summary.unlink()
    before = {path: path.read_bytes() for path in run.folder.rglob("*") if path.is_file()}
    with holding(run):
        assert main(["train", "--resume", str(run.folder)]) == 1
    error = capfd.readouterr().err
    assert error.startswith(f"ugmm: error: {run.folder} is in use: process {os.getpid()} on ")
    assert error.count("\n") == 1
    (run.folder / ".lock").unlink()
    del before[run.folder / ".lock"]
    assert before == {path: path.read_bytes() for path in run.folder.rglob("*") if path.is_file()}


def test_a_run_that_has_ended_needs_no_lock(trained):
    run = trained("iris_disc")
    with holding(run):
        assert main(["train", "--resume", str(run.folder)]) == 0
        assert main(["eval", str(run.folder)]) == 0


def test_a_run_that_ends_meanwhile_is_not_tested_again(trained, monkeypatch):
    """Between the look at the summary and the lock, the other process may have finished."""
    run = trained("iris_disc")
    summary = run.summary.read_bytes()
    run.summary.unlink()

    def end_before(config):
        run.summary.write_bytes(summary)

    monkeypatch.setattr("ugmm.training.run.check_hardware", end_before)
    monkeypatch.setattr("ugmm.training.run.build", lambda config: pytest.fail("it runs again"))
    assert main(["train", "--resume", str(run.folder)]) == 0
