"""A resolved configuration, as a run folder and a plan keep it, and reading it back."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from typing import Any

from ugmm.config.canonical import ADDED, HARDWARE, with_new_names
from ugmm.config.choices.plugins import check_plugins
from ugmm.config.compose import COMMAND_LINE, parse_settings
from ugmm.config.merge import finish, merge, new_schema, read_text
from ugmm.config.schema import Config
from ugmm.config.values import literal
from ugmm.errors import UserError
from ugmm.runs import Run
from ugmm.yaml_text import read_mapping, write

__all__ = ["from_mapping", "from_yaml", "read_config", "to_mapping", "to_yaml"]


def from_mapping(frozen: Mapping[str, Any], source: str, settings: Sequence[str] = ()) -> Config:
    """Return the configuration that `to_mapping` gave, perhaps in an earlier version.

    Args:
        frozen: The configuration.
        source: Where it stands, for a complaint.
        settings: The command line's `key=value` settings, of the hardware.

    Raises:
        UserError: If it is no longer a valid configuration, or settings are of something else.
    """
    config = new_schema()
    layer = with_new_names(frozen)
    if missing := [f.name for f in fields(Config) if f.name not in {*layer, *ADDED}]:
        raise UserError(f"{source} is incomplete: it lacks {', '.join(missing)}")
    merge(config, literal(layer), source)  # references were resolved before it was frozen
    for key, value in parse_settings(settings).items():
        group, _, name = key.partition(".")
        if group != "trainer" or name not in HARDWARE:
            keys = ", ".join(f"trainer.{name}" for name in HARDWARE)
            raise UserError(f"{key} of a run that goes on is settled; set no more than {keys}")
        merge(config, {group: {name: value}}, COMMAND_LINE)
    return finish(config, source)


def from_yaml(text: str, source: str, settings: Sequence[str] = ()) -> Config:
    """Return the configuration that `to_yaml` wrote; see `from_mapping`.

    Raises:
        UserError: See there.
    """
    return from_mapping(read_mapping(text, source), source, settings)


def read_config(run: Run, settings: Sequence[str] = ()) -> Config:
    """Read the frozen configuration of a run; see `from_mapping`.

    Raises:
        UserError: See there; or if a plugin is missing that the run was made with.
    """
    check_plugins(run.read_environment().get("plugins", []), str(run.folder))
    return from_yaml(read_text(run.config), str(run.config), settings)


def to_mapping(config: Config) -> dict[str, Any]:
    """Return a configuration as a mapping that JSON can hold, every key with its value."""
    return json.loads(json.dumps(asdict(config)))


def to_yaml(config: Config) -> str:
    """Return a configuration as YAML, every key with its value."""
    return write(to_mapping(config))
