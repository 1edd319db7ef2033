"""Where compiled loops are kept for the next process: where Numba can, else in a folder of ours.

Numba keeps them where NUMBA_CACHE_DIR says, beside the sources or in the user's cache folder, and
raises an error where it can write to none of these, as in an installation that is only to be read
and an account without a home, where a disk is full, and where its files are damaged.
"""

import contextlib
import getpass
import os
import pickle
import stat
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numba
from numba.core.caching import FunctionCache
from numba.core.ccallback import CFunc
from numba.core.runtime import rtsys
from numba.core.sigutils import normalize_signature

from ugmm.errors import UGMMWarning

__all__ = ["kept_cfunc", "own_folder"]


def kept_cfunc(signature: Any, function: Callable[..., Any], **options: Any) -> Any:
    """Compile a function for C, or take what an earlier process compiled.

    Where there is no place to keep it, it is compiled all the same. A process is told once of
    each place that cannot be used, and tries it no more.

    Args:
        signature: the C function's.
        function: what is compiled.
        options: for `numba.cfunc`.
    """
    with _lock:
        while _places:
            place = _places[0]
            try:
                with place():
                    return _compile_in_place(signature, function, options)
            except (OSError, RuntimeError) as error:  # the latter: Numba has found no place
                _places.remove(place)
                _tell(error)
        return numba.cfunc(signature, **options)(function)


def _compile_in_place(signature: Any, function: Any, options: dict[str, Any]) -> Any:
    """Do what `numba.cfunc(signature, cache=True, **options)` does, with a quicker cache."""
    found: Any = CFunc(function, normalize_signature(signature), locals={}, options=options)
    found._cache = _Cache(function)
    try:
        found.compile()
    except (EOFError, pickle.UnpicklingError):  # a machine stopped, or a disk was full, in writing
        found._cache.flush()
        found.compile()
    return found


class _Cache(FunctionCache):
    """Numba's cache, from which it takes what is there before it makes ready to compile anything.

    That takes a quarter of a second, in a process that most often has nothing to compile.
    """

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Return what has been compiled for a signature; None if nothing has."""
        rtsys.initialize(target_context)  # whose functions the loaded code may name
        with self._guard_against_spurious_io_errors():
            return self._load_overload(sig, target_context)


def own_folder() -> Path:
    """A folder for this user alone, among the system's temporary ones.

    What lies in it is run, so nobody else may have made it or may write to it.

    Raises:
        OSError: There is none, and none can be made.
    """
    user = os.geteuid() if hasattr(os, "geteuid") else getpass.getuser()
    folder = Path(tempfile.gettempdir()) / f"ugmm-compiled-{user}"
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    mine = not hasattr(os, "geteuid") or (found.st_uid == user and not found.st_mode & 0o077)
    if not stat.S_ISDIR(found.st_mode) or not mine:
        raise PermissionError(f"{folder} is not a folder of this user alone")
    return folder


@contextlib.contextmanager
def _in_own_folder() -> Iterator[None]:
    config: Any = numba.config
    before, config.CACHE_DIR = config.CACHE_DIR, str(own_folder())
    try:
        yield
    finally:
        config.CACHE_DIR = before


_places: list[Callable[[], Any]] = [contextlib.nullcontext, _in_own_folder]
_lock = threading.Lock()


def _tell(error: Exception) -> None:
    """Say what happens instead; the places that are left know where."""
    reason = " ".join(str(error).split())
    try:
        where = f"in {own_folder()}" if _places else "nowhere: each process compiles them again"
    except OSError:
        return  # which the next attempt tells
    warnings.warn(
        f"compiled kernels are kept {where}, since Numba's cache cannot be used ({reason}); "
        "NUMBA_CACHE_DIR=FOLDER names a better place",
        UGMMWarning,
        stacklevel=2,
    )
