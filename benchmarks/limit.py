"""How fast this machine could do a layer at best.

On a CPU, the bare arithmetic of one component (an exponential and the formula's multiply-adds),
written with the kernel's own vectors, in its own order (the fastest of those tried), on arrays
that stay in the first-level cache: no rows to fetch, no sums to finish, no far rows, no call from
Python. On a graphics card, its exponential units alone; and what else bounds a layer there.
"""

import subprocess

import numpy as np
import torch
from numba import njit

from common import Lap, Step, between, now
from ugmm.kernels.compiled.base2 import SLOPE
from ugmm.kernels.compiled.vectors import (
    LANES,
    add,
    add_product,
    add_terms,
    load,
    multiply,
    splat,
    store,
)
from ugmm.kernels.mixture.neuron import near_pair

INPUTS, ROWS = 256, 4  # forward then touches 7 KiB, backward 14 KiB
REPEATS = 5_000  # of ROWS x INPUTS components: some milliseconds
ZERO, WEIGHT = np.float32(0.0), np.float32(0.5)

# Of a graphics card:
EXPONENTIALS = 16  # a clock and multiprocessor, from compute capability 5.0 on
CARD_LANES = 128  # float32 operations a clock and multiprocessor
OPERATIONS = {"forward": 4, "backward": 9}  # float32 ones of the formula, beside the exponential
STEPS, SHOWN = 5, 8

_compiled = njit(error_model="numpy")


@_compiled
def _forward(x, constants, out, repeats):
    n = INPUTS
    t0, t1, t2, t3 = splat(ZERO), splat(ZERO), splat(ZERO), splat(ZERO)
    for _ in range(repeats):
        for k in range(0, n, LANES):
            m, r, c = load(constants, k), load(constants, n + k), load(constants, 2 * n + k)
            x0, x1, x2, x3 = (
                load(x, k),
                load(x, n + k),
                load(x, 2 * n + k),
                load(x, 3 * n + k),
            )
            t0, t1, t2, t3 = add_terms(t0, t1, t2, t3, x0, x1, x2, x3, m, r, c)
    store(out, 0, add(add(t0, t1), add(t2, t3)))


@_compiled
def _backward(x, constants, out, dx, repeats, inputs):
    n, weight = INPUTS, splat(WEIGHT)
    for _ in range(repeats):
        for k in range(0, n, LANES):
            m, r, c = load(constants, k), load(constants, n + k), load(constants, 2 * n + k)
            s0, s1, s2 = load(out, k), load(out, n + k), load(out, 2 * n + k)
            slope = multiply(r, splat(SLOPE))
            x0, x1 = load(x, k), load(x, n + k)
            s0, s1, s2, d0, d1 = near_pair(x0, x1, weight, weight, m, r, c, s0, s1, s2)
            if inputs:
                store(dx, k, add_product(load(dx, k), d0, slope))
                store(dx, n + k, add_product(load(dx, n + k), d1, slope))
            x0, x1 = load(x, 2 * n + k), load(x, 3 * n + k)
            s0, s1, s2, d0, d1 = near_pair(x0, x1, weight, weight, m, r, c, s0, s1, s2)
            if inputs:
                store(dx, 2 * n + k, add_product(load(dx, 2 * n + k), d0, slope))
                store(dx, 3 * n + k, add_product(load(dx, 3 * n + k), d1, slope))
            store(out, k, s0)
            store(out, n + k, s1)
            store(out, 2 * n + k, s2)


class Limit:
    """Steps of the bare arithmetic, on one thread.

    Arguments:
        components: Of the layer that their laps are scaled to.
        repeats: Passes over the arrays.
    """

    def __init__(self, components: int, repeats: int = REPEATS) -> None:
        random = np.random.default_rng(0)
        self.x = random.random(ROWS * INPUTS, np.float32)
        constants = random.random((3, INPUTS), np.float32)
        constants[2] *= -1  # the level, at most 0
        self.constants = constants.reshape(-1)
        self.out = np.zeros(3 * INPUTS, np.float32)
        self.dx = np.zeros_like(self.x)
        self.repeats = repeats
        self.share = components / (ROWS * INPUTS * repeats)

    def step(self, inputs: bool = True) -> Step:
        """A step: forward, and backward with or without the gradient by the input."""

        def run() -> list[Lap]:
            x, constants, out, dx, repeats = (
                self.x,
                self.constants,
                self.out,
                self.dx,
                self.repeats,
            )
            out[:], dx[:] = 0, 0
            start = now()
            _forward(x, constants, out, repeats)
            middle = now()
            out[:] = 0  # some hundred numbers, of millions
            _backward(x, constants, out, dx, repeats, inputs)
            laps = between(start, middle, now())
            return [Lap(lap.wall * self.share, lap.cpu * self.share) for lap in laps]

        return run


def card_limit(components: int) -> list[Lap]:
    """What a layer takes if the exponential units, one a component and direction, never wait."""
    seconds = components / (EXPONENTIALS * _processors() * _hertz())
    return [Lap(seconds, seconds)] * 2


def _processors() -> int:
    return torch.cuda.get_device_properties(0).multi_processor_count


def _hertz() -> float:
    """The highest clock of the multiprocessors."""
    try:
        command = ["nvidia-smi", "--query-gpu=clocks.max.sm", "--format=csv,noheader,nounits"]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        return 1e6 * float(done.stdout.splitlines()[0])
    except (OSError, subprocess.CalledProcessError, ValueError, IndexError):
        return 1e3 * torch.cuda.get_device_properties(0).clock_rate


def _bytes_per_second() -> float | None:
    card = torch.cuda.get_device_properties(0)
    try:  # both edges of the clock, in kHz; the bus in bits
        return 2 * 1e3 * card.memory_clock_rate * card.memory_bus_width / 8
    except AttributeError:
        return None


def profile(size: list[int]) -> tuple[str, list[list[str]]]:
    """Where the card's time goes in a step of a layer of ours, and which of its units bound that.

    Returns:
        a note, and the rows of a table.
    """
    from layers import OURS, make, name_of

    step = make(name_of(tuple(size)), OURS, "cuda")
    for _ in range(3):
        step()
    seconds, events = _events(step)
    busy = sum(event.self_device_time_total for event in events) * 1e-6 / STEPS
    rows = []
    for event in events[:SHOWN]:
        took = event.self_device_time_total * 1e-6 / STEPS
        name = event.key if len(event.key) <= 60 else event.key[:57] + "..."
        share = f"{took / seconds:.1%}"
        rows.append([name, str(event.count // STEPS), f"{1e3 * took:.3f}", share])
    idle = seconds - busy
    rows.append(["waiting for launches", "", f"{1e3 * idle:.3f}", f"{idle / seconds:.1%}"])
    return _bound(size, seconds, busy), rows


def _events(step: Step) -> tuple[float, list]:
    """Seconds of a step, and what the card did in all of them, the longest first."""
    activities = [torch.profiler.ProfilerActivity.CPU, torch.profiler.ProfilerActivity.CUDA]
    with torch.profiler.profile(activities=activities) as profiler:
        seconds = sum(lap.wall for _ in range(STEPS) for lap in step()) / STEPS
    on_card = torch.autograd.DeviceType.CUDA
    events = [event for event in profiler.key_averages() if event.device_type == on_card]
    return seconds, sorted(events, key=lambda event: -event.self_device_time_total)


def _bound(size: list[int], seconds: float, busy: float) -> str:
    """How long each unit would be busy, had it nothing to wait for; the longest bounds."""
    batch, n_out, n_in = size
    components = batch * n_out * n_in
    clocks = {
        "exponential units": 2 / EXPONENTIALS,
        "float32 units (multiply-adds of the formula)": sum(OPERATIONS.values()) / CARD_LANES,
    }
    times = {name: components * each / (_processors() * _hertz()) for name, each in clocks.items()}
    if rate := _bytes_per_second():
        # In forward and in backward every input is read, in backward every gradient written.
        floats = 3 * (batch * (n_in + n_out) + 3 * n_out * n_in)
        times["memory (every tensor once in each direction)"] = 4 * floats / rate
    times["launches and waits"] = seconds - busy
    lines = [f"{name} {1e3 * t:.3f} ms, {t / seconds:.0%}" for name, t in times.items()]
    worst = max(times, key=lambda name: times[name])
    return (
        f"A step takes {1e3 * seconds:.3f} ms. At full rate it would keep busy: "
        + "; ".join(lines)
        + f".\nWhat bounds it most: {worst}."
    )
