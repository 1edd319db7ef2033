"""Where a run comes from: its settings, and the machine, the sources and the command."""

import json
import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from ugmm.report.page import Html, code, fold, heading, paragraph, table
from ugmm.report.run.page.facts import RunFacts
from ugmm.report.tables import NONE, Cells, format_time

__all__ = ["origin", "settings"]


def settings(facts: RunFacts) -> list[Html]:
    """Return what was chosen, and all that it resolved to."""
    chosen = {"experiment": str(facts.config.get("experiment"))}
    chosen |= {key: str(facts.settings(key).get("name")) for key in ("data", "model", "task")}
    chosen |= {key: value for key, _, value in (word.partition("=") for word in _overrides(facts))}
    every = {name: _shown(value) for name, value in _flatten(facts.config)}
    return [
        paragraph("What the command named, and what the experiment chose:"),
        _table("setting", "value", chosen),
        fold(f"All {len(every)} settings", [_table("setting", "value", every)]),
    ]


def _table(what: str, value: str, rows: Mapping[str, str]) -> Html:
    return table(Cells([what, value], [list(row) for row in rows.items()]), {value})


def origin(facts: RunFacts) -> list[Html]:
    """Return where the run was made, and how to make it again."""
    known = facts.environment
    git = known.get("git", {})
    commit = str(git.get("commit") or NONE)
    if git.get("dirty"):
        commit += ", with changes that were not committed"
    hardware = facts.settings("trainer")
    seconds = facts.summary.get("seconds")
    rows = {
        "folder": str(facts.run.folder.resolve()),
        "started": str(known.get("started", NONE)),
        "training": NONE if seconds is None else format_time(seconds),
        "machine": f"{known.get('machine', NONE)}, {known.get('cpus', NONE)} CPUs",
        "system": str(known.get("platform", NONE)),
        "accelerator": f"{hardware.get('accelerator')}, devices: {hardware.get('devices')}",
        "commit": commit,
        "Python": str(known.get("python", NONE)),
    }
    if known.get("slurm_job"):
        rows["job of Slurm"] = str(known["slurm_job"])
    parts = [_table("what", "value", rows)]
    if isinstance(packages := known.get("packages"), Mapping):
        versions = {str(name): str(version) for name, version in packages.items()}
        parts.append(fold("Versions of packages", [_table("package", "version", versions)]))
    parts += [heading("To make it again", 3), code(_command(facts))]
    return parts


def _words(facts: RunFacts) -> list[str]:
    """Return the command that started the run, less the path of the program."""
    words = facts.environment.get("command")
    return [str(word) for word in words[1:]] if isinstance(words, list) else []


def _command(facts: RunFacts) -> str:
    if words := _words(facts):
        return shlex.join(["ugmm", *words])
    return shlex.join(["ugmm", "train", str(facts.config.get("experiment"))])


def _overrides(facts: RunFacts) -> list[str]:
    """Return the settings of the command, if it was one that trains."""
    words = _words(facts)
    if words[:1] != ["train"]:
        return []
    return [word for word in words[1:] if "=" in word and not word.startswith("-")]


def _flatten(content: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every setting with its whole name."""
    for name, value in content.items():
        if isinstance(value, Mapping) and value:
            yield from _flatten(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _shown(value: Any) -> str:
    """Return a value as YAML has it."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
