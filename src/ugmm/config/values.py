"""Where values meet the types of keys: what a text without quotes is, and which texts are literal.

A key that holds a text takes it as it is written; every other key takes a value of YAML.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from omegaconf import DictConfig, OmegaConf

from ugmm.errors import UserError
from ugmm.yaml_text import Plain, read, to_values

__all__ = ["Said", "as_said", "as_text", "literal", "to_types", "without_marks"]

# A character that stands for nothing: it keeps OmegaConf from taking a text for a reference.
_MARK = "\ufdd0"
_REFERS, _MISSING = "${", "???"


@dataclass(frozen=True, slots=True)
class Said:
    """What stands after `key=` on the command line: a text or YAML, whichever the key takes."""

    text: str


def as_text(value: Any) -> str:
    """Return a value as a name holds it: a text as it was written, and all else as JSON."""
    if isinstance(value, Plain | Said):
        return value.text
    return value if isinstance(value, str) else json.dumps(to_values(value), ensure_ascii=False)


def as_said(value: Any) -> str:
    """Return a value as it is said on the command line."""
    if isinstance(value, str) and (Plain(value).value is None or _is_quoted(value)):
        return json.dumps(value, ensure_ascii=False)  # "null", which would be none
    plain = to_values(value)
    is_exact = isinstance(plain, str) or type(plain) is int  # mlp, and 01, which may be a text
    return as_text(value if is_exact else plain)


def to_types(config: DictConfig, layer: Mapping[str, Any], source: str) -> dict[str, Any]:
    """Return settings with what the types of their keys make of texts without quotes.

    Other mistakes than those below are left to be found where the settings are laid.

    Args:
        config: What they are to be laid over.
        layer: The settings by key.
        source: What an error names.

    Raises:
        UserError: If something from the command line is no valid YAML, or something is no bool
            where one is due.
    """
    return _by_key(config, layer, source, "")


def _by_key(
    config: DictConfig, layer: Mapping[str, Any], source: str, prefix: str
) -> dict[str, Any]:
    hints = _hints_of(OmegaConf.get_type(config))  # type: ignore[arg-type]
    found: dict[str, Any] = {}
    for key, value in layer.items():
        name = f"{prefix}{key}"
        if key not in hints:
            found[key] = value
            continue
        node, kinds = config._get_node(key), _kinds_of(hints[key])
        value = _hear(value, kinds, f"{source}: {name}")
        if isinstance(value, dict) and is_dataclass(OmegaConf.get_type(node)):
            found[key] = _by_key(node, value, source, f"{name}.")  # type: ignore[arg-type]
        else:
            found[key] = _convert(value, kinds, f"{source}: {name}")
    return found


def _hear(value: Any, kinds: tuple[Any, ...], source: str) -> Any:
    """Return what was said on the command line as a file would have it; all else as it is."""
    if not isinstance(value, Said):
        return value
    is_list = value.text.startswith("[") and any(get_origin(kind) is list for kind in kinds)
    is_text = str in kinds and not (is_list or _is_quoted(value.text))
    return Plain(value.text) if is_text else read(value.text, source)


def _is_quoted(text: str) -> bool:
    return len(text) > 1 and text[0] == text[-1] and text[0] in "'\""


def _convert(value: Any, kinds: tuple[Any, ...], source: str) -> Any:
    """Return what a value is for a key of some types; of a collection, what its items are."""
    value = _hear(value, kinds, source)
    if isinstance(value, list):
        return [_convert(item, _items_of(kinds, list, tuple), source) for item in value]
    if isinstance(value, dict):
        items = _items_of(kinds, dict)
        return {key: _convert(item, items, f"{source}.{key}") for key, item in value.items()}
    found = _choose(value, kinds) if isinstance(value, Plain) else value
    refers = isinstance(found, str) and _REFERS in found
    if bool in kinds and {*kinds} <= {bool, NoneType} and type(found) not in kinds and not refers:
        shown = value.text if isinstance(value, Plain) else value
        raise UserError(f"{source}={shown} must be true or false")
    if isinstance(value, Plain) and isinstance(found, str) and not refers:
        # Python, which OmegaConf asks, takes 1_000 and digits of other scripts; YAML does not.
        is_number_due = {int, float} & {*kinds} and str not in kinds
        if is_number_due and ("_" in found or not found.isascii()):
            raise UserError(f"{source}={found} is no number; write it in plain digits")
    if isinstance(found, str) and "\0" in found:
        raise UserError(f"{source} holds a NUL character; leave it out")
    return found


def _choose(plain: Plain, kinds: tuple[Any, ...]) -> Any:
    """Return the value of a text without quotes that one of some types has, or else the text."""
    value = plain.value
    if value is None and str in kinds and NoneType not in kinds and plain.text:
        return plain.text
    if value is not None and str in kinds and type(value) not in kinds:
        return plain.text
    if type(value) is int and float in kinds and int not in kinds:
        return float(plain.text)  # of the integer it would fail where that has 400 digits
    return value


@cache
def _hints_of(schema: Any) -> Mapping[str, Any]:
    """Return the types of a declaration's keys."""
    hints = get_type_hints(schema)
    return {field.name: hints[field.name] for field in fields(schema)}


def _kinds_of(hint: Any) -> tuple[Any, ...]:
    """Return the types of which a value may have one."""
    if get_origin(hint) in (Union, UnionType):
        return tuple(kind for part in get_args(hint) for kind in _kinds_of(part))
    return tuple(map(type, get_args(hint))) if get_origin(hint) is Literal else (hint,)


def _items_of(kinds: tuple[Any, ...], *collections: type) -> tuple[Any, ...]:
    """Return the types that the values in a collection may have: of a tuple, its first."""
    for kind in kinds:
        if get_origin(kind) in collections:
            return _kinds_of(get_args(kind)[-1 if get_origin(kind) is dict else 0])
    return ()


def literal(content: Any) -> Any:
    """Return settings whose texts are just that: `${seed}` in them refers to nothing."""
    if isinstance(content, Mapping):
        return {key: literal(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [literal(item) for item in content]
    if isinstance(content, Plain):
        return Plain(literal(content.text))
    if not isinstance(content, str):
        return content
    marked = content.replace(_REFERS, f"${_MARK}{{")
    return _MARK + marked if marked == _MISSING else marked


def without_marks(content: Any) -> Any:
    """Return a configuration with the literal texts in it as they were written."""
    if is_dataclass(content):
        for field in fields(content):
            setattr(content, field.name, without_marks(getattr(content, field.name)))
        return content
    if isinstance(content, dict):
        return {key: without_marks(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return type(content)(without_marks(item) for item in content)
    if not isinstance(content, str):
        return content
    return content.replace(f"${_MARK}{{", _REFERS).replace(_MARK + _MISSING, _MISSING)
