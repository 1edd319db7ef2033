"""What `ugmm infer`, `ugmm sample` and `ugmm complete` take. Imports no torch."""

import argparse
from collections.abc import Callable
from functools import partial

from ugmm._lean import starting
from ugmm.stated import add_stated, read_stated

__all__ = ["add_commands"]


def add_commands(add_parser: Callable[..., argparse.ArgumentParser]) -> None:
    """Add the commands that ask trained networks.

    Args:
        add_parser: As `argparse` has it for the commands beside them.
    """
    infer = add_parser("infer", help="ask a trained network about rows with empty cells")
    infer.add_argument("run", help="see eval")
    infer.add_argument(
        "--query",
        required=True,
        choices=("posterior", "marginal", "conditional", "mpe"),
        help="of the class; log p of what is known; each unknown number; the likeliest completion",
    )
    _add_rows(infer, "the rows: a CSV file, whose empty cells are what is not known", needed=True)
    infer.add_argument(
        "--draws", type=int, help="how many an answer that is not exact may use for each row"
    )
    infer.add_argument(
        "--check",
        action="store_true",
        help="of mpe: search ten times as widely, too, and tell how much better that was",
    )
    infer.set_defaults(command=_infer, large="--draws, the rows of the file")

    sample = add_parser("sample", help="draw rows from a trained density")
    sample.add_argument("run", help="see eval")
    sample.add_argument("-n", type=int, default=1000, help="how many rows; default: 1000")
    _add_rows(sample, "a CSV file: n rows are drawn for each of its own, given what it holds")
    sample.add_argument(
        "--method",
        default="auto",
        choices=("auto", "importance", "metropolis", "mala", "gibbs"),
        help="how, where draws are not exact; default: auto",
    )
    sample.set_defaults(command=_sample, large="-n, the rows of the file")

    complete = add_parser("complete", help="complete test images, as a picture")
    complete.add_argument("run", help="see eval")
    complete.add_argument("-n", type=int, default=8, help="how many images; default: 8")
    complete.add_argument(
        "--known",
        default="upper",
        choices=("upper", "lower", "left", "right", "random"),
        help="which half of the pixels is known; default: upper",
    )
    complete.add_argument(
        "--out", metavar="FILE", help="a PNG, .pdf or .svg; default: in the run's plots/"
    )
    complete.add_argument("--seed", type=int, default=0, help="of the draws; default: 0")
    complete.set_defaults(command=_complete, large="-n")


def _add_rows(command: argparse.ArgumentParser, rows: str, *, needed: bool = False) -> None:
    """Add what queries about the rows of a file share."""
    command.add_argument("--given", required=needed, metavar="FILE.csv", help=rows)
    add_stated(command)
    command.add_argument("--out", metavar="FILE.csv", help="default: standard output")
    command.add_argument("--seed", type=int, default=0, help="of the draws; default: 0")


def _infer(options: argparse.Namespace) -> None:
    with starting():
        from ugmm.queries import infer

    infer(
        options.run,
        options.query,
        options.given,
        stated=partial(read_stated, options),
        out=options.out,
        draws=options.draws,
        check=options.check,
        seed=options.seed,
    )


def _sample(options: argparse.Namespace) -> None:
    with starting():
        from ugmm.queries import sample

    sample(
        options.run,
        options.n,
        given=options.given,
        stated=partial(read_stated, options),
        out=options.out,
        method=options.method,
        seed=options.seed,
    )


def _complete(options: argparse.Namespace) -> None:
    with starting():
        from ugmm.queries import complete

    complete(options.run, options.n, known=options.known, out=options.out, seed=options.seed)
