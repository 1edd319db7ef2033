"""What is an obstacle of the machine, and what is an error of one run."""

import errno
import pickle

import pytest

from ugmm.errors import UserError
from ugmm.studies.obstacles import find_obstacle
from ugmm.writing import WriteError


def of_errno(number, path=None):
    return OSError(number, "what the system says", path)


def raised_from(error):
    try:
        try:
            raise error
        except type(error) as cause:
            raise RuntimeError("unexpected pos 64 vs 0") from cause
    except RuntimeError as found:
        return found


@pytest.mark.parametrize(
    "error",
    [
        of_errno(errno.ENOSPC),
        of_errno(errno.EDQUOT, "a"),
        of_errno(errno.EROFS),
        of_errno(errno.EMFILE),
        WriteError("a", of_errno(errno.EACCES)),
        raised_from(of_errno(errno.ENOSPC)),
        raised_from(WriteError("a", of_errno(errno.ENOSPC))),
    ],
)
def test_an_obstacle_is_one_line_that_says_how_to_go_on(error):
    found = find_obstacle(error)
    assert str(found).startswith("cannot write a")
    assert str(found).endswith("and start again to go on")
    assert str(pickle.loads(pickle.dumps(found))) == str(found)  # it crosses processes


@pytest.mark.parametrize(
    "error",
    [
        of_errno(errno.ENOENT),
        of_errno(errno.EACCES),  # of a data file that may not be read
        WriteError("a", of_errno(errno.ENOTDIR)),
        UserError("the loss is nan"),
        RuntimeError("a bug"),
        MemoryError(),
    ],
)
def test_what_is_of_one_run_is_none(error):
    assert find_obstacle(error) is None
