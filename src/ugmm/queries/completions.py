"""`ugmm complete`: images of which half is known, completed, as a picture."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ugmm.errors import UserError
from ugmm.inference.asking import generator_of
from ugmm.nn import Evidence
from ugmm.queries.network import load_asked
from ugmm.report import completed_images, save
from ugmm.runs import locate
from ugmm.spec import Spec
from ugmm.terminal import say
from ugmm.trained import TrainedNetwork
from ugmm.writing import make_folder

__all__ = ["HALVES", "complete", "known_half"]

_DRAWS = 64  # a pixel-wise majority of more looks the same

HALVES = ("upper", "lower", "left", "right", "random")


def complete(run: str, n: int, *, known: str, out: str | None, seed: int) -> None:
    """Draw test images of a run, each with half of its pixels known, and their completions.

    Args:
        run: The run folder.
        n: How many images: the first of the test split.
        known: Which half of the pixels is known: one of `HALVES`.
        out: The picture, a PNG unless it ends in .pdf or .svg; None:
            `plots/complete_<known>.png` in the run folder.
        seed: Of the draws, and of the known half where it is random.

    Raises:
        UserError: If the run cannot be used, is not of images, or is no density of them.
    """
    if n < 1:
        raise UserError(f"-n {n}: ask for at least one image")
    folder, checkpoint = locate(run)
    network = load_asked(checkpoint or folder.folder)  # a group's newest run is told of once
    if network.spec.image_shape is None:
        raise UserError("the rows of this run are no images; ask about them by ugmm infer")
    x = _test_images(network, n)
    shape = network.spec.image_shape
    evidence = Evidence(x, known_half(known, shape, len(x), seed))
    rows = network.ask(evidence)
    say(f"drawing {_DRAWS} completions of each of {len(x)} images, and searching for the mode")
    samples = rows.sample(_DRAWS, seed=seed).rows
    mode = rows.mpe(seed=seed).rows
    images = [_to_ink(raw, network.spec) for raw in (network.spec.decode(x), samples, mode)]
    figure = completed_images(images[0], evidence.known, images[1], shape, images[2])
    path = Path(out) if out else folder.plots / f"complete_{known}.png"
    make_folder(path.parent)
    save(figure, path)
    say(f"picture: {path}")


def _to_ink(raw: np.ndarray, spec: Spec) -> np.ndarray:
    """Return raw pixels between 0, paper, and 1, ink."""
    low, high = spec.pixel_range or (0.0, 1.0)
    return np.clip((raw.astype(float) - low) / (high - low), 0, 1)


def known_half(half: str, shape: tuple[int, int], n: int, seed: int) -> Tensor:
    """Return which pixels of n images (height, width) are known: (n, height * width), bool."""
    height, width = shape
    if half == "random":
        order = torch.rand(n, height * width, generator=generator_of(seed)).argsort(-1)
        return order < height * width // 2
    known = torch.zeros(height, width, dtype=torch.bool)
    if half in ("upper", "lower"):
        known[: height // 2] = True
    else:
        known[:, : width // 2] = True
    if half in ("lower", "right"):
        known = ~known
    return known.flatten().expand(n, -1)


def _test_images(network: TrainedNetwork, n: int) -> Tensor:
    data = network.config.data.build(network.config.seed)
    data.prepare_data()
    data.setup("test")
    return data.splits["test"].x[:n]
