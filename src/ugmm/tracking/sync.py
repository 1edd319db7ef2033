"""The command `ugmm sync`: upload to Weights & Biases what is not there yet."""

import sys
from collections.abc import Sequence
from pathlib import Path

from ugmm.errors import UserError
from ugmm.tracking.access import obstacle
from ugmm.tracking.uploads import LOGS, is_being_written, logs_of, synced_mark, upload

__all__ = ["sync"]


def sync(places: Sequence[str | Path]) -> None:
    """Upload the W&B runs below these folders that were offline, or whose upload broke off.

    Args:
        places: Run folders, folders of groups, or `runs`.

    Raises:
        UserError: If a folder does not exist, if W&B cannot be reached, or if a run could not be
            uploaded, be it that its files are missing or that it goes on.
    """
    for place in places:
        if not Path(place).is_dir():
            raise UserError(f"no such folder: {place}")
    found = {log for place in places for log in Path(place).glob(f"**/{LOGS}")}
    left = sorted({log.parents[2] for log in found if not synced_mark(log).is_file()})
    if not left:
        sys.stdout.write("nothing to upload\n")
        return
    if reason := obstacle():
        raise UserError(f"{reason}; run 'wandb login', or set WANDB_BASE_URL and WANDB_API_KEY")
    failed = 0
    for number, folder in enumerate(left, 1):
        if is_being_written(logs_of(folder)[-1]):
            complaint = "the run goes on, or was killed within the last minute; try later"
        else:
            complaint = upload(folder)
        failed += bool(complaint)
        said = f"not uploaded: {complaint}" if complaint else "uploaded"
        sys.stdout.write(f"{number}/{len(left)}  {folder}  {said}\n")
        sys.stdout.flush()
    if failed:
        raise UserError(f"{failed} of {len(left)} runs could not be uploaded: see above")
