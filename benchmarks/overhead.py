"""What `ugmm train` adds around the kernels in a step of MNIST: `python benchmarks/overhead.py`.

Runs the experiment `mnist_disc` as it is, in a temporary folder, with clocks around the parts of
a step, and the same steps in a plain loop. Each moment counts for the innermost part it is in, so
that the parts add up to the step.
"""

import contextlib
import functools
import io
import os
import statistics
import tempfile
import time

import ugmm._torchvision  # before lightning: see the module

import lightning
import torch

import ugmm.kernels
from common import Table, announce, parser, save, say, spread
from ugmm.kernels.definition import register
from ugmm.kernels.mixture.cpu import KERNEL

REST = "Lightning, callbacks, logging"
PARTS = {
    "kernels, forward": True,
    "kernels, backward": True,
    "network and loss, forward": True,
    "network and loss, backward": True,
    "optimiser and schedule": False,
    "data": False,
    REST: False,
}  # by name: whether it belongs to the network, rather than to the training around it


class Clock:
    """Adds up the seconds of nested parts, each without what it holds of others."""

    def __init__(self) -> None:
        self.totals = dict.fromkeys(PARTS, 0.0)
        self.stack = [REST]
        self.last = time.perf_counter()

    def _switch(self) -> None:
        now = time.perf_counter()
        self.totals[self.stack[-1]] += now - self.last
        self.last = now

    @contextlib.contextmanager
    def part(self, name: str):
        """What happens inside is of this part."""
        self._switch()
        self.stack.append(name)
        try:
            yield
        finally:
            self._switch()
            self.stack.pop()

    def around(self, name: str, function):
        """The same function, timed."""

        @functools.wraps(function)
        def timed(*args, **kwargs):
            with self.part(name):
                return function(*args, **kwargs)

        return timed

    def read(self) -> dict[str, float]:
        """The totals up to now."""
        self._switch()
        return dict(self.totals)


clock = Clock()


def time_kernels() -> None:
    """Let layers use the CPU kernel with clocks around its two ways."""
    ways = {
        way: clock.around(f"kernels, {way}", getattr(KERNEL, way))
        for way in ("forward", "backward")
    }
    ugmm.kernels.CPU = register(KERNEL._replace(name=f"{KERNEL.name}_timed", **ways))


def time_training() -> None:
    """Put clocks around the loss, backward, the optimiser, its schedule and the batches."""
    from ugmm.data.batches import TrainingBatches
    from ugmm.tasks import DiscriminativeTask
    from ugmm.tasks.optimization import OPTIMIZERS

    task, adam, schedule = (
        DiscriminativeTask,
        OPTIMIZERS["adam"],
        torch.optim.lr_scheduler.OneCycleLR,
    )
    task.loss = clock.around("network and loss, forward", task.loss)
    torch.Tensor.backward = clock.around("network and loss, backward", torch.Tensor.backward)
    schedule.step = clock.around("optimiser and schedule", schedule.step)
    adam.zero_grad = clock.around("optimiser and schedule", adam.zero_grad)
    update, batches = clock.around("optimiser and schedule", adam.step), TrainingBatches.__iter__

    def step(self, closure=None):
        loss = closure() if closure is not None else None  # Lightning's: forward and backward
        update(self)
        return loss

    def timed_batches(self):
        iterator, end = clock.around("data", batches)(self), object()
        following = clock.around("data", next)
        while (batch := following(iterator, end)) is not end:
            yield batch

    adam.step = step
    TrainingBatches.__iter__ = timed_batches


class Steps(lightning.pytorch.Callback):
    """Reads the clock after every step; the first of an epoch, which starts it, is left out."""

    def __init__(self) -> None:
        self.steps: list[dict[str, float]] = []
        self.before: dict[str, float] = {}

    def read(self) -> None:
        """End a step."""
        now = clock.read()
        if self.before:
            self.steps.append({name: now[name] - self.before[name] for name in now})
        self.before = now

    def on_train_batch_end(self, *_args, **_kwargs) -> None:
        """End a step."""
        self.read()

    def on_train_epoch_start(self, *_args, **_kwargs) -> None:
        """What lies between epochs is no step."""
        self.before = {}


def fit(epochs: int) -> tuple[list[dict[str, float]], float]:
    """The steps of a real training, and the seconds of all of it a step."""
    from ugmm.config.compose import compose
    from ugmm.training import run

    callback, make_trainer = Steps(), run.make_trainer

    def with_callback(*args):
        trainer = make_trainer(*args)
        trainer.callbacks.append(callback)
        return trainer

    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        config = compose("mnist_disc", [f"trainer.max_epochs={epochs}", f"runs_dir={folder}"])
        run.make_trainer = with_callback
        try:
            _, summary = run.start(config)
        finally:
            run.make_trainer = make_trainer
    return callback.steps, summary["seconds"] / summary["steps"]


def plain(epochs: int) -> list[dict[str, float]]:
    """The same steps without Lightning: network, loss, batches, Adam and schedule are the same."""
    from ugmm.config.compose import compose
    from ugmm.tasks.optimization import make_optimizer, make_schedule
    from ugmm.training.run import build

    config = compose("mnist_disc")
    data, task = build(config)
    data.prepare_data()
    data.setup()
    optimizer = make_optimizer(task.network, **task.optimizer)
    batches, timer = data.train_dataloader(), Steps()
    schedule = make_schedule(optimizer, len(batches) * epochs, len(batches), **task.schedule)
    for _ in range(epochs):
        timer.before = {}
        for x, y in batches:
            loss = task.loss(x, y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            timer.read()
    return timer.steps


def typical(steps: list[dict[str, float]]) -> dict[str, float]:
    """The mean, in ms, of the middle half of the steps: unlike medians, parts of it add up."""
    steps = sorted(steps, key=lambda step: sum(step.values()))
    middle = steps[len(steps) // 4 : -(len(steps) // 4)]
    return {name: 1e3 * statistics.fmean(step[name] for step in middle) for name in PARTS}


def add_rows(table: Table, fitted: dict[str, float], looped: dict[str, float]) -> dict[str, float]:
    """The parts and their sums; returns the sums of the training."""
    groups = {
        "the network": [name for name, network in PARTS.items() if network],
        "the training around it": [name for name, network in PARTS.items() if not network],
        "a step": list(PARTS),
        "all but the kernels": [name for name in PARTS if not name.startswith("kernels")],
    }
    for name in PARTS:
        table.add(
            name, *(f"{v[name]:.3f}" for v in (fitted, looped)), _more(fitted, looped, [name])
        )
    for title, names in groups.items():
        sums = (f"{sum(v[name] for name in names):.3f}" for v in (fitted, looped))
        table.add(f"= {title}", *sums, _more(fitted, looped, names))
    return {title: sum(fitted[name] for name in names) for title, names in groups.items()}


def _more(fitted: dict[str, float], looped: dict[str, float], names: list[str]) -> str:
    return f"{sum(fitted[name] - looped[name] for name in names):+.3f}"


def main() -> None:
    """Print the table."""
    options = parser(__doc__).parse_args()
    announce()
    os.environ["WANDB_MODE"] = "offline"
    time_kernels()
    time_training()
    epochs = 1 if options.quick else 3
    say("the plain loop")
    looped = plain(epochs)
    say("ugmm train mnist_disc")
    fitted, whole = fit(epochs + 1)
    say("the plain loop again")
    looped += plain(epochs)
    times, others = ([sum(s.values()) for s in steps] for steps in (fitted, looped))
    low, middle, high = (1e3 * value for value in spread(times)[:3])
    other = 1e3 * statistics.median(others)
    table = Table(
        "What a step of `ugmm train mnist_disc` spends where (batch 256)",
        ["ms a step:30", "ugmm train:10", "plain loop:10", "difference:10"],
        f"Means over the middle half of {len(times)} and {len(others)} steps, so that parts add "
        f"up.\nWhole steps of ugmm train: median {middle:.2f}, quartiles {low:.2f}..{high:.2f}; "
        f"of the plain loop: median {other:.2f}.\nWith what is done once an epoch or a run "
        f"(validation, checkpoints, reading the data), ugmm train takes {1e3 * whole:.2f} ms a "
        "step.",
    )
    found = typical(fitted)
    if not found["kernels, forward"]:
        raise RuntimeError("no kernel was seen: do layers still take ugmm.kernels.CPU?")
    sums = add_rows(table, found, typical(looped))
    save(options.save, "overhead", [table], found | sums)


if __name__ == "__main__":
    main()
