"""One layer, forward and backward, beside peers and the machine's limit."""

from pathlib import Path
from typing import Any

import torch
from torch import nn

from cases import NOW, Case, Measured
from common import BenchError, Lap, Step, Table, Timing, between, now
from limit import Limit, card_limit
from networks import PlainLayer, eager, lean
from trees import Worker
from ugmm.nn import UGMM

TITLE = "One layer, forward and backward"
NOTE = """Layers as a user makes them, ugmm.nn.UGMM(in, out); case: batch x out x in. no dx: the
input needs no gradient, as in a first layer; zeros: nor does it here, and four fifths of it are 0,
as of MNIST's pixels; dropped: and the layer drops a fifth of its inputs, other ones in each row.
eager: the paper's code; compiled: the formula in as few operations as it takes, by torch.compile;
reference: this package's definition in plain torch. limit: what the machine could do at best: on a
CPU, the bare arithmetic of the formula in the first-level cache; on a graphics card, its
exponential units alone."""
COLUMNS = ("forward:9", "backward:9", "of the limit:12")

OURS, LIMIT, EAGER, COMPILED, LINEAR = "ugmm", "limit", "eager", "compiled", "nn.Linear"
REFERENCE = "reference"
NO_DX, ZEROS, DROPPED = ", no dx", ", zeros", ", zeros, dropped"
FIRST = (256, 128, 784)  # the first layer of mnist_disc
FEW, PATCHES = (8192, 32, 9), (8192, 32, 25)  # of places in an image: kernels of 3 and 5 pixels
TINY, LARGE = (96, 10, 5), (1024, 1024, 1024)
SIZES = ((128, 128, 784), FIRST, (128, 64, 128), (128, 10, 64), FEW, PATCHES, TINY, LARGE)
QUICK = (FIRST, FEW, PATCHES, TINY)  # on a CPU; a graphics card is quick with all
MOST = 2**25  # components: above, the reference is left out
COPIES = {EAGER: 8, COMPILED: 4}  # (batch, out, in) tensors alive at once, at most


def cases(quick: bool, device: str) -> list[Case]:
    """What is timed: each size, and at one of pixels, ours with zeros and dropped inputs too."""
    found = []
    for size in QUICK if quick and device == "cpu" else SIZES:
        batch, n_out, n_in = size
        ours = [OURS, OURS + NO_DX]
        if n_in == FIRST[2]:
            ours += [OURS + ZEROS, OURS + DROPPED]
        peers = [EAGER, COMPILED, LINEAR, LIMIT, LIMIT + NO_DX]
        if batch * n_out * n_in <= MOST and device == "cpu":
            peers.append(REFERENCE)
        found.append(Case(name_of(size), ours, peers, 3 if quick else 10))
    return found


def name_of(size: tuple[int, ...]) -> str:
    """A size as a case's name."""
    return "x".join(map(str, size))


def size_of(case: str) -> tuple[int, int, int]:
    """Batch, neurons and inputs of a case."""
    batch, n_out, n_in = map(int, case.split("x"))
    return batch, n_out, n_in


def kind_of(contender: str) -> str:
    """The contender without what is said of its input."""
    return contender.partition(",")[0]


def needs_dx(contender: str) -> bool:
    """Whether this contender computes the input's gradient too."""
    return not contender.endswith((NO_DX, ZEROS, DROPPED))


def module(contender: str, n_in: int, n_out: int, device: str = "cpu") -> nn.Module:
    """The layer of this name."""
    kind = kind_of(contender)
    torch.manual_seed(0)
    if kind == LINEAR:
        return nn.Linear(n_in, n_out, device=device)
    if kind in (EAGER, COMPILED):
        formula = eager if kind == EAGER else torch.compile(lean, dynamic=False)
        return PlainLayer(n_in, n_out, formula=formula).to(device)
    other: dict[str, Any] = {"kernel": "reference"} if kind == REFERENCE else {}
    if contender.endswith(DROPPED):
        other["input_dropout"] = 0.2
    return UGMM(n_in, n_out, **other).to(device)


def tensors(contender: str, size: tuple[int, int, int], device: str = "cpu") -> tuple[Any, Any]:
    """A layer's input, and a gradient for its scores."""
    batch, n_out, n_in = size
    torch.manual_seed(0)
    x = torch.rand(batch, n_in)
    if ZEROS in contender:
        x *= torch.rand(batch, n_in) < 0.2
    x = x.to(device).requires_grad_(needs_dx(contender))
    return x, torch.randn(batch, n_out).to(device)


def make(case: str, contender: str, device: str = "cpu") -> Step:
    """A step of a contender: forward and backward."""
    size = size_of(case)
    if kind_of(contender) == LIMIT:
        return limit_of(size, needs_dx(contender), device)
    needed = COPIES.get(contender, 0) * 4 * size[0] * size[1] * size[2] / 2**20
    free = torch.cuda.mem_get_info()[0] / 2**20 if device == "cuda" else mib_available()
    if needed > 0.8 * free:
        raise BenchError(f"needs {needed / 1024:.0f} GiB")
    layer = module(contender, size[2], size[1], device)
    x, gradient = tensors(contender, size, device)

    def step() -> list[Lap]:
        layer.zero_grad()
        x.grad = None
        moments = [now()]
        score = layer(x)
        if device == "cpu":  # a graphics card's backward need not wait for forward
            moments.append(now())
        score.backward(gradient)
        return between(*moments, now())

    return step


def mib_available() -> float:
    """Free memory."""
    fields = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    return int(fields["MemAvailable"].split()[0]) / 1024


def limit_of(size: tuple[int, int, int], inputs: bool, device: str) -> Step:
    """A step of the limit."""
    components = size[0] * size[1] * size[2]
    return (lambda: card_limit(components)) if device == "cuda" else Limit(components).step(inputs)


def cells(case: str, contender: str, timing: Timing, peers: dict[str, Timing]) -> list[str]:  # noqa: ARG001
    """The part's own columns."""
    parts = [f"{1e3 * part:.3f}" for part in timing.parts] if len(timing.parts) == 2 else ["", ""]
    if kind_of(contender) in (LIMIT, LINEAR) or ZEROS in contender:
        return [*parts, ""]  # with zeros it need not compute every exponential
    limit = peers.get(LIMIT if needs_dx(contender) else LIMIT + NO_DX)
    return [*parts, f"{limit.seconds.median / timing.seconds.median:.0%}" if limit else ""]


def more(trees: dict[str, Path], quick: bool, device: str) -> Measured:  # noqa: ARG001
    """Where a graphics card's time goes."""
    if device != "cuda":
        return Measured([], [])
    with Worker(trees[NOW]) as worker:
        note, rows = worker.call("limit", "profile", LARGE)
    columns = ["kernel:60", "launches:8", "ms a step:9", "share:6"]
    table = Table(f"Profile of {name_of(LARGE)} on the card", columns, note)
    for row in rows:
        table.add(*row)
    return Measured([table], [])
