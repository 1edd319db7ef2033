"""The command `ugmm sync`: upload to Weights & Biases what is not there yet."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ugmm.errors import UserError
from ugmm.experiment.tracking import obstacle, synced_mark

__all__ = ["sync"]


def sync(places: Sequence[str | Path]) -> None:
    """Upload the W&B runs below these folders that were offline, or whose upload broke off.

    Args:
        places: Run folders, folders of groups, or `runs`.

    Raises:
        UserError: If a folder does not exist, if W&B cannot be reached, or if a run could not be
            uploaded, be it that its files are missing.
    """
    for place in places:
        if not Path(place).is_dir():
            raise UserError(f"no such folder: {place}")
    logs = sorted(
        {log for place in places for log in Path(place).glob("**/wandb/*run-*/run-*.wandb")}
    )
    left = [log for log in logs if not synced_mark(log).is_file() and not _is_link(log)]
    if not left:
        sys.stdout.write("nothing to upload\n")
        return
    if reason := obstacle():
        raise UserError(f"{reason}; run 'wandb login', or set WANDB_BASE_URL and WANDB_API_KEY")
    runs: dict[Path, list[Path]] = {}
    for log in left:
        runs.setdefault(log.parent.parent.parent, []).append(log)
    failed = 0
    for number, (folder, of_run) in enumerate(runs.items(), 1):
        complaint = _upload(of_run)
        failed += bool(complaint)
        sys.stdout.write(f"{number}/{len(runs)}  {folder}  {complaint or 'uploaded'}\n")
        sys.stdout.flush()
    if failed:
        raise UserError(f"{failed} of {len(runs)} runs could not be uploaded: see above")


def _upload(logs: Sequence[Path]) -> str:
    """Upload the logs of one run, several if it was resumed; return what went wrong."""
    for log in logs:
        if missing := _missing_files(log):
            return (
                f"not uploaded: {missing[0]} is missing, which W&B would leave out unseen; bring "
                "the run folder back to where it was written"
            )
    # The SDK takes the logs of one run in the order of their starts.
    command = [sys.executable, "-m", "wandb", "sync", "--include-online"]
    done = subprocess.run(
        [*command, *(str(log.parent) for log in logs)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode or not all(synced_mark(log).is_file() for log in logs):
        lines = (done.stderr.strip() or done.stdout.strip() or "no reason given").splitlines()
        return f"not uploaded: {lines[-1]}"
    return ""


def _missing_files(log: Path) -> list[str]:
    """The staged files of a run's artifacts that are not there."""
    return [path for path in _staged(_records(log)) if not Path(path).is_file()]


def _staged(records: Sequence[dict[str, Any]]) -> list[str]:
    return [
        entry["local_path"]
        for record in records
        if record["type"] == "artifact"
        for entry in record["artifact"]["manifest"].get("contents", [])
        if entry.get("local_path")
    ]


def _records(log: Path) -> list[dict[str, Any]]:
    """Read what a W&B log says of artifacts; its last record may be cut short."""
    done = subprocess.run(
        [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(log)],
        capture_output=True,
        text=True,
        check=False,
    )
    lines = [line for line in done.stdout.splitlines() if '"type":"artifact"' in line]
    return [json.loads(line) for line in lines]


def _is_link(log: Path) -> bool:
    return log.parent.is_symlink()  # latest-run
