"""Signals end a command alike at any moment, and never with a traceback."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from ugmm.cli import main
from ugmm.cluster import signals

ENDING = [
    signal.SIGHUP,
    signal.SIGINT,
    signal.SIGTERM,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGXCPU,
]
# The signals stand as they do in a terminal, whatever started the tests.
PLAIN = """
import os, signal, sys
for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2, signal.SIGXCPU):
    signal.signal(number, signal.SIG_DFL)
signal.signal(signal.SIGINT, signal.default_int_handler)
"""
# The command of this process, to which a signal comes as it imports a module.
AT_IMPORT = """
def hook(event, details):
    if event == "import" and details[0] == module:
        os.kill(os.getpid(), number)
module, number = {module!r}, {number}
sys.addaudithook(hook)
sys.argv = ["ugmm", "train", "iris_disc"]
import runpy
runpy.run_module("ugmm", run_name="__main__")
"""
# A run that is ended by one signal, and gets another while it closes what is open.
RUN = """
import time
from ugmm.cluster.signals import closing_cleanly, run_command

def command():
    with closing_cleanly("ugmm train --resume runs/a/b"):
        try:
            os.kill(os.getpid(), {number})
            time.sleep(60)
        finally:
            os.kill(os.getpid(), {again})
            time.sleep(0.05)
            print("closed")

sys.exit(run_command(command))
"""
# A command that is done, while the interpreter ends: what it calls then, and what it deletes last.
AT_EXIT = """
import atexit, runpy

class Deleted:
    def __del__(self, kill=os.kill, process=os.getpid()):
        kill(process, {number})

sys.argv = ["ugmm", "list"]
if {last}:
    sys.deleted = Deleted()
else:
    atexit.register(lambda: os.kill(os.getpid(), {number}))
runpy.run_module("ugmm", run_name="__main__")
"""


def run(code, tmp_path, **environment):
    command = [sys.executable, "-c", PLAIN + code]
    environment = {**os.environ, **environment}
    return subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60
    )


@pytest.mark.parametrize("number", ENDING)
@pytest.mark.parametrize("again", [signal.SIGINT, signal.SIGTERM])
def test_a_run_closes_what_is_open_and_says_how_to_go_on(tmp_path, number, again):
    done = run(RUN.format(number=int(number), again=int(again)), tmp_path)
    assert done.returncode == 128 + number
    assert done.stdout == "closed\n"
    assert done.stderr == "stopped; go on with: ugmm train --resume runs/a/b\n"


@pytest.mark.parametrize("module", ["argparse", "ugmm.config.compose", "omegaconf", "torch"])
def test_while_the_command_imports(tmp_path, module):
    done = run(AT_IMPORT.format(module=module, number=int(signal.SIGINT)), tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "ugmm: interrupted\n")


@pytest.mark.parametrize("number", [number for number in ENDING if number != signal.SIGINT])
def test_any_of_them_while_the_command_imports(tmp_path, number):
    done = run(AT_IMPORT.format(module="argparse", number=int(number)), tmp_path)
    assert (done.returncode, done.stderr) == (128 + number, f"ugmm: stopped by {number.name}\n")


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_at_exit(tmp_path, number, last):
    done = run(AT_EXIT.format(number=int(number), last=last), tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "iris_disc" in done.stdout


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGINT])
def test_what_nohup_ignores_stays_ignored(tmp_path, number):
    code = f"signal.signal({int(number)}, signal.SIG_IGN)\n"
    code += RUN.format(number=int(number), again=int(number)).replace("time.sleep(60)", "...")
    done = run(code, tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "closed\n", "")


def test_what_has_a_handler_in_c_keeps_it(monkeypatch):
    before = signal.getsignal(signal.SIGUSR2)
    known = signal.getsignal  # Python knows no handler that it has not set
    monkeypatch.setattr(
        "signal.getsignal", lambda number: None if number == signal.SIGUSR2 else known(number)
    )
    with signals.ending_alike():
        assert known(signal.SIGTERM) != signal.SIG_DFL
        assert known(signal.SIGUSR2) == before


def test_a_signal_that_comes_again_much_later_ends_what_hangs(monkeypatch):
    monkeypatch.setattr(signals, "_SAME_SECONDS", 0.05)

    def command():
        try:
            signal.raise_signal(signal.SIGUSR1)
        finally:
            time.sleep(0.1)
            signal.raise_signal(signal.SIGTERM)

    assert signals.run_command(command) == 143


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2])
def test_a_body_may_put_a_signal_off_and_end_by_itself(number, capsys):
    def command():
        with signals.closing_cleanly("ugmm go on"), signals.putting_off():
            assert signals.put_off() == 0
            signal.raise_signal(number)
            raise signals.Stopped(128 + signals.put_off(), "epoch 3")

    assert signals.run_command(command) == 128 + number
    assert capsys.readouterr().err == "stopped; go on with: ugmm go on\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP, signal.SIGXCPU])
def test_others_are_not_put_off(number):
    reached = []

    def command():
        with signals.putting_off():
            signal.raise_signal(number)
            reached.append(number)

    assert signals.run_command(command) == 128 + number
    assert not reached


def test_a_second_signal_is_not_put_off(monkeypatch):
    monkeypatch.setattr(signals, "_SAME_SECONDS", 0.0)
    told = []

    def command():
        signals.tell_first(told.append)
        with signals.putting_off():
            signal.raise_signal(signal.SIGUSR1)
            assert not told
            signal.raise_signal(signal.SIGTERM)
        told.append("not reached")

    assert signals.run_command(command) == 128 + signal.SIGTERM
    assert told == [signal.SIGTERM]


def test_a_signal_that_nobody_asked_for_ends_the_body_in_the_end():
    done = []

    def command():
        with signals.putting_off():
            signal.raise_signal(signal.SIGUSR1)
            done.append("body")
        done.append("not reached")

    assert signals.run_command(command) == 128 + signal.SIGUSR1
    assert done == ["body"]


def test_without_a_signal_nothing_ends():
    def command():
        with signals.putting_off():
            pass
        return 7

    assert signals.run_command(command) == 7


def test_what_is_ignored_does_not_end_the_rest():
    def command():
        signals.ignore()
        for number in ENDING:
            signal.raise_signal(number)
        return 7

    before = [signal.getsignal(number) for number in ENDING]
    assert signals.run_command(command) == 7
    assert [signal.getsignal(number) for number in ENDING] == before


def test_handlers_are_given_back():
    before = [signal.getsignal(number) for number in ENDING]
    with signals.ending_alike(), signals.ending_alike():
        assert [signal.getsignal(number) for number in ENDING] != before
    assert [signal.getsignal(number) for number in ENDING] == before


def test_another_thread_leaves_signals_to_the_main_one():
    before = [signal.getsignal(number) for number in ENDING]
    seen = []

    def work():
        with signals.ending_alike():
            seen.extend(signal.getsignal(number) for number in ENDING)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == before


def test_an_interrupt_that_was_no_signal(capsys):
    def command():
        raise KeyboardInterrupt

    assert signals.run_command(command) == 130
    assert capsys.readouterr().err == "ugmm: interrupted\n"


def test_what_a_library_makes_of_a_signal_is_one_line_too(capsys):
    def command():
        try:
            signal.raise_signal(signal.SIGTERM)
        except SystemExit:
            raise ImportError("it was on its way") from None

    assert signals.run_command(command) == 143
    assert capsys.readouterr().err == "ugmm: stopped by SIGTERM\n"


@pytest.mark.parametrize(
    ("command", "home", "name"),
    [("ablate", "ablation", "run_ablation"), ("crossval", "crossval", "run_crossval")],
)
def test_a_study_goes_on_by_the_command_as_it_was_given(monkeypatch, capsys, command, home, name):
    """With its plugins, without which its choices are not known."""
    monkeypatch.setattr(
        f"ugmm.studies.{home}.command.{name}", lambda *_, **__: signal.raise_signal(signal.SIGTERM)
    )
    monkeypatch.setattr("ugmm.config.choices.plugins.use_plugins", lambda files: None)
    assert main([command, "mine", "--jobs", "2", "--plugin", "my own.py"]) == 143
    said = f"stopped; go on with: ugmm {command} mine --jobs 2 --plugin 'my own.py'\n"
    assert capsys.readouterr().err == said


def test_other_errors_pass():
    def command():
        raise ImportError("a bug")

    with pytest.raises(ImportError, match="a bug"):
        signals.run_command(command)
