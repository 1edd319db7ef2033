"""Time and memory as batch, width and depth double: `python benchmarks/scaling.py`.

Times are of forward and backward of a whole network, on one thread and on all, in turn. Memory is
measured in fresh processes, as by `kernels.py`, and stands beside the unit that it should grow
with: batch x (in + out) + in x out floats of each layer.
"""

import time
from itertools import pairwise

import torch

from common import (
    Table,
    alternate,
    announce,
    in_fresh_process,
    mib_at_peak,
    parser,
    save,
    say,
    spread_of_sums,
)
from kernels import extra_memory
from ugmm.nn import UGMMNetwork

BASE = {"batch": 128, "width": 256, "depth": 2}
SWEEPS = {  # the base is where all three meet
    "batch": (32, 64, 128, 256, 512, 1024, 2048),
    "width": (64, 128, 256, 512, 1024),
    "depth": (1, 2, 4, 8, 16),
}
QUICK = {"batch": (64, 128, 256), "width": (128, 256), "depth": (1, 2, 4)}
CUBES = (256, 512, 1024, 2048)  # 2048: one (batch, out, in) tensor has 32 GiB


def step(size: dict[str, int], threads: int):
    """A step of a network of `depth` layers of equal width, as `alternate` wants it."""
    torch.manual_seed(0)
    network = UGMMNetwork([size["width"]] * (size["depth"] + 1), norm="layer")
    x = torch.rand(size["batch"], size["width"])

    def run() -> tuple[float]:
        torch.set_num_threads(threads)
        network.zero_grad()
        start = time.perf_counter()
        network(x).sum().backward()
        return (time.perf_counter() - start,)

    return run


def components(size: dict[str, int]) -> int:
    """How many a step has."""
    return size["batch"] * size["width"] ** 2 * size["depth"]


def unit_mib(batch: int, widths: list[int]) -> float:
    """What memory should grow with."""
    floats = sum(batch * (n_in + n_out) + n_in * n_out for n_in, n_out in pairwise(widths))
    return 4 * floats / 2**20


def measure_memory(batch: int, width: int, depth: int, threads: int) -> float:
    """MiB at the peak of building a network and doing a step; in a process of its own."""
    step({"batch": 64, "width": 64, "depth": 1}, threads)()  # large enough to start the threads
    size = {"batch": batch, "width": width, "depth": depth}
    return mib_at_peak(lambda: step(size, threads)())


def add_sweep(table: Table, what: str, values: tuple[int, ...], seconds: float) -> list[dict]:
    """The rows of one sweep, timed in turn; returns what the figure needs."""
    sizes, most = [BASE | {what: value} for value in values], torch.get_num_threads()
    counts = sorted({1, most})
    say(f"{what} {values[0]} to {values[-1]}: timing")
    steps = {(size[what], count): step(size, count) for size in sizes for count in counts}
    results, _ = alternate(steps, seconds)
    torch.set_num_threads(most)
    data = []
    for size in sizes:
        spreads = {count: spread_of_sums(results[size[what], count]) for count in counts}
        unit, cells = unit_mib(size["batch"], [size["width"]] * (size["depth"] + 1)), []
        for count in counts:
            say(f"{what} {size[what]}: memory")
            peak = in_fresh_process(__file__, "--memory", *size.values(), count)
            cells.append("failed" if peak is None else f"{peak:.1f}")
            found = {"peak": peak, "unit": unit, "threads": count, "components": components(size)}
            data.append(
                {"what": what, "value": size[what], "seconds": spreads[count].median} | found
            )
        one, all_of = spreads[1].median, spreads[most].median
        rate = f"{components(size) / all_of / 1e9:.2f}"
        one_ms, all_ms = (spreads[count].milliseconds()[:2] for count in (1, most))
        reps = spreads[most].count
        speed_up = f"{one / all_of:.2f}x"
        table.add(*size.values(), *one_ms, *all_ms, reps, speed_up, rate, *cells, f"{unit:.1f}")
    return data


def add_cube(table: Table, n: int) -> dict:
    """Extra memory of one layer where everything doubles at once."""
    say(f"{n}x{n}x{n}: memory")
    extra, unit = extra_memory("cpu", (n, n, n), "cpu"), unit_mib(n, [n, n])
    eager = 4 * n**3 / 2**30
    cell = "failed" if extra is None else f"{extra:.1f}"
    ratio = "-" if extra is None else f"{extra / unit:.2f}"
    table.add(f"{n}x{n}x{n}", cell, f"{unit:.1f}", ratio, f"{eager:.2f}")
    return {"n": n, "extra": extra, "unit": unit, "eager": 1024 * eager}


def main() -> None:
    """Print the tables."""
    options = parser(__doc__)
    options.add_argument("--memory", nargs=4, type=int, help="for this program's own use")
    options = options.parse_args()
    if options.memory:
        print(measure_memory(*options.memory))
        return
    announce()
    most = torch.get_num_threads()
    memory = [f"MiB on {count}:8" for count in sorted({1, most})]
    columns = ["batch:5", "width:5", "depth:5", "ms on 1:9", "quartiles:18", f"ms on {most}:9"]
    columns += ["quartiles:18", "reps:4", "speed-up:8", "10^9/s:6", *memory, "unit:6"]
    table = Table(
        "Scaling: forward and backward of a network as batch, width and depth double",
        columns,
        f"Medians on 1 thread and on {most}; 10^9/s: components a second, on {most}. Memory in "
        "MiB: the peak of building the network\nand doing a step, parameters and gradients "
        "included; unit: batch x (in + out) + in x out floats, summed over the layers.",
    )
    data = []
    for what, values in (QUICK if options.quick else SWEEPS).items():
        data += add_sweep(table, what, values, 1 if options.quick else 8)
    cubes = Table(
        "Memory of one layer, beyond its inputs, outputs and gradients",
        [
            "batch x out x in:16",
            "extra MiB:9",
            "unit MiB:9",
            "extra / unit:12",
            "one tensor, GiB:15",
        ],
        "one tensor: a (batch, out, in) tensor, of which the eager code holds eight at its peak.",
    )
    memory = [add_cube(cubes, n) for n in CUBES]
    save(options.save, "scaling", [table, cubes], {"sweeps": data, "cubes": memory})


if __name__ == "__main__":
    main()
