"""Losing touch with the other processes of a run: said in one line, whoever notices it first."""

from collections.abc import Iterator
from contextlib import contextmanager

from ugmm.errors import UserError

__all__ = ["in_touch"]

# Gloo raises plain RuntimeErrors, which begin with the place in its sources.
_GLOO = "/gloo/"
_KINDS = ("DistBackendError", "DistNetworkError", "DistStoreError")  # of torch.distributed
_REASONS = {
    "timed out": "nothing was heard of it in time",
    "timeout": "nothing was heard of it in time",
    "reset by peer": "the connection broke",
    "closed by peer": "the connection broke",
    "broken pipe": "the connection broke",
    "no route": "its machine cannot be reached",
    "unreachable": "its machine cannot be reached",
}


@contextmanager
def in_touch(then: str) -> Iterator[None]:
    """Make the loss of another process one line; it has said itself what ended it, if it could.

    Args:
        then: How to go on.

    Raises:
        UserError: Of that line.
    """
    try:
        yield
    except RuntimeError as error:
        if not _is_loss(error):
            raise
        said = str(error).lower()
        found = (reason for words, reason in _REASONS.items() if words in said)
        reason = next(found, str(error).splitlines()[0])
        raise UserError(
            f"another process of this run is gone ({reason}): it was stopped, or its machine or "
            f"the network is down; {then}"
        ) from error


def _is_loss(error: RuntimeError) -> bool:
    return type(error).__name__ in _KINDS or _GLOO in str(error)
