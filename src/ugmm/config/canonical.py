"""What a configuration computes, in a form that outlives new and renamed keys.

Two configurations that compute the same have one identity, whenever they were written down: keys
have today's names, those left at their default are left out, and so is what only says where a run
happens. This works on plain mappings, without OmegaConf: hundreds of runs are compared at once.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import MISSING, asdict, fields, is_dataclass
from functools import cache
from typing import Any

from ugmm.config.choices import CHOSEN, declared
from ugmm.config.schema import Config

__all__ = [
    "ADDED",
    "ELSEWHERE",
    "HARDWARE",
    "RENAMED",
    "check_frozen",
    "complete",
    "compute_identity",
    "to_canonical",
    "with_new_names",
]

# Where and under which name a run happens does not change what it computes, nor do the keys of
# `trainer` that say on which hardware, and what is saved on the way.
ELSEWHERE = ("experiment", "group", "name", "variant", "runs_dir", "tracking", "plots")
HARDWARE = (
    "accelerator", "checkpoint", "devices", "grace", "num_nodes", "strategy", "threads", "timeout",
)  # fmt: skip

# Keys that had another name once, by group: what was frozen then is still read.
RENAMED: Mapping[str, Mapping[str, str]] = {
    "data": {"shift": "max_shift", "shifts": "robustness"},
}

# Sections that were added since the first version: what was frozen before has not got them.
ADDED = ("plots",)


def compute_identity(config: Config | Mapping[str, Any]) -> str:
    """Return a hash of what a configuration computes, in 64 hexadecimal digits.

    Args:
        config: A resolved configuration, or one as it was frozen, perhaps by an earlier version.
    """
    text = json.dumps(_with_integers(to_canonical(config)), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def to_canonical(config: Config | Mapping[str, Any]) -> dict[str, Any]:
    """Return what a configuration computes: every key that differs from its default.

    The names of the data, the model and the task always stay.

    Args:
        config: A resolved configuration, or one as it was frozen, perhaps by an earlier version.
    """
    frozen = _today(config)
    defaults = _defaults_for(frozen)
    found: dict[str, Any] = {}
    for key, value in frozen.items():
        if key in ELSEWHERE:
            continue
        if not _is_section(key, value):
            found |= _differing({key: value}, defaults)
        elif differing := _differing(value, defaults.get(key, {})):
            found[key] = differing
    trainer = {k: v for k, v in found.pop("trainer", {}).items() if k not in HARDWARE}
    return {**found, "trainer": trainer} if trainer else found


def check_frozen(config: Any, source: str) -> dict[str, Any]:
    """Return a frozen configuration, of which nobody knows whether it is one.

    Raises:
        ValueError: If it lacks what tells a run's folder, or if a section of it is none.
    """
    if not isinstance(config, dict):
        raise ValueError(f"{source} must map keys to values")
    for key in ("runs_dir", "group", "name"):
        if not isinstance(text := config.get(key), str) or "\0" in text:
            raise ValueError(f"{source}.{key} must be a text, not {text!r}")
    defaults = _defaults_of(Config)
    for key, value in config.items():
        a_section = key in CHOSEN or isinstance(defaults.get(key), dict)
        if a_section and not isinstance(value, dict):
            raise ValueError(f"{source}.{key} must map keys to values")
    return config


def complete(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a frozen configuration with today's names and the default of each key it lacks.

    Args:
        config: As it was frozen, perhaps by an earlier version.
    """
    frozen = _today(config)
    defaults = _defaults_for(frozen)
    sections = {k: {**defaults.get(k, {}), **v} for k, v in frozen.items() if _is_section(k, v)}
    return {**defaults, **frozen, **sections}


def with_new_names(frozen: Mapping[str, Any]) -> dict[str, Any]:
    """Return a frozen configuration with the names that its keys have today."""
    result = dict(frozen)
    for group, names in RENAMED.items():
        if isinstance(keys := result.get(group), Mapping):
            result[group] = {names.get(key, key): value for key, value in keys.items()}
    return result


def _today(config: Config | Mapping[str, Any]) -> dict[str, Any]:
    return with_new_names(config if isinstance(config, Mapping) else _plain(asdict(config)))


def _is_section(key: str, value: Any) -> bool:
    """Whether a key of the configuration holds keys that are declared one by one."""
    return isinstance(value, dict) and (
        key in CHOSEN or isinstance(_defaults_of(Config).get(key), dict)
    )


def _differing(values: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in values.items() if k not in defaults or v != defaults[k]}


def _defaults_for(frozen: Mapping[str, Any]) -> dict[str, Any]:
    """Return the declared defaults of all keys, for the choices that a configuration makes."""
    found = {**_defaults_of(Config)}
    for group in CHOSEN:
        choice = frozen.get(group)
        kinds: Mapping[str, Any] = declared(group)
        kind = kinds.get(str(choice.get("name"))) if isinstance(choice, dict) else None
        own = _defaults_of(kind) if kind is not None else {}
        found[group] = {k: v for k, v in own.items() if k != "name"}
    return found


@cache
def _defaults_of(kind: Any) -> dict[str, Any]:
    """Return the defaults of a dataclass, by the names of those fields that have one."""
    found: dict[str, Any] = {}
    for field in fields(kind):
        if field.default is not MISSING:
            found[field.name] = field.default
        elif field.default_factory is not MISSING:
            made: Any = field.default_factory()
            found[field.name] = asdict(made) if is_dataclass(type(made)) else made
    return _plain(found)


def _plain(value: Any) -> Any:
    """Return a value as JSON gives it back: tuples are lists."""
    return json.loads(json.dumps(value))


def _with_integers(value: Any) -> Any:
    """Return a value with whole numbers as integers, for 1.0 computes what 1 does."""
    if isinstance(value, dict):
        return {k: _with_integers(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_with_integers(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value
