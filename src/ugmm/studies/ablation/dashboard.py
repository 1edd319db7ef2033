"""The command `ugmm dashboard`: an ablation's runs in Weights & Biases, or in the terminal."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from ugmm.errors import UserError
from ugmm.metrics import CURVES, find
from ugmm.studies.ablation.definition import Ablation, Plan, read_ablation
from ugmm.tracking.uploads import logs_of

__all__ = ["dashboard"]


def dashboard(name: str, *, dry_run: bool = False) -> None:
    """Save a workspace for an ablation; without an account, open W&B's viewer in the terminal.

    Args:
        name: Of a file in `experiments/ablations/`, or a YAML file.
        dry_run: Only print the workspace's specification.

    Raises:
        UserError: If wandb-workspaces is missing, W&B cannot be reached, or nothing was run.
    """
    ablation = read_ablation(name)
    plan = ablation.plan()
    if dry_run:
        specification = _workspace(ablation, plan, "entity")._to_model()
        text = specification.model_dump_json(by_alias=True)
        sys.stdout.write(json.dumps(json.loads(text), indent=2) + "\n")
        return
    from ugmm.tracking.session import obstacle

    if reason := obstacle():
        sys.stdout.write(f"{reason}: opening the runs on this disk\n")
        _open_leet(plan)
        return
    import wandb

    entity = _first(ablation, plan).tracking.entity or str(wandb.Api().default_entity)
    workspace = _workspace(ablation, plan, entity)
    try:
        workspace.save()
    except Exception as error:  # whatever the package raises: it has no errors of its own
        raise UserError(f"W&B did not save the workspace: {error}") from error
    sys.stdout.write(f"saved: {workspace.url}\n")


def _workspace(ablation: Ablation, plan: Plan, entity: str) -> Any:
    from ugmm.tracking.workspace import make_workspace

    settings = ablation.settings
    try:
        return make_workspace(
            entity,
            _first(ablation, plan).tracking.project,
            ablation.name,
            ablation.title,
            settings.metric,
            _curves(plan, settings.metric),
            settings.report,
            _axes(ablation),
        )
    except ModuleNotFoundError as error:
        raise UserError(
            "dashboards need wandb-workspaces; install it with: pip install "
            "'wandb-workspaces>=0.4.13,<0.5'"
        ) from error


def _first(ablation: Ablation, plan: Plan) -> Any:
    """The configuration of a point; W&B shows those together that are of one project."""
    points = plan.points() or [
        ablation.point(next(iter(ablation.rows), "search"), ablation.repetitions[0])
    ]
    return points[0].resolved()


def _curves(plan: Plan, metric: str) -> list[str]:
    """What was logged while training: of a finished run's own record, if there is one."""
    chosen = find(metric)
    wanted = list(dict.fromkeys([f"val/{chosen.name}"] * chosen.validated + list(CURVES)))
    for point in plan.points():
        if rows := point.run.read_metrics():
            return [key for key in wanted if key in rows[0]]
    return wanted


def _axes(ablation: Ablation) -> list[str]:
    """The settings in which variants differ, of those that all have."""
    if ablation.space:
        return list(ablation.space)
    rows = list(ablation.rows.values())
    shared = [key for key in rows[0] if all(key in row for row in rows)]
    differ = [key for key in shared if len({json.dumps(row[key]) for row in rows}) > 1]
    return [key for key in differ if "." in key]  # not `model` or `experiment`, which are choices


def _open_leet(plan: Plan) -> None:
    """Open W&B's own viewer on the runs of all folders, which it wants to see in one."""
    runs = [log.parent for point in plan.points() for log in logs_of(point.run.folder)]
    if not runs:
        raise UserError(
            f"{plan.folder.parent} holds no W&B run: start the ablation, with tracking.mode "
            "other than disabled"
        )
    together = plan.folder / "wandb"
    together.mkdir(exist_ok=True)
    for folder in runs:
        link = together / folder.name
        if not link.is_symlink():
            link.symlink_to(os.path.relpath(folder, together), target_is_directory=True)
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UserError(f"this is no terminal; open one and run: wandb leet {together}")
    program = Path(sys.executable).with_name("wandb")
    subprocess.run([str(program), "leet", str(together)], check=False)
