"""Times one training step of 784-128-64-10 beside other networks: `python benchmarks/steps.py`.

A step is forward, loss, backward and Adam. Beside ours stand the paper's eager code, an MLP of
the same widths, and probabilistic circuits of spflow with about as many parameters, whose leaves
are Gaussian. Before it is timed, every network shows on a small batch that it learns.
"""

import functools
import math
import time

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from common import Table, alternate, announce, medians, parser, save, say, spread_of_sums
from kernels import eager
from ugmm.baselines import MLP
from ugmm.nn import UGMMNetwork

SIZES = [784, 128, 64, 10]
BATCHES = (128, 256)
DROPOUT = 0.2  # of the first layer's components, as in the paper
CHANNELS, REPETITIONS, DEPTH = 20, 10, 3  # of the circuits: 339,710 parameters
LEARNING_STEPS, LEARNING_ROWS, LEARNING_RATE = 20, 32, 0.01
HOW_TO = "spflow is not installed, its circuits are left out: pip install -e '.[circuits]'"


class EagerLayer(nn.Module):
    """A layer as the paper publishes it."""

    def __init__(self, n_in: int, n_out: int, dropout: float) -> None:
        super().__init__()
        self.loc = nn.Parameter(torch.randn(n_out, n_in))
        self.log_scale = nn.Parameter(torch.rand(n_out, n_in).log())
        self.logits = nn.Parameter(torch.rand(n_out, n_in))
        self.dropout = dropout

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The scores; dropped components get no weight, the others are normalised anew."""
        logits = self.logits
        if self.dropout:
            # The largest negative number, not -inf: log(softmax) of that has no gradient.
            dropped = torch.rand_like(logits) < self.dropout
            logits = torch.where(dropped, logits.new_tensor(-60.0), logits)
        return eager(x, self.loc, self.log_scale, logits)


def eager_network() -> nn.Module:
    """The paper's network."""
    rates = [DROPOUT] + [0.0] * len(SIZES)
    pairs = zip(SIZES, SIZES[1:], rates, strict=False)
    return nn.Sequential(*(EagerLayer(*arguments) for arguments in pairs))


class Circuit(nn.Module):
    """A circuit of spflow as a classifier: its outputs are the classes' log-posteriors."""

    def __init__(self, circuit: nn.Module) -> None:
        super().__init__()
        self.circuit = circuit

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Cross-entropy, applied to normalised logarithms, is their negative log-likelihood."""
        return self.circuit.log_posterior(x)


def leaves() -> list[nn.Module]:
    """Gaussians over all inputs, of a width that suits inputs in [0, 1]."""
    from spflow.modules.leaves import Normal

    shape = (SIZES[0], CHANNELS, REPETITIONS)
    return [
        Normal(
            scope=list(range(SIZES[0])),
            out_channels=CHANNELS,
            num_repetitions=REPETITIONS,
            loc=torch.rand(shape),
            scale=torch.full(shape, 0.5),
            validate_args=False,  # in its favour: no look at every input for every step
        )
    ]


def rat_spn() -> nn.Module:
    """A RAT-SPN, elementwise products."""
    from spflow.zoo.rat.rat_spn import RatSPN

    return Circuit(
        RatSPN(
            leaves(),
            n_root_nodes=SIZES[-1],
            n_region_nodes=CHANNELS,
            num_repetitions=REPETITIONS,
            depth=DEPTH,
        )
    )


def einet() -> nn.Module:
    """An Einet, of the layers that spflow prefers."""
    from spflow.zoo.einet.einet import Einet

    return Circuit(
        Einet(
            leaves(),
            num_classes=SIZES[-1],
            num_sums=CHANNELS,
            num_leaves=CHANNELS,
            depth=DEPTH,
            num_repetitions=REPETITIONS,
        )
    )


OURS, FULL = "ugmm", "ugmm, no zeros"
NETWORKS = {
    OURS: functools.partial(UGMMNetwork, SIZES, DROPOUT, init="paper", min_scale=0.0),
    FULL: functools.partial(UGMMNetwork, SIZES, DROPOUT, init="paper", min_scale=0.0),
    "ugmm, LayerNorm": functools.partial(UGMMNetwork, SIZES, DROPOUT, norm="layer"),
    "eager, as published": eager_network,
    "MLP": functools.partial(MLP, SIZES),
    "spflow RatSPN": rat_spn,
    "spflow Einet": einet,
}


def available() -> dict:
    """The networks that can be built here."""
    try:
        import spflow  # noqa: F401
    except ImportError:
        print(HOW_TO)
        return {name: make for name, make in NETWORKS.items() if "spflow" not in name}
    return NETWORKS


def batch_of(rows: int, zeros: bool = True) -> tuple[torch.Tensor, torch.Tensor]:
    """Inputs in [0, 1] about one prototype a class, and their classes.

    As of MNIST's pixels four fifths are 0, other ones for each class; or none is.
    """
    torch.manual_seed(0)
    prototypes = torch.rand(SIZES[-1], SIZES[0])
    inked = torch.rand(SIZES[-1], SIZES[0]) < (0.2 if zeros else 1.0)
    y = torch.arange(rows) % SIZES[-1]
    return inked[y] * (0.7 * prototypes[y] + 0.3 * torch.rand(rows, SIZES[0])), y


def train(network, optimizer, x, y) -> tuple[float, float, float, float]:
    """One step: the seconds of forward with the loss, of backward, of Adam; and the loss."""
    start = time.perf_counter()
    loss = cross_entropy(network(x), y)
    middle = time.perf_counter()
    optimizer.zero_grad()
    loss.backward()
    late = time.perf_counter()
    optimizer.step()
    return middle - start, late - middle, time.perf_counter() - late, loss.item()


def losses(make) -> tuple[float, float]:
    """The loss of a new network, and after some steps on the same batch."""
    torch.manual_seed(0)
    network, (x, y) = make(), batch_of(LEARNING_ROWS)
    optimizer = torch.optim.Adam(network.parameters(), LEARNING_RATE)
    found = [train(network, optimizer, x, y)[3] for _ in range(LEARNING_STEPS)]
    if not all(map(math.isfinite, found)) or found[-1] >= found[0]:
        raise RuntimeError(f"its loss went from {found[0]:.3f} to {found[-1]:.3f}")
    return found[0], found[-1]


def timed(name: str, make, rows: int):
    """A step of a new network, as `alternate` wants it."""
    torch.manual_seed(0)
    network, (x, y) = make(), batch_of(rows, zeros=name != FULL)
    optimizer = torch.optim.Adam(network.parameters())
    return lambda: train(network, optimizer, x, y)[:3]


def add_rows(table: Table, rows: int, networks: dict, learned: dict, seconds: float) -> list[dict]:
    """Time all networks on batches of some rows; returns what the figure needs."""
    say(f"batch {rows}: timing")
    results, failed = alternate({n: timed(n, make, rows) for n, make in networks.items()}, seconds)
    spreads = {name: spread_of_sums(steps) for name, steps in results.items()}
    for name, make in networks.items():
        if name in failed:
            table.add(rows, name, failed[name])
            continue
        parameters = sum(p.numel() for p in make().parameters())
        parts = [f"{1e3 * part:.3f}" for part in medians(results[name])]
        ratio = f"{spreads[name].median / spreads[OURS].median:.2f}x"
        whole = spreads[name].milliseconds()
        table.add(rows, name, f"{parameters:,}", *parts, *whole, ratio, learned[name])
    return [
        {"batch": rows, "name": name, "seconds": found.median} for name, found in spreads.items()
    ]


def main() -> None:
    """Print the table."""
    options = parser(__doc__).parse_args()
    announce()
    networks, learned = available(), {}
    for name, make in networks.items():
        say(f"{name}: {LEARNING_STEPS} steps on {LEARNING_ROWS} rows")
        before, after = losses(make)
        learned[name] = f"{before:.2f} to {after:.2f}"
    columns = "batch:5 network:19 parameters:10 forward:9 backward:9 Adam:7 step:9 quartiles:20"
    table = Table(
        f"One training step of {'-'.join(map(str, SIZES))}",
        [*columns.split(), "reps:4", "to ours:7", "learns:14"],
        "Times in ms: medians, and the quartiles of whole steps; to ours: how many times as long "
        f"as {OURS}. Four fifths of the inputs are 0, as of MNIST's pixels, but for '{FULL}'.\n"
        f"learns: the loss of the first and the last of {LEARNING_STEPS} steps on "
        f"{LEARNING_ROWS} rows.",
    )
    data = []
    for rows in BATCHES:
        data += add_rows(table, rows, networks, learned, 3 if options.quick else 25)
    save(options.save, "steps", [table], data)


if __name__ == "__main__":
    main()
