"""The command `ugmm dashboard`: an ablation's runs in Weights & Biases, or in the terminal."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from ugmm.config.schema import Config
from ugmm.config.training import TrackingConfig
from ugmm.errors import UserError
from ugmm.metrics import CURVES, find_metric
from ugmm.studies.ablation.definition import Ablation
from ugmm.studies.ablation.file import read_ablation
from ugmm.studies.ablation.ledger import Ledger
from ugmm.studies.ablation.searching.search import settle
from ugmm.tracking.uploads import logs_of
from ugmm.writing import make_folder
from ugmm.yaml_text import to_values

__all__ = ["open_dashboard"]


def open_dashboard(name: str, *, dry_run: bool = False) -> None:
    """Save a workspace for an ablation; without an account, open W&B's viewer in the terminal.

    Args:
        name: Of a file in `experiments/ablations/`, or a YAML file.
        dry_run: Only print the workspace's specification.

    Raises:
        UserError: If wandb-workspaces is missing, W&B cannot be reached, or nothing was run.
    """
    ablation, _ = settle(read_ablation(name))
    ledger = ablation.open_ledger()
    if dry_run:
        specification = _make_workspace(ablation, ledger, "entity")._to_model()
        text = specification.model_dump_json(by_alias=True)
        sys.stdout.write(json.dumps(json.loads(text), indent=2) + "\n")
        return
    from ugmm.tracking.access import in_one_line, obstacle

    if reason := obstacle():
        sys.stdout.write(f"{reason}: opening the runs on this disk\n")
        _open_leet(ledger)
        return
    import wandb

    with in_one_line("W&B did not save the workspace", "mend that and try again"):
        entity = _read_tracking(ablation, ledger).entity or str(wandb.Api().default_entity)
        workspace = _make_workspace(ablation, ledger, entity)
        workspace.save()
    sys.stdout.write(f"saved: {workspace.url}\n")


def _make_workspace(ablation: Ablation, ledger: Ledger, entity: str) -> Any:
    from ugmm.tracking.workspace import make_workspace

    settings = ablation.settings
    try:
        return make_workspace(
            entity,
            _read_tracking(ablation, ledger).project,
            ablation.name,
            ablation.title,
            settings.metric,
            _find_curves(ablation, ledger),
            settings.report,
            _find_axes(ablation),
        )
    except ModuleNotFoundError as error:
        raise UserError(
            "dashboards need wandb-workspaces; install it with: pip install "
            "'wandb-workspaces>=0.4.13,<0.5'"
        ) from error


def _read_tracking(ablation: Ablation, ledger: Ledger) -> TrackingConfig:
    """Return what a point says of W&B, which shows those together that are of one project."""
    return _first_config(ablation, ledger).tracking


def _first_config(ablation: Ablation, ledger: Ledger) -> Config:
    points = ledger.read_points() or [ablation.compose_first()]
    return points[0].resolve()


def _find_curves(ablation: Ablation, ledger: Ledger) -> list[str]:
    """Return what is logged while training: by a finished run's own record, if there is one."""
    metric = find_metric(ablation.settings.metric)
    chosen = [f"val/{metric.name}"] * metric.validated
    for point in ledger.read_points():
        if epochs := point.run.read_metrics():
            return [key for key in dict.fromkeys([*chosen, *CURVES]) if key in epochs[0]]
    config = _first_config(ablation, ledger)
    logged = {"train/loss", *(f"val/{name}" for name in config.task.measured(config))}
    return list(dict.fromkeys([*chosen, *(key for key in CURVES if key in logged)]))


def _find_axes(ablation: Ablation) -> list[str]:
    """Return the settings in which variants differ, of those that all have."""
    if ablation.space:
        return list(ablation.space)
    variants = list(ablation.variants.values())
    shared = [key for key in variants[0] if all(key in settings for settings in variants)]
    differ = [key for key in shared if len({json.dumps(to_values(v[key])) for v in variants}) > 1]
    return [key for key in differ if "." in key]  # not `model` or `experiment`, which are choices


def _open_leet(ledger: Ledger) -> None:
    """Open W&B's own viewer on the runs of all folders, which it wants to see in one."""
    runs = [log.parent for point in ledger.read_points() for log in logs_of(point.run.folder)]
    if not runs:
        raise UserError(
            f"{ledger.folder.parent} holds no W&B run: start the ablation, with tracking.mode "
            "other than disabled"
        )
    together = ledger.folder / "wandb"
    make_folder(together)
    for folder in runs:
        link = together / folder.name
        if not link.is_symlink():
            link.symlink_to(os.path.relpath(folder, together), target_is_directory=True)
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UserError(f"this is no terminal; open one and run: wandb leet {together}")
    program = Path(sys.executable).with_name("wandb")
    subprocess.run([str(program), "leet", str(together)], check=False)
