"""Networks of random order on binarised 8 x 8 digits: their price in nats, and their conditionals.

    python benchmarks/queries/orders.py [--quick] [--write]

A network of fixed order and one of random order are trained alike. What must hold: the mixture of
orders is at most 6% of the fixed order's nats behind it; every conditional, of any pixel given any
others, is within 1e-6 of the chain that it stands for, which is computed pixel by pixel here, and
of sums over the states of eight pixels; both in float64.
"""

import argparse
import itertools
import math
import time

import torch
from results import read_options, show, table
from torch import Tensor

from ugmm.nn import AutoregressiveUGMM, Evidence
from ugmm.nn.autoregressive.orders import known_first, mixed

D, WIDTH, BATCH = 64, 96, 128
COST, DIFFERENCE = 0.06, 1e-6  # at most


def digits() -> tuple[Tensor, Tensor]:
    """Return 1437 training rows and 360 test rows of scikit-learn's digits, black or white."""
    from sklearn.datasets import load_digits

    x = torch.from_numpy(load_digits().data > 8).float()
    x = x[torch.randperm(len(x), generator=torch.Generator().manual_seed(0))]
    return x[:1437], x[1437:]


def train(order: str, x: Tensor, steps: int, seed: int) -> AutoregressiveUGMM:
    """Train a network; the seed decides its parameters, its batches and its orders."""
    torch.manual_seed(seed)
    network = AutoregressiveUGMM(D, 1, [WIDTH], "bernoulli", order=order)  # type: ignore[arg-type]
    network.init_from(x)
    optimizer = torch.optim.Adam(network.parameters(), 0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.01, steps, pct_start=0.1)
    y = torch.zeros(BATCH, dtype=torch.long)
    for _ in range(steps):
        loss = -network(x[torch.randint(len(x), (BATCH,))], y).mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 10.0)
        optimizer.step()
        schedule.step()
    return network.eval()


def nats(network: AutoregressiveUGMM, x: Tensor, orders: list[Tensor]) -> Tensor:
    """Return log p of rows by each of the orders: (K, n)."""
    y = torch.zeros(len(x), dtype=torch.long)
    return torch.stack([network.prefix_log_prob(x, y, order)[:, -1] for order in orders])


def chain(network: AutoregressiveUGMM, x: Tensor, order: Tensor) -> Tensor:
    """Return each pixel's log-probability given those before it: the formula, pixel by pixel.

    Args:
        network: Of one hidden layer and one class.
        x: (n, D).
        order: (D,).

    Returns:
        (n, D), by position in the order.
    """
    prefix, head = network.prefix, network.head
    h, found = network.start[0].expand(len(x), -1), []
    for d in order.tolist():
        logits = network.norms[0](h) @ head.weight[d] + head.bias[d]  # type: ignore[operator]
        value = x[:, d]
        found.append(value * logits - torch.nn.functional.softplus(logits))
        z = (value[:, None] - prefix.loc[:, d]) / prefix.scale[:, d]
        level = prefix.logits.log_softmax(-1)[:, d] - prefix.scale[:, d].log()
        h = torch.logaddexp(h, level - 0.5 * z.square() - 0.5 * math.log(2 * math.pi))
    return torch.stack(found, 1)


def largest_differences(
    network: AutoregressiveUGMM, x: Tensor, patterns: int
) -> tuple[float, float]:
    """Compare one pass with the chain, and with sums over the states of eight pixels.

    For random evidence, each of its moved orders: every conditional of a pixel given the evidence
    and the pixels before it, and log p of the evidence.
    """
    network, x = network.double(), x.double()
    generator, by_chain, by_sums = torch.Generator().manual_seed(0), 0.0, 0.0
    states = torch.tensor(list(itertools.product([0.0, 1.0], repeat=8)), dtype=torch.float64)
    y = torch.zeros(len(states), dtype=torch.long)
    for i in range(patterns):
        known = torch.rand(D, generator=generator) < i / patterns
        rows = x[torch.randint(len(x), (8,), generator=generator)]
        for order in known_first(network.orders, known):  # type: ignore[arg-type]
            found = network.conditionals(rows, y[:8], order=order)
            by_chain = max(by_chain, float((found - chain(network, rows, order)).abs().max()))
        last = torch.randperm(D, generator=generator)[:8]
        known = torch.ones(D, dtype=torch.bool).index_fill(0, last, False)
        whole = rows[0].repeat(len(states), 1)
        whole[:, last] = states
        moved = known_first(network.orders, known)  # type: ignore[arg-type]
        sums = nats(network, whole, list(moved)).logsumexp(1)
        answer = network.marginal(Evidence(rows[:1], known[None]), 1, generator).log_prob
        by_sums = max(by_sums, float((mixed(list(sums)) - answer).abs().max()))
    return by_chain, by_sums


@torch.no_grad()
def compare(seed: int, steps: int, patterns: int) -> tuple[list[object], bool]:
    """Train both networks and return a line of the table, and whether all holds."""
    rows, test = digits()
    networks, seconds = {}, {}
    for order in ("fixed", "random"):
        began = time.process_time()
        with torch.enable_grad():
            networks[order] = train(order, rows, steps, seed)
        seconds[order] = time.process_time() - began
    fixed, free = networks.values()
    orders = list(free.orders)  # type: ignore[arg-type]
    best = float(nats(fixed, test, [torch.arange(D)]).mean())
    each = nats(free, test, orders)
    mixture = float(free.log_prob(test).mean())
    asked = float(mixed(list(nats(fixed, test, orders))).mean())
    cost = mixture / best - 1
    by_chain, by_sums = largest_differences(free, test, patterns)
    holds = cost <= COST and max(by_chain, by_sums) <= DIFFERENCE
    cells = [best, each.mean(), mixture, each.std(0).mean(), asked]
    line = [
        seed,
        *(f"{float(cell):.2f}" for cell in cells),
        f"{cost:.1%}",
        f"{by_chain:.0e}",
        f"{by_sums:.0e}",
        " / ".join(f"{s:.0f}" for s in seconds.values()),
        "yes" if holds else "NO",
    ]
    return line, holds


def main() -> None:
    """Print, and perhaps write, the table."""
    options = read_options(argparse.ArgumentParser(description=__doc__))
    steps, patterns, seeds = (400, 8, 1) if options.quick else (1000, 24, 3)
    found = [compare(seed, steps, patterns) for seed in range(seeds)]
    columns = [
        "seed",
        "fixed order",
        "one random order",
        "mixture of 4",
        "sd over orders, an image",
        "fixed network in these 4",
        "mixture's cost",
        "from the chain",
        "from sums",
        "CPU s, fixed / random",
        "holds",
    ]
    text = (
        f"Mean log p in nats of 360 test images of 64 black or white pixels, after {steps} steps "
        f"of {BATCH} images each, {WIDTH} neurons, the same settings. The mixture may cost "
        f"{COST:.0%} of the fixed order's nats; conditionals and marginals in float64 may differ "
        f"by {DIFFERENCE:.0e} from the chain computed pixel by pixel and from sums over the "
        f"states of eight pixels ({patterns} random patterns of evidence).\n\n"
    )
    shown = text + table(columns, [line for line, _ in found])
    show("orders", "autoregressive networks of random order", shown, options.write)
    if not all(holds for _, holds in found):
        raise SystemExit("a claim does not hold")


if __name__ == "__main__":
    main()
