"""How fast this machine can do the operation at best: `python benchmarks/limit.py`.

The bare arithmetic of one component (an exponential and the formula's multiply-adds), written
with the kernel's own vectors, in its own order (the fastest of those tried), on arrays that stay
in the first-level cache, on all cores at once: no rows to fetch, no sums to finish, no far rows,
no call from Python.
"""

import time

import numba
import numpy as np
import torch
from numba import njit, prange

from common import Table, alternate, announce, medians, parser, save, spread
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
REPEATS = 10_000  # of ROWS x INPUTS components, in each thread: some milliseconds
ZERO, WEIGHT = np.float32(0.0), np.float32(0.5)

_compiled = njit(error_model="numpy")
_parallel = njit(error_model="numpy", parallel=True)


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


@_parallel
def _run(x, constants, out, dx, repeats, part):
    for thread in prange(x.shape[0]):
        if part == 0:
            _forward(x[thread], constants[thread], out[thread], repeats)
        else:
            _backward(x[thread], constants[thread], out[thread], dx[thread], repeats, part == 1)


class Limit:
    """A step of the limit, and how many components it does.

    Arguments:
        repeats: Passes over the arrays.
    """

    def __init__(self, repeats: int = REPEATS) -> None:
        threads = min(torch.get_num_threads(), numba.config.NUMBA_NUM_THREADS)
        random = np.random.default_rng(0)
        self.x = random.random((threads, ROWS * INPUTS), np.float32)
        constants = random.random((threads, 3, INPUTS), np.float32)
        constants[:, 2] *= -1  # the level, at most 0
        self.constants = constants.reshape(threads, -1)
        self.out = np.zeros((threads, 3 * INPUTS), np.float32)
        self.dx = np.zeros_like(self.x)
        self.repeats, self.threads = repeats, threads
        self.components = threads * ROWS * INPUTS * repeats

    def __call__(self) -> tuple[float, float, float]:
        """Seconds of forward, of backward, and of backward without the gradient by the input."""
        numba.set_num_threads(self.threads)
        seconds = []
        for part in range(3):
            self.out[:], self.dx[:] = 0, 0
            start = time.perf_counter()
            _run(self.x, self.constants, self.out, self.dx, self.repeats, part)
            seconds.append(time.perf_counter() - start)
        return seconds[0], seconds[1], seconds[2]

    def __str__(self) -> str:
        """What it is."""
        return f"the bare arithmetic in the first-level cache, on {self.threads} threads"

    def rates(self, steps: list[tuple[float, ...]]) -> dict[str, float]:
        """Components a second, from steps: forward, backward, both, and the same without dx."""
        forward, backward, short = medians(steps)
        seconds = {
            "forward": forward,
            "backward": backward,
            "both": forward + backward,
            "backward, no dx": short,
            "both, no dx": forward + short,
        }
        return {name: self.components / value for name, value in seconds.items()}


def main() -> None:
    """Print the limit."""
    options = parser(__doc__).parse_args()
    announce()
    limit = Limit()
    steps = alternate({"limit": limit}, 1 if options.quick else 5)[0]["limit"]
    found = limit.rates(steps)
    table = Table(
        "The machine's limit",
        ["what:16", "10^9/s:7", "ms:9", "quartiles:16", "reps:4"],
        f"10^9 components a second, {limit.threads} threads; ms for {limit.components:,} of them.",
    )
    for name, index in (("forward", 0), ("backward", 1), ("backward, no dx", 2)):
        times = spread([parts[index] for parts in steps])
        table.add(name, f"{found[name] / 1e9:.2f}", *times.milliseconds())
    for name in ("both", "both, no dx"):
        table.add(name, f"{found[name] / 1e9:.2f}")
    save(options.save, "limit", [table], found)


if __name__ == "__main__":
    main()
