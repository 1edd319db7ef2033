"""Weights & Biases: whether it can be reached, and a run that ends with the right exit code."""

import logging
import os
import socket
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

os.environ.setdefault("WANDB_SILENT", "true")  # what there is to say, is said here in one line

import wandb

from ugmm.config.schema import Config
from ugmm.errors import UserError
from ugmm.metrics import VALIDATED
from ugmm.runs import Run
from ugmm.tracking.uploads import error_lines, synced_mark, upload
from ugmm.writing import write_atomic

__all__ = ["log_results", "obstacle", "tracked"]

# The SDK's measurements of itself, whose failure is nobody's business.
logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)

_CONNECT_SECONDS = 3
_INIT_SECONDS = 30
_FINISH_SECONDS = 60
_RETRIES, _RETRY_SECONDS = 4, 5


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
    tracked_run = _started(config, run, mode)
    code = 1
    try:
        yield tracked_run
        code = 0
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else 1
        raise
    finally:
        _finish(tracked_run, run, code)


def resolve_mode(mode: str) -> str:
    """Turn `auto` into `online`, `offline` or `disabled`, and check that `online` can work."""
    if mode == "auto":
        asked = os.environ.get("WANDB_MODE", "").lower()
        if asked in ("online", "offline", "disabled"):
            mode = asked
    if mode in ("offline", "disabled"):
        return mode
    reason = obstacle()
    if reason is None:
        return "online"
    if mode == "online":
        raise UserError(
            f"tracking.mode=online: {reason}; run 'wandb login', or use tracking.mode=offline"
        )
    return "offline"


def obstacle() -> str | None:
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


def _started(config: Config, run: Run, mode: str) -> "wandb.Run":
    """Start the W&B run; where the server took the connection but does not do its work, offline.

    Raises:
        UserError: If the mode is `online` and the server does not do its work.
    """
    trouble = upload(run.folder) if mode == "online" else ""  # what earlier starts left, first
    if not trouble:
        try:
            return _init(config, run, mode)
        except wandb.errors.Error as error:
            if mode == "offline":
                raise
            trouble = str(error)
            wandb.teardown()  # or the next run would wait for the one that did not start
    if config.tracking.mode == "online":
        raise UserError(
            f"tracking.mode=online: W&B did not start ({trouble}); use tracking.mode=offline"
        )
    return _init(config, run, "offline")


def _init(config: Config, run: Run, mode: str) -> "wandb.Run":
    folder = str(run.folder.resolve())
    for name in ("WANDB_DIR", "WANDB_DATA_DIR", "WANDB_CACHE_DIR"):
        # By default artifacts are staged in the home folder, and a copied run would lack them.
        os.environ[name] = folder if name == "WANDB_DIR" else f"{folder}/wandb"
    kept = run.folder / "wandb" / "id.txt"
    in_sweep = "WANDB_SWEEP_ID" in os.environ
    known = kept.read_text(encoding="utf-8").strip() if kept.is_file() else run.id
    tracked_run = wandb.init(
        id=None if in_sweep else known,
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
        settings=wandb.Settings(
            silent=True,
            console="off",
            init_timeout=_INIT_SECONDS,
            x_graphql_retry_max=_RETRIES,  # a server in trouble, which the timeouts do not bound
            x_graphql_retry_wait_max_seconds=_RETRY_SECONDS,
            finish_timeout=float(os.environ.get("WANDB_FINISH_TIMEOUT", _FINISH_SECONDS)),
            finish_timeout_raises=True,
        ),
    )
    if tracked_run.id != known:  # a sweep has ids of its own; resuming must find the run again
        write_atomic(kept, f"{tracked_run.id}\n")
    tracked_run.define_metric("trainer/global_step")
    tracked_run.define_metric("*", step_metric="trainer/global_step")
    for metric in VALIDATED:  # the summary keeps the best: val/accuracy.max
        tracked_run.define_metric(
            f"val/{metric.name}", summary=metric.goal, step_metric="trainer/global_step"
        )
    if mode == "offline":
        sys.stdout.write(f"W&B is offline; upload this run later with: ugmm sync {run.folder}\n")
    return tracked_run


def _logged_config(config: Config, run: Run) -> dict[str, Any]:
    environment = run.read_environment()
    return {
        **asdict(config),
        "git": environment.get("git"),
        "slurm_job": environment.get("slurm_job"),
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
        _log_artifact(tracked_run, artifact)


def _log_artifact(tracked_run: "wandb.Run", artifact: "wandb.Artifact") -> None:
    """Hand an artifact to the process that uploads, and writes it into the run's own log first.

    `wandb.Run.log_artifact` asks the server whether it may, waits for a minute and a half where
    the server is down, and raises; what it would have handed on is then lost.
    """
    artifact.finalize()
    interface = tracked_run._interface
    assert interface is not None
    interface.publish_artifact(tracked_run, artifact, ["latest"])


def _finish(tracked_run: "wandb.Run", run: Run, code: int) -> None:
    """Finish, but never let a server that is gone take the run down or hang it."""
    settings = tracked_run.settings
    log, trouble = Path(settings.sync_dir) / "logs" / "debug-internal.log", ""
    try:
        tracked_run.finish(exit_code=code)
        # Some failures are told nowhere else.
        if error_lines(log):
            trouble = "an upload failed"
        elif not tracked_run.offline:
            synced_mark(Path(settings.sync_file)).touch()
    except Exception as error:
        trouble = str(error) or type(error).__name__
    if trouble:
        sys.stderr.write(
            f"warning: W&B has not got all of this run ({trouble.rstrip('.')}); it is whole on "
            f"disk, upload it later with: ugmm sync {run.folder}\n"
        )
