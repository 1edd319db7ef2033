"""The `ugmm` command. Torch and Lightning are imported by the commands that need them."""

import argparse
import shlex
import sys
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from ugmm import __version__
from ugmm._lean import starting
from ugmm.cluster.signals import run_command
from ugmm.deploy.exports.arguments import add_export
from ugmm.deploy.predicting.arguments import add_predict
from ugmm.errors import UserError, lacks_memory
from ugmm.launch.arguments import add_job_commands
from ugmm.queries.arguments import add_commands
from ugmm.report.escaping import for_terminal
from ugmm.stated import add_stated, read_stated
from ugmm.studies.arguments import LARGE, AddParser, add_studies
from ugmm.terminal import guard_streams
from ugmm.writing import explain

if TYPE_CHECKING:
    from ugmm.runs import Confusion

__all__ = ["EXTRAS", "main", "make_parser"]

# What is installed with which extra, by the name it is imported by.
EXTRAS = {
    "experiments": (
        "filelock",
        "lightning",
        "matplotlib",
        "omegaconf",
        "pyarrow",
        "rich",
        "scipy",
        "shtab",
        "sklearn",
        "torchmetrics",
        "torchvision",
        "wandb",
        "yaml",
    ),
    "flows": ("zuko",),
    "circuits": ("spflow",),
    "search": ("optuna",),
    "dashboard": ("wandb_workspaces",),
    "diagnostics": ("arviz_stats",),
    "export": ("onnx", "onnxruntime", "onnxscript", "safetensors"),
}

_FREEING = "free some, or use a machine with more"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return its exit code."""
    guard_streams()
    return run_command(partial(_run, arguments))


def _run(arguments: Sequence[str] | None) -> int:
    parser = make_parser()
    arguments = sys.argv[1:] if arguments is None else arguments
    options, rest = parser.parse_known_args(arguments)
    options.as_given = shlex.join(["ugmm", *arguments])
    if any(text.startswith("-") for text in rest) or (rest and not hasattr(options, "overrides")):
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    if rest:  # argparse leaves settings out that follow an option
        options.overrides = [*options.overrides, *rest]
    try:
        if getattr(options, "plugin", None):
            from ugmm.config.choices.plugins import use_plugins

            use_plugins(options.plugin)
        options.command(options)
    except UserError as error:
        return _fail(str(error))
    except OSError as error:  # of a disk, a connection: wherever it comes from
        named = f"{error.filename}: " if error.filename else ""
        return _fail(f"{named}{explain(error)} and try again")
    except (MemoryError, RuntimeError) as error:
        if not lacks_memory(error):
            raise
        large = getattr(options, "large", None)  # what the command can be told that takes memory
        remedy = f"make the largest of {large} smaller" if large else _FREEING
        return _fail(f"this needs more memory than there is; {remedy}")
    except ModuleNotFoundError as error:
        extra = next((extra for extra, names in EXTRAS.items() if error.name in names), None)
        if extra is None:  # nothing that the user has left out: a bug
            raise
        return _fail(f"the package {error.name} is missing; install ugmm[{extra}]")
    return 0


def _fail(text: str) -> int:
    """Say in one line, whatever is quoted in it, what went wrong; return the exit code."""
    sys.stderr.write(f"ugmm: error: {for_terminal(str(UserError(text)))}\n")
    return 1


def make_parser() -> argparse.ArgumentParser:
    """Return what reads the arguments of `ugmm`: a parser with one of its own for each command."""
    parser = argparse.ArgumentParser(prog="ugmm", description="Networks of mixture neurons.")
    parser.add_argument("--version", action="version", version=f"ugmm {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    plugins = argparse.ArgumentParser(add_help=False)
    plugins.add_argument(
        "--plugin",
        action="append",
        metavar="FILE.py",
        help="a file that declares data sets, networks or losses of your own; may be repeated",
    )
    with_plugins = partial(commands.add_parser, parents=[plugins])

    _add_runs(with_plugins)
    add_studies(with_plugins)
    add_predict(with_plugins)
    add_commands(with_plugins)
    add_export(with_plugins)
    add_job_commands(with_plugins)
    _add_others(commands.add_parser, with_plugins)
    return parser


def _add_runs(add_parser: AddParser) -> None:
    """Add the commands about one run."""
    train = add_parser("train", help="train, test and draw an experiment")
    train.add_argument(
        "experiment", nargs="?", help="a name that `ugmm list` shows, or a YAML file"
    )
    train.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="settings, model=mlp ...")
    train.add_argument(
        "--resume",
        metavar="RUN",
        help="continue the run of this folder, the newest of a group's folder, or `latest`; "
        "perhaps on other hardware, trainer.devices=4",
    )
    train.set_defaults(command=_train, large=LARGE)

    evaluate = add_parser("eval", help="test the checkpoint of a run again")
    evaluate.add_argument(
        "run", help="a run folder, a checkpoint, a group's folder (the newest run), or `latest`"
    )
    evaluate.add_argument(
        "--data",
        metavar="FILE",
        help="other rows, with their labels or targets: a CSV or Parquet file, or - as in predict",
    )
    add_stated(evaluate)
    evaluate.set_defaults(command=_eval)

    report = add_parser("report", help="write an HTML page of a run")
    report.add_argument("run", help="see eval")
    report.add_argument("--out", metavar="FILE.html", help="default: report.html in its folder")
    report.set_defaults(command=_report)


def _add_others(add_bare: AddParser, add_parser: AddParser) -> None:
    """Add the commands that upload, list, complete and show.

    Args:
        add_bare: For those that take no plugins.
        add_parser: For those that do.
    """
    sync = add_bare("sync", help="upload runs that Weights & Biases has not got")
    sync.add_argument("places", nargs="*", default=["runs"], help="folders of runs; default: runs")
    sync.set_defaults(command=_sync)

    listing = add_bare("list", help="list experiments, ablations and cross-validations")
    listing.set_defaults(command=_list)

    completion = add_bare("completion", help="print what makes a shell complete ugmm")
    completion.add_argument("shell", choices=("bash", "zsh", "tcsh"), help="which one")
    completion.set_defaults(command=_complete_shell)

    show = add_parser("show", help="print an experiment's resolved configuration")
    show.add_argument("experiment")
    show.add_argument("overrides", nargs="*", metavar="KEY=VALUE")
    show.set_defaults(command=_show)


def _train(options: argparse.Namespace) -> None:
    from ugmm.cluster.preemption import requeuing

    with requeuing():  # a job may have to make way while all is being loaded
        _start_or_resume(options)


def _start_or_resume(options: argparse.Namespace) -> None:
    is_named = bool(options.experiment) and "=" not in options.experiment
    if bool(options.resume) == is_named:
        raise UserError(
            "name an experiment with its settings, or a run folder with --resume and no more than "
            "settings of the hardware"
        )
    if options.resume and options.experiment:
        options.overrides.insert(0, options.experiment)  # the first of its settings
    from ugmm.cluster.processes import find_resumed, find_run, is_leading

    run = find_resumed(options.resume) if options.resume else find_run(options.overrides)
    if run is not None:
        with starting(told=is_leading()):
            from ugmm.training.run import resume

        if run.has_ended and is_leading():
            sys.stdout.write("this run has ended already\n")
        resume(run, _print_results, options.overrides if options.resume else ())
    else:
        from ugmm.config.compose import compose

        config = compose(options.experiment, options.overrides)  # before torch is imported
        with starting():
            from ugmm.training.run import start

        run, _ = start(config, options.overrides, _print_results)
    if is_leading():
        sys.stdout.write(f"run folder: {run.folder}\n")


def _eval(options: argparse.Namespace) -> None:
    from ugmm.runs import locate

    if options.data is not None:
        with starting():
            from ugmm.deploy.predicting.evaluation import evaluate_rows

        _print_results(*evaluate_rows(options.run, options.data, partial(read_stated, options)))
        return
    run, checkpoint = locate(options.run)
    with starting():
        from ugmm.training.run import evaluate

    _print_results(*evaluate(run, checkpoint))


def _report(options: argparse.Namespace) -> None:
    with starting():
        from ugmm.reporting import write_report

    sys.stdout.write(f"report: {write_report(options.run, options.out)}\n")


def _sync(options: argparse.Namespace) -> None:
    from ugmm.tracking.sync import sync

    sync(options.places)


def _list(options: argparse.Namespace) -> None:  # noqa: ARG001
    from ugmm.config.files import list_files

    listed = list_files()
    width = max(len(name) for names in listed.values() for name in names)
    for index, (kind, titles) in enumerate(listed.items()):
        sys.stdout.write("\n" if index else "")
        sys.stdout.write(f"{kind.names}, each run by: ugmm {kind.command} NAME\n")
        for name, title in titles.items():
            sys.stdout.write(f"  {for_terminal(f'{name:<{width}}  {title}')}\n")


def _complete_shell(options: argparse.Namespace) -> None:
    from ugmm.completion import completion_script

    sys.stdout.write(completion_script(make_parser(), options.shell))


def _show(options: argparse.Namespace) -> None:
    from ugmm.config.compose import compose
    from ugmm.config.frozen import to_yaml

    sys.stdout.write(to_yaml(compose(options.experiment, options.overrides)))


def _print_results(summary: dict[str, float], confusion: "Confusion | None") -> None:
    from rich.console import Console

    from ugmm.report import lost_classes, metrics_table, robustness_table

    Console().print(metrics_table(summary))
    if (robustness := robustness_table(summary)) is not None:
        Console().print(robustness)
    if confusion is not None and (line := lost_classes(*confusion)) is not None:
        sys.stdout.write(f"{for_terminal(line)}\n")
