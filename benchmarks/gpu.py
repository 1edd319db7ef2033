"""A graphics card's limit, and what bounds the kernel on it; needs torch alone."""

import subprocess

import torch

from common import Table

EXPONENTIALS = 16  # a clock and multiprocessor, from compute capability 5.0 on
LANES = 128  # float32 operations a clock and multiprocessor
OPERATIONS = {"forward": 4, "backward": 9}  # float32 ones of the formula, beside the exponential
STEPS = 5


class Limit:
    """The rate of the exponential units alone: one exponential a component in each direction."""

    def __init__(self) -> None:
        self.processors = torch.cuda.get_device_properties(0).multi_processor_count
        self.hertz = _hertz()
        self.exponentials = EXPONENTIALS * self.processors * self.hertz

    def __str__(self) -> str:
        return (
            f"exponentials alone, {EXPONENTIALS} a clock on {self.processors} SMs at "
            f"{self.hertz / 1e6:.0f} MHz: {self.exponentials / 1e9:.0f} 10^9 components a second "
            "in each direction"
        )

    def rates(self, _steps: object = None) -> dict[str, float]:
        """Components a second: with both directions, half of what one has."""
        half = self.exponentials / 2
        return {"both": half, "both, no dx": half}


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


def profile(step, size: tuple[int, int, int]) -> Table:
    """Where the card's time goes in a step of ours, and which of its units bound that."""
    for _ in range(3):
        step()
    activities = [torch.profiler.ProfilerActivity.CPU, torch.profiler.ProfilerActivity.CUDA]
    with torch.profiler.profile(activities=activities) as profiler:
        seconds = sum(sum(step()) for _ in range(STEPS)) / STEPS
    on_card = torch.autograd.DeviceType.CUDA
    events = [event for event in profiler.key_averages() if event.device_type == on_card]
    events.sort(key=lambda event: -event.self_device_time_total)
    busy = sum(event.self_device_time_total for event in events) * 1e-6 / STEPS
    table = Table(
        f"Profile of {'x'.join(map(str, size))} on the card",
        ["kernel:60", "launches:8", "ms a step:9", "share:6"],
        _bound(size, seconds, busy),
    )
    for event in events[:8]:
        took = event.self_device_time_total * 1e-6 / STEPS
        name = event.key if len(event.key) <= 60 else event.key[:57] + "..."
        table.add(name, event.count // STEPS, f"{1e3 * took:.3f}", f"{took / seconds:.1%}")
    idle = seconds - busy
    table.add("waiting for launches", "", f"{1e3 * idle:.3f}", f"{idle / seconds:.1%}")
    return table


def _bound(size: tuple[int, int, int], seconds: float, busy: float) -> str:
    """How long each unit would be busy, had it nothing to wait for; the longest bounds."""
    batch, n_out, n_in = size
    components, limit = batch * n_out * n_in, Limit()
    clocks = {
        "exponential units": 2 / EXPONENTIALS,
        "float32 units (multiply-adds of the formula)": sum(OPERATIONS.values()) / LANES,
    }
    times = {
        name: components * each / (limit.processors * limit.hertz) for name, each in clocks.items()
    }
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
