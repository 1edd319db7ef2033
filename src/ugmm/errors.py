"""What a user can mend: `ugmm` prints it as a line, without a traceback."""

import difflib
from collections.abc import Iterable

__all__ = ["UserError", "nearest"]


class UserError(Exception):
    """Bad input or environment. The message names the thing and the remedy, in one line."""


def nearest(name: object, known: Iterable[str]) -> str:
    """Return the end of an error's line: the known names nearest to a mistyped one, or all."""
    known = list(known)
    by_lower = {text.lower(): text for text in known}
    close = difflib.get_close_matches(str(name).lower(), by_lower, n=3, cutoff=0.5)
    if close:
        return "did you mean " + " or ".join(by_lower[text] for text in close) + "?"
    return "there are " + ", ".join(known) if known else "there are none"
