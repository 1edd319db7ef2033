"""Laying settings over one another: every layer is checked, and a complaint names its source."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf, TupleConfig
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from ugmm.config.checks import check_keys, check_ranges, check_together
from ugmm.config.choices import CHOSEN, declared
from ugmm.config.schema import Config
from ugmm.config.values import as_text, literal, to_types, without_marks
from ugmm.errors import UserError, nearest
from ugmm.yaml_text import read_mapping

__all__ = ["finish", "make_settings", "merge", "new_schema", "read_text", "read_yaml"]


def new_schema() -> DictConfig:
    """Return a configuration in which nothing is chosen yet."""
    return OmegaConf.structured(Config)


def merge(config: DictConfig, layer: dict[str, Any], source: str) -> None:
    """Lay one source's settings over the configuration, and check them.

    Raises:
        UserError: If anything is unknown, mistyped, out of range or missing.
    """
    for group in CHOSEN:
        if not isinstance(keys := layer.get(group), dict):
            continue
        kinds = declared(group)
        if "name" in keys:
            name = as_text(keys["name"])
            if name not in kinds:
                raise UserError(f"{source}: unknown {group}.name {name!r}; {nearest(name, kinds)}")
            if OmegaConf.is_missing(config, group) or config[group].name != name:
                config[group] = _at_defaults(kinds[name], f"{group}={name}")
        elif OmegaConf.is_missing(config, group):
            raise UserError(f"{source}: {group}.name is missing; it is one of {', '.join(kinds)}")
    _lay(config, layer, source)


def _lay(config: DictConfig, layer: dict[str, Any], source: str) -> None:
    """Set keys that are declared, and check their names, types and ranges."""
    layer = to_types(config, layer, source)
    check_keys(config, layer, source)
    try:
        _set_containers(config, layer)
        config.merge_with(layer)
    except (OmegaConfBaseException, TypeError, ValueError) as error:
        raise UserError(f"{source}: {_describe(error)}") from error
    check_ranges(config, layer, source)


def _set_containers(config: DictConfig, layer: Mapping[str, Any]) -> None:
    """Set a layer's lists and mappings one by one: a merge does not look at what is in them."""
    for name, value in layer.items():
        node = config._get_node(name)
        if isinstance(node, DictConfig) and isinstance(value, dict):
            _set_containers(node, value)
        elif isinstance(node, TupleConfig):  # assigning would warn of 1 for 1.0
            OmegaConf.update(config, name, value, merge=False)
        elif isinstance(value, list | dict):
            config[name] = value


def finish(config: DictConfig, source: str) -> Config:
    """Resolve references, check what concerns several keys, and hand out plain dataclasses.

    Raises:
        UserError: If a reference leads nowhere, or settings do not go together.
    """
    try:
        OmegaConf.resolve(config)
        # Again, for what was referred to by ${other.key}.
        check_ranges(config, OmegaConf.to_container(config), source)  # type: ignore[arg-type]
        result = OmegaConf.to_object(config)
    except MissingMandatoryValue as error:
        raise UserError(f"{source}: {error.full_key} has no value; set it") from error
    except (OmegaConfBaseException, ValueError) as error:  # ValueError: of a __post_init__
        raise UserError(f"{source}: {_describe(error)}") from error
    assert isinstance(result, Config)
    without_marks(result)
    check_together(result)
    return result


def _at_defaults(kind: type, chosen: str) -> DictConfig:
    """Return the keys of a choice at their defaults.

    Raises:
        UserError: If it declares a key that a YAML file cannot hold.
    """
    remedy = (
        "declare it as a bool, int, float, str or Literal, or as a list or dict of these, with "
        "such a default"
    )
    try:
        config = OmegaConf.structured(kind)
    except OmegaConfBaseException as error:
        raise UserError(f"{chosen}: {_describe(error)}; {remedy}") from error
    for name, value in OmegaConf.to_container(config).items():  # type: ignore[union-attr]
        try:
            json.dumps(value)
        except TypeError as error:
            raise UserError(f"{chosen}: {name!s}: {error}; {remedy}") from error
    return config


def make_settings(schema: Any, values: dict[str, Any], source: str) -> Any:
    """Return an instance of a dataclass, with these keys checked and set; texts are literal.

    Args:
        schema: The dataclass, or an instance: its values are the defaults.
        values: By key.
        source: What every error names.

    Raises:
        UserError: If anything is unknown, mistyped, out of range or missing.
    """
    config = OmegaConf.structured(schema)
    _lay(config, literal(values), source)
    try:
        return without_marks(OmegaConf.to_object(config))
    except MissingMandatoryValue as error:
        raise UserError(f"{source}: {error.full_key} has no value; set it") from error
    except (OmegaConfBaseException, TypeError, ValueError) as error:
        raise UserError(f"{source}: {_describe(error)}") from error


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a file of keys and values, as `ugmm.yaml_text.read` gives them.

    Raises:
        UserError: If it is none.
    """
    return read_mapping(read_text(path), str(path))


def read_text(path: Path) -> str:
    """Read a text file.

    Raises:
        UserError: If it cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not a text file") from error


def _describe(error: Exception) -> str:
    text = str(error).split("\n", 1)[0]
    key = getattr(error, "full_key", None)
    return f"{key}: {text}" if key else text
