"""How long `ugmm predict` takes over a large table, and how much memory."""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))  # a script's own folder alone is there

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from pages import Page, read_options, table
from trees import ROOT

NUMBERS, WORDS = 26, 4  # columns
PART = 20_000  # rows that are made at once: a process is charged with what its parent held
TRAIN = (
    *("train", "iris_disc", "data=csv", "data.path=seen.csv", "data.label=kind"),
    *("model.hidden=[64,64]", "trainer.max_epochs=5", "trainer.accelerator=cpu"),
    *("tracking.mode=disabled", "runs_dir=runs"),
)


def rows_of(n: int, seed: int) -> pa.Table:
    """A table of numbers, words and their class."""
    draw = np.random.default_rng(seed)
    kind = draw.integers(0, 4, n)
    columns = {f"n{i}": (draw.normal(size=n) + (kind == i % 4)).round(5) for i in range(NUMBERS)}
    for i in range(WORDS):
        columns[f"w{i}"] = np.array(["red", "green", "blue", "dark grey"])[draw.integers(0, 4, n)]
    return pa.table({**columns, "kind": np.array(["north", "east", "south", "west"])[kind]})


def run(folder: Path, *words: str) -> tuple[float, float, float]:
    """Run `ugmm`; return seconds on the wall, of CPU time, and the most memory in MiB."""
    paths = [str(ROOT / "src"), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    began = time.perf_counter()
    command = [sys.executable, "-m", "ugmm", *words]
    process = subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    said = process.stderr.read().decode() if process.stderr else ""
    _, status, used = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(command)}: {said}")
    return time.perf_counter() - began, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


def main() -> None:
    """Train on few rows, and predict many."""
    args = read_options(argparse.ArgumentParser(description=__doc__))
    n = 20_000 if args.quick else 1_000_000
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        first = rows_of(2000, 0)
        pyarrow.csv.write_csv(first, folder / "seen.csv")
        run(folder, *TRAIN)
        with (
            pyarrow.csv.CSVWriter(folder / "rows.csv", first.schema) as as_csv,
            pyarrow.parquet.ParquetWriter(folder / "rows.parquet", first.schema) as as_parquet,
        ):
            for seed in range(n // PART):
                part = rows_of(PART, 1 + seed)
                as_csv.write(part)
                as_parquet.write(part)
        cases = [
            ("CSV", "rows.csv", "answers.csv"),
            ("CSV", "rows.csv", "answers.csv.gz"),
            ("Parquet", "rows.parquet", "answers.parquet"),
        ]
        lines = []
        for kind, file, out in cases:
            size = (folder / file).stat().st_size / 2**20
            wall, cpu, memory = run(folder, "predict", "latest", file, "--out", out)
            lines.append((kind, f"{size:.0f}", out, f"{wall:.1f}", f"{cpu:.1f}", f"{memory:.0f}"))
    columns = ["file", "MiB", "answers", "s on the wall", "s of CPU time", "most memory, MiB"]
    text = f"""{n:,} rows of {NUMBERS} columns of numbers and {WORDS} of words, each in a process
of its own; a network of two hidden layers of 64 mixture neurons, four classes. To load packages
is a part of the times.

{table(columns, lines)}"""
    Page("deploying", "What trained networks take in use").show(
        "predicting", "a large table", text, args.write
    )


if __name__ == "__main__":
    main()
