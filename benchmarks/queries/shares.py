"""How many of the conditional importance draws are effective, and how fast they come.

    python benchmarks/queries/shares.py [--first 0] [--quick] [--write]

Densities of Iris, wine and breast cancer, each of three folds; 36 rows of evidence for each share
of known features, at random. Bars: of a half and of 0.8, a median of at least 0.3 and a worst of
at least 0.2 for each table, and 10,000 draws of Iris within 2 s.
"""

import argparse
import statistics
import time

import torch
from results import read_options, show, table
from trained import train_tilted

from ugmm.density import TiltedGaussian
from ugmm.nn import Evidence

TABLES = ("iris", "wine", "breast_cancer")
KNOWN = (0.0, 0.5, 0.8)
MEDIAN, WORST, SECONDS = 0.3, 0.2, 2.0
PATTERNS, DRAWS = 36, 4096


def some_known(rows: torch.Tensor, share: float, n: int, seed: int) -> Evidence:
    """Return n rows of evidence, with this share of features known, each with its own mask."""
    generator = torch.Generator().manual_seed(seed)
    d = rows.shape[1]
    known = torch.zeros(n, d, dtype=torch.bool)
    for mask in known:
        mask[torch.randperm(d, generator=generator)[: round(share * d)]] = True
    chosen = torch.randint(len(rows), (n,), generator=generator)
    return Evidence(rows[chosen], known)


def seconds_of_draws(density: TiltedGaussian, evidence: Evidence, n: int) -> float:
    """Return the CPU time that n draws for one row of evidence take, in seconds."""
    generator = torch.Generator().manual_seed(0)
    laps = []
    for _ in range(5):
        started = time.process_time()
        density.draw(evidence[:1], n, generator)
        laps.append(time.process_time() - started)
    return statistics.median(laps)


def main() -> None:
    """Print, and perhaps write, the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--first", type=int, default=0, help="seed of all")
    options = read_options(parser)
    folds = range(1 if options.quick else 3)
    lines, good = [], True
    for name in TABLES[:1] if options.quick else TABLES:
        shares: dict[float, list[float]] = {share: [] for share in KNOWN}
        for fold in folds:
            density, rows = train_tilted(name, fold, options.first)
            for number, share in enumerate(KNOWN):
                seed = 1000 * options.first + 10 * fold + number
                evidence = some_known(rows.test_x, share, PATTERNS // len(folds), seed)
                drawn = density.draw(evidence, DRAWS, torch.Generator().manual_seed(seed))
                squares = (2 * drawn.log_weight).logsumexp(1)  # of weights that sum to 1
                shares[share] += (-squares).exp().div(DRAWS).tolist()
            half = some_known(rows.test_x, 0.5, 1, seed)
        for share, found in shares.items():
            seconds = ""
            if share == 0.5:
                cpu = seconds_of_draws(density, half, 10_000)
                seconds = f"{cpu:.3f} s"
                good &= name != "iris" or cpu <= SECONDS
            if share:
                good &= statistics.median(found) >= MEDIAN and min(found) >= WORST
            line = f"{statistics.median(found):.2f}", f"{min(found):.2f}"
            lines.append((name, f"{share:.0%}", len(found), *line, seconds))
    columns = "table", "known", "rows", "median share", "worst share", "10,000 draws"
    held = "held" if good else "MISSED"
    text = f"{table(columns, lines)}\n\nSeed {options.first}. Bars: {held}."
    show("shares", "effective share of conditional draws", text, options.write)


if __name__ == "__main__":
    main()
