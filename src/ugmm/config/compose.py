"""From YAML files and the command line to one checked `Config`; a complaint names its source.

Schema < configs/<group>/<choice>.yaml < experiments/<name>.yaml < command line.
"""

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from ugmm.config.checks import check_keys, check_ranges, check_together
from ugmm.config.choices import CHOSEN, declared
from ugmm.config.files import named_file, yaml_files
from ugmm.config.plugins import check_plugins
from ugmm.config.renamed import with_new_names
from ugmm.config.schema import SHARED, Config, DataConfig
from ugmm.errors import UserError, nearest
from ugmm.runs import Run

__all__ = [
    "assignment",
    "compose",
    "compose_data",
    "filled",
    "from_yaml",
    "read_config",
    "read_yaml",
    "to_yaml",
]

GROUPS = ("data", "model", "task", "trainer", "tracking")
COMMAND_LINE = "command line"
# Where a run happens is not what it is: these keys do not become part of its name.
_UNNAMED = (
    "runs_dir",
    "group",
    "name",
    "variant",
    "tracking",
    *(f"trainer.{key}" for key in ("accelerator", "devices", "num_nodes", "strategy", "threads")),
)


def compose(experiment: str, overrides: Sequence[str] = (), root: Path | None = None) -> Config:
    """Return the resolved configuration of an experiment.

    Args:
        experiment: The name of a file in `experiments/`, or the path of a YAML file.
        overrides: `key=value` settings; `model=mlp` chooses a file of `configs/model/`.
        root: Where to look for `experiments/` and `configs/` before those shipped with ugmm;
            by default, the working directory.

    Raises:
        UserError: If anything is unknown, mistyped, out of range or missing.
    """
    path = named_file(experiment, "experiments", "experiment", root)
    layer = read_yaml(path)
    defaults = layer.pop("defaults", {})
    chosen, settings = _parse(overrides)
    choices = _checked_choices(defaults, str(path)) | chosen
    for group in CHOSEN:
        if group not in choices:
            raise UserError(f"{path}: defaults names no {group}; add '{group}: ...' to it")

    config = _schema()
    for group, choice in choices.items():
        _merge(config, *_read_choice(root, group, choice))
    for group, choice in chosen.items():
        if choice != defaults.get(group):
            _keep_shared(layer, group)
    config.experiment = path.stem
    _merge(config, layer, str(path), reserved=True)
    for setting in settings:
        _merge(config, setting, COMMAND_LINE, reserved=True)
    if not any("name" in setting for setting in settings) and (name := _run_name(overrides)):
        _merge(config, {"name": name}, COMMAND_LINE)
    return _finish(config, "the resolved configuration")


def assignment(key: str, value: Any) -> str:
    """Return a key and its value as they are written on the command line."""
    # A choice such as model=mlp is not quoted.
    return f"{key}={value if isinstance(value, str) else json.dumps(value)}"


def compose_data(choice: str, root: Path | None = None) -> DataConfig:
    """Return the configuration of a data set alone, a file of `configs/data/`.

    Raises:
        UserError: If it is unknown or mistyped.
    """
    config = _schema()
    _merge(config, *_read_choice(root, "data", choice))
    return OmegaConf.to_object(config.data)  # type: ignore[return-value]


def filled(schema: Any, layer: dict[str, Any], source: str, prefix: str = "") -> Any:
    """Return an instance of a dataclass, with these keys checked and set.

    Raises:
        UserError: If anything is unknown, mistyped, out of range or missing.
    """
    config = OmegaConf.structured(schema)
    check_keys(config, layer, source, prefix)
    try:
        config.merge_with(layer)
        check_ranges(config, layer, source, prefix)
        return OmegaConf.to_object(config)
    except (OmegaConfBaseException, TypeError, ValueError) as error:
        raise UserError(f"{source}: {prefix}{_type_error(error)}") from error


def from_yaml(text: str, source: str) -> Config:
    """Return the configuration that `to_yaml` wrote.

    Raises:
        UserError: If the text is no longer a valid configuration.
    """
    config = _schema()
    layer = with_new_names(_parse_yaml(text, source))
    if missing := [f.name for f in fields(Config) if f.name not in layer]:
        raise UserError(f"{source} is incomplete: it lacks {', '.join(missing)}")
    _merge(config, layer, source)
    return _finish(config, source)


def read_config(run: Run) -> Config:
    """Read the frozen configuration of a run.

    Raises:
        UserError: If it is no longer valid, or a plugin is missing that the run was made with.
    """
    if run.environment.is_file():
        check_plugins(run.read_environment().get("plugins", []), str(run.folder))
    return from_yaml(_read_text(run.config), str(run.config))


def to_yaml(config: Config) -> str:
    """Return a configuration as YAML, every key with its value."""
    return OmegaConf.to_yaml(OmegaConf.structured(config))


def _schema() -> DictConfig:
    return OmegaConf.structured(Config)


def _read_choice(root: Path | None, group: str, choice: str) -> tuple[dict[str, Any], str]:
    """Return what a choice sets, and where that stands: a file, or its declaration alone."""
    files = yaml_files(f"configs/{group}", root)
    if choice in files:
        return {group: read_yaml(files[choice])}, str(files[choice])
    kinds = declared(group) if group in CHOSEN else {}
    if choice in kinds:
        return {group: {"name": choice}}, f"{group}={choice}"
    raise UserError(
        f"unknown choice {group}={choice}; {nearest(choice, sorted({*files, *kinds}))}"
    )


def _checked_choices(defaults: Any, source: str) -> dict[str, str]:
    if not isinstance(defaults, dict):
        raise UserError(f"{source}: defaults must map groups to choices, such as 'model: ugmm'")
    for group, choice in defaults.items():
        if group not in GROUPS:
            raise UserError(
                f"{source}: unknown group 'defaults.{group}'; {nearest(group, GROUPS)}"
            )
        if not isinstance(choice, str):
            raise UserError(f"{source}: defaults.{group} must name a choice of {group}")
    return defaults


def _parse(overrides: Iterable[str]) -> tuple[dict[str, str], list[dict[str, Any]]]:
    """Split `model=mlp` from `model.dropout=0.3`."""
    choices: dict[str, str] = {}
    settings = []
    for override in overrides:
        name, equals, value = override.partition("=")
        if not equals or not name:
            raise UserError(f"{COMMAND_LINE}: {override!r} is not of the form key=value")
        if name in GROUPS:
            choices[name] = value
            continue
        if name in {f"{group}.name" for group in CHOSEN}:
            group = name.partition(".")[0]
            raise UserError(f"{COMMAND_LINE}: choose by {group}={value or '...'}, not by {name}")
        if "[" in name:
            whole = name.partition("[")[0]
            raise UserError(f"{COMMAND_LINE}: set the whole list, such as '{whole}=[128,64]'")
        setting: Any = _parse_yaml(value, COMMAND_LINE, whole=False)
        for part in reversed(name.split(".")):
            setting = {part: setting}
        settings.append(setting)
    return choices, settings


def _keep_shared(layer: dict[str, Any], group: str) -> None:
    """Drop an experiment's settings for a choice that the command line replaced.

    Those that every choice of the group has, such as a network's widths, stay.
    """
    if group in CHOSEN and isinstance(layer.get(group), dict):
        shared = {f.name for f in fields(SHARED[group])} - {"name"}
        layer[group] = {k: v for k, v in layer[group].items() if k in shared}


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
    for group in CHOSEN:
        kinds = declared(group)
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
