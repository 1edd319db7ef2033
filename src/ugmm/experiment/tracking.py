"""Weights & Biases: whether it can be reached, and a run that ends with the right exit code."""

import os
import socket
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import wandb

from ugmm.errors import UserError
from ugmm.experiment.config import GOALS, Config
from ugmm.runs import Run

__all__ = ["log_results", "tracked"]

_CONNECT_SECONDS = 3
_FINISH_SECONDS = 60


@contextmanager
def tracked(config: Config, run: Run, *, enabled: bool) -> Iterator["wandb.Run | None"]:
    """Track a run in W&B while the body runs; give None where tracking is disabled.

    However the body ends, the W&B run is finished: with exit code 0, with the code of a
    `SystemExit`, or with 1 for any other exception.

    Raises:
        UserError: If the mode is `online` and W&B cannot be reached.
    """
    mode = resolve_mode(config.tracking.mode) if enabled else "disabled"
    if mode == "disabled":
        yield None
        return
    tracked_run = _init(config, run, mode)
    code = 1
    try:
        yield tracked_run
        code = 0
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else 1
        raise
    finally:
        _finish(tracked_run, code)


def resolve_mode(mode: str) -> str:
    """Turn `auto` into `online`, `offline` or `disabled`, and check that `online` can work."""
    if mode == "auto":
        asked = os.environ.get("WANDB_MODE", "").lower()
        if asked in ("online", "offline", "disabled"):
            mode = asked
    if mode in ("offline", "disabled"):
        return mode
    obstacle = _obstacle()
    if obstacle is None:
        return "online"
    if mode == "online":
        raise UserError(
            f"tracking.mode=online: {obstacle}; run 'wandb login', or use mode=offline"
        )
    return "offline"


def _obstacle() -> str | None:
    """Say what keeps W&B from being reached, within seconds."""
    if not wandb.login(prompt=False, verify=False):
        return "no W&B account is configured on this machine"
    url = urlsplit(os.environ.get("WANDB_BASE_URL") or wandb.setup().settings.base_url)
    port = url.port or (443 if url.scheme == "https" else 80)
    try:
        socket.create_connection((url.hostname or "", port), _CONNECT_SECONDS).close()
    except OSError as error:
        return f"no connection to {url.hostname} ({error})"
    return None


def _init(config: Config, run: Run, mode: str) -> "wandb.Run":
    folder = str(run.folder.resolve())
    for name in ("WANDB_DIR", "WANDB_DATA_DIR", "WANDB_CACHE_DIR"):
        # By default artifacts are staged in the home folder, and a copied run would lack them.
        os.environ[name] = folder if name == "WANDB_DIR" else f"{folder}/wandb"
    tracked_run = wandb.init(
        id=run.id,
        resume="allow",
        mode=mode,  # type: ignore[arg-type]
        dir=folder,
        project=config.tracking.project,
        entity=config.tracking.entity,
        group=config.group,
        job_type="train",
        name=config.name,
        tags=[config.experiment, *config.tracking.tags],
        config=_logged_config(config, run),
        settings=wandb.Settings(silent=True, console="off", finish_timeout=_FINISH_SECONDS),
    )
    tracked_run.define_metric("trainer/global_step")
    tracked_run.define_metric("*", step_metric="trainer/global_step")
    for metric, best in GOALS.items():  # the summary keeps the best: val/accuracy.max
        tracked_run.define_metric(f"val/{metric}", summary=best, step_metric="trainer/global_step")
    if mode == "offline":
        where = run.folder / "wandb" / "offline-run-*"  # several, if the run was resumed
        sys.stdout.write(f"W&B is offline; upload this run later with: wandb sync {where}\n")
    return tracked_run


def _logged_config(config: Config, run: Run) -> dict[str, Any]:
    environment = run.read_environment()
    return {
        **asdict(config),
        "git": environment["git"],
        "slurm_job": environment["slurm_job"],
        "run_folder": str(run.folder),
    }


def log_results(
    tracked_run: "wandb.Run", summary: Mapping[str, Any], plots: Sequence[Path], best: Path | None
) -> None:
    """Log what is known once, at the end: the summary, the plots and the best checkpoint."""
    # Validation and test metrics are there already, from the history.
    logged = ("val/", "test/")
    tracked_run.summary.update({k: v for k, v in summary.items() if not k.startswith(logged)})
    tracked_run.log({f"plots/{path.stem}": wandb.Image(str(path)) for path in plots})
    if best is not None:
        artifact = wandb.Artifact(f"model-{tracked_run.id}", type="model")
        artifact.add_file(str(best))
        tracked_run.log_artifact(artifact)


def _finish(tracked_run: "wandb.Run", code: int) -> None:
    """Finish, but never let a server that is gone take the run down or hang it."""
    try:
        tracked_run.finish(exit_code=code)
    except Exception as error:
        sys.stderr.write(f"warning: W&B did not finish: {error}; upload with wandb sync\n")
