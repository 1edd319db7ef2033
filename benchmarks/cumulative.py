"""Times the cumulative score, forward and backward, beside eager torch's logcumsumexp.

Run as `python benchmarks/cumulative.py [--quick] [--device cuda]`.
"""

import functools

import torch

from common import Table, alternate, announce, medians, parser, save, say, spread_of_sums
from kernels import HALF_LOG_2PI, NO_DX, step
from ugmm.functional import cumulative_log_score

SIZES = [(128, 128, 784), (32, 16, 196)]
FEW = ", 10%"  # of the prefixes are wanted


def eager(x, loc, log_scale, log_weights, start):
    """The formula as one writes it, with torch's own gradients."""
    z = (x.unsqueeze(1) - loc) / log_scale.exp()
    terms = log_weights - log_scale - HALF_LOG_2PI - 0.5 * z**2
    terms = torch.cat([start.unsqueeze(-1), terms[..., :-1]], -1)
    return torch.logcumsumexp(terms, -1).transpose(1, 2)


def contenders(device):
    """The names that are compared."""
    return ("eager", "eager" + NO_DX, device, device + NO_DX, device + FEW)


def contender(name, n_in, device="cpu"):
    """The function of this name."""
    if name.startswith("eager"):
        return eager
    positions = torch.arange(5, n_in, 10, device=device) if name.endswith(FEW) else None
    return functools.partial(cumulative_log_score, positions=positions, kernel=device)


def layer(name, size, device="cpu"):
    """A layer's inputs, and a gradient for its scores."""
    batch, n_out, n_in = size
    torch.manual_seed(0)
    x, start = torch.rand(batch, n_in), torch.randn(batch, n_out)
    log_weights = torch.rand(n_out, n_in).log_softmax(-1)
    inputs = [x, torch.randn(n_out, n_in), torch.rand(n_out, n_in).log_(), log_weights, start]
    inputs = [tensor.to(device) for tensor in inputs]
    for tensor in inputs[1 if name.endswith(NO_DX) else 0 :]:
        tensor.requires_grad_()
    wanted = len(range(5, n_in, 10)) if name.endswith(FEW) else n_in
    return inputs, torch.randn(batch, wanted, n_out).to(device)


def main():
    """Print the table."""
    options = parser(__doc__)
    options.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    options = options.parse_args()
    device = options.device
    announce(device)
    columns = "size:14 contender:13 forward:9 backward:9 both:9 quartiles:20 reps:4 eager:7"
    table = Table(
        "The cumulative score, forward and backward",
        columns.split(),
        "size: batch x out x in. Times in ms: medians, and the quartiles of both together.\n"
        "eager: how many times as long it takes, with or without the input's gradient alike.\n"
        "no dx: the input needs no gradient; 10%: of the prefixes, evenly spread, are wanted.",
    )
    data = []
    for size in SIZES:
        label = "x".join(map(str, size))
        say(f"{label}: timing")
        steps = {
            name: functools.partial(
                step, contender(name, size[2], device), *layer(name, size, device)
            )
            for name in contenders(device)
        }
        results, refused = alternate(steps, 2 if options.quick else 30)
        for name in contenders(device):
            if name in refused:
                table.add(label, name, refused[name])
                continue
            spread = spread_of_sums(results[name])
            times = [f"{1e3 * seconds:.3f}" for seconds in medians(results[name])]
            base = results.get("eager" + NO_DX if name.endswith(NO_DX) else "eager")
            ratio = f"{spread_of_sums(base).median / spread.median:.1f}x" if base else "-"
            table.add(label, name, *times, *spread.milliseconds(), ratio)
            data.append({"size": size, "name": name, "seconds": spread.median})
    save(options.save, "cumulative", [table], data, device)


if __name__ == "__main__":
    main()
