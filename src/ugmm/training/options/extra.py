"""`trainer.extra`: arguments of Lightning's Trainer that are handed on as they are."""

import inspect
from collections.abc import Mapping
from dataclasses import fields
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

import ugmm._torchvision  # noqa: F401  (before lightning: see the module)

from lightning.pytorch import Trainer

from ugmm.config.training import SET_BY_UGMM, TrainerConfig, key_instead
from ugmm.errors import UserError, nearest

__all__ = ["check_extra"]


def check_extra(extra: Mapping[str, Any]) -> None:
    """Refuse what Lightning's Trainer does not take, or what is not to be set there.

    Args:
        extra: Arguments of the Trainer by their names.

    Raises:
        UserError: If one is unknown, has a key of its own or is refused by the Trainer.
    """
    known = inspect.signature(Trainer).parameters
    typed = {field.name for field in fields(TrainerConfig)}
    for name in extra:
        if name in typed:
            raise UserError(f"trainer.extra.{name}: set trainer.{name}, which checks it")
        if name in SET_BY_UGMM:
            raise UserError(f"trainer.extra.{name} {key_instead(name)}")
        if name not in known:
            free = sorted({*known} - typed - {*SET_BY_UGMM})
            raise UserError(
                f"unknown key 'trainer.extra.{name}': Lightning's Trainer has no such argument; "
                f"{nearest(name, free)}"
            )
        if not any(_is_a(extra[name], kind) for kind in _kinds_of(known[name].annotation)):
            raise UserError(
                f"trainer.extra.{name}={extra[name]!r} is no value of it; Lightning's Trainer "
                "documents which there are"
            )
    if extra:
        try:
            Trainer(accelerator="cpu", logger=False, enable_progress_bar=False, **extra)
        except Exception as error:  # of whatever kind: Lightning checks each in its own way
            shown = ", ".join(f"{name}={value}" for name, value in extra.items())
            raise UserError(
                f"trainer.extra ({shown}): {str(error).rstrip('. ')}; mend it or leave it out"
            ) from error


def _kinds_of(hint: Any) -> tuple[Any, ...]:
    """Return the types of which a value may have one."""
    return get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)


def _is_a(value: Any, kind: Any) -> bool:
    if get_origin(kind) is Literal:
        return value in get_args(kind)
    plain = get_origin(kind) or kind
    return isinstance(value, (int, float) if plain is float else plain)
