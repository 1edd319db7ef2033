"""The last checkpoints of a run: `last.ckpt`, and before it `last-1.ckpt`, `last-2.ckpt`, ..."""

import os
import shutil
from itertools import pairwise
from pathlib import Path

from ugmm.checkpoints import is_whole
from ugmm.writing import replacing

__all__ = ["kept", "rotate"]


def kept(last: Path) -> list[Path]:
    """Return the checkpoints that there are, the last one first."""
    earlier = last.parent.glob(f"{last.stem}-*{last.suffix}")
    numbered = {int(n): p for p in earlier if (n := p.stem.rpartition("-")[2]).isdecimal()}
    return [*([last] if last.exists() else []), *(numbered[n] for n in sorted(numbered))]


def rotate(last: Path, keep: int) -> None:
    """Name the last checkpoint `last-1` too, and those before it accordingly, before a new one.

    It keeps its own name until the new one takes its place. A damaged one is left out, for the one
    before it is better.

    Args:
        last: The last checkpoint, if there is one already.
        keep: How many there shall be, with the new one.

    Raises:
        OSError: If the folder cannot be written to.
    """
    if keep == 1 or not is_whole(last):
        return
    earlier = [_before(last, n) for n in range(1, keep)]
    for older, newer in pairwise(reversed(earlier)):
        if newer.exists():
            newer.replace(older)
    with replacing(earlier[0]) as temporary:
        try:
            os.link(last, temporary)
        except OSError:  # a file system without hard links
            shutil.copyfile(last, temporary)


def _before(last: Path, n: int) -> Path:
    return last.with_name(f"{last.stem}-{n}{last.suffix}")
