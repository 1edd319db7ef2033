"""Worker processes that end when they should: with their parent, and when it is told to stop."""

import os
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing import parent_process
from multiprocessing.process import BaseProcess

from ugmm.cluster.signals import ending_alike

__all__ = ["end_with_parent", "terminating"]


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
def terminating(workers: Sequence[BaseProcess]) -> Iterator[None]:
    """Let what ends this process end these too, each of which closes what it has open.

    Args:
        workers: May grow while the body runs.
    """
    with ending_alike():
        try:
            yield
        finally:
            for worker in workers:
                if worker.is_alive():
                    worker.terminate()
            for worker in workers:
                worker.join()
