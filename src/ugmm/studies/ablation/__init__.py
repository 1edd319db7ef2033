"""Ablations: variants of an experiment, each run with several seeds, and compared.

Each name is loaded when it is first used, so that running an ablation imports nothing that only
comparing needs.
"""

from typing import TYPE_CHECKING

from ugmm._lazy import load_on_use

if TYPE_CHECKING:
    from ugmm.studies.ablation.command import plan_ablation, run_ablation
    from ugmm.studies.ablation.compare import compare_ablation
    from ugmm.studies.ablation.dashboard import open_dashboard
    from ugmm.studies.ablation.definition import Ablation
    from ugmm.studies.ablation.file import read_ablation
    from ugmm.studies.ablation.ledger import Ledger
    from ugmm.studies.ablation.points import Point

__all__ = [
    "Ablation",
    "Ledger",
    "Point",
    "compare_ablation",
    "open_dashboard",
    "plan_ablation",
    "read_ablation",
    "run_ablation",
]

_HOME = {
    "Ablation": "definition",
    "Ledger": "ledger",
    "Point": "points",
    "compare_ablation": "compare",
    "open_dashboard": "dashboard",
    "plan_ablation": "command",
    "read_ablation": "file",
    "run_ablation": "command",
}

if not TYPE_CHECKING:  # else any name would pass
    __getattr__, __dir__ = load_on_use(__name__, _HOME)
