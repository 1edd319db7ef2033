"""A model of a step on several processes: what is computed, what is exchanged, what that predicts.

python benchmarks/clusters/step.py [--quick] [--write]

A step of W processes takes t(B / W) + r(n): t is what one process needs for its rows, r the time
of an all-reduce of the gradient's n bytes. t is measured and fitted by a + c b; r between two
processes of this machine, by alpha + n / beta. Both together are then held against measured steps
of two.
"""

import argparse
import math
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import results
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from ugmm.config.compose import compose
from ugmm.tasks import Task
from ugmm.training.build import build_task

EXPERIMENTS = (
    "iris_disc",
    "iris_gen",
    "mnist_disc",
    "mnist_gen",
    "mnist_conv",
    "mnist_rows_rnn",
    "mnist_vit",
)
ROOT = Path(__file__).resolve().parents[2]
SHARES = (1, 2, 4, 8)  # of a global batch, for which t is measured
SIZES = (2**10, 2**14, 2**17, 2**20, 2**22)  # bytes of the all-reduces, for r

# A cluster that is not here: two kinds of wire between GPUs, in seconds and bytes a second.
WIRES = {"NVLink": (10e-6, 300e9), "InfiniBand": (30e-6, 40e9)}
GPUS = {8: "NVLink", 64: "InfiniBand", 512: "InfiniBand"}
# mnist_disc on one H100 (benchmarks/RESULTS.md): a step, its arithmetic at full rate, its rows.
H100_STEP, H100_ARITHMETIC, H100_ROWS = 3.027e-3, 0.514e-3, 256
PAIRS_A_SECOND = 4182e9 / 2  # of a row and a component, both directions, on an H100
DISC_PARAMETERS = 327_936


class Line(NamedTuple):
    """A straight line that was fitted to times."""

    fixed: float
    each: float

    def __call__(self, n: float) -> float:
        """Return its value."""
        return self.fixed + self.each * n


class Sizes(NamedTuple):
    """What `build_task` asks of data."""

    n_features: int
    n_classes: int


def fit(points: dict[int, float]) -> Line:
    """Fit a line, with neither part below zero, by least squares of relative errors."""
    n = torch.tensor(list(points), dtype=torch.float64)
    seconds = torch.tensor(list(points.values()), dtype=torch.float64)
    columns = torch.stack([1 / seconds, n / seconds], 1)
    fixed, each = torch.linalg.lstsq(columns, torch.ones(len(n), 1, dtype=n.dtype)).solution[:, 0]
    if fixed < 0:
        return Line(0.0, float((seconds / n).log().mean().exp()))
    return Line(float(fixed), max(0.0, float(each)))


def make(experiment: str) -> tuple[Task, int, Callable[[int], tuple[Tensor, Tensor]]]:
    """Return an experiment's task, its global batch, and what makes rows as large as its own."""
    config = compose(experiment, ["trainer.threads=1"], root=ROOT)
    iris = experiment.startswith("iris")
    sizes = Sizes(4, 3) if iris else Sizes(784, 10)
    task = build_task(config, sizes)  # type: ignore[arg-type]

    def rows(count: int) -> tuple[Tensor, Tensor]:
        generator = torch.Generator().manual_seed(0)
        inked = torch.rand(count, sizes.n_features, generator=generator)
        x = torch.randn(count, 4, generator=generator) if iris else (inked - 0.8).clamp(0) * 5
        x = (x > 0).float() if task.network.binary else x
        return x, torch.arange(count) % sizes.n_classes

    task.prepare(*rows(96))
    return task, min(config.data.batch_size, 96 if iris else 2**30), rows


class Loss(torch.nn.Module):
    """A task's loss as a module, which DistributedDataParallel wants."""

    def __init__(self, task: Task) -> None:
        super().__init__()
        self.task = task

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Return it."""
        return self.task.loss(x, y)


def step_of(module: torch.nn.Module, x: Tensor, y: Tensor) -> Callable[[], None]:
    """Return what does a step of training: loss, backward, Adam."""
    optimizer = torch.optim.Adam(module.parameters(), 1e-4, fused=True)

    def step() -> None:
        optimizer.zero_grad()
        module(x, y).backward()
        optimizer.step()

    return step


def seconds_of(step: Callable[[], object], for_seconds: float) -> float:
    """Return the time of a step, by the clock on the wall."""
    for _ in range(3):
        step()
    laps: list[float] = []
    end = time.perf_counter() + for_seconds
    while time.perf_counter() < end or len(laps) < 5:
        start = time.perf_counter()
        step()
        laps.append(time.perf_counter() - start)
    return low(laps)


def low(laps: list[float]) -> float:
    """Return the time that a tenth of the laps stayed below: others wanted the machine too."""
    return float(torch.tensor(laps).quantile(0.1))


def of_two(rank: int, folder: str, for_seconds: float) -> None:
    """Time all-reduces, and steps of every experiment, in two processes; rank 0 writes both."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"file://{folder}/store", rank=rank, world_size=2)
    laps = 50 if for_seconds < 1 else 400
    reduced = {n: reduce_seconds(torch.zeros(n // 4), laps) for n in SIZES}
    steps = {}
    for experiment in EXPERIMENTS:
        task, batch, rows = make(experiment)
        step = step_of(DistributedDataParallel(Loss(task)), *rows(batch // 2))
        steps[experiment] = step_seconds(step, for_seconds)
    if rank == 0:
        torch.save({"reduced": reduced, "steps": steps}, f"{folder}/found.pt")
    dist.destroy_process_group()


def reduce_seconds(tensor: Tensor, laps: int) -> float:
    """Return the time of an all-reduce; both ranks do as many."""
    found = []
    for _ in range(laps):
        start = time.perf_counter()
        dist.all_reduce(tensor)
        found.append(time.perf_counter() - start)
    return low(found)


def step_seconds(step: Callable[[], None], for_seconds: float) -> float:
    """Return the time of a step that both ranks do as often."""
    count = torch.tensor([for_seconds / max(1e-4, seconds_once(step))])
    dist.broadcast(count, 0)
    found = []
    for _ in range(max(5, int(count))):
        start = time.perf_counter()
        step()
        found.append(time.perf_counter() - start)
    return low(found)


def seconds_once(step: Callable[[], None]) -> float:
    """Return the time of a step that is warm."""
    for _ in range(3):
        step()
    start = time.perf_counter()
    step()
    return time.perf_counter() - start


def main() -> None:
    """Measure, fit, hold the model against two processes, and say what it predicts."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    options = results.read_options(parser)
    for_seconds = 0.2 if options.quick else 3.0
    with tempfile.TemporaryDirectory() as folder:
        mp.spawn(of_two, (folder, for_seconds), nprocs=2)
        found = torch.load(f"{folder}/found.pt")
    wire = fit(found["reduced"])
    text = [
        "A step of W processes is modelled as a + c B / W + r, with r = alpha + n / beta for the "
        "n bytes of gradient. a and c are fitted to steps (loss, backward, Adam) of one process "
        f"with one thread on B, {', '.join(f'B / {w}' for w in SHARES[1:])} rows; alpha = "
        f"{1e6 * wire.fixed:.0f} us and beta = {1 / wire.each / 1e9:.2f} GB/s to all-reduces of "
        f"{SIZES[0] // 2**10} KiB to {SIZES[-1] // 2**20} MiB between two processes of this "
        "machine (gloo). Times are on the wall, a tenth of the steps were faster.\n",
        steps_table(found["steps"], wire, for_seconds),
        "\nWhat the model says of GPUs that are not here:\n",
        gpus_text(),
    ]
    results.show("step", "a model of a step on several processes", "\n".join(text), options.write)


def steps_table(of_two: dict[str, float], wire: Line, for_seconds: float) -> str:
    """Return the table of experiments: what is fitted, predicted and measured."""
    lines = []
    for experiment in EXPERIMENTS:
        task, batch, rows = make(experiment)
        shares = {batch // w for w in SHARES}
        compute = fit(
            {b: seconds_of(step_of(Loss(task), *rows(b)), for_seconds) for b in sorted(shares)}
        )
        n = 4 * sum(p.numel() for p in task.network.parameters() if p.requires_grad)
        whole, half = compute(batch), compute(batch / 2)
        predicted, measured = half + wire(n), of_two[experiment]
        best = math.inf if not wire.fixed else (whole - compute.fixed) / (compute.fixed + wire(n))
        lines.append(
            [
                experiment, batch, f"{n / 2**20:.3f}", f"{1e3 * compute.fixed:.2f}",
                f"{1e6 * compute.each:.1f}", f"{1e3 * whole:.2f}", f"{1e3 * wire(n):.2f}",
                f"{1e3 * predicted:.2f}", f"{1e3 * measured:.2f}", f"{whole / measured:.2f}x",
                f"{1 + best:.1f}x",
            ]
        )  # fmt: skip
    columns = [
        "experiment", "B", "gradient, MiB", "a, ms", "c, us a row", "one process, ms", "r, ms",
        "two, predicted, ms", "two, measured, ms", "faster, measured", "at most, however many",
    ]  # fmt: skip
    return results.table(columns, lines)


def gpus_text() -> str:
    """Return what the model predicts for clusters of GPUs, from figures of one."""
    floor = H100_STEP - H100_ARITHMETIC
    n, lines = 4 * DISC_PARAMETERS, []
    for gpus, kind in GPUS.items():
        latency, speed = WIRES[kind]
        reduce = latency * math.log2(gpus) + 2 * (gpus - 1) / gpus * n / speed
        same = floor + H100_ARITHMETIC / gpus + reduce
        each = floor + H100_ARITHMETIC + reduce
        alike = 2 * 12 / speed * PAIRS_A_SECOND
        lines.append(
            [
                gpus, kind, f"{1e6 * reduce:.0f}", f"{H100_STEP / same:.2f}x",
                f"{gpus * H100_STEP / each:.0f}x", f"{alike:.0f}",
            ]
        )  # fmt: skip
    columns = [
        "GPUs", "wire", "all-reduce of mnist_disc, us", "steps of 256 rows in all",
        "rows a second, 256 on each", "rows on each that hide the all-reduce",
    ]  # fmt: skip
    wires = "; ".join(
        f"{kind} {1e6 * latency:.0f} us and {speed / 1e9:.0f} GB/s"
        for kind, (latency, speed) in WIRES.items()
    )
    return (
        "Assumed, not measured: an all-reduce takes latency x log2(GPUs) + 2 bytes / speed "
        f"({wires}). Measured on one H100: a step of mnist_disc on {H100_ROWS} rows takes "
        f"{1e3 * H100_STEP:.2f} ms, of which {1e3 * H100_ARITHMETIC:.2f} are arithmetic at full "
        "rate. "
        "The last column is for wide layers: a component's arithmetic takes "
        f"{1e12 / PAIRS_A_SECOND:.2f} ps for each row, and its gradient is 12 bytes.\n\n"
        + results.table(columns, lines)
    )


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
