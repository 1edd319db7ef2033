"""MNIST epochs per minute, end to end: `python benchmarks/epochs.py`.

Runs `ugmm train` as a user does, in a temporary folder: data, validation after every epoch,
checkpoints, metrics and offline W&B included.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from common import Table, announce, parser, save, say, spread
from ugmm.data import MNISTDataModule

EXPERIMENTS = ("mnist_disc", "mnist_mlp")


def run(experiment: str, epochs: int) -> tuple[float, float, int]:
    """Seconds of training and of the whole command, and the steps of a training."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "ugmm", "train", experiment, f"runs_dir={folder}"]
        command.append(f"trainer.max_epochs={epochs}")
        environment = {**os.environ, "WANDB_MODE": "offline"}
        start = time.perf_counter()
        subprocess.run(command, env=environment, check=True, capture_output=True)
        whole = time.perf_counter() - start
        (summary,) = Path(folder).glob("*/*/summary.json")
        found = json.loads(summary.read_text())
    return found["seconds"], whole, found["steps"]


def main() -> None:
    """Print the table."""
    options = parser(__doc__).parse_args()
    announce()
    epochs, repetitions = (3, 1) if options.quick else (8, 3)
    MNISTDataModule().prepare_data()  # a download is not to be timed
    found: dict[str, list[tuple[float, float, int]]] = {name: [] for name in EXPERIMENTS}
    for repetition in range(repetitions):
        for name in EXPERIMENTS:
            say(f"{name}: run {repetition + 1} of {repetitions}, {epochs} epochs")
            found[name].append(run(name, epochs))
    table = Table(
        "MNIST, end to end: `ugmm train`",
        [
            "experiment:12",
            "epochs/min:10",
            "quartiles:16",
            "runs:4",
            "ms a step:9",
            "command, s:10",
        ],
        f"Runs of {epochs} epochs of 55,000 images. Epochs per minute and ms a step: of the "
        "training, with its start, validation and\ncheckpoints; command: from its start to its "
        "end, with imports, test and plots.",
    )
    data = {}
    for name, runs in found.items():
        rates = spread([60 * epochs / seconds for seconds, _, _ in runs])
        steps = spread([1e3 * seconds / count for seconds, _, count in runs])
        whole = spread([seconds for _, seconds, _ in runs])
        quartiles = f"{rates.low:.1f}..{rates.high:.1f}"
        table.add(
            name,
            f"{rates.median:.1f}",
            quartiles,
            rates.count,
            f"{steps.median:.2f}",
            f"{whole.median:.1f}",
        )
        data[name] = rates.median
    save(options.save, "epochs", [table], data)


if __name__ == "__main__":
    main()
