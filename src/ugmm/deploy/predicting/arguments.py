"""What `ugmm predict` takes. Imports no torch."""

import argparse
from collections.abc import Callable
from functools import partial

from ugmm.stated import add_stated, read_stated
from ugmm.terminal import loading

__all__ = ["add_predict"]


def add_predict(add_parser: Callable[..., argparse.ArgumentParser]) -> None:
    """Add the command that predicts.

    Args:
        add_parser: As `argparse` has it for the commands beside it.
    """
    predict = add_parser("predict", help="classes or numbers of the rows of a file")
    predict.add_argument("run", help="see eval")
    predict.add_argument("data", metavar="DATA", help="a CSV or Parquet file; - is standard input")
    predict.add_argument(
        "--out",
        metavar="FILE",
        help="answers.csv, answers.csv.gz or answers.parquet; default: standard output, as CSV",
    )
    predict.add_argument(
        "--keep", metavar="COLUMN,...", help="columns of the file to copy beside the answers"
    )
    predict.add_argument(
        "--level",
        type=float,
        metavar="SHARE",
        help="of targets that the interval of a predicted number should hold; default: 0.9",
    )
    add_stated(predict)
    predict.set_defaults(command=_predict)


def _predict(options: argparse.Namespace) -> None:
    with loading():
        from ugmm.deploy.predicting.predict import predict

    predict(
        options.run,
        options.data,
        out=options.out,
        keep=options.keep,
        level=options.level,
        stated=partial(read_stated, options),
    )
