"""Where experiments lie, and what they are called. Imports nothing heavy."""

import difflib
from collections.abc import Iterable
from pathlib import Path

from ugmm.errors import UserError

__all__ = ["describe_experiments", "nearest", "project_root"]


def project_root() -> Path:
    """Return the folder that holds `configs/` and `experiments/`.

    The current folder or one above it; else the source tree that this package runs from.

    Raises:
        UserError: If there is none.
    """
    here = Path.cwd()
    for folder in (here, *here.parents, Path(__file__).resolve().parents[3]):
        if (folder / "configs").is_dir() and (folder / "experiments").is_dir():
            return folder
    raise UserError(f"no configs/ and experiments/ in {here} or above; run in a clone of ugmm")


def describe_experiments(root: Path) -> dict[str, str]:
    """Return each experiment's name with the comment on the first line of its file."""
    found = {}
    for path in sorted((root / "experiments").glob("*.yaml")):
        with path.open(encoding="utf-8") as file:
            first = file.readline().strip()
        found[path.stem] = first.lstrip("# ") if first.startswith("#") else ""
    return found


def nearest(name: object, known: Iterable[str]) -> str:
    """Return the end of an error's line: the known names nearest to a mistyped one, or all."""
    known = list(known)
    by_lower = {text.lower(): text for text in known}
    close = difflib.get_close_matches(str(name).lower(), by_lower, n=3, cutoff=0.5)
    if close:
        return "did you mean " + " or ".join(by_lower[text] for text in close) + "?"
    return "there are " + ", ".join(known) if known else "there are none"
