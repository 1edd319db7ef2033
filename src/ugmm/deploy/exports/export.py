"""`ugmm export`: a trained network for other programs, checked before it is kept."""

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from ugmm.deploy.exports.answers import answering
from ugmm.deploy.exports.archive import load_program, to_archive
from ugmm.deploy.exports.check import TOLERANCE, answers_of, largest_difference, some_rows
from ugmm.deploy.exports.columns import inputs_of, to_tensors, to_values
from ugmm.deploy.exports.hub_folder import write_folder
from ugmm.deploy.exports.onnx_file import run_onnx, to_model
from ugmm.errors import UserError
from ugmm.exported import Origin, describe, is_export, read_with_origin
from ugmm.loading import load
from ugmm.runs import Run, locate
from ugmm.terminal import say
from ugmm.trained import TrainedNetwork, TrainedRegressor
from ugmm.writing import make_folder, write_atomic

__all__ = ["Origin", "export_run", "to_onnx", "to_pt2", "to_safetensors"]

_NAMES = {"onnx": "model.onnx", "pt2": "model.pt2", "safetensors": "safetensors"}
Trained = TrainedNetwork | TrainedRegressor


def export_run(run: str, to: str, out: str | None = None, *, license: str | None = None) -> None:  # noqa: A002
    """Export the trained network of a run, and say what was written.

    Args:
        run: See `ugmm.load`.
        to: One of `ugmm.deploy.exports.arguments.KINDS`.
        out: Where to; by default in the run's folder.
        license: Of the network, for the model card.

    Raises:
        UserError: If the run cannot be used, cannot be exported so, or its export answers
            otherwise than it does.
    """
    if license is not None and to != "safetensors":
        raise UserError("--license is for the model card of --to safetensors; leave it out")
    if is_export(run):
        (trained, origin), place = read_with_origin(run), Path(run)
        folder = place.parent
    else:
        found, checkpoint = locate(run)
        trained = load(checkpoint or found.folder)
        origin, place, folder = origin_of(found), found.folder, found.folder / "export"
    path = Path(out) if out is not None else folder / _NAMES[to]
    start = time.perf_counter()
    say(f"exporting {place} to {path}")
    if to == "safetensors":
        to_safetensors(trained, path, origin, license=license or "mit")
        say(f"wrote and read back {path}: the weights are the same, bit for bit")
        return
    write = to_onnx if to == "onnx" else to_pt2
    rows = len(some_rows(trained))
    worst = write(trained, path, origin)
    say(
        f"wrote {path} ({path.stat().st_size / 1e6:.1f} MB, {time.perf_counter() - start:.0f} s): "
        f"on {rows} rows its answers differ by {worst:.1g} at most (allowed: {TOLERANCE:g})"
    )


def origin_of(run: Run) -> Origin:
    """Return where the network of a run comes from."""
    git = run.read_environment().get("git", {})
    return Origin(run.id, git.get("commit"), run.read_summary())


def to_onnx(trained: Trained, path: str | Path, origin: Origin | None = None) -> float:
    """Write a trained network as an ONNX file, once ONNX Runtime answers from it as it does.

    Args:
        trained: What `ugmm.load` or an estimator's `trained_` is.
        path: The file.
        origin: Where the network comes from.

    Returns:
        The largest difference of the answers to some rows.

    Raises:
        UserError: If the network cannot be an ONNX graph, or the answers differ.
    """
    _check_name(path, "onnx")
    answers = answering(trained, plain=True)
    model = to_model(answers, trained.spec, describe(trained, origin or Origin()))
    names = [each.name for each in inputs_of(trained.spec)]

    def ask(values: list) -> dict:
        return run_onnx(model, dict(zip(names, values, strict=True)))

    return _keep(trained, Path(path), model, ask)


def to_pt2(trained: Trained, path: str | Path, origin: Origin | None = None) -> float:
    """Write a trained network as an archive for `torch.export.load`, once that answers as it does.

    See `to_onnx`.
    """
    _check_name(path, "pt2")
    answers = answering(trained, plain=False)
    archive = to_archive(answers, trained.spec, describe(trained, origin or Origin()))
    program = load_program(archive)
    classes = np.array((*trained.spec.class_names, ""), dtype=object)  # -1: of a refused row

    def ask(values: list) -> dict:
        found = program(*to_tensors(trained.spec, values))
        told = {name: each.numpy() for name, each in zip(answers.names, found, strict=True)}
        if "label" in told:
            told["label"] = classes[told["label"]]
        return told

    return _keep(trained, Path(path), archive, ask)


def to_safetensors(
    trained: Trained,
    folder: str | Path,
    origin: Origin | None = None,
    *,
    license: str = "mit",  # noqa: A002
) -> None:
    """Write a trained network as a folder of the layout that hubs of models take.

    Args:
        trained: See `to_onnx`.
        folder: The folder, which may hold an earlier export.
        origin: Where the network comes from.
        license: Of the network, as the model card names it.

    Raises:
        UserError: If there is something else in the folder, or it cannot be written.
    """
    write_folder(trained, Path(folder), describe(trained, origin or Origin()), license)


def _check_name(path: str | Path, kind: str) -> None:
    """Refuse a name of another kind of file, which might be one that somebody needs."""
    if Path(path).suffix != f".{kind}":
        raise UserError(f"{path}: name a file that ends in .{kind}")


def _keep(trained: Trained, path: Path, content: bytes, ask: Callable[[list], dict]) -> float:
    """Write what was exported if it answers as the network does; return the difference."""
    rows = some_rows(trained)
    expected = answers_of(trained, rows)
    worst = largest_difference(ask(to_values(trained.spec, rows)), expected, trained.spec)
    one = {name: values[:1] for name, values in expected.items()}
    largest_difference(ask(to_values(trained.spec, rows[:1])), one, trained.spec)
    make_folder(path.parent)
    write_atomic(path, content)
    return worst
