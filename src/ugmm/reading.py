"""Reading small files back: one line where one cannot be read or is damaged, with the remedy."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ugmm.errors import UserError
from ugmm.writing import explain

__all__ = ["read_json", "read_text", "reading"]


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Make any `OSError` of the body, which reads `path`, one line.

    Raises:
        UserError: Of that line.
    """
    try:
        yield
    except OSError as error:
        raise UserError(f"cannot read {path}: {explain(error)} and try again") from error


def read_text(path: Path, remedy: str) -> str:
    """Return a text file's content.

    Args:
        path: The file.
        remedy: What to do about damage.

    Raises:
        UserError: If it cannot be read, or is no text in UTF-8.
    """
    with reading(path), path.open(newline="", encoding="utf-8") as file:
        try:
            return file.read()
        except UnicodeDecodeError as error:
            raise UserError(f"{path} is damaged ({error}); {remedy}") from error


def read_json(
    path: Path, remedy: str, kinds: Mapping[str, type] = MappingProxyType({})
) -> dict[str, Any]:
    """Return the keys and values of a JSON file.

    Args:
        path: The file.
        remedy: What to do about damage.
        kinds: Of which type some values must be, where they are there.

    Raises:
        UserError: If it cannot be read, or is damaged.
    """
    try:
        content = json.loads(read_text(path, remedy))
        if not isinstance(content, dict):
            raise ValueError("it does not hold keys and values")
        for name, kind in kinds.items():
            if not isinstance(content.get(name, kind()), kind):
                raise ValueError(f"{name} is {content[name]!r}")
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is damaged ({error}); {remedy}") from error
    return content
