"""Signals that end a command, all alike: what is open is closed; the exit code is 128 + signal.

This is imported before anything else of the command, and imports next to nothing.
"""

import atexit
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

from ugmm.terminal import warn

__all__ = [
    "Stopped",
    "closing_cleanly",
    "ending_alike",
    "ends_work",
    "ignore",
    "put_off",
    "putting_off",
    "run_command",
    "run_process",
    "tell",
    "tell_first",
]

# What terminals, users, and schedulers before a time limit or a preemption, send.
ENDING = (
    signal.SIGHUP,
    signal.SIGINT,
    signal.SIGTERM,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGXCPU,
)
# Of these, what lets a run save where it is.
_PATIENT = (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)
# `timeout`, Slurm and a terminal tell a process and its group, so that one signal may come twice.
_SAME_SECONDS = 5.0


class Stopped(SystemExit):
    """The end of a run that all its processes have agreed on and saved.

    Arguments:
        code: The exit code.
        place: Where the run goes on, in words.
    """

    def __init__(self, code: int, place: str) -> None:
        super().__init__(code)
        self.place = place


class _Stop:
    """The handler of them all; raises `SystemExit` in the main thread.

    Attributes:
        signum: The signal that has come, if one has.
        told: Whether the user has been told.
        waits: Whether the body will ask for the signal, and end by itself.
        also: Called with the signal first: it ends processes that work for this one.
    """

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Be as if no signal had come."""
        self.signum: int | None = None
        self.time = -_SAME_SECONDS
        self.told = False
        self.waits = False
        self.also: Callable[[int], None] | None = None

    def __call__(self, signum: int, frame: FrameType | None) -> None:  # noqa: ARG002
        """Handle a signal."""
        now = time.monotonic()
        if now - self.time < _SAME_SECONDS:
            return
        may_wait = self.waits and self.signum is None and signum in _PATIENT
        self.signum, self.time = signum, now
        if not may_wait:
            self.end(signum)

    def end(self, signum: int) -> NoReturn:
        """End the body now."""
        if self.also is not None:
            self.also(signum)
        sys.exit(128 + signum)

    def tell(self, words: str) -> None:
        """Say once, and in the leading process only, that a signal has ended the work."""
        from ugmm.cluster.processes import is_leading

        if not self.told and is_leading():
            warn(words)
        self.told = True


_stop = _Stop()


@contextmanager
def ending_alike() -> Iterator[None]:
    """Let each of these signals end the body as `SystemExit`; one that is ignored stays so."""
    if threading.current_thread() is not threading.main_thread():
        yield  # Python leaves signals to the main thread
        return
    handlers = {
        number: handler for number in ENDING if _is_ours(handler := signal.getsignal(number))
    }
    if _stop not in handlers.values():
        _stop.forget()
    for number in handlers:
        signal.signal(number, _stop)
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _is_ours(handler: object) -> bool:
    """Tell whether a signal may be handled here: unless ignored, by nohup, or handled in C."""
    return handler not in (signal.SIG_IGN, None)


def tell_first(also: Callable[[int], None] | None) -> None:
    """Let something know of a signal before it ends the body.

    Args:
        also: Is called with the signal: it ends processes that work for this one.
    """
    _stop.also = also


@contextmanager
def putting_off() -> Iterator[None]:
    """Let the body ask for SIGTERM, SIGUSR1 or SIGUSR2 by `put_off`, and then end by itself.

    A second signal ends it at once, and so does one that it has not asked for by its end.
    """
    _stop.waits = True
    try:
        yield
    finally:
        _stop.waits = False
    if _stop.signum is not None:
        _stop.end(_stop.signum)


def put_off() -> int:
    """Return the signal that has been put off; 0 if there is none."""
    return _stop.signum or 0


def ends_work(error: BaseException) -> bool:
    """Whether an exception ends work that may go on later: it was agreed on, or such a signal."""
    return isinstance(error, Stopped) or (
        isinstance(error, SystemExit) and _stop.signum in _PATIENT
    )


def tell(words: str) -> None:
    """Say, in the leading process, what becomes of the work; nothing else is said then."""
    _stop.tell(words)


def ignore() -> None:
    """Ignore signals from now on, while what ends anyway comes to its end."""
    for number in ENDING:
        if signal.getsignal(number) is _stop:
            signal.signal(number, signal.SIG_IGN)


@contextmanager
def closing_cleanly(command: str) -> Iterator[None]:
    """Let a signal end the body as `SystemExit`, so that what is open gets closed.

    Args:
        command: What goes on with the work; the leading process then says so.
    """
    with ending_alike():
        try:
            yield
        except BaseException as error:
            if _stop.signum is not None or isinstance(error, Stopped):
                _stop.tell(f"stopped; go on with: {command}")
            raise


def run_command(command: Callable[[], int]) -> int:
    """Run a command and return its exit code; if a signal ends it, say so in one line."""
    with ending_alike():
        try:
            return command()
        except Stopped as stopped:
            return int(stopped.code or 0)
        except BaseException as error:  # what a library has made of it, if it was on its way
            if _stop.signum is None and not isinstance(error, KeyboardInterrupt):
                raise
            ended_by = signal.Signals(_stop.signum or signal.SIGINT)
            said = "interrupted" if ended_by is signal.SIGINT else f"stopped by {ended_by.name}"
            _stop.tell(f"ugmm: {said}")
            return 128 + ended_by


def run_process(command: Callable[[], int]) -> int:
    """Run the command of this process and return its exit code, which then nothing changes.

    Once the command is done, a signal ends the process at once and silently.
    """
    atexit.register(_ignore)  # the first to be registered is the last to run
    code = run_command(command)

    def end(signum: int, frame: FrameType | None) -> None:  # noqa: ARG001
        os._exit(code)

    for number in ENDING:
        if _is_ours(signal.getsignal(number)):
            signal.signal(number, end)
    return code


def _ignore() -> None:
    # For the interpreter's last moments, in which it would take the signals' defaults back.
    for number in ENDING:
        signal.signal(number, signal.SIG_IGN)
