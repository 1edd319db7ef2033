"""Checks of a configuration beyond its types; every complaint names the source and the key."""

import operator
import re
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf, TupleConfig

from ugmm.config.canonical import RENAMED
from ugmm.config.schema import Config
from ugmm.config.training import SET_BY_UGMM, key_instead
from ugmm.errors import UserError, nearest
from ugmm.keys import bounds_of

__all__ = ["check_keys", "check_ranges", "check_together"]

_EXAMPLES = {str: "[a, b]", float: "[0.1, 0.2]"}  # of lists, by what they hold
_LARGEST = 2**63 - 1  # for a key that is declared without bounds: libraries take no more


def check_keys(
    config: DictConfig, layer: Mapping[Any, Any], source: str, prefix: str = ""
) -> None:
    """Refuse keys that do not exist, with the nearest that does, and values of another shape."""
    for name, value in layer.items():
        if name not in config.keys():  # noqa: SIM118  ("in config" is false for a missing value)
            known = [prefix + str(k) for k in config]
            deeper = [path for path in _paths(config) if path.endswith(f".{name}")]
            hint = nearest(f"{prefix}{name}", known)
            if deeper:
                hint = "did you mean " + " or ".join(deeper) + "?"
            if (now := RENAMED.get(prefix.rstrip("."), {}).get(name)) in config:
                hint = f"it is called {prefix}{now} now"
            if prefix == "trainer.":
                hint = _hint_for_trainer(str(name), hint)
            raise UserError(f"{source}: unknown key '{prefix}{name}'; {hint}")
        node: Any = config._get_node(name)
        if value == "???" or (value is None and not node._is_optional()):  # OmegaConf: no value
            raise UserError(f"{source}: {prefix}{name} has no value")
        if isinstance(node, DictConfig) and not isinstance(value, dict):
            hint = f"; did you mean {prefix}{name}.name={value}?" if "name" in node else ""
            raise UserError(f"{source}: {prefix}{name} holds keys of its own, got {value!r}{hint}")
        refers = isinstance(value, str) and "${" in value
        listed = value is None or isinstance(value, list) or refers  # None: an optional list
        if isinstance(node, ListConfig | TupleConfig) and not listed:
            example = OmegaConf.to_container(node) or _EXAMPLES.get(
                node._metadata.element_type, "[1, 2]"
            )
            raise UserError(
                f"{source}: {prefix}{name} is a list, such as {example}; got {value!r}"
            )
        if isinstance(node, TupleConfig) and isinstance(value, list) and len(value) != len(node):
            raise UserError(f"{source}: {prefix}{name} has {len(node)} values; got {value!r}")
        if isinstance(node, DictConfig) and _is_free(node):
            for item in [item for item, content in value.items() if content is None]:
                raise UserError(
                    f"{source}: {prefix}{name} has no value for {item!r}; write "
                    f"'{prefix}{name}={{name: value}}', with a blank after the colon"
                )
        elif isinstance(node, DictConfig):
            check_keys(node, value, source, f"{prefix}{name}.")
        _refuse_resolvers(value, f"{prefix}{name}", source)


def _hint_for_trainer(name: str, hint: str) -> str:
    """Return what to say of an unknown key of `trainer`: Lightning's may be meant."""
    if name in SET_BY_UGMM:
        return f"Lightning's argument {key_instead(name)}"
    if hint.startswith("there are"):  # none that is near
        hint += "; further arguments of Lightning's Trainer go into trainer.extra"
    return hint


def _is_free(node: DictConfig) -> bool:
    """Return whether a node's keys are the user's own, as those of `data.types` are."""
    return OmegaConf.get_type(node) is dict


def _paths(config: DictConfig, prefix: str = "") -> list[str]:
    """Return the full names of all keys below a node."""
    found = []
    for name in map(str, config):
        node = config._get_node(name)
        found.append(prefix + name)
        if isinstance(node, DictConfig):
            found += _paths(node, f"{prefix}{name}.")
    return found


def _refuse_resolvers(value: Any, name: str, source: str) -> None:
    """Configurations are logged: only other keys may be referred to, never the environment."""
    if isinstance(value, str) and re.search(r"\$\{.*:", value):
        raise UserError(
            f"{source}: {name}={value} calls a resolver; only ${{other.key}} is allowed"
        )
    if isinstance(value, list | dict):
        for item in value.values() if isinstance(value, dict) else value:
            _refuse_resolvers(item, name, source)


def check_ranges(
    config: DictConfig, layer: Mapping[str, Any], source: str, prefix: str = ""
) -> None:
    """Refuse numbers outside the bounds with which their keys are declared."""
    schema: Any = OmegaConf.get_type(config)
    bounds = {f.name: bounds_of(f) for f in fields(schema)}
    for name, value in layer.items():
        node = config._get_node(name)
        if isinstance(node, DictConfig) and not _is_free(node):
            check_ranges(node, value, source, f"{prefix}{name}.")
        elif not OmegaConf.is_interpolation(config, name):
            merged = config[name]
            for number in merged if isinstance(merged, ListConfig | TupleConfig) else [merged]:
                if type(number) in (int, float) and (text := _outside(number, bounds[name])):
                    raise UserError(f"{source}: {prefix}{name}={number} must be {text}")


def _outside(number: float, declared: Mapping[str, float]) -> str:
    """Return what a number must be if it is out of bounds, else an empty string."""
    bounds = dict(declared)
    if not bounds.keys() & {"low", "above"}:
        bounds["low"] = -_LARGEST
    if not bounds.keys() & {"high", "below"}:
        bounds["high"] = _LARGEST
    tests = {
        "low": ("at least", operator.ge),
        "above": ("above", operator.gt),
        "high": ("at most", operator.le),
        "below": ("below", operator.lt),
    }
    broken = {name for name, bound in bounds.items() if not tests[name][1](number, bound)}
    shown = broken and broken.union(declared)
    return " and ".join(
        f"{text} {bounds[name]:.10g}" for name, (text, _) in tests.items() if name in shown
    )


def check_together(config: Config) -> None:
    """Refuse what only shows when several keys are looked at."""
    for choice in (config.task, config.model, config.data):
        choice.check_with(config)
    if config.data.keeps_missing and not config.model.takes_missing:
        raise UserError(
            f"model={config.model.name} with data.missing=keep: it needs a value in every cell; "
            "use data.missing=mean, or a model that does without, such as ugmm"
        )
    if not config.data.has_validation and config.trainer.test_checkpoint == "best":
        raise UserError(
            "without validation rows there is no best checkpoint to test; set "
            "trainer.test_checkpoint=last"
        )
    if not config.data.has_validation and config.needs_validation:
        raise UserError(
            f"{config.needs_validation} needs validation rows; set data.val_fraction, or leave it "
            "out"
        )
    if config.schedule.name == "plateau" and config.schedule.gamma >= 1:
        raise UserError(
            f"schedule.gamma={config.schedule.gamma} must be below 1 with schedule.name=plateau"
        )
    if len(set(config.schedule.milestones)) < len(config.schedule.milestones):
        raise UserError("schedule.milestones must be different epochs")
    config.trainer.check()
