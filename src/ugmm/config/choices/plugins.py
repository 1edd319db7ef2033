"""Packages and files of a user's own that declare choices.

An installed package is found by its entry point in the group `ugmm.plugins`, a file is named on
the command line or by `ugmm.load`. A configuration never names code: it names a choice, and the
run folder records whose it is.
"""

import hashlib
import importlib
import os
import sys
import traceback
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

from ugmm.errors import UserError
from ugmm.terminal import warn

__all__ = ["check_plugins", "load_plugins", "plugin_options", "plugin_records", "use_plugins"]

# Files named in this process, for those that it starts: workers, other ranks, agents of a sweep.
_VARIABLE = "UGMM_PLUGINS"


@dataclass(frozen=True)
class _Plugin:
    """A module that declares choices: what it is called, and a hash of its sources."""

    name: str
    sha256: str


_loaded: dict[str, _Plugin] = {}
_installed_are_loaded = False


def use_plugins(files: str | Path | Iterable[str | Path]) -> None:
    """Load files that declare choices, in this process and in those that it will start.

    Args:
        files: Their paths; one alone may stand by itself.

    Raises:
        UserError: If a file is missing, cannot be imported, or has the name of another module.
    """
    files = [files] if isinstance(files, str | Path) else files
    paths = [str(Path(file).resolve()) for file in files]
    for path in paths:
        _load_file(path)
    if together := dict.fromkeys((*plugin_files(), *paths)):
        os.environ[_VARIABLE] = os.pathsep.join(together)


def plugin_files() -> list[str]:
    """Return the files that were named to this process, or to the one that started it."""
    return [path for path in os.environ.get(_VARIABLE, "").split(os.pathsep) if path]


def plugin_options() -> list[str]:
    """Return those files as options of a command that shall use them, too."""
    return [f"--plugin={file}" for file in plugin_files()]


def load_plugins() -> None:
    """Load the plugins that are installed, and those that were named to this process.

    Raises:
        UserError: If one of them cannot be imported.
    """
    global _installed_are_loaded
    if not _installed_are_loaded:
        _installed_are_loaded = True  # first: a plugin may look at the choices that there are
        for entry in entry_points(group="ugmm.plugins"):
            module = _import(entry.value.partition(":")[0], f"the installed plugin {entry.name}")
            _loaded[entry.name] = _Plugin(entry.name, _digest(module))
    for path in plugin_files():
        if path not in _loaded:
            _load_file(path)


def plugin_records() -> list[dict[str, str]]:
    """Return the name and the hash of each plugin, as a run folder records them."""
    load_plugins()
    return [asdict(plugin) for plugin in sorted(_loaded.values(), key=lambda p: p.name)]


def check_plugins(records: Sequence[Mapping[str, Any]], source: str) -> None:
    """Compare the plugins that a run was made with to those that are here.

    One that has changed since is worth a warning; it may be a comment that changed.

    Raises:
        UserError: If one is missing, or the records are damaged.
    """
    here = {record["name"]: record["sha256"] for record in plugin_records()}
    try:
        recorded = {str(record["name"]): record["sha256"] for record in records}
    except (KeyError, TypeError) as error:
        raise UserError(
            f"the plugins in the environment.json of {source} are damaged; mend or remove the file"
        ) from error
    for name, sha256 in recorded.items():
        if name not in here:
            remedy = (
                f"name it by --plugin {name} (or plugins=[...] of ugmm.load)"
                if name.endswith(".py")
                else "install it"
            )
            raise UserError(
                f"{source} was made with the plugin {name}, which is not loaded; {remedy}"
            )
        if here[name] != sha256:
            warn(f"warning: the plugin {name} has changed since {source} was made")


def _load_file(path: str) -> None:
    file = Path(path)
    if file.suffix != ".py" or not file.is_file():
        raise UserError(f"no such plugin: {file}; name a Python file")
    # By its name and from its folder, so that worker processes can unpickle what it defines.
    folder = str(file.parent)
    if folder not in sys.path:
        sys.path.append(folder)
    module = _import(file.stem, f"the plugin {file}")
    if Path(module.__file__ or "").resolve() != file:
        raise UserError(
            f"the plugin {file} has the name of another module ({module.__file__}); rename it"
        )
    _loaded[path] = _Plugin(file.name, _digest(module))


def _import(name: str, what: str) -> ModuleType:
    try:
        import ugmm._torchvision  # noqa: F401  (before a plugin imports lightning: see the module)

        return importlib.import_module(name)
    except UserError:
        raise
    except (Exception, SystemExit) as error:
        if isinstance(error, SystemExit) and isinstance(error.code, int) and error.code > 128:
            raise  # a signal that has come meanwhile
        raise UserError(
            f"{what} cannot be imported: {type(error).__name__}: {error}{_line_of(error)}; mend it"
        ) from error


def _line_of(error: BaseException) -> str:
    """Return the plugin's line that failed: the first below the machinery of imports, if any."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if f.filename != __file__ and "importlib" not in f.filename]
    return f" ({Path(own[0].filename).name}, line {own[0].lineno})" if own else ""


def _digest(module: ModuleType) -> str:
    """Return a hash of a module's file, or of all files of a package."""
    own = Path(module.__file__ or "")
    files = sorted(own.parent.rglob("*.py")) if own.name == "__init__.py" else [own]
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest()
