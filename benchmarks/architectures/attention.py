"""The cost of an encoder's layer with parts of mixture neurons, beside torch.nn's of equal widths.

    python benchmarks/architectures/attention.py [--quick] [--write]

Layers alternate within one run. Memory is what a layer keeps between forward and backward, beside
its parameters and its input.
"""

import argparse
from typing import NamedTuple

import torch
from cost import kept, step_of, time_steps
from results import read_options, show, table
from torch import nn

from ugmm.nn import UGMMEncoderLayer

TORCH = "nn.TransformerEncoderLayer"
LINEAR = {"feed_forward": "linear"}
OURS = {
    "all linear, dot": LINEAR,
    "Gaussian score": {**LINEAR, "score": "gaussian"},
    "feed-forward of neurons": {},
    "q, k, v of neurons": {**LINEAR, "qkv": "ugmm"},
    "all of neurons, Gaussian score": {"score": "gaussian", "qkv": "ugmm", "out": "ugmm"},
}


class Size(NamedTuple):
    """Sequences, and the widths of a layer."""

    batch: int
    tokens: int
    d_model: int
    nhead: int
    dim_feedforward: int


SIZES = (Size(100, 16, 32, 2, 64), Size(16, 64, 128, 4, 256), Size(4, 256, 128, 4, 256))


def make(name: str, size: Size) -> nn.Module:
    """A layer without dropout."""
    torch.manual_seed(0)
    widths = (size.d_model, size.nhead, size.dim_feedforward, 0.0, "gelu")
    if name == TORCH:
        return nn.TransformerEncoderLayer(*widths, batch_first=True, norm_first=True)
    return UGMMEncoderLayer(*widths, batch_first=True, **OURS[name])


def measure(size: Size, seconds: float) -> list[list[object]]:
    """The rows of a size."""
    torch.manual_seed(1)
    x = torch.randn(size.batch, size.tokens, size.d_model, requires_grad=True)
    layers = {name: make(name, size) for name in (TORCH, *OURS)}
    timings = time_steps({name: step_of(layer, x) for name, layer in layers.items()}, seconds)
    rows: list[list[object]] = []
    memory = {name: kept(layer, x) for name, layer in layers.items()}
    for name, layer in layers.items():
        forward, backward = timings[name].parts
        ratio = timings[name].seconds.median / timings[TORCH].seconds.median
        rows.append(
            [
                f"{size.batch} x {size.tokens} x {size.d_model}, {size.dim_feedforward} hidden",
                name,
                f"{sum(p.numel() for p in layer.parameters()):,}",
                f"{1e3 * forward:.2f}",
                f"{1e3 * backward:.2f}",
                f"{ratio:.1f}x",
                f"{memory[name] / 2**20:.2f}",
                f"{memory[name] / memory[TORCH]:.2f}x",
            ]
        )
    return rows


def main() -> None:
    """Time all sizes, and tabulate."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    options = read_options(parser)
    rows = []
    for size in SIZES[:1] if options.quick else SIZES:
        rows += measure(size, 2 if options.quick else 15)
    columns = ["batch x tokens x features", "layer", "parameters", "forward ms", "backward ms",
               "time", "kept MiB", "memory"]  # fmt: skip
    text = "Factors are to torch.nn's layer of the same widths.\n\n" + table(columns, rows)
    show("attention", "what an encoder's layer costs", text, options.write)


if __name__ == "__main__":
    main()
