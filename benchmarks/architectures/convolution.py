"""What a convolution of mixture neurons costs, beside the operation on unfolded patches.

    python benchmarks/architectures/convolution.py [--quick] [--write]

Contenders alternate within one run. Unfolded: the same scores from the patches of the whole batch
at once. Kept is what forward leaves for backward, beside parameters and input; peak, what a step
holds at once.
"""

import argparse
from typing import NamedTuple

import torch
from cost import kept, peak, step_of, time_steps
from results import read_options, show, table
from torch import Tensor, nn

from ugmm.functional import mixture_log_score
from ugmm.nn import UGMMConv2d


class Size(NamedTuple):
    """A batch of square images, and a layer that keeps their size."""

    batch: int
    n_in: int
    side: int
    n_out: int
    kernel: int

    @property
    def components(self) -> int:
        """Of each neuron."""
        return self.n_in * self.kernel**2


SIZES = (
    Size(64, 1, 28, 32, 3),
    Size(64, 1, 28, 32, 5),
    Size(64, 16, 14, 32, 3),
    Size(64, 32, 14, 64, 3),
)
UNFOLDED, CONV = "unfolded", "nn.Conv2d"


class Unfolded(nn.Module):
    """The scores of a layer's neurons, from the patches of all images together."""

    def __init__(self, layer: UGMMConv2d) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        """Return the scores, zeros beyond the edges."""
        layer = self.layer
        patches = nn.functional.unfold(x, layer.kernel_size, padding=layer.padding)
        scores = mixture_log_score(
            patches.transpose(1, 2).flatten(0, 1),
            layer.loc,
            layer.raw_scale,
            layer.logits,
            min_scale=layer.min_scale,
        )
        return scores.unflatten(0, (len(x), *x.shape[2:])).permute(0, 3, 1, 2)


def make(size: Size) -> dict[str, nn.Module]:
    """The contenders."""
    torch.manual_seed(0)
    shape, half = (size.n_in, size.n_out, size.kernel), size.kernel // 2
    layers = {
        f"UGMMConv2d, {mode}": UGMMConv2d(*shape, padding=half, padding_mode=mode, min_scale=0.2)
        for mode in ("zeros", "drop")
    }
    alone = UGMMConv2d(*shape, padding=half, padding_mode="zeros", min_scale=0.2)
    return {**layers, UNFOLDED: Unfolded(alone), CONV: nn.Conv2d(*shape, padding=half)}


def measure(size: Size, seconds: float) -> list[list[object]]:
    """The rows of a size."""
    torch.manual_seed(1)
    x = torch.randn(size.batch, size.n_in, size.side, size.side)
    x = x.contiguous(memory_format=torch.channels_last).requires_grad_(size.n_in > 1)
    layers = make(size)
    steps = {name: step_of(layer, x) for name, layer in layers.items()}
    timings = time_steps(steps, seconds)
    seconds_of = {name: timing.seconds.median for name, timing in timings.items()}
    memory = {name: kept(layer, x) for name, layer in layers.items()}
    most = {name: peak(step) for name, step in steps.items()}
    rows: list[list[object]] = []
    for name in layers:
        forward, backward = timings[name].parts
        rows.append(
            [
                f"{size.batch} x {size.n_in} x {size.side} x {size.side} to {size.n_out}",
                size.components,
                name,
                f"{1e3 * forward:.1f} + {1e3 * backward:.1f}",
                *(f"{seconds_of[name] / seconds_of[of]:.2f}x" for of in (UNFOLDED, CONV)),
                f"{memory[name] / 2**20:.2f}",
                f"{memory[name] / memory[UNFOLDED]:.2f}x",
                f"{most[name] / 2**20:.1f}",
                f"{most[name] / most[UNFOLDED]:.2f}x",
            ]
        )
    return rows


def main() -> None:
    """Time all sizes, and tabulate."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    options = read_options(parser)
    rows = []
    for size in SIZES[:1] if options.quick else SIZES:
        rows += measure(size, 1 if options.quick else 10)
    columns = [
        "images", "inputs", "layer", "forward + backward, ms", "of unfolded's",
        f"of {CONV}'s", "kept, MiB", "of unfolded's", "peak, MiB", "of unfolded's",
    ]  # fmt: skip
    text = (
        "Windows of 3 x 3 or 5 x 5 at every pixel. Images of one channel need no gradient.\n\n"
        + table(columns, rows)
    )
    show("convolution", "what convolutions of mixture neurons cost", text, options.write)


if __name__ == "__main__":
    main()
