"""Where experiments lie, and what they are called. Imports nothing heavy."""

from pathlib import Path

from ugmm.errors import UserError

__all__ = ["describe_experiments", "project_root", "title_of"]


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
        found[path.stem] = title_of(path)
    return found


def title_of(path: Path) -> str:
    """Return the comment on the first line of a file; empty if there is none."""
    with path.open(encoding="utf-8") as file:
        first = file.readline().strip()
    return first.lstrip("# ") if first.startswith("#") else ""
