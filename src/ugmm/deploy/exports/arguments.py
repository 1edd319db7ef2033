"""What `ugmm export` takes. Imports no torch."""

import argparse
from collections.abc import Callable

from ugmm._lean import starting

__all__ = ["KINDS", "add_export"]

KINDS = ("onnx", "pt2", "safetensors")


def add_export(add_parser: Callable[..., argparse.ArgumentParser]) -> None:
    """Add the command that exports.

    Args:
        add_parser: As `argparse` has it for the commands beside it.
    """
    export = add_parser("export", help="write a trained network for other programs")
    export.add_argument("run", help="see eval")
    export.add_argument(
        "--to",
        required=True,
        choices=KINDS,
        help="onnx: for ONNX Runtime; pt2: for torch.export.load; safetensors: a folder for a "
        "hub of models, with a model card",
    )
    export.add_argument(
        "--out", metavar="PATH", help="default: in the run's folder, export/model.onnx and so on"
    )
    export.add_argument(
        "--license", help="of the network, as the model card names it; default: mit"
    )
    export.set_defaults(command=_export)


def _export(options: argparse.Namespace) -> None:
    with starting():
        from ugmm.deploy.exports.export import export_run

    export_run(options.run, options.to, options.out, license=options.license)
