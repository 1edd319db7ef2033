"""What the server keeps: runs, artifacts, sweeps, views. Thread-safe by the server's one lock."""

import json
import uuid
from dataclasses import dataclass, field
from itertools import product
from typing import Any

ENTITY = "tester"
HISTORY, SUMMARY = "wandb-history.jsonl", "wandb-summary.json"


@dataclass
class Run:
    """One run, as it was sent."""

    name: str
    attributes: dict[str, Any] = field(default_factory=dict)
    raw_config: dict[str, Any] = field(default_factory=dict)
    lines: dict[str, dict[int, str]] = field(default_factory=dict)  # of each file, by offset
    files: dict[str, bytes] = field(default_factory=dict)
    exit_code: int | None = None  # None while it runs

    def jsonl(self, name: str) -> list[dict[str, Any]]:
        """The lines of a streamed file, in order."""
        return [json.loads(line) for _, line in sorted(self.lines.get(name, {}).items())]

    @property
    def history(self) -> list[dict[str, Any]]:
        """What was logged, a row each step: of rows of one step, sent again, the last counts."""
        return list({row["_step"]: row for row in self.jsonl(HISTORY)}.values())

    @property
    def summary(self) -> dict[str, Any]:
        """The summary as it was sent last."""
        lines = self.jsonl(SUMMARY)
        return lines[-1] if lines else {}

    @property
    def config(self) -> dict[str, Any]:
        """The configuration, less what the SDK adds for itself."""
        return {k: v["value"] for k, v in self.raw_config.items() if k != "_wandb"}

    def tail(self, name: str) -> str:
        """The last line of a streamed file, as resuming asks for it."""
        lines = [line for _, line in sorted(self.lines.get(name, {}).items())]
        return json.dumps(lines[-1:])


@dataclass
class Artifact:
    """A version of an artifact."""

    id: str
    name: str
    type: str
    digest: str
    run: str | None
    state: str = "PENDING"
    files: dict[str, bytes] = field(default_factory=dict)
    manifest: dict[str, Any] = field(default_factory=dict)


@dataclass
class Sweep:
    """A sweep over a grid, whose points are handed out in order."""

    config: str
    todo: list[dict[str, Any]]
    given: dict[str, dict[str, Any]] = field(default_factory=dict)  # by run

    @classmethod
    def of(cls, config: str) -> "Sweep":
        """Read a sweep's YAML or JSON."""
        import yaml

        parameters = yaml.safe_load(config)["parameters"]
        values = [
            [(name, value) for value in parameter.get("values") or [parameter["value"]]]
            for name, parameter in parameters.items()
        ]
        return cls(config, [dict(point) for point in product(*values)])

    def take(self) -> dict[str, Any] | None:
        """Hand out a point, as the agent wants to hear it; None if all are."""
        if not self.todo:
            return None
        point, run = self.todo.pop(0), uuid.uuid4().hex[:8]
        self.given[run] = point
        arguments = {name: {"value": value} for name, value in point.items()}
        return {"type": "run", "run_id": run, "program": None, "args": arguments}


class Store:
    """All of it."""

    def __init__(self) -> None:
        self.runs: dict[str, Run] = {}
        self.artifacts: dict[str, Artifact] = {}
        self.sweeps: dict[str, Sweep] = {}
        self.views: list[dict[str, Any]] = []

    def run(self, name: str) -> Run:
        """A run, made if it is new."""
        return self.runs.setdefault(name, Run(name))

    def stream(self, name: str, sent: dict[str, Any]) -> None:
        """Take what a run streams."""
        run = self.run(name)
        for file, chunk in (sent.get("files") or {}).items():
            if file == SUMMARY:
                run.lines[file] = {0: chunk["content"][-1]}
                continue
            for number, line in enumerate(chunk["content"]):
                run.lines.setdefault(file, {})[chunk["offset"] + number] = line
        if sent.get("complete"):
            run.exit_code = sent.get("exitcode")

    def upload(self, kind: str, name: str, path: str, content: bytes) -> None:
        """Take a file of a run or an artifact, or an artifact's manifest."""
        if kind == "run":
            self.runs[name].files[path] = content
        elif kind == "artifact":
            self.artifacts[name].files[path] = content
        else:
            self.artifacts[name].manifest = json.loads(content)

    def artifacts_of(self, run: str) -> list[Artifact]:
        """The committed artifacts that a run logged."""
        return [a for a in self.artifacts.values() if a.run == run and a.state == "COMMITTED"]
