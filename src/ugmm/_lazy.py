"""Faces of packages whose names are loaded when they are first used."""

import importlib
import sys
from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["load_on_use"]


def load_on_use(
    package: str, homes: Mapping[str, str]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return the `__getattr__` and the `__dir__` of a package's face.

    Args:
        package: The package, `__name__` in its face.
        homes: The module of the package in which each name lives: `{"draw_run": "pictures"}`.
    """

    def load(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(importlib.import_module(f"{package}.{homes[name]}"), name)

    def list_names() -> list[str]:
        return sorted(sys.modules[package].__all__)

    return load, list_names
