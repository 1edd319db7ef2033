"""From YAML files and the command line to one checked `Config`; a complaint names its source.

Schema < configs/<group>/<choice>.yaml < experiments/<name>.yaml < layers < command line.
"""

import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from ugmm.config.canonical import ELSEWHERE, HARDWARE
from ugmm.config.checks import check_keys, check_ranges, check_together
from ugmm.config.files import project_root
from ugmm.config.renamed import with_new_names
from ugmm.config.schema import CHOICES, SHARED, Config, DataConfig
from ugmm.errors import UserError, nearest

__all__ = [
    "assignment",
    "compose",
    "compose_data",
    "from_mapping",
    "from_yaml",
    "make_settings",
    "named_file",
    "read_config",
    "read_yaml",
    "to_mapping",
    "to_yaml",
]

GROUPS = ("data", "model", "task", "trainer", "tracking")
COMMAND_LINE = "command line"
# Where a run happens is not what it is: these keys do not become part of its name.
_UNNAMED = (*ELSEWHERE, *(f"trainer.{key}" for key in HARDWARE))

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
        overrides: `key=value` settings; `model=mlp` chooses a file of `configs/model/`. They are
            laid over everything else.
        layers: Settings to lay over the experiment's, in this order: of each the source that a
            complaint names, and a mapping of keys to values, as in
            `{"model": "mlp", "model.dropout": 0.3}` or `{"model": {"dropout": 0.3}}`.
        root: The folder that holds `configs/` and `experiments/`; by default, the project's.

    Raises:
        UserError: If anything is unknown, mistyped, out of range or missing.
    """
    root = Path(os.path.relpath(root or project_root()))
    path = named_file(experiment, root / "experiments", "experiment")
    layer = read_yaml(path)
    defaults = _checked_choices(layer.pop("defaults", {}), str(path))
    choices = {"trainer": "default", "tracking": "default"} | defaults
    named_by = dict.fromkeys(choices, str(path))
    settings: list[tuple[str, dict[str, Any]]] = [(str(path), layer)]
    for source, values in [*layers, (COMMAND_LINE, _parse(overrides))]:
        chosen, own = _split(values, source)
        for group, choice in chosen.items():
            if choice != choices.get(group):
                settings = [(s, _without_replaced(earlier, group)) for s, earlier in settings]
        choices |= chosen
        named_by |= dict.fromkeys(chosen, source)
        settings += [(source, setting) for setting in own]
    for group in GROUPS:
        if group not in choices:
            raise UserError(f"{path}: defaults names no {group}; add '{group}: ...' to it")

    config = _schema()
    for group, choice in choices.items():
        file = _choice_path(root, group, choice, named_by[group])
        _merge(config, {group: read_yaml(file)}, str(file))
    config.experiment = path.stem
    for source, setting in settings:
        _merge(config, setting, source, reserved=True)
    named = any("name" in setting for _, setting in settings[1:])
    if not named and (name := _run_name(overrides)):
        _merge(config, {"name": name}, COMMAND_LINE)
    return _finish(config, "the resolved configuration")


def assignment(key: str, value: Any) -> str:
    """Return a key and its value as they are written on the command line."""
    # A choice such as model=mlp is not quoted.
    return f"{key}={value if isinstance(value, str) else json.dumps(value)}"


def compose_data(choice: str, source: str, root: Path) -> DataConfig:
    """Return the configuration of a data set alone, a file of `configs/data/`.

    Raises:
        UserError: If it is unknown or mistyped; names the source of the choice.
    """
    path = _choice_path(root, "data", choice, source)
    config = _schema()
    _merge(config, {"data": read_yaml(path)}, str(path))
    return OmegaConf.to_object(config.data)  # type: ignore[return-value]


def make_settings(schema: Any, values: dict[str, Any], source: str) -> Any:
    """Return an instance of a dataclass, with these keys checked and set.

    Raises:
        UserError: If anything is unknown, mistyped, out of range or missing.
    """
    config = OmegaConf.structured(schema)
    check_keys(config, values, source)
    try:
        config.merge_with(values)
        check_ranges(config, values, source)
        return OmegaConf.to_object(config)
    except (OmegaConfBaseException, TypeError, ValueError) as error:
        raise UserError(f"{source}: {_type_error(error)}") from error


def from_mapping(frozen: Mapping[str, Any], source: str) -> Config:
    """Return the configuration that `to_mapping` gave.

    Raises:
        UserError: If it is no longer a valid configuration.
    """
    config = _schema()
    layer = with_new_names(frozen)
    if missing := [f.name for f in fields(Config) if f.name not in layer]:
        raise UserError(f"{source} is incomplete: it lacks {', '.join(missing)}")
    _merge(config, layer, source)
    return _finish(config, source)


def from_yaml(text: str, source: str) -> Config:
    """Return the configuration that `to_yaml` wrote.

    Raises:
        UserError: If the text is no longer a valid configuration.
    """
    return from_mapping(_parse_yaml(text, source), source)


def read_config(path: Path) -> Config:
    """Read a frozen configuration; see `from_yaml`."""
    return from_yaml(_read_text(path), str(path))


def to_mapping(config: Config) -> dict[str, Any]:
    """Return a configuration as a mapping that JSON can hold, every key with its value."""
    return json.loads(json.dumps(asdict(config)))


def to_yaml(config: Config) -> str:
    """Return a configuration as YAML, every key with its value."""
    return OmegaConf.to_yaml(OmegaConf.structured(config))


def named_file(name: str, folder: Path, kind: str) -> Path:
    """Return the YAML file of a name, or of a path that ends in .yaml.

    Raises:
        UserError: If there is none; names the nearest.
    """
    if name.endswith((".yaml", ".yml")):
        if not Path(name).is_file():
            raise UserError(f"no such file: {name}")
        return Path(name)
    path = folder / f"{name}.yaml"
    if not path.is_file():
        names = sorted(p.stem for p in folder.glob("*.yaml"))
        raise UserError(f"unknown {kind} {name!r}; {nearest(name, names)}")
    return path


def _schema() -> DictConfig:
    return OmegaConf.structured(Config)


def _choice_path(root: Path, group: str, choice: str, source: str) -> Path:
    folder = root / "configs" / group
    path = folder / f"{choice}.yaml"
    if not path.is_file() or choice != path.stem:
        names = sorted(p.stem for p in folder.glob("*.yaml"))
        raise UserError(f"{source}: unknown choice {group}={choice}; {nearest(choice, names)}")
    return path


def _checked_choices(defaults: Any, source: str) -> dict[str, str]:
    if not isinstance(defaults, dict):
        raise UserError(f"{source}: defaults must map groups to choices, such as 'model: ugmm'")
    for group, choice in defaults.items():
        if group not in GROUPS:
            raise UserError(
                f"{source}: unknown group 'defaults.{group}'; {nearest(group, GROUPS)}"
            )
        if not isinstance(choice, str):
            raise UserError(f"{source}: defaults.{group} must name a file of configs/{group}/")
    return defaults


def _parse(overrides: Iterable[str]) -> dict[str, Any]:
    """Return the settings of the command line by key."""
    values: dict[str, Any] = {}
    for override in overrides:
        name, equals, text = override.partition("=")
        if not equals or not name:
            raise UserError(f"{COMMAND_LINE}: {override!r} is not of the form key=value")
        values.pop(name, None)  # of two, the later one stands where it was said
        values[name] = text if name in GROUPS else _parse_yaml(text, COMMAND_LINE, whole=False)
    return values


def _split(values: Mapping[str, Any], source: str) -> tuple[dict[str, str], list[dict[str, Any]]]:
    """Tell choices, such as `model: mlp`, from settings, such as `model.dropout: 0.3`."""
    choices: dict[str, str] = {}
    settings: list[dict[str, Any]] = []
    for name, value in values.items():
        if name in GROUPS and not isinstance(value, Mapping):
            choices[name] = value if isinstance(value, str) else json.dumps(value)
            continue
        if "[" in name:
            whole = name.partition("[")[0]
            raise UserError(f"{source}: set the whole list, such as '{whole}=[128,64]'")
        setting: Any = dict(value) if isinstance(value, Mapping) else value
        for part in reversed(name.split(".")):
            setting = {part: setting}
        for group in CHOICES:
            if isinstance(keys := setting.get(group), dict) and "name" in keys:
                choice = keys["name"] or "..."
                raise UserError(f"{source}: choose by {group}={choice}, not by {group}.name")
        settings.append(setting)
    return choices, settings


def _without_replaced(layer: dict[str, Any], group: str) -> dict[str, Any]:
    """Return settings less those for a choice of the group that another has replaced.

    Those that every choice of the group has, such as a network's widths, stay.
    """
    if group not in CHOICES or not isinstance(layer.get(group), dict):
        return layer
    shared = {f.name for f in fields(SHARED[group])} - {"name"}
    return {**layer, group: {k: v for k, v in layer[group].items() if k in shared}}


def _run_name(overrides: Sequence[str]) -> str:
    unnamed = tuple(f"{key}{end}" for key in _UNNAMED for end in "=.")
    named = [override for override in overrides if not override.startswith(unnamed)]
    return " ".join(re.sub(r"^(?:model|task|optimizer|trainer|data)\.", "", o) for o in named)


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not a text file") from error


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a file of keys and values.

    Raises:
        UserError: If it is none.
    """
    return _parse_yaml(_read_text(path), str(path))


def _parse_yaml(text: str, source: str, whole: bool = True) -> Any:
    """Parse YAML as OmegaConf does, with neither Python objects nor duplicate keys."""
    try:
        wrapped = OmegaConf.create(text) if whole else OmegaConf.from_dotlist([f"value={text}"])
        value = OmegaConf.to_container(wrapped)
    except (yaml.YAMLError, OmegaConfBaseException) as error:
        text = " ".join(str(error).split("full_key", 1)[0].split())
        raise UserError(f"{source}: not valid YAML: {text}") from error
    if not isinstance(value, dict):
        raise UserError(f"{source}: expected keys and values")
    return value if whole else value["value"]


def _merge(
    config: DictConfig, layer: dict[str, Any], source: str, *, reserved: bool = False
) -> None:
    """Lay one source's settings over the configuration, and check them."""
    if reserved and "experiment" in layer:
        raise UserError(f"{source}: experiment is the name of the file and cannot be set")
    for group, kinds in CHOICES.items():
        if isinstance(layer.get(group), dict) and "name" in layer[group]:
            name = str(layer[group]["name"])
            if name not in kinds:
                raise UserError(f"{source}: unknown {group}.name {name!r}; {nearest(name, kinds)}")
            if OmegaConf.is_missing(config, group) or config[group].name != name:
                config[group] = OmegaConf.structured(kinds[name])
        elif group in layer and OmegaConf.is_missing(config, group):
            raise UserError(f"{source}: {group}.name is missing; it is one of {', '.join(kinds)}")
    check_keys(config, layer, source)
    try:
        config.merge_with(layer)
    except (OmegaConfBaseException, TypeError, ValueError) as error:
        raise UserError(f"{source}: {_type_error(error)}") from error
    check_ranges(config, layer, source)


def _finish(config: DictConfig, source: str) -> Config:
    """Resolve references, check what concerns several keys, and hand out plain dataclasses."""
    try:
        OmegaConf.resolve(config)
        # Again, for what was referred to by ${other.key}.
        check_ranges(config, OmegaConf.to_container(config), source)  # type: ignore[arg-type]
        result = OmegaConf.to_object(config)
    except OmegaConfBaseException as error:
        raise UserError(f"{source}: {_type_error(error)}") from error
    assert isinstance(result, Config)
    check_together(result)
    return result


def _type_error(error: Exception) -> str:
    text = str(error).split("\n", 1)[0]
    key = getattr(error, "full_key", None)
    return f"{key}: {text}" if key else text
