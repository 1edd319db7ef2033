"""What is planned of an ablation: its points, and the file that they are kept in.

Imports no torch.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ugmm.config.canonical import ELSEWHERE, HARDWARE, check_frozen, complete, compute_identity
from ugmm.config.frozen import from_mapping
from ugmm.config.schema import Config
from ugmm.config.values import as_text
from ugmm.errors import UserError
from ugmm.reading import reading
from ugmm.runs import Run, run_folder
from ugmm.yaml_text import read_mapping, to_values

__all__ = ["ID_DIGITS", "Point", "format_plan", "load_frozen", "parse_plan", "read_plan"]

ID_DIGITS = 8  # of an identity; more where another point has the same


@dataclass(frozen=True)
class Point:
    """One run of an ablation.

    Attributes:
        id: The last part of its run folder's name, which no other point of the ablation has.
        variant: Which variant it is a repetition of.
        repetition: `seed=0 fold=1`.
        config: Its resolved configuration, as it was frozen.
    """

    id: str
    variant: str
    repetition: str
    config: Mapping[str, Any]

    @property
    def name(self) -> str:
        """What it is called in a sweep, and in the name of its run."""
        return f"{self.variant} {self.repetition}"

    @cached_property
    def identity(self) -> str:
        """What it computes; see `ugmm.config.canonical.compute_identity`."""
        return compute_identity(self.config)

    @cached_property
    def run(self) -> Run:
        """Its run folder, which may not exist yet."""
        group, name = str(self.config["group"]), str(self.config["name"])
        return Run(run_folder(self.config["runs_dir"], group, name, self.id))

    def resolve(self) -> Config:
        """Return its configuration, checked: this takes seconds for some hundred points.

        Raises:
            UserError: If it is no longer a valid one.
        """
        try:
            return from_mapping(self.config, f"point {self.id} of the plan")
        except UserError as error:
            raise UserError(
                f"{error}; if its plan is of another version, remove plan.json to plan anew"
            ) from error

    def agrees(self, settings: Mapping[str, Any]) -> bool:
        """Whether it computes what these settings say, as far as they say it."""
        config = complete(self.config)
        return all(_agrees(config, key.split("."), value) for key, value in settings.items())


def format_plan(points: Sequence[Point]) -> str:
    """Return the text of a plan."""
    return json.dumps({"points": [asdict(point) for point in points]}, indent=1) + "\n"


def read_plan(path: Path) -> str:
    """Return the text of a plan; empty where there is none.

    Raises:
        UserError: If it cannot be read.
    """
    with reading(path):
        try:
            return path.read_text(encoding="utf-8")
        except (FileNotFoundError, NotADirectoryError):
            return ""
        except IsADirectoryError as error:
            raise UserError(f"{path} is a folder; remove it to plan anew") from error
        except ValueError as error:
            raise _damaged(path, error) from error


def parse_plan(text: str, path: Path) -> list[Point]:
    """Return the points of a plan's text, each key of which is checked.

    Args:
        text: See `read_plan`.
        path: Of the plan: its runs lie in folders beside its own.

    Raises:
        UserError: If anything else stands in it than `format_plan` wrote, in any version.
    """
    if not text:
        return []
    try:
        content = json.loads(text)
        entries = content["points"] if isinstance(content, dict) else None
        if not isinstance(entries, list):
            raise ValueError("it has no list of points")
        points = [_read_point(entry, f"points[{i}]") for i, entry in enumerate(entries)]
        ids = [point.id for point in points]
        if twice := [point_id for point_id in ids if ids.count(point_id) > 1]:
            raise ValueError(f"several points have the id {twice[0]}")
    except (ValueError, KeyError, RecursionError) as error:
        raise _damaged(path, error) from error
    home = path.parent.parent
    for point in points:
        if (group := point.run.folder.parent.name) != home.name:
            raise UserError(
                f"{path} is of the ablation {group!r}, but lies in {home}; rename that folder, or "
                "remove the plan to plan anew"
            )
    return points


def _damaged(path: Path, error: Exception) -> UserError:
    why = f"it lacks {error}" if isinstance(error, KeyError) else error
    return UserError(
        f"{path} is damaged ({why}); remove it to plan anew: finished runs are found again"
    )


def _read_point(entry: Any, source: str) -> Point:
    if not isinstance(entry, dict):
        raise ValueError(f"{source} must map keys to values")
    for key in ("id", "variant", "repetition"):
        if not isinstance(entry[key], str):
            raise ValueError(f"{source}.{key} is no text")
    if not re.fullmatch(rf"[0-9a-f]{{{ID_DIGITS},64}}", entry["id"]):
        raise ValueError(f"{source}.id is {entry['id']!r}, not {ID_DIGITS} or more digits")
    # Plans held YAML once.
    read = load_frozen if isinstance(entry["config"], str) else check_frozen
    config = read(entry["config"], f"{source}.config")
    return Point(entry["id"], entry["variant"], entry["repetition"], config)


def load_frozen(text: str, source: str) -> dict[str, Any]:
    """Return a frozen configuration from YAML.

    Raises:
        ValueError: If it is none.
    """
    try:
        return check_frozen(to_values(read_mapping(text, source)), source)
    except UserError as error:
        raise ValueError(str(error)) from error


def _agrees(config: Any, path: Sequence[str], value: Any) -> bool:
    """Whether a value, or each of a mapping's, is what the configuration has at a path."""
    if isinstance(value, Mapping):
        return all(_agrees(config, (*path, key), item) for key, item in value.items())
    if path[0] in ELSEWHERE or (path[0] == "trainer" and path[1:2] and path[1] in HARDWARE):
        return True
    found = config
    for key in path:
        found = found.get(key) if isinstance(found, dict) else None
    a_choice = isinstance(found, dict)  # which stands for many settings
    refers = "${" in str(value)
    plain = to_values(value)
    same = found == plain or str(found) in (str(plain), as_text(value))
    return a_choice or refers or same
