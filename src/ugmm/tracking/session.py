"""A run in Weights & Biases, which ends with the right exit code."""

import io
import logging
import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import wandb

from ugmm.config.schema import Config
from ugmm.errors import UserError
from ugmm.metrics import VALIDATED
from ugmm.runs import Run
from ugmm.terminal import say, warn
from ugmm.tracking.access import explain, faulty_variables, resolve_mode, without
from ugmm.tracking.uploads import error_lines, lost_rows, synced_mark, upload
from ugmm.writing import write_atomic

__all__ = ["log_results", "tracked"]

# The SDK's measurements of itself, whose failure is nobody's business.
logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)

_INIT_SECONDS = 30
_FINISH_SECONDS = 60
_RETRIES, _RETRY_SECONDS = 4, 5


@contextmanager
def tracked(config: Config, run: Run) -> Iterator["wandb.Run | None"]:
    """Track a run in W&B while the body runs; give None where it cannot be, and need not.

    What W&B lacks of the rows that `metrics.csv` has already is logged first. However the body
    ends, the W&B run is finished: with exit code 0, with the code of a `SystemExit`, or with 1
    for any other exception.

    Raises:
        UserError: If the mode is `online` and W&B cannot be reached.
    """
    mode, reason = resolve_mode(config.tracking.mode)
    done = run.read_metrics()
    lost, held = lost_rows(run.folder, done) if done else ([], 0)
    logging.raiseExceptions = False  # a disk too full for W&B's own log is no reason to shout
    # An offline run has no use for a wrong address, but W&B would not start with it.
    with without(faulty_variables() if mode == "offline" else ()):
        tracked_run = _started(config, run, mode, reason)
    if tracked_run is None:
        yield None
        return
    code = 1
    try:
        _log_lost(tracked_run, run, lost[max(0, tracked_run.starting_step - held) :])
        yield tracked_run
        code = 0
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else 1
        raise
    finally:
        _finish(tracked_run, run, code)


def _started(config: Config, run: Run, mode: str, reason: str) -> "wandb.Run | None":
    """Start the W&B run; where the server took the connection but does not do its work, offline.

    Args:
        config: The resolved configuration.
        run: Its folder.
        mode: `online` or `offline`.
        reason: Why it is offline, if something is amiss.

    Returns:
        The W&B run; None if not even an offline one can be had, and the mode is `auto`.

    Raises:
        UserError: If the mode is `online` or `offline`, and that cannot be had.
    """
    asked = config.tracking.mode
    if mode == "online":
        reason = upload(run.folder)  # what earlier starts left, first
        try:
            if not reason:
                return _init(config, run, "online")
        except UserError:
            raise
        except Exception as error:  # of wandb, pydantic, requests
            reason = explain(error)
            wandb.teardown()  # or the next run would wait for the one that did not start
        if asked == "online":
            raise UserError(
                f"tracking.mode=online: W&B did not start ({reason}); use tracking.mode=offline"
            )
    try:
        tracked_run = _init(config, run, "offline")
    except UserError:
        raise
    except Exception as error:
        if asked != "auto":
            raise UserError(
                f"tracking.mode={asked}: W&B did not start ({explain(error)}); mend that, or use "
                "tracking.mode=disabled"
            ) from error
        say(f"this run is not tracked: W&B did not start ({explain(error)})")
        return None
    because = f" ({reason})" if reason else ""
    say(f"W&B is offline{because}; upload this run later with: {_sync_command(run)}")
    return tracked_run


def _init(config: Config, run: Run, mode: str) -> "wandb.Run":
    folder = str(run.folder.resolve())
    for name in ("WANDB_DIR", "WANDB_DATA_DIR", "WANDB_CACHE_DIR"):
        # By default artifacts are staged in the home folder, and a copied run would lack them.
        os.environ[name] = folder if name == "WANDB_DIR" else f"{folder}/wandb"
    kept = run.folder / "wandb" / "id.txt"
    in_sweep = "WANDB_SWEEP_ID" in os.environ
    known = kept.read_text(encoding="utf-8").strip() if kept.is_file() else run.id
    with redirect_stderr(io.StringIO()):  # what it says of settings files that it leaves aside
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
                # A server in trouble, which the timeouts do not bound.
                x_graphql_retry_max=_RETRIES,
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
    return tracked_run


def _logged_config(config: Config, run: Run) -> dict[str, Any]:
    environment = run.read_environment()
    return {
        **asdict(config),
        "git": environment.get("git"),
        "slurm_job": environment.get("slurm_job"),
        "run_folder": str(run.folder),
    }


def _log_lost(tracked_run: "wandb.Run", run: Run, rows: Sequence[Mapping[str, float]]) -> None:
    try:
        for row in rows:
            tracked_run.log(dict(row))
    except Exception as error:
        _warn(run, error)


def log_results(
    tracked_run: "wandb.Run",
    run: Run,
    summary: Mapping[str, Any],
    plots: Sequence[Path],
    best: Path | None,
) -> None:
    """Log what is known once, at the end: the summary, the plots and the best checkpoint."""
    # Validation and test metrics are there already, from the history.
    logged = ("val/", "test/")
    try:
        tracked_run.summary.update({k: v for k, v in summary.items() if not k.startswith(logged)})
        tracked_run.log({f"plots/{path.stem}": wandb.Image(str(path)) for path in plots})
        if best is not None:
            artifact = wandb.Artifact(f"model-{tracked_run.id}", type="model")
            artifact.add_file(str(best))
            _log_artifact(tracked_run, artifact)
    except ConnectionError:
        pass  # W&B's own process has died, which is said at the end
    except Exception as error:
        _warn(run, error)


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
        _warn(run, error)
        if isinstance(error, ConnectionError):  # its process has died: do not look for it at exit
            with suppress(Exception, SystemExit):
                wandb.teardown()
    else:
        if trouble:
            _warn(run, trouble)


def _warn(run: Run, trouble: Exception | str) -> None:
    text = explain(trouble) if isinstance(trouble, Exception) else trouble
    warn(
        f"warning: W&B has not got all of this run ({text}); it is whole on disk, upload it later "
        f"with: {_sync_command(run)}"
    )


def _sync_command(run: Run) -> str:
    return shlex.join(["ugmm", "sync", str(run.folder)])
