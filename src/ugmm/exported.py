"""Reading back what `ugmm export` wrote, without running anything that stands in it.

A safetensors folder and a pt2 archive both hold a *description*, from which the network is built
by this package's own code, and its weights, which are read as plain numbers. The program in an
archive is for `torch.export.load`; it is not looked at here, since reading it could run code.
"""

import functools
import hashlib
import io
import json
import math
import sys
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from typing import Any

import torch
from torch import Tensor

from ugmm.checkpoints import fill, is_sealed
from ugmm.config.frozen import from_mapping, to_mapping
from ugmm.config.schema import Config
from ugmm.config.training import TrackingConfig
from ugmm.errors import UserError
from ugmm.nn import Classifier, Network, Regressor
from ugmm.reading import read_json, reading
from ugmm.spec import Spec
from ugmm.trained import TrainedNetwork, TrainedRegressor

__all__ = [
    "CONFIG",
    "DESCRIPTION",
    "FORMAT",
    "WEIGHTS",
    "Origin",
    "describe",
    "digest",
    "is_export",
    "read_export",
    "read_with_origin",
]

FORMAT = 1
CONFIG, WEIGHTS = "config.json", "model.safetensors"  # as hubs of models name them
DESCRIPTION = "ugmm.json"  # in an archive
_REMEDY = "bring back a copy of it, or export again"
# As archives number them.
_DTYPES = {1: torch.uint8, 5: torch.int64, 7: torch.float32, 8: torch.float64, 12: torch.bool}
_PREFIX = "network."  # of the network's weights in an archive's program


@dataclass(frozen=True)
class Origin:
    """Where a network comes from.

    Attributes:
        run: The name of the run's folder.
        commit: Of the source tree that it was trained with; None where that is not known.
        metrics: The run's summary.
    """

    run: str | None = None
    commit: str | None = None
    metrics: Mapping[str, float] | None = None


def describe(trained: TrainedNetwork | TrainedRegressor, origin: Origin) -> dict[str, Any]:
    """Return what JSON can hold of a trained network: all but its weights.

    Where its run and its table lay, and whose Weights & Biases tracked it, stay behind.
    """
    from ugmm import __version__

    config = replace(trained.config, runs_dir="runs", tracking=TrackingConfig())
    if isinstance(path := getattr(config.data, "path", None), str):
        config.data = replace(config.data, path=PurePath(path).name)  # type: ignore[call-arg]
    metrics = {k: v for k, v in (origin.metrics or {}).items() if math.isfinite(v)}
    return {
        "format": FORMAT,
        "library_name": "ugmm",
        "library_version": __version__,
        "run": origin.run,
        "commit": origin.commit,
        "metrics": metrics,
        "config": to_mapping(config),
        "spec": trained.spec.to_json(),
    }


def is_export(place: str | Path) -> bool:
    """Whether a place is what `ugmm export` wrote, by its looks, or a damaged one of those."""
    path = Path(place)
    if path.suffix in (".pt2", ".onnx") or path.name == WEIGHTS:
        return True
    run = (path / "config.yaml").is_file()
    return not run and any((path / name).is_file() for name in (CONFIG, WEIGHTS))


def read_export(place: str | Path) -> TrainedNetwork | TrainedRegressor:
    """Return the trained network of a pt2 archive or of a safetensors folder.

    Args:
        place: The archive; or the folder, or its `model.safetensors`.

    Raises:
        UserError: If it is missing, damaged, of another kind or of a later version.
    """
    return read_with_origin(place)[0]


def read_with_origin(place: str | Path) -> tuple[TrainedNetwork | TrainedRegressor, Origin]:
    """Return the same as `read_export`, and where it says that the network comes from."""
    path = Path(place)
    if path.suffix == ".onnx":
        raise UserError(
            f"{path} is for an ONNX runtime, and ugmm does not read it back; load the run, or "
            "export it with --to pt2 or safetensors"
        )
    if path.suffix == ".pt2":
        described, weights = _read_archive(path)
        return _rebuild(described, weights, path), _origin(described, path)
    folder = path.parent if path.name == WEIGHTS and path.is_file() else path
    described, weights = _read_folder(folder)
    return _rebuild(described, weights, folder), _origin(described, folder)


def _origin(described: Mapping[str, Any], path: Path) -> Origin:
    run, commit, metrics = (described.get(key) for key in ("run", "commit", "metrics"))
    texts = all(each is None or isinstance(each, str) for each in (run, commit))
    if not texts or not isinstance(metrics, dict):
        raise UserError(f"{path} is damaged (it does not say what it is of); {_REMEDY}")
    for name, value in metrics.items():
        if not isinstance(value, int | float) or abs(value) > sys.float_info.max:
            raise UserError(f"{path} is damaged (its {name} is no number); {_REMEDY}")
    return Origin(run, commit, metrics)


def _rebuild(
    described: Any, weights: Mapping[str, Tensor], path: Path
) -> TrainedNetwork | TrainedRegressor:
    version = described.get("format") if isinstance(described, dict) else None
    if not isinstance(version, int) or not isinstance(described.get("spec"), dict):
        raise UserError(f"{path} was not exported by ugmm; name another")
    if version > FORMAT:
        raise UserError(
            f"{path} has format {version}, this version of ugmm reads up to {FORMAT}; load it "
            f"with ugmm {described.get('library_version')}"
        )
    if not isinstance(described.get("config"), dict):
        raise UserError(f"{path} is damaged (it has no configuration); {_REMEDY}")
    config = from_mapping(described["config"], str(path))
    spec = Spec.from_json(described["spec"])
    network = _build(config, spec, path)
    fill(network, weights, path)
    network.eval()
    if isinstance(network, Regressor):
        return TrainedRegressor(network, spec, config)
    assert isinstance(network, Classifier)
    return TrainedNetwork(network, spec, config)


def _build(config: Config, spec: Spec, path: Path) -> Network:
    try:
        return config.network(spec.n_features, spec.n_classes)
    except (ValueError, TypeError, RuntimeError, MemoryError) as error:
        raise UserError(f"{path} is damaged ({error}); {_REMEDY}") from error


def _read_folder(folder: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return the description and the weights of a folder, once their sums agree."""
    config, path = folder / CONFIG, folder / WEIGHTS
    for each in (config, path):
        if not each.is_file():
            raise UserError(f"{folder} is no whole export: it has no {each.name}; {_REMEDY}")
    described = read_json(config, _REMEDY, {"weights_sha256": str})
    if "library_name" in described and described["library_name"] != "ugmm":
        raise UserError(f"{folder} is a model of {described['library_name']}; name another")
    from safetensors import SafetensorError, safe_open

    with reading(path):
        data = path.read_bytes()
        try:
            with safe_open(path, "pt") as file:
                noted = (file.metadata() or {}).get("ugmm")
                weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (SafetensorError, RuntimeError, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise UserError(f"{path} is damaged ({reason}); {_REMEDY}") from error
    if digest(data) != described.get("weights_sha256"):
        raise UserError(f"{path} is not what {CONFIG} says (their sums differ); {_REMEDY}")
    with reading(config):
        if noted != hashlib.sha256(config.read_bytes()).hexdigest():
            raise UserError(f"{config} was changed after the export; {_REMEDY}")
    return described, weights


def digest(safetensors: bytes) -> str:
    """Return the sum of the tensors in a safetensors file, all that follows its header."""
    header = int.from_bytes(safetensors[:8], "little")
    return hashlib.sha256(memoryview(safetensors)[8 + header :]).hexdigest()


def _read_archive(path: Path) -> tuple[Any, dict[str, Tensor]]:
    """Return the description and the weights of an archive, once its sum agrees."""
    with reading(path):
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            raise UserError(f"there is no archive at {path}; name another") from None
    if not is_sealed(data):
        raise UserError(f"{path} is damaged, or was not exported by ugmm; {_REMEDY}")
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            read = _reader(archive, len(data))
            described = json.loads(read(f"extra/{DESCRIPTION}"))
            listed = json.loads(read("data/weights/model_weights_config.json"))
            weights = {
                name.removeprefix(_PREFIX): _read_tensor(read, entry)
                for name, entry in listed["config"].items()
                if name.startswith(_PREFIX)
            }
    except (
        *(AttributeError, EOFError, KeyError, TypeError, ValueError, RuntimeError),
        *(zipfile.BadZipFile, zlib.error),
    ) as error:
        raise UserError(f"{path} is not an archive of ugmm ({error!r}); {_REMEDY}") from error
    return described, weights


def _reader(archive: zipfile.ZipFile, size: int) -> Callable[[str], bytearray]:
    """Return what reads a member of an archive, once, by its name below the top folder.

    Members are stored as they are, so all of them together are smaller than the file: whoever
    reads them needs no more memory than it has bytes, whatever it says of itself.
    """
    members = {member.filename.partition("/")[2]: member for member in archive.infolist()}
    if sum(member.file_size for member in archive.infolist()) > size:
        raise ValueError("it unpacks to more than it holds")

    @functools.cache
    def read(name: str) -> bytearray:
        if members[name].compress_type != zipfile.ZIP_STORED:
            raise ValueError(f"{name} is compressed")
        return bytearray(archive.read(members[name]))

    return read


def _read_tensor(read: Callable[[str], bytearray], entry: Mapping[str, Any]) -> Tensor:
    """Return a tensor of an archive: all bytes of a member are its numbers, each of them once."""
    name, meta = f"data/weights/{entry['path_name']}", entry["tensor_meta"]
    if entry["use_pickle"]:
        raise ValueError(f"{name} holds more than numbers")
    sizes, strides = ([n["as_int"] for n in meta[key]] for key in ("sizes", "strides"))
    dtype, content, n = _DTYPES[meta["dtype"]], read(name), 1
    for stride, size in sorted(zip(strides, sizes, strict=True)):
        if size < 0 or (size > 1 and stride != n):
            raise ValueError(f"{name} has strides {strides} for sizes {sizes}")
        n *= size
    if n * dtype.itemsize != len(content) or meta["storage_offset"]["as_int"] != 0:
        raise ValueError(f"{name} has {len(content)} bytes for sizes {sizes}")
    if not content:
        return torch.empty(sizes, dtype=dtype)
    return torch.frombuffer(content, dtype=dtype).as_strided(sizes, strides)
