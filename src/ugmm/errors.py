"""What a user can mend: `ugmm` prints it as a line, without a traceback."""

import difflib
import re
from collections.abc import Iterable, Sequence

__all__ = ["RowError", "UGMMWarning", "UserError", "lacks_memory", "list_some", "nearest"]

_NEAR = 0.66  # the share of letters that two names have in common, from which they are near
_LISTED = 30
_LONGEST_WORD, _LONGEST = 300, 2000  # letters in an error's line


class UserError(Exception):
    """Bad input or environment. The message names the thing and the remedy, in one line."""

    def __str__(self) -> str:
        """Return the line, whatever is quoted in it: printable, and of a length to be read."""
        shown = "".join(map(_printable, super().__str__()))
        shown = re.sub(rf"\S{{{_LONGEST_WORD},}}", lambda found: _shorten(found[0], 100), shown)
        return shown if len(shown) < _LONGEST else _shorten(shown, _LONGEST // 2)


class RowError(UserError):
    """Bad input in a row of many.

    Arguments:
        before: The line up to the row.
        row: Its number, from 0.
        after: The line behind it.
    """

    def __init__(self, before: str, row: int, after: str) -> None:
        super().__init__(f"{before} row {row}{after}")
        self.before, self.row, self.after = before, row, after

    def numbered(self, row: int) -> UserError:
        """Return the same error for a caller who numbers rows in another way."""
        return UserError(f"{self.before} row {row}{self.after}")


class UGMMWarning(RuntimeWarning):
    """What a user should know, in one line; the command prints that line and nothing around it."""


def lacks_memory(error: BaseException) -> bool:
    """Whether an error says that there is no more memory, as torch says it of any device."""
    # CPU: "can't allocate memory"; CUDA: "out of memory".
    return isinstance(error, MemoryError) or bool(
        re.search("allocate memory|out of memory", str(error), re.IGNORECASE)
    )


def nearest(name: object, known: Iterable[str]) -> str:
    """Return the end of an error's line: the known names near to a mistyped one, or all.

    A name is near if few letters differ, or if the mistyped one is a word or some words of it.
    """
    known = list(known)
    near = sorted(((_likeness(str(name), text), text) for text in known), key=lambda of: -of[0])
    if close := [text for likeness, text in near[:3] if likeness >= _NEAR]:
        return f"did you mean {' or '.join(close)}?"
    return f"there are {list_some(known, _LISTED)}" if known else "there are none"


def list_some(names: Sequence[str], most: int, separator: str = ", ") -> str:
    """Return the first names, and how many more there are: `a, b and 3 more`."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return separator.join(names[:most]) + more


def _likeness(name: str, other: str) -> float:
    """Return a number from 0 to 1; what stands before the last part of both alike says nothing."""
    ours, theirs = (re.split(r"(?<=[./])", text.lower()) for text in (name, other))
    while len(ours) > 1 and len(theirs) > 1 and ours[0] == theirs[0]:
        del ours[0], theirs[0]
    short, long = "".join(ours), "".join(theirs)
    if sorted(short) == sorted(long):  # letters that have changed places: mpl, mlp
        return 1.0
    if len(short) > 2 and re.search(rf"(?<![a-z0-9]){re.escape(short)}(?![a-z0-9])", long):
        return 1.0
    return difflib.SequenceMatcher(None, short, long).ratio()


def _printable(letter: str) -> str:
    if letter.isprintable():
        return letter
    return " " if letter.isspace() else letter.encode("unicode_escape").decode()


def _shorten(text: str, kept: int) -> str:
    """Return a text with its first and last letters, and what lies between left out."""
    return f"{text[:kept]}...{text[-kept:]}"
