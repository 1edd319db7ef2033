"""Where experiments and settings lie, and what they are called. Imports nothing heavy.

The user's own `experiments/` and `configs/` come first, file by file: those of the nearest folder,
from the working directory upwards, that has either. Then come those shipped with the package.
"""

import os
from pathlib import Path

from ugmm.errors import UserError, nearest

__all__ = ["describe_experiments", "named_file", "project_root", "title_of", "yaml_files"]

_PACKAGE = Path(__file__).resolve().parents[1]


def yaml_files(folder: str, root: Path | None = None) -> dict[str, Path]:
    """Return the YAML files of a folder by name, the user's own in place of those shipped.

    Args:
        folder: `experiments`, or one such as `configs/model`.
        root: Where to look for the user's own; by default, the working directory.
    """
    files: dict[str, Path] = {}
    for place in (_own_root(root), _shipped_root()):
        if place is not None:
            for path in (place / folder).glob("*.yaml"):
                files.setdefault(path.stem, path)
    return dict(sorted(files.items()))


def named_file(name: str, folder: str, kind: str, root: Path | None = None) -> Path:
    """Return the YAML file of a name, or of a path that ends in .yaml.

    Args:
        name: The name or the path.
        folder: Where files of its kind lie: `experiments`, `experiments/ablations`.
        kind: What an error calls it.
        root: See `yaml_files`.

    Raises:
        UserError: If there is none; names the nearest.
    """
    if name.endswith((".yaml", ".yml")):
        if not Path(name).is_file():
            raise UserError(f"no such file: {name}")
        return Path(name)
    files = yaml_files(folder, root)
    if name not in files:
        raise UserError(f"unknown {kind} {name!r}; {nearest(name, files)}")
    return files[name]


def describe_experiments() -> dict[str, str]:
    """Return each experiment's name with the comment on the first line of its file."""
    return {name: title_of(path) for name, path in yaml_files("experiments").items()}


def title_of(path: Path) -> str:
    """Return the comment on the first line of a file; empty if there is none."""
    with path.open(encoding="utf-8") as file:
        first = file.readline().strip()
    return first.lstrip("# ") if first.startswith("#") else ""


def project_root() -> Path:
    """Return the folder to publish results in: the user's own, else the clone of this package.

    Raises:
        UserError: If there is neither.
    """
    own = _own_root()
    if own is not None and (own / "experiments").is_dir():
        return own
    if (shipped := _shipped_root()).is_relative_to(_PACKAGE):
        raise UserError(
            f"there is no experiments/ in {Path.cwd()} or above to publish results in; "
            "make that folder, or start in a clone of ugmm"
        )
    return shipped


def _own_root(start: Path | None = None) -> Path | None:
    """Return the nearest folder that has either, as a path from the working directory."""
    start = Path.cwd() if start is None else start.resolve()
    for folder in (start, *start.parents):
        if (folder / "experiments").is_dir() or (folder / "configs").is_dir():
            return Path(os.path.relpath(folder))
    return None


def _shipped_root() -> Path:
    """Return the folder of what a build has put into the package, or else of the clone."""
    built = _PACKAGE / "shipped"
    return built if built.is_dir() else _PACKAGE.parents[1]
