"""What recurrent mixture neurons cost beside `torch.nn.GRU` of the same widths.

python benchmarks/architectures/recurrence.py [--quick] [--write]
"""

import argparse
from collections.abc import Callable

import torch
from cost import kept, step_of, time_steps
from results import read_options, show, table
from torch import nn

from ugmm.nn import UGMMRNN

KINDS: dict[str, Callable[..., nn.Module]] = {"ugmm": UGMMRNN, "gru": nn.GRU}
CASES = (
    # batch, steps, inputs, states
    (1, 28, 28, 64),
    (128, 28, 28, 64),
    (128, 28, 28, 128),
    (50, 50, 2, 24),
)


def main() -> None:
    """Time both side by side."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    options = read_options(parser)
    rows = []
    for batch, steps, n_in, hidden in CASES:
        torch.manual_seed(0)
        x = torch.randn(steps, batch, n_in)
        layers = {name: kind(n_in, hidden) for name, kind in KINDS.items()}
        contenders = {name: step_of(layer, x) for name, layer in layers.items()}
        times = time_steps(contenders, 0.5 if options.quick else 10.0)
        memory = {name: kept(layer, x) for name, layer in layers.items()}
        for name, layer in layers.items():
            cpu = times[name].cpu
            rows.append(
                [
                    f"{batch} x {steps} x {n_in} to {hidden}",
                    name,
                    sum(p.numel() for p in layer.parameters()),
                    f"{1e3 * cpu.median:.2f}",
                    f"{1e3 * cpu.low:.2f}..{1e3 * cpu.high:.2f}",
                    " + ".join(f"{1e3 * part:.2f}" for part in times[name].parts),
                    f"{cpu.median / times['gru'].cpu.median:.2f}x",
                    f"{memory[name] / 2**20:.2f}",
                    f"{memory[name] / memory['gru']:.2f}x",
                ]
            )
    columns = [
        "batch x steps x inputs to states", "layer", "parameters", "CPU ms", "quartiles",
        "forward + backward", "of the GRU's", "kept, MiB", "of the GRU's",
    ]  # fmt: skip
    text = (
        "One layer, forward and backward, in float32; kept: what forward leaves for backward, "
        "less parameters and input.\n\n" + table(columns, rows)
    )
    show("recurrence", "the cost of recurrent mixture neurons beside a GRU", text, options.write)


if __name__ == "__main__":
    main()
