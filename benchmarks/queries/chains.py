"""Conditional draws of trained tables: importance resampling beside chains, by the CPU second.

    python benchmarks/queries/chains.py [--quick] [--write]

Each of 36 evidence patterns (12 a table, half of the features known) is drawn from by importance
resampling; on some of them MALA, Gibbs and independence Metropolis-Hastings are timed beside it.
Effective draws of chains are the least over the features, by arviz-stats.
"""

import argparse
import time
from statistics import median

import torch
from results import read_options, show, table
from trained import HIDDEN, train_tilted

from ugmm.density import TiltedGaussian
from ugmm.inference import Evidence, sample
from ugmm.report.chains import diagnose_chains

METHODS = ("importance", "metropolis", "mala", "gibbs")
CHAIN_DRAWS = {"metropolis": 4096, "mala": 3200, "gibbs": 1600}
LEAST_MEDIAN, LEAST_WORST, MOST_SECONDS = 0.3, 0.2, 2.0


def half_known(x: torch.Tensor, seed: int) -> Evidence:
    """Return a row of which half of the features are known."""
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))
    known = torch.zeros(len(x), dtype=torch.bool)
    known[order[: len(x) // 2]] = True
    return Evidence(x, known)


def speed(density: TiltedGaussian, row: Evidence, method: str, seed: int) -> tuple[float, float]:
    """Return effective draws a CPU second, and the largest R-hat (1 without chains)."""
    n = CHAIN_DRAWS.get(method, 10_000)
    start = time.process_time()
    drawn = sample(density, n, row, method=method, seed=seed)
    seconds = time.process_time() - start
    if method == "importance":
        return float(drawn.effective[0]) / seconds, 1.0
    found = diagnose_chains(drawn.by_chain(0).numpy())
    return found.least_effective / seconds, found.worst_rhat


def main() -> None:
    """Print, and perhaps write, the tables."""
    options = read_options(argparse.ArgumentParser(description=__doc__))
    timed = 1 if options.quick else 3  # patterns on which all methods are timed
    names = ("iris", "wine") if options.quick else tuple(HIDDEN)
    shares, share_rows, speed_rows, seconds = [], [], [], 0.0
    for name in names:
        density, rows = train_tilted(name)
        patterns = [half_known(rows.test_x[i], i) for i in range(12)]
        own = [
            float(density.draw(row, 8192, torch.Generator().manual_seed(i)).marginal.effective)
            for i, row in enumerate(patterns)
        ]
        shares += own
        share_rows.append((name, f"{median(own):.2f}", f"{min(own):.2f}"))
        nothing = Evidence.nothing(density.n_features)
        if name == "iris":
            start = time.process_time()
            sample(density, 10_000, nothing)
            seconds = time.process_time() - start
        for what, some in (("half known", patterns[:timed]), ("nothing known", [nothing])):
            cells = []
            for method in METHODS:
                found = [speed(density, row, method, i) for i, row in enumerate(some)]
                rates, rhats = zip(*found, strict=True)
                rhat = "" if method == "importance" else f" ({max(rhats):.2f})"
                cells.append(f"{median(rates):,.0f}{rhat}")
            speed_rows.append((name, what, *cells))
    share_rows.append(("all", f"{median(shares):.2f}", f"{min(shares):.2f}"))
    text = "\n\n".join(
        [
            "The share of importance draws that are effective, with half of the features known "
            f"(to be at least {LEAST_MEDIAN} in the median and {LEAST_WORST} at worst):",
            table(["table", f"median of {len(patterns)}", "worst"], share_rows),
            "Effective draws a CPU second (the largest R-hat of 16 chains; above 1.01 they have "
            "not mixed, and their effective number means little). Importance resampling keeps "
            "one of about eight effective draws, so that few are kept twice:",
            table(["table", "evidence", *METHODS], speed_rows),
            f"10,000 draws of Iris with nothing known take {seconds:.2f} s "
            f"(to be at most {MOST_SECONDS:.0f}).",
        ]
    )
    show("chains", "conditional draws by importance and by chains", text, options.write)


if __name__ == "__main__":
    main()
