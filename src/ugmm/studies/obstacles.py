"""What keeps a machine from going on, and says nothing of the run or fit that met it.

A disk that is full would fail one point after the other: it stops a study instead, which goes on
from there once it is mended.
"""

import errno
from collections.abc import Iterator

from ugmm.errors import UserError
from ugmm.writing import WriteError

__all__ = ["find_obstacle"]

# Of any file; and of those that this package writes.
_OF_ANY = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.ESTALE}
_OF_ANY |= {errno.EMFILE, errno.ENFILE}  # too many open files, of the process or the machine
_OF_OURS = _OF_ANY | {errno.EACCES, errno.EPERM}

_GO_ON = "start again to go on"


def find_obstacle(error: BaseException) -> UserError | None:
    """Return in one line what kept the machine from going on; None if an error is another's.

    Args:
        error: It, or something that it brought about.
    """
    for cause in _causes(error):
        if isinstance(cause, WriteError) and cause.error.errno in _OF_OURS:
            return UserError(str(cause.going_on(_GO_ON)))
        if isinstance(cause, OSError) and cause.errno in _OF_ANY:
            return UserError(str(WriteError(cause.filename or "a file", cause, _GO_ON)))
    return None


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error, and those that it was raised from."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
