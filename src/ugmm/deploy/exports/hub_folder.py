"""A trained network as a folder of the layout that hubs of models take."""

import hashlib
import json
import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from ugmm.deploy.exports.card import write_card
from ugmm.errors import UserError
from ugmm.exported import CONFIG, WEIGHTS, digest, read_export
from ugmm.reading import read_json
from ugmm.trained import TrainedNetwork, TrainedRegressor
from ugmm.writing import explaining, make_folder

__all__ = ["write_folder"]

CARD = "README.md"


def write_folder(
    trained: TrainedNetwork | TrainedRegressor,
    folder: Path,
    described: Mapping[str, Any],
    license: str,  # noqa: A002
) -> None:
    """Write the weights, the description and the model card, all of them or nothing.

    Raises:
        UserError: If something else is in the folder, or it cannot be written.
    """
    from safetensors.torch import save

    _check_place(folder)
    folder = folder.resolve()  # what a link leads to is replaced, and not the link
    state = trained.network.state_dict()
    weights = {name: weight.cpu().contiguous().clone() for name, weight in state.items()}
    content = {**described, "weights_sha256": digest(save(weights))}
    config = json.dumps(content, indent=2, allow_nan=False).encode() + b"\n"
    notes = {"format": "pt", "ugmm": hashlib.sha256(config).hexdigest()}
    files = {
        CONFIG: config,
        WEIGHTS: save(weights, notes),
        CARD: write_card(trained, described, license).encode(),
    }
    make_folder(folder.parent)
    temporary = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.partial")
    with explaining(folder):
        try:
            temporary.mkdir()
            for name, data in files.items():
                (temporary / name).write_bytes(data)
            _check(trained, temporary)
            _replace(folder, temporary)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def _check_place(folder: Path) -> None:
    """Refuse to write where something else is than an earlier export, or where one is."""
    with explaining(folder):
        if Path.cwd().is_relative_to(folder.resolve()):  # it could not be replaced
            raise UserError(f"{folder} is the folder you are in, or above it; name a new folder")
    if not folder.exists():
        return
    if not folder.is_dir():
        raise UserError(f"{folder} is a file; name a new folder")
    with explaining(folder):
        names = {path.name for path in folder.iterdir()}
    others, config = names - {CONFIG, WEIGHTS, CARD}, folder / CONFIG
    ours = not others and config.is_file() and read_json(config, "name a new folder")
    if names and not (ours and ours.get("library_name") == "ugmm"):
        other = min(others or names)
        raise UserError(f"{folder} holds a {other} that ugmm did not export; name a new folder")


def _replace(folder: Path, new: Path) -> None:
    """Put a new folder in the place of one that may be there, or leave that where it is."""
    if not folder.exists():
        new.rename(folder)
        return
    old = new.with_suffix(".old")
    folder.rename(old)
    try:
        new.rename(folder)
    except OSError:
        old.rename(folder)
        raise
    shutil.rmtree(old)


def _check(trained: TrainedNetwork | TrainedRegressor, folder: Path) -> None:
    """Raise an error unless what was written is read back as it was."""
    again = read_export(folder)
    theirs, ours = again.network.state_dict(), trained.network.state_dict()
    same = (_bytes(theirs[name]) == _bytes(weight) for name, weight in ours.items())
    if not all(same) or again.spec != trained.spec:
        raise UserError(f"{folder} cannot be read back as it was written; report this, please")


def _bytes(weight: Tensor) -> bytes:
    return weight.cpu().numpy().tobytes()
