"""Worker processes that end when they should: with their parent, and when it is told to stop.

One that ends before its time says why.
"""

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing import parent_process
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

from ugmm.cluster.signals import ending_alike
from ugmm.errors import UserError
from ugmm.studies.obstacles import find_obstacle

__all__ = ["Worker", "end_with_parent", "terminating"]


class Worker:
    """A process that is started at once, and that ends with its parent.

    Arguments:
        work: What it does: a function of a module, since the process is a new Python.
        arguments: Of the function.

    Raises:
        UserError: If no process can be started.
    """

    def __init__(self, work: Callable[..., None], *arguments: Any) -> None:
        self._reason: tuple[bool, str] | None = None
        context = multiprocessing.get_context("spawn")  # torch's threads do not survive a fork
        try:
            self._reasons, tell = context.Pipe(duplex=False)
            self.process: BaseProcess = context.Process(target=_work, args=(tell, work, arguments))
            self.process.start()
        except OSError as error:
            raise UserError(
                f"cannot start a worker: {error.strerror}; give fewer --jobs, or free what is full"
            ) from error
        tell.close()  # it is the worker's: what it leaves unsaid when it dies ends in `EOFError`

    def describe_death(self) -> str | None:
        """Say why it ended before its time; None if it runs, or has done all its work.

        Raises:
            UserError: If the user can mend what ended it, which would end others too.
        """
        code = self.process.exitcode
        if not code:
            return None
        with suppress(EOFError, OSError):  # it was killed before it could say why
            if self._reasons.poll():
                self._reason = self._reasons.recv()
        if self._reason is not None:
            can_be_mended, text = self._reason
            if can_be_mended:
                raise UserError(text)
            return text
        if code == -signal.SIGKILL:
            return "killed from outside, as the system does where memory runs out"
        if code in (-signal.SIGTERM, 128 + signal.SIGTERM):
            return "told to stop (SIGTERM), as when another worker has taken its point over"
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        return f"ended by {how}"


def _work(tell: Connection, work: Callable[..., None], arguments: Sequence[Any]) -> None:
    """Work in a new process; tell the parent of an error that ends it."""
    end_with_parent()
    try:
        work(*arguments)
    except UserError as error:
        tell.send((True, _shorten(str(error))))
        sys.exit(1)
    except Exception as error:
        obstacle = find_obstacle(error)
        tell.send(
            (obstacle is not None, _shorten(str(obstacle or f"{type(error).__name__}: {error}")))
        )
        raise


def _shorten(reason: str) -> str:
    """Return a line that a pipe holds until somebody reads it."""
    return " ".join(reason.split())[:1000]


def end_with_parent() -> None:
    """Leave Ctrl-C to the parent, and end this process when the parent ends, however that is.

    For a process that `multiprocessing` started; in any other it only ignores Ctrl-C.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if (parent := parent_process()) is None:
        return

    def watch() -> None:
        parent.join()  # returns when the parent has been killed, too
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


@contextmanager
def terminating(workers: Sequence[Worker]) -> Iterator[None]:
    """Let what ends this process end these too, each of which closes what it has open.

    Args:
        workers: May grow while the body runs.
    """
    with ending_alike():
        try:
            yield
        finally:
            for worker in workers:
                if worker.process.is_alive():
                    worker.process.terminate()
            for worker in workers:
                worker.process.join()
