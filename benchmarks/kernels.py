"""Times one layer, forward and backward, by four contenders side by side, and their memory.

Run as `python benchmarks/kernels.py [--quick]`. Repetitions of the contenders alternate, so that
a noisy moment of the machine meets all of them; the table gives medians and the spread between
the quartiles. Memory is measured in a fresh process for each cell: the peak of its resident set
above what it held after a warm-up on a small layer, less the tensors of the layer itself.
"""

import argparse
import functools
import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path

import torch

from ugmm.functional import mixture_log_score

SIZES = [
    (128, 128, 784),
    (256, 128, 784),
    (128, 64, 128),
    (128, 10, 64),
    (1024, 1024, 1024),
]
CONTENDERS = ("eager", "compile", "reference", "cpu")
COPIES = {"eager": 8, "compile": 4}  # (batch, out, in) tensors alive at once, at most
HALF_LOG_2PI = 0.9189385332046727


def eager(x, loc, log_scale, logits):
    """The layer as the paper's code writes it."""
    x = x.unsqueeze(1)
    scale = torch.exp(log_scale).unsqueeze(0)
    log_density = torch.distributions.Normal(loc.unsqueeze(0), scale).log_prob(x)
    log_weight = torch.log(torch.softmax(logits, dim=1)).unsqueeze(0)
    return torch.logsumexp(log_density + log_weight, dim=2)


def lean(x, loc, log_scale, logits):
    """The same with as few operations as the formula allows, for torch.compile."""
    constant = logits.log_softmax(-1) - log_scale - HALF_LOG_2PI
    z = (x.unsqueeze(1) - loc) * (-log_scale).exp()
    return torch.logsumexp(constant - 0.5 * z * z, -1)


def contender(name):
    """The function of this name."""
    if name == "eager":
        return eager
    if name == "compile":
        return torch.compile(lean, dynamic=False)
    return functools.partial(mixture_log_score, kernel=name)


def layer(size):
    """A layer's inputs, as the paper initialises them, and a gradient for its scores."""
    batch, n_out, n_in = size
    torch.manual_seed(0)
    x = torch.rand(batch, n_in, requires_grad=True)
    loc = torch.randn(n_out, n_in, requires_grad=True)
    log_scale = torch.rand(n_out, n_in).log_().requires_grad_()
    logits = torch.rand(n_out, n_in, requires_grad=True)
    return [x, loc, log_scale, logits], torch.randn(batch, n_out)


def step(function, inputs, grad):
    """The times of forward and backward, in seconds."""
    for tensor in inputs:
        tensor.grad = None
    start = time.perf_counter()
    score = function(*inputs)
    middle = time.perf_counter()
    score.backward(grad)
    return middle - start, time.perf_counter() - middle


def mib_of_tensors(size):
    """Inputs, outputs and all gradients."""
    batch, n_out, n_in = size
    return 4 * 2 * (batch * (n_in + n_out) + 3 * n_out * n_in) / 2**20


def mib_needed(name, size):
    """The components that a contender holds at its peak."""
    return COPIES.get(name, 0) * 4 * size[0] * size[1] * size[2] / 2**20


def mib_available():
    """Free memory."""
    fields = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    return int(fields["MemAvailable"].split()[0]) / 1024


def refusal(name, size):
    """Why a contender cannot run, or nothing."""
    if mib_needed(name, size) > 0.8 * mib_available():
        return f"needs {mib_needed(name, size) / 1024:.0f} GiB"
    return ""


def status(key):
    """A figure of this process's memory, in MiB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(key):
            return int(line.split()[1]) / 1024
    raise KeyError(key)


def measure_memory(name, size):
    """In a process of its own: MiB at the peak of one step above those before the layer exists.

    Inputs, outputs and gradients are then taken off, and what is left is the extra memory.
    """
    function = contender(name)
    if name == "compile":  # compiled code is for one size: compile it without counting that
        step(function, *layer(size))
    step(function, *layer((64, 16, 64)))  # large enough to start the threads
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts again from here
    before = status("VmRSS")
    inputs, grad = layer(size)
    step(function, inputs, grad)
    return max(0.0, status("VmHWM") - before - mib_of_tensors(size))


def memory_cell(name, size):
    """The extra memory as text, measured in a fresh process."""
    command = [sys.executable, __file__, "--memory", name, *map(str, size)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        return "failed"
    return f"{float(done.stdout.split()[-1]):.1f}"


def time_all(size, seconds):
    """Interleaved steps: each contender's (forward, backward) times, or why it has none."""
    inputs, grad = layer(size)
    runners, results = {}, {}
    for name in CONTENDERS:
        results[name] = refusal(name, size)
        if results[name]:
            continue
        try:
            function = contender(name)
            for _ in range(2):
                step(function, inputs, grad)
        except Exception as error:
            results[name] = f"{type(error).__name__}: {str(error).splitlines()[0][:60]}"
            continue
        runners[name], results[name] = function, []
    deadline, rounds = time.perf_counter() + seconds, 0
    while rounds < 3 or (time.perf_counter() < deadline and rounds < 300):
        for name, function in runners.items():
            step(function, inputs, grad)  # one to fill the caches anew after the others
            results[name].append(step(function, inputs, grad))
        rounds += 1
    return results


def quartiles(values):
    """First, second and third quartile."""
    low, middle, high = statistics.quantiles(values, n=4)
    return low, middle, high


def say(what):
    """Show what is going on, in a terminal, until the next line takes its place."""
    if sys.stdout.isatty():
        print(f"... {what}", end="\r", flush=True)


def print_size(size, seconds):
    """Measure and print the lines of one size."""
    say(f"{'x'.join(map(str, size))}: timing")
    results = time_all(size, seconds)
    totals = {
        name: statistics.median(f + b for f, b in steps)
        for name, steps in results.items()
        if not isinstance(steps, str)
    }
    for name in CONTENDERS:
        label = f"{'x'.join(map(str, size)):>15}  {name:<9}"
        if name not in totals:
            print(f"{label}  {results[name]}")
            continue
        forward, backward = zip(*results[name], strict=True)
        low, middle, high = quartiles([f + b for f, b in results[name]])
        ratios = [
            f"{totals[other] / totals[name]:7.1f}x" if other in totals else "       -"
            for other in ("eager", "compile")
        ]
        say(f"{label}: memory")
        memory = memory_cell(name, size)
        print(
            f"{label} {statistics.median(forward) * 1e3:9.3f} "
            f"{statistics.median(backward) * 1e3:9.3f} {middle * 1e3:9.3f} "
            f"{low * 1e3:8.3f}..{high * 1e3:<9.3f} {len(forward):4d} {' '.join(ratios)} "
            f"{memory:>9} {mib_of_tensors(size):8.1f}"
        )


def cpu_name():
    """What the machine calls its processor."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":")[1].strip()
    return platform.processor()


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="about a tenth of the repetitions")
    parser.add_argument("--memory", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.memory:
        name, *size = options.memory
        print(measure_memory(name, tuple(map(int, size))))
        return
    print(
        f"{cpu_name()}, {os.cpu_count()} CPUs, {torch.get_num_threads()} threads, "
        f"torch {torch.__version__}, Python {platform.python_version()}"
    )
    print(
        "Times in ms: medians, and the quartiles of forward and backward together. Memory in MiB:"
    )
    print("peak extra, and the size of inputs, outputs and gradients.")
    print(
        f"{'batch x out x in':>16} {'contender':<9}   forward  backward      both  "
        "quartiles          reps    eager  compile     extra  tensors"
    )
    for size in SIZES:
        print_size(size, 2 if options.quick else 20)


if __name__ == "__main__":
    main()
