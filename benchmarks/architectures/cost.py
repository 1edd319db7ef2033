"""What a layer costs: a timed step of it, and what its forward keeps for backward."""

from collections.abc import Mapping

import results  # noqa: F401  (where `common` is found)
import torch
from torch import Tensor, nn

from common import Lap, Step, Timing, alternate, between, now

__all__ = ["kept", "peak", "step_of", "time_steps"]


def step_of(layer: nn.Module, x: Tensor) -> Step:
    """A step: forward and backward of a layer's output, or of its first one."""

    def step() -> list[Lap]:
        layer.zero_grad()
        x.grad = None
        start = now()
        y = layer(x)
        y = y if isinstance(y, Tensor) else y[0]
        middle = now()
        y.backward(torch.ones_like(y))
        return between(start, middle, now())

    return step


def time_steps(steps: Mapping[str, Step], seconds: float) -> dict[str, Timing]:
    """Time steps in turn, for so many seconds in all; one that fails ends the script."""
    laps, failed = alternate(steps, seconds)
    if failed:
        raise SystemExit(f"failed: {failed}")
    return {name: Timing.of(found) for name, found in laps.items()}


def kept(layer: nn.Module, x: Tensor) -> int:
    """How many bytes forward keeps for backward, parameters and input apart."""
    known = {t.untyped_storage().data_ptr() for t in (x, *layer.parameters())}
    sizes = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in known:
            sizes[storage.data_ptr()] = storage.nbytes()
        return tensor  # held by the graph, so that no two share an address

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        y = layer(x)
    del y
    return sum(sizes.values())


def peak(step: Step) -> int:
    """How many bytes a step holds at once, beyond what was held before it."""
    activities = [torch.profiler.ProfilerActivity.CPU]
    with torch.profiler.profile(activities=activities, profile_memory=True) as profiler:
        step()
    held = most = 0
    for event in profiler.profiler.kineto_results.events():
        if event.name() == "[memory]":
            held += event.nbytes()
            most = max(most, held)
    return most
