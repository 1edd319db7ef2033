"""Reading checkpoints: only undamaged, whole ones of ours; nothing in them is run."""

import hashlib
import io
import pickle
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import NoneType
from typing import Any

import torch
from torch import Tensor, nn

from ugmm.errors import UserError
from ugmm.reading import reading
from ugmm.spec import Spec

__all__ = [
    "FORMAT",
    "Checkpoint",
    "DamagedError",
    "Stamp",
    "fill",
    "is_sealed",
    "is_whole",
    "read_checkpoint",
    "read_content",
    "restore",
    "seal",
]

FORMAT = 3
# The first said nothing of its run, its validation and the best epoch; the second was only written
# at the end of an epoch.
_READABLE = (1, 2, FORMAT)
_REMEDY = "bring back a copy of it, or train again"
# The sums in a zip file leave out its own tables, in which a bit may turn an entry into another.
_SEAL = b"sha256:"  # what begins a zip's comment that holds the sum of all before it

# What Lightning needs to go on from a checkpoint, and of which kind it is.
_CONTENT = {
    "epoch": int,
    "global_step": int,
    "state_dict": dict,
    "loops": dict,
    "callbacks": dict,
    "optimizer_states": list,
    "lr_schedulers": list,
}

# Of which kind is each of the things that these hold.
_HELD = {
    "loops": dict,
    "fit_loop": dict,
    "callbacks": dict,
    "optimizer_states": dict,
    "lr_schedulers": dict,
    "validation": int | float,
}


class DamagedError(UserError):
    """A checkpoint that was cut short, or in which bits have changed.

    Arguments:
        what: Which, and what is amiss with it.
    """

    def __init__(self, what: str) -> None:
        super().__init__(f"{what}; {_REMEDY}")
        self.what = what


@dataclass(frozen=True)
class Stamp:
    """What `ugmm` adds to a checkpoint: whose it is, and how good.

    Attributes:
        format: The version of this format.
        config: The run's configuration, as YAML.
        n_features: Number of features.
        n_classes: Number of classes.
        seconds: What training had taken.
        spec: What a row is, as `ugmm.spec.Spec.to_json` says it; None if it is from before that.
        run_id: What tells its run from all others; None if it is from before there was one.
        validation: What was measured in its epoch, nothing if that was not validated; None if it
            is from before this was noted.
        best_epoch: The best so far, from 0; None if there was none, or it is from before.
        batch: How many batches of its epoch were done; None if all were, and the validation.
    """

    format: int
    config: str
    n_features: int
    n_classes: int
    seconds: float
    spec: dict[str, Any] | None = None
    run_id: str | None = None
    validation: dict[str, float] | None = None
    best_epoch: int | None = None
    batch: int | None = None


_STAMP = {
    "format": int,
    "config": str,
    "n_features": int,
    "n_classes": int,
    "seconds": int | float,
    "spec": dict | NoneType,
    "run_id": str | NoneType,
    "validation": dict | NoneType,
    "best_epoch": int | NoneType,
    "batch": int | NoneType,
}
# Which earlier versions did not write.
_LATER = ("spec", "run_id", "validation", "best_epoch", "batch")


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that has been checked.

    Attributes:
        path: Where it lies.
        stamp: What `ugmm` added to it.
        content: All of it, as Lightning wrote it.
    """

    path: Path
    stamp: Stamp
    content: dict[str, Any]

    @property
    def epoch(self) -> int:
        """The epoch in which it was saved, from 0: at its end, unless the stamp says otherwise."""
        return self.content["epoch"]

    @property
    def epochs(self) -> int:
        """How many epochs were over."""
        return self.epoch + (self.stamp.batch is None)

    @property
    def steps(self) -> int | None:
        """How many steps of training were done; None at the end of an epoch."""
        return None if self.stamp.batch is None else self.content["global_step"]

    @property
    def spec(self) -> Spec | None:
        """What a row is; None if the checkpoint is from before it said so.

        Raises:
            UserError: If that is damaged.
        """
        return None if self.stamp.spec is None else Spec.from_json(self.stamp.spec)


def read_checkpoint(path: str | Path, run_id: str | None = None) -> Checkpoint:
    """Read a checkpoint; its sums are compared, and nothing in it is run.

    Args:
        path: The file.
        run_id: Of the run that it must be of; None if that is not known.

    Raises:
        UserError: If it is missing, damaged, not one of ours, of another run, or holds weights
            that are not numbers.
    """
    path = Path(path)
    content = _load(path)
    stamp = content.get("ugmm") if isinstance(content, dict) else None
    if not isinstance(stamp, dict):
        raise UserError(f"{path} is not a checkpoint of ugmm; name another")
    _check_keys(stamp, {"format": int}, path)
    if stamp["format"] not in _READABLE:
        raise UserError(
            f"{path} has format {stamp['format']}, this version of ugmm reads up to {FORMAT}; "
            "load it with the version that wrote it (environment.json names it)"
        )
    stamp = {**dict.fromkeys(_LATER), **stamp}
    _check_keys(stamp, _STAMP, path)
    _check_keys(content, _CONTENT, path)
    _check_keys(content["loops"], {"fit_loop": dict}, path)
    _check_keys(content["loops"]["fit_loop"], {"epoch_progress": dict}, path)
    _check_weights(content["state_dict"], path)
    if run_id is not None and stamp["run_id"] not in (None, run_id):
        raise UserError(
            f"{path} is of another run ({stamp['run_id']}, and this is {run_id}); {_REMEDY}"
        )
    return Checkpoint(path, Stamp(**{name: stamp[name] for name in _STAMP}), content)


def read_content(path: str | Path) -> dict[str, Any]:
    """Read a checkpoint that any Trainer of Lightning may have written, as carefully.

    Args:
        path: The file.

    Raises:
        UserError: If it is missing, damaged, no checkpoint, or holds weights that are not numbers.
    """
    path = Path(path)
    content = _load(path)
    if not isinstance(content, dict) or not isinstance(content.get("state_dict"), dict):
        raise UserError(f"{path} is not a checkpoint of Lightning; name another")
    _check_weights(content["state_dict"], path)
    return content


def seal(content: bytes) -> bytes:
    """Return the bytes of a zip file, as torch saves them, with a sum of the whole at its end."""
    length = len(_SEAL) + 2 * hashlib.sha256().digest_size
    sealed = content[:-2] + length.to_bytes(2, "little")  # that of the comment ends a zip file
    return sealed + _SEAL + hashlib.sha256(sealed).hexdigest().encode()


def is_whole(path: Path) -> bool:
    """Whether the sums in a file agree."""
    try:
        _compare_sums(path.read_bytes())
    except Exception:  # whatever comes of bytes that anything may have changed
        return False
    return True


def _compare_sums(data: bytes) -> None:
    """Raise if they do not agree; the sum of the whole is missing in earlier checkpoints."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        if (broken := archive.testzip()) is not None:
            raise zipfile.BadZipFile(f"the sum of {broken} is wrong")
        note = archive.comment
    if data.endswith(b"\0\0"):  # the length of the comment: there is none
        return
    if not _agrees(data, note):
        raise zipfile.BadZipFile("the sum of the whole is wrong")


def is_sealed(data: bytes) -> bool:
    """Whether bytes are those of a zip file that `seal` gave, unchanged."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return _agrees(data, archive.comment)
    except Exception:  # whatever comes of bytes that anything may have changed
        return False


def _agrees(data: bytes, note: bytes) -> bool:
    """Whether the note at the end of a zip file is the sum of all before it."""
    return note == _SEAL + hashlib.sha256(data[: -len(note) or None]).hexdigest().encode()


def _load(path: Path) -> Any:
    """Return what a file holds, once the sums in it agree."""
    with reading(path):
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            raise UserError(f"no checkpoint at {path}; {_REMEDY}") from None
    try:
        _compare_sums(data)
        return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UserError(f"{path} holds what no checkpoint of ugmm does; {_REMEDY}") from error
    except Exception as error:  # whatever comes of bytes that anything may have changed
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise DamagedError(f"{path} is corrupt and cannot be read ({reason})") from error


def _check_keys(mapping: Mapping[str, Any], kinds: Mapping[str, Any], path: Path) -> None:
    for name, kind in kinds.items():
        if name not in mapping:
            raise UserError(f"{path} is damaged: it has no {name}; {_REMEDY}")
        value = mapping[name]
        if not _is_a(value, kind):
            is_what = f"its {name} is of type {type(value).__name__}"
            raise UserError(f"{path} is damaged: {is_what}; {_REMEDY}")
        held = value.values() if isinstance(value, dict) else value
        for item in held if name in _HELD and held is not None else ():
            if not _is_a(item, _HELD[name]):
                is_what = f"its {name} holds what is of type {type(item).__name__}"
                raise UserError(f"{path} is damaged: {is_what}; {_REMEDY}")


def _is_a(value: Any, kind: Any) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool)


def _check_weights(weights: Mapping[str, Any], path: Path) -> None:
    """Refuse what is no tensor, or holds NaN; a single number may, that is not known yet."""
    for name, tensor in weights.items():
        if not isinstance(tensor, Tensor):
            raise UserError(f"{path} is damaged: {name} is no tensor; {_REMEDY}")
        if tensor.dim() and tensor.is_floating_point() and tensor.isnan().any():
            raise UserError(f"{path} is of no use: {name} holds NaN; {_REMEDY}")


def restore(network: nn.Module, checkpoint: Checkpoint) -> None:
    """Put the weights of a checkpoint into the network of its task.

    Raises:
        UserError: If they are those of another network, or not finite.
    """
    weights = {
        name.removeprefix("network."): tensor
        for name, tensor in checkpoint.content["state_dict"].items()
        if name.startswith("network.")
    }
    fill(network, weights, checkpoint.path)


def fill(module: nn.Module, weights: Mapping[str, Any], path: Path) -> None:
    """Put weights into a module.

    Args:
        module: The module.
        weights: Its `state_dict`, as a checkpoint has it.
        path: The checkpoint, for a complaint.

    Raises:
        UserError: If they are those of another module, or not finite.
    """
    try:
        module.load_state_dict(weights)
    except RuntimeError as error:
        first = str(error).splitlines()[1:2] or [str(error)]
        raise UserError(
            f"{path} does not fit its network ({first[0].strip().rstrip('.')}); {_REMEDY}"
        ) from error
    for name, parameter in module.named_parameters():
        if not parameter.isfinite().all():
            raise UserError(f"{path} is of no use: {name} is not finite; {_REMEDY}")
