"""Where experiments and settings lie, and what they are called. Imports nothing heavy.

The user's own `experiments/` and `configs/` come first, file by file: those of the nearest folder,
from the working directory upwards, that has either. Then come those shipped with the package.
"""

import os
import re
from pathlib import Path
from typing import NamedTuple

from ugmm.errors import UserError, nearest

__all__ = [
    "KINDS",
    "Kind",
    "find_folder",
    "list_files",
    "named_file",
    "project_root",
    "title_of",
    "yaml_files",
]

_PACKAGE = Path(__file__).resolve().parents[1]


class Kind(NamedTuple):
    """What a file says how to do.

    Attributes:
        name: What a sentence calls it.
        names: What a heading calls several.
        command: What does it.
        key: What stands in every file of this kind, and in none of another.
    """

    name: str
    names: str
    command: str
    key: str


# By the folder that such files lie in.
KINDS = {
    "experiments": Kind("an experiment", "experiments", "train", "defaults"),
    "experiments/ablations": Kind("an ablation", "ablations", "ablate", "experiment"),
    "experiments/crossval": Kind("a cross-validation", "cross-validations", "crossval", "models"),
}


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


def named_file(name: str, folder: str, root: Path | None = None) -> Path:
    """Return the YAML file of a name, or of a path that ends in .yaml.

    Args:
        name: The name or the path.
        folder: Where files of its kind lie: one of `KINDS`.
        root: See `yaml_files`.

    Raises:
        UserError: If there is none, which names the nearest, or if it is of another kind.
    """
    if name.endswith((".yaml", ".yml")):
        path = Path(name)
        if not os.path.isfile(name):  # a name too long is none either, where Path.is_file fails
            raise UserError(f"no such file: {name}")
        kind = _kind_of(path)
        if kind is not None and kind != KINDS[folder]:
            raise _of_another_kind(name, kind, KINDS[folder])
        return path
    files = yaml_files(folder, root)
    if name in files:
        return files[name]
    for other, kind in KINDS.items():
        if name in yaml_files(other, root):
            raise _of_another_kind(name, kind, KINDS[folder])
    raise UserError(f"unknown {KINDS[folder].name.split()[-1]} {name!r}; {nearest(name, files)}")


def find_folder(name: str, root: Path | None = None) -> str:
    """Return which of `KINDS` a name, or a path that ends in .yaml, is of: the folder's name.

    Raises:
        UserError: If there is none, which names the nearest.
    """
    if name.endswith((".yaml", ".yml")) and os.path.isfile(name):
        kind = _kind_of(Path(name))
        return next((folder for folder in KINDS if KINDS[folder] == kind), "experiments")
    files = {folder: yaml_files(folder, root) for folder in KINDS}
    for folder, named in files.items():
        if name in named:
            return folder
    known = [other for named in files.values() for other in named]
    raise UserError(
        f"no experiment, ablation or cross-validation is called {name!r}; {nearest(name, known)}"
    )


def _of_another_kind(name: str, kind: Kind, wanted: Kind) -> UserError:
    return UserError(
        f"{name} is {kind.name} and not {wanted.name}; run it with: ugmm {kind.command} {name}"
    )


def _kind_of(path: Path) -> Kind | None:
    """Return which kind of file this looks like, if any: mistakes in it are told elsewhere."""
    keys = re.findall(r"^(\w+)\s*:", path.read_text(encoding="utf-8", errors="replace"), re.M)
    return next((kind for kind in KINDS.values() if kind.key in keys), None)


def list_files() -> dict[Kind, dict[str, str]]:
    """Return of each kind the names of all files with the comment on their first lines."""
    return {
        kind: {name: title_of(path) for name, path in yaml_files(folder).items()}
        for folder, kind in KINDS.items()
    }


def title_of(path: Path) -> str:
    """Return the comment on the first line of a file; empty if there is none, or no such text."""
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            first = file.readline().strip()
    except OSError:  # a folder, a file that may not be read: whoever uses it is told
        return ""
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
