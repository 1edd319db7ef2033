"""Making objects again from the recipes that a checkpoint holds, without running what is foreign.

A class is looked up in this package or among what is imported already, and must be of the kind
that is wanted: a checkpoint cannot import anything.
"""

import importlib
import sys
from collections.abc import Mapping
from typing import Any

from ugmm.errors import UserError
from ugmm.nn import Recorded

__all__ = ["find_class", "remake"]

_ROOMS = ("baselines", "density", "nn", "objectives", "tasks")  # of this package, imported if need


def remake(recipe: Any, kind: type, name: str) -> Any:
    """Return the object of a recipe, or what is no recipe as it is.

    Args:
        recipe: See `ugmm.nn.recipe`.
        kind: What its class must derive from.
        name: The argument whose value it is, for a complaint.

    Raises:
        UserError: If it cannot be made: its class is not found, or does not take its arguments.
    """
    if not isinstance(recipe, Mapping):
        return recipe
    path = recipe.get("class_path")
    remedy = f"make it yourself and hand it over, as {name}=..."
    if path is None or "init_args" not in recipe:
        raise UserError(
            f"{name} ({path or recipe}) cannot be made again from a checkpoint; {remedy}"
        )
    cls = find_class(path, kind)
    if cls is None:
        raise UserError(
            f"{name} is a {path}, which is not imported, or is no {kind.__name__}; import its "
            f"module before loading, or {remedy}"
        )
    try:
        return cls(**{key: _remade(value, f"{name}.{key}") for key, value in _args(recipe)})
    except (TypeError, ValueError) as error:
        raise UserError(f"{name}: {path} cannot be made ({error}); {remedy}") from error


def find_class(path: Any, kind: type) -> Any:
    """Return the class at a path, `package.module.Name`; None if none there is of this kind."""
    module, _, name = str(path).rpartition(".")
    package, _, inner = module.partition(".")
    if package == "ugmm" and inner.split(".")[0] in _ROOMS:
        try:
            importlib.import_module(module)
        except ModuleNotFoundError:  # of another version of this package
            return None
    found = getattr(sys.modules.get(module), name, None)
    return found if isinstance(found, type) and issubclass(found, kind) else None


def _args(recipe: Mapping[str, Any]) -> list[tuple[str, Any]]:
    init_args = recipe["init_args"]
    return list(init_args.items()) if isinstance(init_args, Mapping) else []


def _remade(value: Any, name: str) -> Any:
    """Return an argument of a recipe, with the objects that are within it."""
    if isinstance(value, list):
        return [_remade(item, name) for item in value]
    if not isinstance(value, Mapping):
        return value
    if "class_path" in value:
        return remake(value, Recorded, name)
    return {key: _remade(item, f"{name}.{key}") for key, item in value.items()}
