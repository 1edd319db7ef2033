"""What `ugmm crossval`, `ablate`, `compare` and `dashboard` take. Imports no torch."""

import argparse
from collections.abc import Callable

from ugmm.cluster.cpus import count_cpus
from ugmm.cluster.signals import closing_cleanly

__all__ = ["LARGE", "AddParser", "add_studies"]

# What takes the memory of commands that train.
LARGE = "model.hidden, data.batch_size, model.components, task.ensemble"

AddParser = Callable[..., argparse.ArgumentParser]  # as `argparse` has it for a command

_ABLATION = "a file of experiments/ablations/, or a YAML file"


def add_studies(add_parser: AddParser) -> None:
    """Add the commands about studies, which are many runs.

    Args:
        add_parser: As `argparse` has it for the commands beside them, which take plugins.
    """
    _add_crossval(add_parser)
    _add_ablate(add_parser)
    _add_compare(add_parser)
    _add_dashboard(add_parser)


def _add_crossval(add_parser: AddParser) -> None:
    crossval = add_parser("crossval", help="compare models by nested cross-validation")
    crossval.add_argument(
        "crossvalidation", help="a file of experiments/crossval/, or a YAML file"
    )
    crossval.add_argument(
        "--jobs", type=int, default=count_cpus(), help="fits at a time; default: all CPUs"
    )
    crossval.add_argument(
        "--shared",
        action="store_true",
        help="take turns with other processes in this folder; end when no fold is free",
    )
    crossval.add_argument(
        "--publish",
        action="store_true",
        help="also write its section of experiments/RESULTS.md, and what is kept of its fits",
    )
    crossval.add_argument(
        "--published", action="store_true", help="show what was published, and fit nothing"
    )
    crossval.set_defaults(command=_crossval, large=LARGE)


def _add_ablate(add_parser: AddParser) -> None:
    ablate = add_parser("ablate", help="run all points of an ablation")
    ablate.add_argument("ablation", help=_ABLATION)
    ablate.add_argument("--jobs", type=int, default=1, help="points at a time; default: 1")
    ablate.add_argument("--dry-run", action="store_true", help="only print the plan")
    ablate.add_argument("--retry", action="store_true", help="run failed points again")
    ablate.add_argument("--wandb", action="store_true", help="as a sweep of Weights & Biases")
    ablate.add_argument(
        "--no-wait",
        dest="wait",
        action="store_false",
        help="end when no point is free, though others still run some",
    )
    ablate.add_argument("--point", help="run only this point, as a sweep names it")
    ablate.set_defaults(command=_ablate, large=LARGE)


def _add_compare(add_parser: AddParser) -> None:
    compare = add_parser("compare", help="compare the variants of an ablation")
    compare.add_argument("ablation", help=_ABLATION)
    compare.add_argument(
        "--publish",
        action="store_true",
        help="also write its section of experiments/RESULTS.md, and what is kept of its runs",
    )
    shown = compare.add_mutually_exclusive_group()
    shown.add_argument(
        "--published", action="store_true", help="show what was published, without run folders"
    )
    shown.add_argument(
        "--vector", choices=("pdf", "svg"), help="also write the pictures so, for print"
    )
    compare.set_defaults(command=_compare)


def _add_dashboard(add_parser: AddParser) -> None:
    dashboard = add_parser("dashboard", help="an ablation's runs in Weights & Biases")
    dashboard.add_argument("ablation", help=_ABLATION)
    dashboard.add_argument("--dry-run", action="store_true", help="only print what it would be")
    dashboard.set_defaults(command=_dashboard)


def _crossval(options: argparse.Namespace) -> None:
    from ugmm.cluster.preemption import requeuing
    from ugmm.studies.crossval import run_crossval

    with closing_cleanly(options.as_given), requeuing():
        run_crossval(
            options.crossvalidation,
            options.jobs,
            shared=options.shared,
            publish=options.publish,
            published=options.published,
        )


def _ablate(options: argparse.Namespace) -> None:
    from ugmm.cluster.preemption import requeuing
    from ugmm.studies.ablation import run_ablation

    with closing_cleanly(options.as_given), requeuing():
        run_ablation(
            options.ablation,
            options.jobs,
            dry_run=options.dry_run,
            retry=options.retry,
            wandb=options.wandb,
            point=options.point,
            wait=options.wait,
        )


def _compare(options: argparse.Namespace) -> None:
    from ugmm.studies.ablation import compare_ablation

    compare_ablation(
        options.ablation,
        publish=options.publish,
        published=options.published,
        vector=options.vector,
    )


def _dashboard(options: argparse.Namespace) -> None:
    from ugmm.studies.ablation import open_dashboard

    open_dashboard(options.ablation, dry_run=options.dry_run)
