"""YAML as this project reads and writes it: the core schema of YAML 1.2, and nothing that runs.

What a scalar without quotes is depends on where it stands: `01` is a number where a number is due,
and the text `01` where a text is. So `read` leaves such scalars as they are written, as `Plain`,
and whoever knows what is due takes the text or the value. Keys stay as they are written.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import yaml

from ugmm.errors import UserError

__all__ = ["Plain", "read", "read_mapping", "to_values", "write", "write_pair"]

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_Base: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)

_WIDTH = 2**30  # of a line that is written: none is broken
_MOST = 10_000  # values in a text, each alias counted as all that it stands for
_DEEPEST = 50  # collections within one another

_INTEGER = re.compile(r"[-+]?[0-9]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_SPECIAL = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_WORDS = {
    **dict.fromkeys(("", "~", "null"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_MOST_DIGITS = 4000  # of an integer; Python reads no more than 4300

# What other readers take for a bool or a number is written in quotes, too.
_ELSEWHERE = re.compile(r"(?i:y|n|yes|no|on|off|[-+]?(nan|inf|infinity)|[-+]?[0-9][0-9_.:a-fox]*)")
# A key of these characters alone needs no quotes; neither does a word.
_BARE_KEY = re.compile(r"[^\W_](?:[\w ./()%+-]*[\w./()%+-])?")


@dataclass(frozen=True, slots=True)
class Plain:
    """A scalar that was written without quotes.

    Attributes:
        text: As it was written.
    """

    text: str

    @property
    def value(self) -> bool | int | float | str | None:
        """What it is where nothing else is due: null, a bool, a number, or else its text."""
        text = self.text
        if text in _WORDS:
            return _WORDS[text]
        if _INTEGER.fullmatch(text) and len(text) <= _MOST_DIGITS:
            return int(text)
        if _FLOAT.fullmatch(text):
            return float(text)
        return float(text.lower().replace(".", "")) if _SPECIAL.fullmatch(text) else text


def to_values(content: Any) -> Any:
    """Return what `read` gave with the value of each plain scalar in its place."""
    if isinstance(content, dict):
        return {key: to_values(value) for key, value in content.items()}
    if isinstance(content, list):
        return [to_values(item) for item in content]
    return content.value if isinstance(content, Plain) else content


def read(text: str, source: str) -> Any:
    """Read a text: mappings with texts as keys, lists, texts that were in quotes, and `Plain`.

    Args:
        text: One document.
        source: What an error names.

    Raises:
        UserError: If it is not valid, or has tags, a key twice, or more than this project needs.
    """
    try:
        documents = _build(yaml.parse(text, _Loader))
    except yaml.MarkedYAMLError as error:
        line = "" if error.problem_mark is None else f"line {error.problem_mark.line + 1}: "
        problem = " ".join(filter(None, (error.context, error.problem)))
        raise UserError(f"{source}: not valid YAML: {line}{problem}") from error
    except (yaml.YAMLError, UnicodeError) as error:
        reason = getattr(error, "reason", "") or "it is no text"
        raise UserError(f"{source}: not valid YAML: {reason}") from error
    return documents[0] if documents else Plain("")


def read_mapping(text: str, source: str) -> dict[str, Any]:
    """Read keys and values; an empty text has none.

    Raises:
        UserError: If it is something else.
    """
    content = read(text, source)
    if content == Plain(""):
        return {}
    if not isinstance(content, dict):
        raise UserError(f"{source}: expected keys and values, such as 'seed: 1'")
    return content


class _Collection:
    """A mapping or a list whose end has not been read yet."""

    def __init__(self, event: yaml.CollectionStartEvent | None, size: int) -> None:
        self.anchor = event and event.anchor
        self.start = size
        self.is_mapping = isinstance(event, yaml.MappingStartEvent)
        self.content: Any = {} if self.is_mapping else []
        self._inherited: list[Any] = []
        self._key: Any = None

    def add(self, value: Any, event: yaml.Event) -> None:
        """Take in what comes next: an item, a key, or the value of the last key."""
        if not self.is_mapping:
            self.content.append(value)
        elif self._key is None:
            if not isinstance(event, yaml.ScalarEvent):
                raise _mistake("a key must be a text", event)
            self._key = value
        elif self._key == Plain("<<"):
            self._inherited += value if isinstance(value, list) else [value]
            if not all(isinstance(mapping, dict) for mapping in self._inherited):
                raise _mistake("<< takes in mappings only", event)
            self._key = None
        else:
            key = self._key.text if isinstance(self._key, Plain) else self._key
            if key in self.content:
                raise _mistake(f"the key {key!r} is there twice", event)
            self.content[key] = value
            self._key = None

    def close(self) -> Any:
        """Return the whole mapping or list."""
        for mapping in self._inherited:  # an earlier one goes before a later one
            self.content = {**mapping, **self.content}
        return self.content


def _build(events: Iterable[yaml.Event]) -> list[Any]:
    """Return the documents of a stream, without recursion: a text may nest as deep as it likes."""
    collections = [_Collection(None, 0)]
    anchors: dict[Any, tuple[Any, int]] = {}
    size = 0
    for event in events:
        _refuse_tag(event)
        value, anchor, before = None, None, size
        if isinstance(event, yaml.CollectionStartEvent):
            collections.append(_Collection(event, size))
            size += 1
            if len(collections) > _DEEPEST:
                raise _mistake(f"more than {_DEEPEST} collections within one another", event)
            continue
        if isinstance(event, yaml.CollectionEndEvent):
            closed = collections.pop()
            value, anchor, before = closed.close(), closed.anchor, closed.start
        elif isinstance(event, yaml.ScalarEvent):
            value = event.value if event.style else Plain(event.value)
            anchor, size = event.anchor, size + 1
        elif isinstance(event, yaml.AliasEvent):
            if event.anchor not in anchors:
                raise _mistake(f"nothing is named &{event.anchor} before this", event)
            value, more = anchors[event.anchor]
            size += more
        else:
            if isinstance(event, yaml.DocumentStartEvent) and collections[0].content:
                raise _mistake("a second document", event)
            continue
        if size > _MOST:
            raise _mistake(f"more than {_MOST:,} values", event)
        if anchor is not None:
            anchors[anchor] = value, size - before
        collections[-1].add(value, event)
    return collections[0].content


def _refuse_tag(event: yaml.Event) -> None:
    if tag := getattr(event, "tag", None):
        shown = tag.replace("tag:yaml.org,2002:", "!!")
        raise _mistake(
            f"{shown} is a tag, and none is needed: write the value alone, in quotes if it is a "
            "text",
            event,
        )


def _mistake(problem: str, event: Any) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=event.start_mark)


def write(content: Any) -> str:
    """Return plain values as a text that `read` and `to_values` give back.

    Args:
        content: Mappings with texts as keys, lists or tuples, texts, numbers, bools, None.
    """
    return _dump(content, default_flow_style=False)


def write_pair(key: str, value: str) -> str:
    """Return a mapping of one key to a word, as it is written in one line: `{key: value}`."""
    shown = key if _BARE_KEY.fullmatch(key) else _dump(key, default_style='"').strip()
    return f"{{{shown}: {value}}}"


class _Dumper(_Base):
    """Writes texts in quotes where they could be read as something else."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002
        return True

    def represent_text(self, text: str) -> yaml.ScalarNode:
        style = None
        if not text.isprintable():
            style = '"'
        elif not isinstance(Plain(text).value, str) or _ELSEWHERE.fullmatch(text):
            style = "'"
        return self.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _Dumper.represent_text)
_Dumper.add_representer(tuple, _Dumper.represent_list)


def _dump(content: Any, **style: Any) -> str:
    options: Any = {"allow_unicode": True, "sort_keys": False, "width": _WIDTH}
    return yaml.dump(content, Dumper=_Dumper, **options, **style)
