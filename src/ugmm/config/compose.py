"""From YAML files, a study's settings and the command line to one checked `Config`.

Declarations < configs/<group>/<choice>.yaml < experiments/<name>.yaml < layers < command line.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from ugmm.config.canonical import ELSEWHERE, HARDWARE
from ugmm.config.choices import CHOSEN, declared
from ugmm.config.choices.data import DataConfig
from ugmm.config.files import named_file, yaml_files
from ugmm.config.merge import finish, merge, new_schema, read_yaml
from ugmm.config.schema import SHARED, Config
from ugmm.config.values import Said, as_said, as_text, literal
from ugmm.errors import UserError, nearest
from ugmm.yaml_text import Plain, to_values

__all__ = ["COMMAND_LINE", "assignment", "compose", "compose_data", "parse_settings"]

GROUPS = (*CHOSEN, "trainer", "tracking")  # in each of which a file of configs/ may be chosen
COMMAND_LINE = "command line"
# Where a run happens is not what it is: these keys do not become part of its name.
_UNNAMED = (*ELSEWHERE, *(f"trainer.{key}" for key in HARDWARE))

_NAME_LETTERS, _VALUE_LETTERS = 60, 20  # the most in a run's name, in a value that it tells

# For who means one, where no file of configs/ can be chosen.
_FIRST_KEY = {"trainer": "max_epochs", "tracking": "mode"}

# Where settings come from, and the settings by key: `model` for a choice, `model.dropout`.
Layer = tuple[str, Mapping[str, Any]]


def compose(
    experiment: str,
    overrides: Sequence[str] = (),
    layers: Sequence[Layer] = (),
    root: Path | None = None,
) -> Config:
    """Return the resolved configuration of an experiment.

    Args:
        experiment: The name of a file in `experiments/`, or the path of a YAML file.
        overrides: The command line's `key=value` settings, laid over everything else;
            `model=mlp` chooses.
        layers: Settings to lay over the experiment's, in this order: of each the source that a
            complaint names, and a mapping of keys to values, as in
            `{"model": "mlp", "model.dropout": 0.3}` or `{"model": {"dropout": 0.3}}`.
        root: Where to look for `experiments/` and `configs/` before those shipped with ugmm;
            by default, the working directory.

    Raises:
        UserError: If anything is unknown, mistyped, out of range or missing.
    """
    path = named_file(experiment, "experiments", root)
    layer = read_yaml(path)
    choices = _checked_choices(layer.pop("defaults", {}), str(path))
    named_by = dict.fromkeys(choices, str(path))
    settings: list[tuple[str, dict[str, Any]]] = [(str(path), layer)]
    for source, values in [*layers, (COMMAND_LINE, parse_settings(overrides))]:
        chosen, own = _split(values, source)
        for group, choice in chosen.items():
            if choice != choices.get(group):
                settings = [(s, _without_replaced(earlier, group)) for s, earlier in settings]
        choices = choices | chosen
        named_by |= dict.fromkeys(chosen, source)
        settings += [(source, setting) for setting in own]
    for group in CHOSEN:
        if group not in choices:
            raise UserError(f"{path}: defaults names no {group}; add '{group}: ...' to it")

    config = new_schema()
    for group, choice in choices.items():
        merge(config, *_read_choice(group, choice, named_by[group], root))
    config.experiment = literal(path.stem)
    for source, setting in settings:
        if "experiment" in setting:
            raise UserError(f"{source}: experiment is the name of the file and cannot be set")
        merge(config, setting, source)
    named = any("name" in setting for _, setting in settings[1:])
    if not named and (name := _run_name(overrides)):
        merge(config, literal({"name": name}), COMMAND_LINE)
    return finish(config, "the resolved configuration")


def compose_data(choice: str, source: str, root: Path | None = None) -> DataConfig:
    """Return the configuration of a data set alone.

    Args:
        choice: Its name.
        source: Where it was chosen, for a complaint.
        root: See `compose`.

    Raises:
        UserError: If it is unknown, or its file in `configs/data/` is mistyped.
    """
    config = new_schema()
    merge(config, *_read_choice("data", choice, source, root))
    return OmegaConf.to_object(config.data)  # type: ignore[return-value]


def assignment(key: str, value: Any) -> str:
    """Return a key and its value as they are written on the command line."""
    return f"{key}={as_said(value)}"


def _read_choice(
    group: str, choice: str, source: str, root: Path | None
) -> tuple[dict[str, Any], str]:
    """Return what a choice sets, and where that stands: a file, or its declaration alone."""
    files = yaml_files(f"configs/{group}", root)
    if choice in files:
        return {group: read_yaml(files[choice])}, str(files[choice])
    kinds = declared(group) if group in CHOSEN else {}
    if choice in kinds:
        return {group: {"name": choice}}, f"{group}={choice}"
    if known := sorted({*files, *kinds}):
        raise UserError(f"{source}: unknown choice {group}={choice}; {nearest(choice, known)}")
    raise UserError(
        f"{source}: {group}={choice} names a file of configs/{group}/, and there are none; set a "
        f"key, such as {group}.{_FIRST_KEY[group]}=..."
    )


def _checked_choices(defaults: Any, source: str) -> dict[str, str]:
    if not isinstance(defaults, dict):
        raise UserError(f"{source}: defaults must map groups to choices, such as 'model: ugmm'")
    for group, choice in defaults.items():
        if group not in GROUPS:
            raise UserError(
                f"{source}: unknown group 'defaults.{group}'; {nearest(group, GROUPS)}"
            )
        if to_values(choice) is None or not isinstance(choice, Plain | str):
            raise UserError(f"{source}: defaults.{group} must name a choice of {group}")
    return {group: as_text(choice) for group, choice in defaults.items()}


def parse_settings(overrides: Iterable[str]) -> dict[str, Any]:
    """Return the settings of the command line by key.

    Raises:
        UserError: If one is not of the form `key=value`.
    """
    values: dict[str, Any] = {}
    for override in overrides:
        name, equals, text = override.partition("=")
        if not equals or not name:
            raise UserError(f"{COMMAND_LINE}: {override!r} is not of the form key=value")
        try:
            override.encode()
        except UnicodeEncodeError as error:  # bytes that Python could not read
            raise UserError(f"{COMMAND_LINE}: {override!r} is not UTF-8 text") from error
        values.pop(name, None)  # of two, the later one stands where it was said
        values[name] = text if name in GROUPS else Said(text)
    return values


def _split(values: Mapping[str, Any], source: str) -> tuple[dict[str, str], list[dict[str, Any]]]:
    """Tell choices, such as `model: mlp`, from settings, such as `model.dropout: 0.3`."""
    choices: dict[str, str] = {}
    settings: list[dict[str, Any]] = []
    for name, value in values.items():
        if name in GROUPS and not isinstance(value, Mapping):
            choices[name] = as_text(value)
            continue
        if "[" in name:
            whole = name.partition("[")[0]
            raise UserError(f"{source}: set the whole list, such as '{whole}=[128,64]'")
        setting: Any = dict(value) if isinstance(value, Mapping) else value
        for part in reversed(name.split(".")):
            setting = {part: setting}
        for group in CHOSEN:
            if isinstance(keys := setting.get(group), dict) and "name" in keys:
                choice = as_text(keys["name"]) or "..."
                raise UserError(f"{source}: choose by {group}={choice}, not by {group}.name")
        settings.append(setting)
    return choices, settings


def _without_replaced(layer: dict[str, Any], group: str) -> dict[str, Any]:
    """Return settings less those for a choice of the group that another has replaced.

    Those that every choice of the group has, such as a network's widths, stay.
    """
    if group not in CHOSEN or not isinstance(layer.get(group), dict):
        return layer
    shared = {f.name for f in fields(SHARED[group])} - {"name"}
    return {**layer, group: {k: v for k, v in layer[group].items() if k in shared}}


def _run_name(overrides: Sequence[str]) -> str:
    """Return what tells a run from its group, short enough to read: ids tell runs apart."""
    unnamed = tuple(f"{key}{end}" for key in _UNNAMED for end in "=.")
    named = [_in_short(setting) for setting in overrides if not setting.startswith(unnamed)]
    name, told = " ".join(named), len(named)
    while len(name) > _NAME_LETTERS and told > 1:
        told -= 1
        name = " ".join([*named[:told], f"+{len(named) - told} more"])
    return name


def _in_short(setting: str) -> str:
    """Return a setting without the groups of its key, with the stem of a path and few letters."""
    key, _, value = setting.partition("=")
    value = re.sub(r"\$\{(.*?)\}", r"\1", value)
    parts = [part for part in key.split(".") if part != "name"]
    if re.search(r"[/\\]|\.(csv|tsv|txt|gz|ya?ml)$", value):
        value = re.split(r"[/\\]", value.rstrip("/\\"))[-1].partition(".")[0] or "path"
    if len(value) > _VALUE_LETTERS:
        value = f"{value[: _VALUE_LETTERS - 2]}.."
    return f"{parts[-1] if parts else key}={value}"
