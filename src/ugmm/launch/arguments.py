"""What `ugmm launch` takes. Imports no torch."""

import argparse
from collections.abc import Callable

__all__ = ["add_job_commands"]


def add_job_commands(add_parser: Callable[..., argparse.ArgumentParser]) -> None:
    """Add the commands about jobs.

    Args:
        add_parser: As `argparse` has it for the commands beside them, which take plugins.
    """
    launch = add_parser("launch", help="run an experiment or a study as a job of a cluster")
    launch.add_argument("name", help="what `ugmm list` shows, or a YAML file")
    launch.add_argument(
        "overrides",
        nargs="*",
        metavar="KEY=VALUE",
        help="cluster=slurm or torchrun, cluster.nodes=2 ..., and the experiment's own settings",
    )
    launch.add_argument(
        "--dry-run", action="store_true", help="only print the script; make and submit nothing"
    )
    launch.set_defaults(command=_launch)


def _launch(options: argparse.Namespace) -> None:
    from ugmm.launch.launch import launch

    launch(options.name, options.overrides, dry_run=options.dry_run)
