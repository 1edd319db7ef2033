"""What the sources differ in from their commit, kept beside a run."""

import os
import subprocess
import tempfile
from pathlib import Path

import ugmm
from ugmm.runs import Run
from ugmm.terminal import warn
from ugmm.writing import write_atomic

__all__ = ["write_patch"]

_MOST_BYTES = 10**7  # of a source file; what is larger is data
_NAME = "uncommitted.patch"


def write_patch(run: Run) -> None:
    """Write `uncommitted.patch`, if anything is uncommitted: `git apply` brings it back.

    New files are in it, too, unless git ignores them.
    """
    home = Path(ugmm.__file__).parent
    top = _git(home, "rev-parse", "--show-toplevel")
    if top is None:
        return
    root = Path(os.fsdecode(top).rstrip("\n"))
    with tempfile.TemporaryDirectory() as folder:
        # An index of its own: what the user has staged stays as it is.
        index = {"GIT_INDEX_FILE": str(Path(folder) / "index")}
        _git(root, "read-tree", "HEAD", **index)
        new = _git(root, "ls-files", "--others", "--exclude-standard", "-z", **index) or b""
        names = [name for name in map(os.fsdecode, new.split(b"\0")) if name]
        small = [name for name in names if (root / name).lstat().st_size <= _MOST_BYTES]
        if small:
            _git(root, "add", "--intent-to-add", "--", *small, **index)
        patch = _git(root, "diff", "--binary", "HEAD", **index)
    if patch:
        write_atomic(run.folder / _NAME, patch)
    if len(small) < len(names):
        left = sorted({*names} - {*small})[0]
        warn(f"warning: {left} is too large for {run.folder / _NAME}; commit or ignore it")


def _git(folder: Path, *arguments: str, **variables: str) -> bytes | None:
    """Ask git; None where there is none, or no repository with a commit."""
    command = ["git", "--no-optional-locks", "-C", str(folder), *arguments]
    environment = {**os.environ, **variables}
    try:
        done = subprocess.run(
            command, env=environment, capture_output=True, timeout=60, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout
