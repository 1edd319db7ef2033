"""The adding problem: recurrent mixture neurons beside a GRU of the same width.

    python benchmarks/architectures/adding.py [--steps 50] [--quick] [--write]

A sequence has a number in [0, 1] and a mark at each step. Two steps are marked, one in each half,
and what is asked for at the end is the sum of their numbers. Always to answer 1 has a mean squared
error of 1/6. Gates of both start with a shift of 3, so that states are kept for about 20 steps.
"""

import argparse
import time
from typing import NamedTuple

import torch
from results import read_options, show, table
from torch import Tensor, nn
from torch.nn import functional

from ugmm.baselines.gru import start_gates
from ugmm.nn import UGMMRNN

RATES = (0.002, 0.004, 0.008, 0.016, 0.032, 0.064)
SEEDS = (0, 1, 2)
WANTED = 0.005
GATE_BIAS = 3.0
VALIDATION, TEST = 101, 102  # seeds of sequences that no training sees


class Plan(NamedTuple):
    """How long networks are trained, and on what."""

    length: int  # of a sequence
    hidden: int
    batch: int
    search: int  # batches
    final: int


class Found(NamedTuple):
    """What became of a training."""

    error: float
    seconds: float


class Adder(nn.Module):
    """A recurrence, and an affine map of its last state."""

    def __init__(self, family: str, hidden: int) -> None:
        super().__init__()
        if family == "ugmm":
            self.rnn: nn.Module = UGMMRNN(2, hidden, gate_bias=GATE_BIAS)
        else:
            self.rnn = gru = nn.GRU(2, hidden)
            start_gates(gru, GATE_BIAS)
        self.head = nn.Linear(hidden, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return the sums of sequences (T, B, 2): (B,)."""
        return self.head(self.rnn(x)[1][-1]).squeeze(-1)


def draw(n: int, length: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw sequences (length, n, 2) and what they add up to, (n,)."""
    numbers = torch.rand(length, n, generator=generator)
    marks, each = torch.zeros(length, n), torch.arange(n)
    half = length // 2
    marks[torch.randint(0, half, (n,), generator=generator), each] = 1
    marks[torch.randint(half, length, (n,), generator=generator), each] = 1
    return torch.stack([numbers, marks], -1), (numbers * marks).sum(0)


def train(family: str, rate: float, seed: int, plan: Plan, batches: int, judge: int) -> Found:
    """Train a network on fresh sequences, and return its error on those of the seed `judge`."""
    torch.manual_seed(seed)
    began = time.process_time()
    network = Adder(family, plan.hidden)
    optimizer = torch.optim.Adam(network.parameters(), rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=batches)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(batches):
        x, y = draw(plan.batch, plan.length, generator)
        optimizer.zero_grad()
        functional.mse_loss(network(x), y).backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    seconds = time.process_time() - began
    with torch.no_grad():
        x, y = draw(5000, plan.length, torch.Generator().manual_seed(judge))
        return Found(functional.mse_loss(network(x), y).item(), seconds)


def main() -> None:
    """Choose a rate for each family, train with three seeds, and tabulate."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--steps", type=int, default=50, help="of a sequence")
    options = read_options(parser)
    few = options.quick
    plan = Plan(options.steps, 24, 50, 5 if few else 400, 10 if few else 1000)
    tried, tested = [], []
    for family in ("ugmm", "gru"):
        errors = {}
        for rate in RATES:
            errors[rate] = train(family, rate, 0, plan, plan.search, VALIDATION).error
            print(f"{family} {rate}: {errors[rate]:.4f}", flush=True)
        tried.append([family, *(f"{error:.4f}" for error in errors.values())])
        best = min(errors, key=lambda rate: errors[rate])
        found = [train(family, best, seed, plan, plan.final, TEST) for seed in SEEDS]
        network = Adder(family, plan.hidden)
        tested.append(
            [
                family,
                sum(p.numel() for p in network.parameters()),
                best,
                *(f"{one.error:.4f}" for one in found),
                "yes" if max(one.error for one in found) < WANTED else "no",
                f"{sum(one.seconds for one in found) / len(found):.0f}",
            ]
        )
    text = (
        f"Sequences of {plan.length} steps, {plan.hidden} states, one-cycle Adam, gradients "
        f"clipped at 1, batches of {plan.batch} fresh sequences. Mean squared error on 5,000 "
        f"others after {plan.search} batches, by learning rate, seed 0:\n\n"
        + table(["family", *map(str, RATES)], tried)
        + f"\n\nAnd with the best rate on 5,000 test sequences after {plan.final} batches:\n\n"
        + table(
            ["family", "parameters", "rate", *(f"seed {s}" for s in SEEDS), f"all below {WANTED}",
             "CPU s a training"],
            tested,
        )
    )  # fmt: skip
    show("adding", "two numbers, marked far apart, are added", text, options.write)


if __name__ == "__main__":
    main()
