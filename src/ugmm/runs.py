"""The run folder: its paths, what is written there, reading back. Imports no torch."""

import csv
import io
import json
import math
import os
import platform
import re
import secrets
import subprocess
import sys
import time
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ugmm import __version__
from ugmm.errors import UserError
from ugmm.reading import read_json, read_text, reading
from ugmm.terminal import warn
from ugmm.writing import WriteError, explaining, write_atomic

if TYPE_CHECKING:
    import numpy as np

__all__ = ["Confusion", "Run", "describe_environment", "locate", "run_folder"]

# Names of classes, and how often each (a row) was taken for each.
Confusion = tuple[list[str], list[list[int]]]

_PACKAGES = (
    "torch",
    "lightning",
    "torchmetrics",
    "torchvision",
    "numpy",
    "numba",
    "wandb",
)


class Run:
    """The folder of one run.

    Arguments:
        folder: It exists already; see `create` and `open`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = folder / "config.yaml"
        self.environment = folder / "environment.json"
        self.spec = folder / "spec.json"
        self.rows = folder / "rows.npz"
        self.checkpoints = folder / "checkpoints"
        self.best = self.checkpoints / "best.ckpt"
        self.last = self.checkpoints / "last.ckpt"
        self.metrics = folder / "metrics.csv"
        self.summary = folder / "summary.json"
        self.confusion = folder / "confusion.json"
        self.predictions = folder / "predictions.csv"
        self.plots = folder / "plots"
        self.undrawn = folder / ".undrawn"  # there while its pictures are not all there

    @classmethod
    def create(
        cls, runs_dir: str | Path, group: str, name: str, launch_id: str | None = None
    ) -> "Run":
        """Make the folder `runs_dir/<group>/<name>-<id>`.

        Args:
            runs_dir: Where runs lie.
            group: Runs compared with each other.
            name: What tells this run from its group.
            launch_id: What all processes of one launch share: they get the same folder, and so
                does a later launch with the same id. By default, a time and a random number.

        Raises:
            UserError: If the folder cannot be made.
        """
        unique = launch_id or f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(2)}"
        folder = run_folder(runs_dir, group, name, unique)
        with explaining(folder):
            folder.mkdir(parents=True, exist_ok=launch_id is not None)
        return cls(folder)

    @classmethod
    def open(cls, folder: str | Path) -> "Run":
        """Return the run of an existing folder.

        Raises:
            UserError: If the folder does not exist or holds no run.
        """
        run = cls(Path(folder))
        with reading(run.folder):
            if not run.folder.is_dir():
                raise UserError(f"no such run folder: {folder}")
            if not run.config.is_file():
                raise UserError(f"{folder} is not a run folder: it has no config.yaml")
        return run

    @property
    def id(self) -> str:
        """The name of the folder, which is also the run's id in Weights & Biases."""
        return self.folder.resolve().name

    def freeze(self, config: str, plugins: Sequence[Mapping[str, str]] = ()) -> None:
        """Write down the resolved configuration and the environment, before training starts.

        Args:
            config: As YAML.
            plugins: Names and hashes of what declared choices beside this package.

        Raises:
            WriteError: If there is no room for them; a new folder is then removed again.
        """
        environment = {
            "run_id": secrets.token_hex(8),  # goes with a copied folder, unlike its name
            **describe_environment(),
            "plugins": list(plugins),
        }
        try:
            write_atomic(self.environment, json.dumps(environment, indent=2) + "\n")
            write_atomic(self.config, config)
        except WriteError:
            if not self.config.is_file():
                with suppress(OSError):  # what is told is that it could not be written to
                    self.environment.unlink(missing_ok=True)
                    self.folder.rmdir()
            raise

    def read_environment(self) -> dict[str, Any]:
        """Return `environment.json`; nothing if it is lost, which keeps no run from being used.

        Raises:
            UserError: If the file is damaged.
        """
        if not self.environment.exists():
            return {}
        kinds = {"run_id": str, "plugins": list, "git": dict}
        return read_json(self.environment, "remove it", kinds)

    def write_spec(self, spec: Mapping[str, Any]) -> None:
        """Write `spec.json`: what a row of the data is, as `ugmm.spec.Spec.to_json` says it."""
        write_atomic(self.spec, json.dumps(spec, indent=2, allow_nan=False) + "\n")

    def read_spec(self) -> dict[str, Any] | None:
        """Return `spec.json`; None in the folder of a run from before there was one.

        Raises:
            UserError: If the file is damaged.
        """
        return read_json(self.spec, "train again") if self.spec.exists() else None

    def write_rows(self, x: "np.ndarray") -> None:
        """Write `rows.npz`: some training rows in model units, (m, N).

        Where inputs are missing they say what might be in their place; see
        `ugmm.inference.posterior`.
        """
        import numpy as np

        content = io.BytesIO()
        np.savez_compressed(content, x=x)
        write_atomic(self.rows, content.getvalue())

    def read_rows(self) -> "np.ndarray | None":
        """Return the rows of `rows.npz`; None in the folder of a run from before there was one.

        Raises:
            UserError: If the file is damaged.
        """
        if not self.rows.exists():
            return None
        import numpy as np

        try:
            with np.load(self.rows, allow_pickle=False) as content:
                return content["x"]
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            raise UserError(
                f"{self.rows} is damaged ({error}); remove it and do without the rows that it kept"
            ) from error

    def read_metrics(self) -> list[dict[str, float | None]]:
        """Return the rows of `metrics.csv`: `epoch`, `step` and the metrics logged then.

        A last line that was cut short, because the machine went down, is left out.

        Raises:
            UserError: If any other line is damaged.
        """
        if not self.metrics.exists():
            return []
        remedy = "mend it, or remove it and do without the curves"
        lines = read_text(self.metrics, remedy).splitlines(keepends=True)
        try:
            table = csv.DictReader(line for line in lines if line.endswith("\n"))
            rows = [{k: float(v) if v else None for k, v in row.items()} for row in table]
            counts = [row.get(name) for row in rows for name in ("epoch", "step")]
            if any(count is None or not math.isfinite(count) for count in counts):
                raise ValueError("a row has no epoch or no step")
        except (TypeError, ValueError, csv.Error) as error:
            raise UserError(f"{self.metrics} is damaged ({error}); {remedy}") from error
        return rows

    def write_confusion(self, classes: Sequence[str], counts: Sequence[Sequence[int]]) -> None:
        """Write `confusion.json`: how often each class (a row) was taken for each at the test."""
        content = {"classes": list(classes), "counts": [list(row) for row in counts]}
        write_atomic(self.confusion, json.dumps(content) + "\n")

    def read_confusion(self) -> Confusion | None:
        """Return the classes and counts of `confusion.json`; None where there is none.

        Raises:
            UserError: If the file is damaged.
        """
        if not self.confusion.exists():
            return None
        remedy = "remove it"
        content = read_json(self.confusion, remedy, {"classes": list, "counts": list})
        classes, counts = content.get("classes", []), content.get("counts", [])
        rows = [row for row in counts if isinstance(row, list) and len(row) == len(classes)]
        if len(rows) != len(classes) or not all(type(n) is int for row in rows for n in row):
            raise UserError(f"{self.confusion} is damaged (it is no square of counts); {remedy}")
        return [str(name) for name in classes], rows

    def read_predictions(self) -> dict[str, list[Any]] | None:
        """Return the columns of `predictions.csv`, see `ugmm.training.predictions`, by name.

        Returns:
            `row`, integers; names of classes as texts; all else as numbers. None where there is
            no such file.

        Raises:
            UserError: If the file is damaged.
        """
        if not self.predictions.exists():
            return None
        remedy = "remove it"
        try:
            lines = io.StringIO(read_text(self.predictions, remedy), newline="")
            names, *rows = csv.reader(lines, strict=True)
            texts = ("truth", "prediction") if any(n.startswith("p(") for n in names) else ()
            types = {name: str if name in texts else float for name in names} | {"row": int}
            columns = dict(zip(names, zip(*rows, strict=True), strict=True))
            return {name: list(map(types[name], cells)) for name, cells in columns.items()}
        except (ValueError, csv.Error) as error:
            raise UserError(f"{self.predictions} is damaged ({error}); {remedy}") from error

    def write_summary(self, summary: Mapping[str, float]) -> None:
        """Write `summary.json`."""
        write_atomic(self.summary, json.dumps(summary, indent=2) + "\n")

    @property
    def has_ended(self) -> bool:
        """Whether its figures are written down and its pictures drawn.

        Raises:
            UserError: If the summary is damaged.
        """
        return bool(self.read_summary()) and not self.undrawn.exists()

    def read_summary(self) -> dict[str, float]:
        """Return `summary.json`; empty before the run has ended.

        Raises:
            UserError: If the file is damaged.
        """
        if not self.summary.exists():
            return {}
        remedy = "remove it, and resume the run to test again"
        summary = read_json(self.summary, remedy)
        for name, value in summary.items():
            if not _is_number(value):
                raise UserError(
                    f"{self.summary} is damaged ({name} is {value!r}, not a number); {remedy}"
                )
        return summary


def _is_number(value: object) -> bool:
    """Whether a value is a number that a float holds, be it infinite or none."""
    if isinstance(value, int) and not isinstance(value, bool):
        return abs(value) <= sys.float_info.max
    return isinstance(value, float)


def locate(place: str | Path) -> tuple[Run, Path | None]:
    """Return the run that a place stands for, and the checkpoint if it is one.

    Args:
        place: A run folder; a checkpoint in one, or the folder of those; or a folder that runs lie
            in, such as a group's, which stands for the newest of them. `latest` is the newest of
            all in `runs`. Which that is, is said on standard error.

    Raises:
        UserError: If there is no run.
    """
    path = Path(place)
    if path.suffix == ".ckpt":
        if not path.is_file():
            raise UserError(f"no checkpoint at {path}")
        return Run.open(path.resolve().parent.parent), path
    if path.name == "checkpoints" and (path.parent / "config.yaml").is_file():
        path = path.parent
    if place == "latest" and not path.exists():
        path = Path("runs")
    if not (path / "config.yaml").is_file():
        configs = [*path.glob("*/config.yaml"), *path.glob("*/*/config.yaml")]
        if configs:
            newest = max(configs, key=lambda config: config.stat().st_mtime).parent
            warn(f"the newest run of {path} is {newest}")
            return Run(newest), None
        if place == "latest":
            raise UserError(f"there is no run in {path.resolve()}; name a run folder")
    return Run.open(path), None


def run_folder(runs_dir: str | Path, group: str, name: str, unique: str) -> Path:
    """Return where a run lies: `runs_dir/<group>/<name>-<unique>`."""
    return Path(runs_dir) / _slug(group) / f"{_slug(name)}-{unique}"


def _slug(text: str) -> str:
    """Keep what is plain in paths, W&B ids and artifact names alike."""
    text = text.replace("=", "-")
    return re.sub(r"[^A-Za-z0-9.-]+", "_", text).strip("_.-")[:80] or "run"


def describe_environment() -> dict[str, Any]:
    """Return what `environment.json` says of this process: packages, git commit, machine."""
    packages = {"ugmm": __version__}
    for package in _PACKAGES:
        with suppress(PackageNotFoundError):
            packages[package] = version(package)
    return {
        "command": sys.argv,
        "git": {"commit": _git("rev-parse", "HEAD"), "dirty": bool(_git("status", "--porcelain"))},
        "packages": packages,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "machine": platform.node(),
        "cpus": os.cpu_count(),
        "slurm_job": os.environ.get("SLURM_JOB_ID"),
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }


def _git(*arguments: str) -> str | None:
    """Ask git about the source tree; None where there is no git or no repository."""
    # Without the lock by which `status` would get in the way of a commit.
    command = ["git", "--no-optional-locks", "-C", str(Path(__file__).parent), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
