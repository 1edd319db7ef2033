"""How time and memory grow: a network as batch, width and depth double, a layer as all do."""

from pathlib import Path

import torch

from cases import NOW, Case, Measured, label
from common import BenchError, Lap, Step, Table, Timing, between, now, say
from layers import COMPILED, DROPPED, EAGER, FIRST, OURS, module, name_of, needs_dx, tensors
from trees import Worker
from ugmm.nn import UGMMNetwork

TITLE = "Scaling: forward and backward of a network as batch, width and depth double"
NOTE = """Networks of layers of equal width, with LayerNorm, on one thread and on all. Quartiles
and times are of the clock on the wall; 10^9/s: components a second."""
COLUMNS = ("10^9/s:6",)
BY_WALL = True

BASE = {"batch": 128, "width": 256, "depth": 2}
SWEEPS = {  # the base is where all three meet
    "batch": (32, 128, 512, 2048),
    "width": (64, 128, 256, 512, 1024),
    "depth": (1, 2, 4, 8, 16),
}
QUICK = {"batch": (64, 256), "width": (128, 256), "depth": (1, 4)}
CUBES = (256, 512, 1024, 2048)  # 2048: one (batch, out, in) tensor has 32 GiB
SMALL = (64, 32, 128)  # warms up what the layers measured use: few inputs go other ways


def cases(quick: bool, device: str) -> list[Case]:
    """What is timed: every size on one thread, and on all."""
    if device != "cpu":
        return []
    counts = ["1 thread"]
    if (most := torch.get_num_threads()) > 1:
        counts.append(f"{most} threads")
    return [
        Case(f"{what} {value}", [], counts, 1 if quick else 3)
        for what, values in (QUICK if quick else SWEEPS).items()
        for value in values
    ]


def size_of(case: str) -> dict[str, int]:
    """The batch, width and depth of a case."""
    what, value = case.split()
    return BASE | {what: int(value)}


def make(case: str, contender: str, device: str = "cpu") -> Step:
    """A step: forward and backward of a network."""
    size, threads = size_of(case), int(contender.split()[0])
    torch.manual_seed(0)
    network = UGMMNetwork([size["width"]] * (size["depth"] + 1), norm="layer").to(device)
    x = torch.rand(size["batch"], size["width"], device=device)

    def step() -> list[Lap]:
        torch.set_num_threads(threads)
        network.zero_grad()
        start = now()
        network(x).sum().backward()
        return between(start, now())

    return step


def components(case: str) -> int:
    """How many a step has."""
    size = size_of(case)
    return size["batch"] * size["width"] ** 2 * size["depth"]


def cells(case: str, contender: str, timing: Timing, peers: dict[str, Timing]) -> list[str]:  # noqa: ARG001
    """The part's own columns."""
    return [f"{components(case) / timing.seconds.median / 1e9:.2f}"]


def more(trees: dict[str, Path], quick: bool, device: str) -> Measured:
    """Extra memory of a layer: of several at one size, and of ours as everything doubles."""
    table = Table(
        "Memory of one layer, beyond its inputs, outputs and gradients",
        ["case:16", "contender:34", "extra MiB:9", "tensors MiB:11", "one tensor MiB:14"],
        "Forward and backward. extra: the peak of a step in a process of its own, less tensors: "
        "inputs, outputs,\nparameters and gradients; one tensor: of (batch, out, in) numbers, of "
        "which ours hold none.",
    )
    cubes = [(n, n, n) for n in (CUBES[:3] if quick else CUBES)] if device == "cpu" else []
    wanted = [(FIRST, name) for name in (OURS, OURS + DROPPED, EAGER, COMPILED)]
    wanted += [(size, OURS) for size in cubes]
    records = []
    for size, contender in wanted:
        for tree, folder in trees.items():
            if tree != NOW and not contender.startswith(OURS):
                continue
            case = name_of(size)
            say(f"{case} {contender}: memory")
            one = 4 * size[0] * size[1] * size[2] / 2**20
            try:
                with Worker(folder) as worker:
                    extra = worker.call("scaling", "extra_mib", contender, size, device)
            except BenchError as error:
                table.add(case, label(contender, tree, trees), error)
                continue
            tensors_mib = mib_of_tensors(contender, size)
            cells = [f"{extra:.1f}", f"{tensors_mib:.1f}", f"{one:,.1f}"]
            table.add(case, label(contender, tree, trees), *cells)
            records.append(
                {"part": "memory", "case": case, "contender": contender, "tree": tree}
                | {"extra": extra, "tensors": tensors_mib, "one": one, "n": size[0]}
            )
    return Measured([table], records)


def mib_of_tensors(contender: str, size: tuple[int, int, int]) -> float:
    """Inputs, outputs and parameters of a layer, and all gradients."""
    batch, n_out, n_in = size
    without = 0 if needs_dx(contender) else batch * n_in
    return 4 * (2 * (batch * (n_in + n_out) + 3 * n_out * n_in) - without) / 2**20


def extra_mib(contender: str, size: tuple[int, int, int], device: str) -> float:
    """The peak of building a layer and doing a step, less its tensors; in a process of its own."""

    def step(size) -> None:
        x, gradient = tensors(contender, size, device)
        module(contender, size[2], size[1], device)(x).backward(gradient)

    # Compiled code is for one size: it is compiled without counting that.
    step(size if contender == COMPILED or device == "cuda" else SMALL)
    peak = mib_at_peak_on_gpu if device == "cuda" else mib_at_peak
    return max(0.0, peak(lambda: step(size)) - mib_of_tensors(contender, size))


def mib_of_process(key: str) -> float:
    """A figure of this process's memory: `VmRSS`, or its peak `VmHWM`."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(key):
            return int(line.split()[1]) / 1024
    raise KeyError(key)


def mib_at_peak(run) -> float:
    """How far the resident memory of this process rises while `run` runs."""
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts again from here
    before = mib_of_process("VmRSS")
    run()
    return mib_of_process("VmHWM") - before


def mib_at_peak_on_gpu(run) -> float:
    """The same, as torch's allocator counts it."""
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    run()
    return (torch.cuda.max_memory_allocated() - before) / 2**20
