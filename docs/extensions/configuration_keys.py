"""The directive `configuration-keys`: every key that can be set, as its dataclass declares it."""

import importlib
import inspect
import re
import typing
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from functools import cache
from types import NoneType
from typing import Any, Literal

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from ugmm.config.choices.declare import CHOSEN, declared
from ugmm.config.cluster import SlurmConfig, TorchrunConfig
from ugmm.config.schema import SHARED, Config
from ugmm.keys import bounds_of

CLUSTERS: dict[str, type] = {"slurm": SlurmConfig, "torchrun": TorchrunConfig}
BOUNDS = {"low": "at least", "above": "above", "high": "at most", "below": "below"}
KINDS = {"str": "Text", "float": "Number", "int": "Whole number", "bool": "`true` or `false`"}


def setup(app: Sphinx) -> dict[str, Any]:
    """Add the directive."""
    app.add_directive("configuration-keys", ConfigurationKeys)
    return {"parallel_read_safe": True}


class ConfigurationKeys(SphinxDirective):
    """A section for each group, and in it one for each of its choices."""

    def run(self) -> list[nodes.Node]:
        """Return the sections."""
        return self.parse_text_to_nodes("\n".join(describe()), allow_section_headings=True)


def describe() -> Iterator[str]:
    """Yield Markdown."""
    groups = {f.name: f for f in fields(Config)}
    plain = {name: f.type for name, f in groups.items() if is_dataclass(f.type)}
    yield "## Of an experiment\n"
    yield from _keys(Config, "", hidden=set(plain))
    for name in CHOSEN:
        yield f"## {name}\n"
        yield from _choices(name)
        del plain[name]
    for name, config in plain.items():
        yield f"## {name}\n\n{inspect.getdoc(config)}\n"
        yield from _keys(config, f"{name}.")
    yield "## cluster\n\nWhat `ugmm launch` takes; it is no part of an experiment.\n"
    for name, config in CLUSTERS.items():
        yield f"### cluster={name}\n\n{inspect.getdoc(config)}\n"
        yield from _keys(config, "cluster.", hidden={"name"})


def _choices(group: str) -> Iterator[str]:
    """The keys that all choices of a group have, and then those of each."""
    shared = {"name": None, **{f.name: _default(f) for f in fields(SHARED[group])}}
    yield from _keys(SHARED[group], f"{group}.", hidden={"name"})
    names: dict[type, list[str]] = {}
    for name, config in declared(group).items():
        names.setdefault(config, []).append(name)
    for config, several in names.items():
        yield f"### {group}={', '.join(several)}\n\n{inspect.getdoc(config)}\n"
        same = {f.name for f in fields(config) if shared.get(f.name, MISSING) == _default(f)}
        yield from _keys(config, f"{group}.", hidden={"name", *same})


def _keys(config: type, prefix: str, hidden: set[str] = frozenset()) -> Iterator[str]:
    """The keys of a dataclass, and of those in it."""
    kinds = typing.get_type_hints(config)
    for declared_key in fields(config):
        name, kind = declared_key.name, kinds[declared_key.name]
        if name in hidden:
            continue
        if is_dataclass(kind):
            yield from _keys(kind, f"{prefix}{name}.")
            continue
        default = _default(declared_key)
        shown = "" if default is MISSING else f" = {_yaml(default)}"
        told = [_kind(kind), *(f"{BOUNDS[b]} {v:,.12g}" for b, v in _bounds(declared_key))]
        told = [", ".join(told), _sentence(config, name)]
        yield f"`{prefix}{name}{shown}`\n: {'. '.join(filter(None, told))}\n"


def _default(declared_key: Field[Any]) -> Any:
    if declared_key.default_factory is not MISSING:
        return declared_key.default_factory()
    return declared_key.default


def _bounds(declared_key: Field[Any]) -> Iterator[tuple[str, float]]:
    found = bounds_of(declared_key)
    return ((name, found[name]) for name in BOUNDS if name in found)


def _yaml(value: Any) -> str:
    """A value as a file would have it."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_yaml, value))}]"
    return '""' if value == "" else str(value)


def _kind(kind: Any) -> str:
    """A type in words."""
    arguments, origin = typing.get_args(kind), typing.get_origin(kind)
    if kind is NoneType:
        return "`null`"
    if origin is Literal:
        return " or ".join(f"`{argument}`" for argument in arguments)
    if origin in (list, tuple):
        return f"List of {_kind(arguments[0]).lower()}s"
    if origin is dict:
        return "Mapping"
    if arguments:
        first, *others = map(_kind, arguments)
        return " or ".join([first, *(other.lower() for other in others)])
    return KINDS.get(kind.__name__, kind.__name__)


def _sentence(config: type, name: str) -> str:
    """What is said of a key: beside it, or by what it is handed to."""
    comments = (_comments(base) for base in config.__mro__ if base is not object)
    texts = [told.get(name, "") for told in (*comments, _arguments(config))]
    text = next(filter(None, texts), "")
    return f"{text[:1].upper()}{text[1:].rstrip('.')}." if text else ""


@cache
def _comments(config: type) -> Mapping[str, str]:
    """The comments beside the keys of a class, or above them."""
    found: dict[str, str] = {}
    above: list[str] = []
    for line in inspect.getsource(config).splitlines():
        if comment := re.fullmatch(r"    # (.*)", line):
            above.append(comment[1])
            continue
        if named := re.match(r"    (\w+): .*?(?:  # (.*))?$", line):
            found[named[1]] = " ".join([*above, named[2] or ""]).strip()
        above = []
    return found


@cache
def _arguments(config: type) -> Mapping[str, str]:
    """What the docstring of a class that a choice builds says of its arguments."""
    builds = getattr(config, "builds", "")
    if isinstance(builds, str) and builds:
        module, _, name = builds.partition(":")
        try:
            builds = getattr(importlib.import_module(module), name)
        except ModuleNotFoundError:  # of an extra that is not installed
            return {}
    found: dict[str, str] = {}
    for base in reversed(getattr(builds, "__mro__", ())):
        told = inspect.cleandoc(base.__doc__ or "") + "\n\n"
        for section in re.findall(r"^Arg(?:ument)?s:\n(.*?)\n\n", told, re.MULTILINE | re.DOTALL):
            found |= dict(re.findall(r"^    (\w+): (.*(?:\n     .*)*)", section, re.MULTILINE))
    return {name: _to_markdown(" ".join(text.split())) for name, text in found.items()}


def _to_markdown(text: str) -> str:
    """A docstring's roles as Markdown."""
    text = re.sub(r":math:`([^`]*)`", r"$\1$", text)
    return re.sub(r":\w+:`~?([^`]*)`", r"`\1`", text)
