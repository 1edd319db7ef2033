"""What `ugmm launch`, `ugmm status`, `ugmm logs` and `ugmm cancel` take. Imports no torch."""

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

    status = add_parser("status", help="where runs and points stand, and their jobs")
    status.add_argument(
        "places",
        nargs="*",
        metavar="RUN|GROUP",
        help="run folders, or groups; by default all runs that are not finished",
    )
    status.add_argument("--watch", action="store_true", help="look again every ten seconds")
    status.set_defaults(command=_status)

    logs = add_parser("logs", help="what the job of a run or a study has written")
    logs.add_argument("place", metavar="RUN|GROUP", help="a run folder, or a group")
    logs.add_argument("--follow", action="store_true", help="go on until the job ends")
    logs.set_defaults(command=_logs)

    cancel = add_parser("cancel", help="end the jobs or processes of runs or studies")
    cancel.add_argument("places", nargs="+", metavar="RUN|GROUP", help="run folders, or groups")
    cancel.set_defaults(command=_cancel)


def _launch(options: argparse.Namespace) -> None:
    from ugmm.launch.launch import launch

    launch(options.name, options.overrides, dry_run=options.dry_run)


def _status(options: argparse.Namespace) -> None:
    from ugmm.launch.following.status import show_status

    show_status(options.places, watch=options.watch)


def _logs(options: argparse.Namespace) -> None:
    from ugmm.launch.following.output import show_output

    show_output(options.place, follow=options.follow)


def _cancel(options: argparse.Namespace) -> None:
    from ugmm.launch.following.ending import end

    end(options.places)
