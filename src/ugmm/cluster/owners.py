"""Who works on something: a process, told apart from all others that share a folder.

A number of a process means something only where it was given: on one machine, since it was
started, and in one namespace of process numbers (every container has its own, often under the
same host name). Anywhere else nothing can be said of it.
"""

import json
import os
import socket
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

__all__ = ["Owner", "this_process"]

_PROC = Path("/proc")


@dataclass(frozen=True)
class Owner:
    """A process.

    Attributes:
        host: The machine's name.
        boot: Which start of the machine; empty where the system does not say.
        namespace: In which its number was given; empty where the system has none.
        pid: Its number.
        started: When it started, which tells it from a later one of the same number; empty where
            it could not find out.
    """

    host: str
    boot: str
    namespace: str
    pid: int
    started: str

    @classmethod
    def parse(cls, text: str) -> "Owner | None":
        """Read what `to_json` wrote; None if that is not what it is."""
        try:
            content = json.loads(text)
            owner = cls(**content)
        except (ValueError, TypeError):
            return None
        texts = (owner.host, owner.boot, owner.namespace, owner.started)
        sound = all(isinstance(text, str) for text in texts) and type(owner.pid) is int
        return owner if sound and 0 < owner.pid < 2**31 else None

    def to_json(self) -> str:
        """Return it as a line."""
        return json.dumps(asdict(self))

    def lives(self) -> bool | None:
        """Whether the process runs; None if that cannot be told from here."""
        here = this_process()
        if (self.host, self.boot, self.namespace) != (here.host, here.boot, here.namespace):
            return None
        started = _started(self.pid)
        unknown = started is None or not self.started
        return None if unknown else started == self.started


def this_process() -> Owner:
    """Return the process that asks."""
    return _describe(os.getpid())


@cache
def _describe(pid: int) -> Owner:  # by number: a fork is a process of its own
    return Owner(socket.gethostname(), _boot(), _namespace(), pid, _started(pid) or "")


def _boot() -> str:
    try:
        return (_PROC / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


def _namespace() -> str:
    try:
        return os.readlink(_PROC / "self/ns/pid")
    except OSError:
        return ""


def _started(pid: int) -> str | None:
    """When a process started; empty if there is none, None if that cannot be told."""
    try:
        mine = (_PROC / "self/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:  # no Linux
        return _exists(pid)
    if not mine.startswith(f"{os.getpid()} "):  # /proc is another namespace's
        return None
    try:
        stat = (_PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
    except ProcessLookupError:  # it ended as it was read
        return ""
    except OSError:
        return None if _exists(pid) else ""  # it may be hidden, as other users' are
    fields = stat.rpartition(")")[2].split()
    return "" if fields[0] in "ZX" else fields[19]  # a zombie runs no more


def _exists(pid: int) -> str:
    """Where /proc does not tell: whether the process exists, which is less."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return ""
    except PermissionError:  # it runs under another user
        pass
    return "running"
