"""`ugmm complete`: images of which half is known, completed, as a picture."""

from pathlib import Path

import torch
from torch import Tensor

from ugmm.errors import UserError
from ugmm.given import Given
from ugmm.loading import load
from ugmm.nn import Evidence
from ugmm.report import draw_completions
from ugmm.runs import locate
from ugmm.terminal import say
from ugmm.trained import TrainedNetwork

__all__ = ["HALVES", "complete", "known_half"]

_DRAWS = 64  # a pixel-wise majority of more looks the same

HALVES = ("upper", "lower", "left", "right", "random")


def complete(run: str, n: int, *, known: str, out: str | None, seed: int) -> None:
    """Draw test images of a run, each with half of its pixels known, and their completions.

    Args:
        run: The run folder.
        n: How many images: the first of the test split.
        known: Which half of the pixels is known: one of `HALVES`.
        out: The picture, a PNG file; None: `plots/complete_<known>.png` in the run folder.
        seed: Of the draws, and of the known half where it is random.

    Raises:
        UserError: If the run cannot be used, is not of images, or is no density of them.
    """
    if n < 1:
        raise UserError(f"-n {n}: ask for at least one image")
    network = load(run)
    if network.spec.image_shape is None:
        raise UserError("the rows of this run are no images; ask about them by ugmm infer")
    x = _test_images(network, n)
    evidence = Evidence(x, known_half(known, network.spec.image_shape, len(x), seed))
    rows = Given(network.network, network.spec, evidence, network.kept)
    say(f"drawing {_DRAWS} completions of each of {len(x)} images, and searching for the mode")
    drawn = rows.sample(_DRAWS, seed=seed).diagnostics.features
    best = rows.mpe(seed=seed)
    path = Path(out) if out else locate(run)[0].plots / f"complete_{known}.png"
    draw_completions(x, evidence.known, drawn, torch.tensor(best.rows), path)
    say(f"drawn: {path}")


def known_half(half: str, shape: tuple[int, int], n: int, seed: int) -> Tensor:
    """Return which pixels of n images (height, width) are known: (n, height * width), bool."""
    height, width = shape
    if half == "random":
        generator = torch.Generator().manual_seed(seed)
        order = torch.rand(n, height * width, generator=generator).argsort(-1)
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
