"""What W&B has not got of a run, and sending it, in the order in which it was written."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

__all__ = [
    "LOGS",
    "error_lines",
    "is_being_written",
    "logs_of",
    "lost_rows",
    "synced_mark",
    "upload",
]

LOGS = "wandb/*run-*/run-*.wandb"  # in a run folder: below run-TIME-ID and offline-run-TIME-ID

_PATIENCE = {  # the SDK's own is many minutes with a server that answers 500
    "WANDB__GRAPHQL_RETRY_MAX": "4",
    "WANDB__GRAPHQL_RETRY_WAIT_MAX_SECONDS": "5",
    "WANDB__FILE_STREAM_RETRY_MAX": "4",
    "WANDB__FILE_STREAM_RETRY_WAIT_MAX_SECONDS": "5",
    "WANDB__FILE_TRANSFER_RETRY_MAX": "4",
    "WANDB__FILE_TRANSFER_RETRY_WAIT_MAX_SECONDS": "5",
}
_QUIET_SECONDS = 60  # a running SDK writes its measurements of the machine every 15
_CUT_SHORT = "incomplete transaction log"
_STEP = "trainer/global_step"  # as Lightning's logger for W&B calls the step of a row


def logs_of(folder: Path) -> list[Path]:
    """Return the W&B logs of a run folder, one for each of its starts, the earliest first."""
    return sorted(folder.glob(LOGS), key=lambda log: log.parent.name.partition("run-")[2])


def synced_mark(log: Path) -> Path:
    """Return the file that tells that a W&B log has been uploaded; `wandb sync` makes it too."""
    return log.with_name(f"{log.name}.synced")


def is_being_written(log: Path) -> bool:
    """Whether the log's run goes on, or was killed within the last minute."""
    quiet = time.time() - log.stat().st_mtime
    return quiet < _QUIET_SECONDS and not _records(log, "exit")


def lost_rows(
    folder: Path, rows: Sequence[Mapping[str, float | None]]
) -> tuple[list[dict[str, float]], int]:
    """Return the rows of `metrics.csv` that a kill kept out of a run's W&B logs.

    The SDK writes a log by the block, so that the rows of many epochs go with a process that is
    killed.

    Args:
        folder: The run folder.
        rows: Those of its `metrics.csv`.

    Returns:
        The rows as Lightning's logger for W&B would have logged them, and how many rows the logs
        do hold: a server that has more of them has got some of the lost ones.
    """
    records = [record for log in logs_of(folder) for record in _records(log, "history")]
    items = [record["history"]["item"] for record in records]
    newest = max((item[_STEP] for item in items if _STEP in item), default=-1)
    there = {(item.get(_STEP), name) for item in items for name in item}
    own = [row for row in map(_as_logged, rows) if row[_STEP] >= newest]
    lost = [row for row in own if any((row[_STEP], name) not in there for name in row)]
    return lost, len(items)


def _as_logged(row: Mapping[str, float | None]) -> dict[str, float]:
    named = {_STEP if name == "step" else name: value for name, value in row.items()}
    counted = {name: int(named[name] or 0) for name in ("epoch", _STEP)}
    return {name: value for name, value in named.items() if value is not None} | counted


def upload(folder: Path) -> str:
    """Send what W&B has not got of a run; return what went wrong, or nothing.

    W&B counts the rows of a start from those that it has got, and takes the summary and the end
    from whatever came last. So an earlier start goes up before the next begins, and where one
    does not, those after it are sent again.
    """
    logs = logs_of(folder)
    left = [number for number, log in enumerate(logs) if not synced_mark(log).is_file()]
    for number in range(min(left, default=len(logs)), len(logs)):
        if complaint := _upload(logs[number], is_first=number == 0):
            return complaint
    return ""


def _upload(log: Path, *, is_first: bool) -> str:
    staged = _staged(_records(log, "artifact"))
    if missing := [path for path in staged if not Path(path).is_file()]:
        return (
            f"{missing[0]} is missing, which W&B would leave out unseen; bring the run folder "
            "back to where it was written"
        )
    mark = synced_mark(log)
    with TemporaryDirectory() as own:
        folders = dict.fromkeys(("WANDB_DIR", "WANDB_DATA_DIR", "WANDB_CACHE_DIR"), own)
        environment = {**_PATIENCE, **os.environ, **folders, "WANDB_SILENT": "false"}
        environment.pop("WANDB_SERVICE", None)  # of a run in this process, with its settings
        environment.pop("WANDB_RESUME", None)
        if not is_first:
            environment["WANDB_RESUME"] = "allow"  # after the rows that are there, not over them
        command = [sys.executable, "-m", "wandb", "sync", "--include-online", "--include-synced"]
        done = subprocess.run(
            [*command, str(log.parent)],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        errors = _errors(Path(own))
    serious = [error for error in errors if _CUT_SHORT not in error]
    if done.returncode == 0 and not serious and (errors or mark.is_file()):
        mark.touch()  # the SDK does not, after a log that a kill cut short: it has all there is
        return ""
    mark.unlink(missing_ok=True)  # the SDK makes it also where an upload failed
    last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
    return serious[0] if serious else last.removeprefix("wandb: ").removeprefix("ERROR ")


def _errors(folder: Path) -> list[str]:
    """The errors in the log that `wandb sync` keeps of itself, some of which it tells nobody."""
    logs = folder.rglob("debug-sync*.log")
    records = [json.loads(line) for log in logs for line in error_lines(log)]
    return [" ".join(f"{r['msg']} {r.get('error', '')}".split()) for r in records]


def error_lines(log: Path) -> list[str]:
    """Return the lines of a log of the SDK's own doings, if it is there, that tell of errors."""
    if not log.is_file():
        return []
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return [line for line in lines if '"level":"ERROR' in line]  # or ERROR+4


def _staged(records: Sequence[dict[str, Any]]) -> list[str]:
    return [
        entry["local_path"]
        for record in records
        for entry in record["artifact"]["manifest"].get("contents", [])
        if entry.get("local_path")
    ]


def _records(log: Path, kind: str) -> list[dict[str, Any]]:
    """Read the records of a kind in a W&B log; its last record may be cut short."""
    done = subprocess.run(
        [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(log)],
        capture_output=True,
        text=True,
        check=False,
    )
    lines = [line for line in done.stdout.splitlines() if f'"type":"{kind}"' in line]
    return [record for record in map(json.loads, lines) if record["type"] == kind]
