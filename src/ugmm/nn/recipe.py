"""How an object was made, as plain data that a checkpoint can hold.

A recipe is `{"class_path": "ugmm.nn.UGMMNetwork", "init_args": {"sizes": [4, 10, 3]}}`, the form
in which LightningCLI writes down objects too. `ugmm.tasks.remake` makes them again.
"""

import inspect
import sys
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any, Self

import numpy as np
import torch

__all__ = ["Recorded", "class_path"]


class Recorded:
    """Remembers the arguments that it was made with; a base beside `nn.Module`.

    Attributes:
        init_args: They, by name, as plain data.
    """

    init_args: dict[str, Any]

    def __new__(cls, *arguments: Any, **keywords: Any) -> Self:
        """Note the arguments."""
        made = super().__new__(cls)
        # Not by setattr, for a module takes none before its __init__. A copy and a pickle are
        # made without arguments, and then given the attributes of the original.
        made.__dict__["init_args"] = _arguments_of(cls, arguments, keywords)
        return made


def _arguments_of(
    cls: type, arguments: tuple[Any, ...], keywords: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the arguments of a call of a class by their names, as plain data."""
    try:
        signature = inspect.signature(cls.__init__)  # type: ignore[misc]  # of this very class
        bound = signature.bind(None, *arguments, **keywords)
    except TypeError:
        return {}  # the call itself is about to say so, or it is a copy that is being made
    found = dict(list(bound.arguments.items())[1:])  # without `self`
    for name, parameter in bound.signature.parameters.items():
        if parameter.kind is parameter.VAR_KEYWORD:
            found |= found.pop(name, {})
    return {name: _recipe_of(value) for name, value in found.items()}


def _recipe_of(value: Any) -> Any:
    """Return plain data for a value: itself, or the recipe of an object.

    Of what cannot be made again from plain data, such as a function, the recipe has no
    `init_args`.
    """
    if isinstance(value, np.ndarray | np.generic):  # first: a float64 is a float too
        return value.tolist()
    if value is None or isinstance(value, bool | int | float | str | torch.dtype):
        return value
    if isinstance(value, torch.device):
        return str(value)
    if isinstance(value, Mapping):
        return {str(name): _recipe_of(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_recipe_of(item) for item in value]
    if isinstance(value, Recorded):
        return {"class_path": class_path(type(value)), "init_args": value.init_args}
    if is_dataclass(type(value)):
        init_args = {f.name: _recipe_of(getattr(value, f.name)) for f in fields(value) if f.init}
        return {"class_path": class_path(type(value)), "init_args": init_args}
    return {"class_path": class_path(type(value))}


def class_path(cls: type) -> str:
    """Return where a class is found; of this package's, by its room, which files may not leave."""
    room = ".".join(cls.__module__.split(".")[:2])
    is_ours = room.startswith("ugmm.")
    if is_ours and getattr(sys.modules.get(room), cls.__qualname__, None) is cls:
        return f"{room}.{cls.__qualname__}"
    return f"{cls.__module__}.{cls.__qualname__}"
