"""What the networks of a study say of digits, and of what is no digit: their class scores."""

import hashlib
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

import ugmm
from ugmm.data import MNISTDataModule
from ugmm.data.files.fashion import read_fashion
from ugmm.data.images import CORRUPTIONS, corrupted, rotated
from ugmm.data.mnist import image_rows
from ugmm.loading import load_network
from ugmm.nn import Classifier
from ugmm.report.statistics import Record
from ugmm.studies.ablation import read_ablation
from ugmm.studies.ablation.records import read_records
from ugmm.studies.ablation.searching.search import settle

__all__ = ["SETS", "Answers", "list_runs", "measure", "sets"]

_BATCH = 500
ANGLES = (30, 60)  # degrees
SETS = ("test", *(f"turned {a}°" for a in ANGLES), *CORRUPTIONS, "clothes", "static")


class Answers(NamedTuple):
    """Class scores of one network.

    Attributes:
        val: Of the rows it was validated on, (n, classes).
        val_labels: Their classes, (n,).
        labels: The classes of the test rows, (10000,).
        scores: Of each of `SETS`, (10000, classes); those of digits are of the same test rows.
    """

    val: np.ndarray
    val_labels: np.ndarray
    labels: np.ndarray
    scores: dict[str, np.ndarray]


def list_runs(study: str) -> list[Record]:
    """Return the finished runs of an ablation, with the variant and the seed of each."""
    ablation, _ = settle(read_ablation(study))
    records, _ = read_records(ablation, ablation.open_ledger())
    return records


def measure(run: Path, data: MNISTDataModule) -> Answers:
    """Return what a run's network says, from a file beside its study's runs, or by asking it.

    Args:
        run: The folder.
        data: Set up. Which rows a run is validated on, its seed does not change.
    """
    kept = run.parent / "uncertainty" / f"{run.name}-{_hash_sources(run)}.npz"
    val, test = data.splits["val"], data.splits["test"]
    if kept.is_file():
        with np.load(kept) as file:
            scores = dict(file)
    else:
        network = load_network(run)
        assert isinstance(network, Classifier)
        made = {"val": lambda: val.x, **dict(sets(test.x, data.image_shape))}
        scores = {name: _scores(network, make()) for name, make in made.items()}
        kept.parent.mkdir(exist_ok=True)
        partial = kept.with_suffix(".partial.npz")
        np.savez(partial, **scores)  # type: ignore[arg-type]
        partial.rename(kept)
    return Answers(scores.pop("val"), val.y.numpy(), test.y.numpy(), scores)


def _hash_sources(run: Path) -> str:
    """Return a hash of what a run's scores follow from: its files, and the code that asks it.

    Data files are left out: the code holds their digests, which they are checked against.
    """
    digest = hashlib.sha256(_hash_code())
    for path in (run / "config.yaml", *sorted((run / "checkpoints").iterdir())):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


@cache  # which does not change while all runs of a study are asked
def _hash_code() -> bytes:
    digest = hashlib.sha256(torch.__version__.encode())
    for path in (Path(__file__), *sorted(Path(ugmm.__file__).parent.rglob("*.py"))):
        digest.update(path.read_bytes())
    return digest.digest()


def sets(x: Tensor, shape: tuple[int, int]) -> Iterator[tuple[str, Callable[[], Tensor]]]:
    """Yield each of `SETS`, and how its images are made of the test digits."""
    yield "test", lambda: x
    for angle in ANGLES:
        yield f"turned {angle}°", lambda angle=angle: rotated(x, shape, angle)
    for number, kind in enumerate(CORRUPTIONS):
        yield kind, lambda kind=kind, number=number: corrupted(x, shape, kind, seed=number)
    yield "clothes", lambda: image_rows(*read_fashion()["test"]).x
    yield "static", lambda: torch.rand(x.shape, generator=torch.Generator().manual_seed(0))


@torch.no_grad()
def _scores(network: Classifier, x: Tensor) -> np.ndarray:
    like = next(network.parameters())
    with network.prepared():
        parts = [network.class_scores(rows.to(like)) for rows in x.split(_BATCH)]
    return torch.cat(parts).float().numpy()
