"""Times one layer, forward and backward, beside eager torch, torch.compile and the limit.

Run as `python benchmarks/kernels.py [--quick] [--device cuda]`. Memory on a CPU is measured in a
fresh process for each cell: the peak of its resident set above what it held after a warm-up on a
small layer, less the tensors of the layer itself.
"""

import functools
import time

import torch

from common import (
    Table,
    alternate,
    announce,
    in_fresh_process,
    medians,
    mib_at_peak,
    mib_available,
    parser,
    save,
    say,
    spread_of_sums,
)
from ugmm.functional import mixture_log_score

SIZES = [(128, 128, 784), (256, 128, 784), (128, 64, 128), (128, 10, 64), (1024, 1024, 1024)]
NO_DX = ", no dx"  # the input needs no gradient, as in a network's first layer
ZEROS = ", zeros"  # nor does it here, and four fifths of it are 0, as of MNIST's pixels
LARGE = 2**25  # components: above, the reference is left out, and the memory of `compile`
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
    """The function of this name; what it is not, is a kernel of ours."""
    if name == "eager":
        return eager
    if name == "compile":
        return torch.compile(lean, dynamic=False)
    return functools.partial(mixture_log_score, kernel=name.partition(",")[0])


def contenders(size, device):
    """The names that are compared at one size."""
    batch, n_out, n_in = size
    reference = ["reference"] if batch * n_out * n_in <= LARGE else []
    zeros = [device + ZEROS] if n_in == 784 else []  # pixels
    return ["eager", "compile", *reference, device, device + NO_DX, *zeros]


def layer(name, size, device="cpu"):
    """A layer's inputs, as the paper initialises them, and a gradient for its scores."""
    batch, n_out, n_in = size
    torch.manual_seed(0)
    x = torch.rand(batch, n_in)
    if name.endswith(ZEROS):
        x *= torch.rand(batch, n_in) < 0.2
    loc = torch.randn(n_out, n_in)
    log_scale = torch.rand(n_out, n_in).log_()
    logits = torch.rand(n_out, n_in)
    inputs = [tensor.to(device) for tensor in (x, loc, log_scale, logits)]
    for tensor in inputs[0 if needs_dx(name) else 1 :]:
        tensor.requires_grad_()
    return inputs, torch.randn(batch, n_out).to(device)


def needs_dx(name):
    """Whether this contender computes the input's gradient too."""
    return not name.endswith((NO_DX, ZEROS))


def step(function, inputs, grad):
    """The times of forward and backward, in seconds."""
    for tensor in inputs:
        tensor.grad = None
    if grad.is_cuda:
        return step_on_gpu(function, inputs, grad)
    start = time.perf_counter()
    score = function(*inputs)
    middle = time.perf_counter()
    score.backward(grad)
    return middle - start, time.perf_counter() - middle


def step_on_gpu(function, inputs, grad):
    """The same by the GPU's clock, the waits for Python included."""
    start, middle, end = (torch.cuda.Event(enable_timing=True) for _ in range(3))
    torch.cuda.synchronize()
    start.record()
    score = function(*inputs)
    middle.record()
    score.backward(grad)
    end.record()
    torch.cuda.synchronize()
    return 1e-3 * start.elapsed_time(middle), 1e-3 * middle.elapsed_time(end)


def mib_of_tensors(name, size):
    """Inputs, outputs and all gradients."""
    batch, n_out, n_in = size
    without = 0 if needs_dx(name) else batch * n_in
    return 4 * (2 * (batch * (n_in + n_out) + 3 * n_out * n_in) - without) / 2**20


def refusal(name, size, device):
    """Why a contender cannot run, or nothing."""
    needed = COPIES.get(name, 0) * 4 * size[0] * size[1] * size[2] / 2**20
    free = torch.cuda.mem_get_info()[0] / 2**20 if device == "cuda" else mib_available()
    return f"needs {needed / 1024:.0f} GiB" if needed > 0.8 * free else ""


def measure_memory(name, size):
    """In a process of its own: MiB at the peak of one step above those before the layer exists.

    Inputs, outputs and gradients are then taken off, and what is left is the extra memory.
    """
    function = contender(name)
    if name == "compile":  # compiled code is for one size: compile it without counting that
        step(function, *layer(name, size))
    step(function, *layer(name, (64, 32, 64)))  # large enough to start the threads
    peak = mib_at_peak(lambda: step(function, *layer(name, size)))
    return max(0.0, peak - mib_of_tensors(name, size))


def measure_memory_on_gpu(name, size):
    """The same, as torch's allocator counts it."""
    function = contender(name)
    step(function, *layer(name, size, "cuda"))
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    step(function, *layer(name, size, "cuda"))
    peak = (torch.cuda.max_memory_allocated() - before) / 2**20
    return max(0.0, peak - mib_of_tensors(name, size))


def extra_memory(name, size, device):
    """The extra memory in MiB, or None where it is not measured."""
    if device == "cuda":
        return measure_memory_on_gpu(name, size)
    if name == "compile" and size[0] * size[1] * size[2] > LARGE:
        return None  # two more steps of many seconds
    return in_fresh_process(__file__, "--memory", name, *size)


def time_size(size, seconds, device, limit):
    """Interleaved steps of one size: by name, the timed steps; and why others have none."""
    steps, refused = {}, {}
    for name in contenders(size, device):
        refused[name] = refusal(name, size, device)
        if not refused[name]:
            inputs, grad = layer(name, size, device)
            steps[name] = functools.partial(step, contender(name), inputs, grad)
    if device == "cpu":
        steps["limit"] = limit
    results, failed = alternate(steps, seconds)
    return results, {name: text for name, text in refused.items() if text} | failed


def add_rows(table, size, device, results, refused, limit):
    """The rows of one size; returns what the figure needs of them."""
    batch, n_out, n_in = size
    label = f"{batch}x{n_out}x{n_in}"
    limits = limit.rates(results.pop("limit", None))
    spreads = {name: spread_of_sums(steps) for name, steps in results.items()}
    data = []
    for name in contenders(size, device):
        if name in refused:
            table.add(label, name, refused[name])
            continue
        forward, backward = medians(results[name])
        total = spreads[name].median
        ratios = [
            f"{spreads[other].median / total:.1f}x" if other in spreads else "-"
            for other in ("eager", "compile")
        ]
        share = "-"  # with zeros it need not compute every exponential
        if limits and not name.endswith(ZEROS):
            best = limits["both" + ("" if needs_dx(name) else NO_DX)]
            share = f"{batch * n_out * n_in / best / total:.0%}"
        say(f"{label} {name}: memory")
        extra = extra_memory(name, size, device)
        median, *rest = spreads[name].milliseconds()
        times = [f"{1e3 * forward:.3f}", f"{1e3 * backward:.3f}", median, *rest]
        memory = ["-" if extra is None else f"{extra:.1f}", f"{mib_of_tensors(name, size):.1f}"]
        table.add(label, name, *times, *ratios, share, *memory)
        data.append({"name": name, "seconds": total, "extra": extra, "share": share})
    best = batch * n_out * n_in / limits["both"] if limits else None
    return {"size": size, "contenders": data, "limit": best}


def main():
    """Print the table."""
    options = parser(__doc__)
    options.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    options.add_argument("--memory", nargs=4, help="for this program's own use")
    options = options.parse_args()
    if options.memory:
        name, *size = options.memory
        print(measure_memory(name, tuple(map(int, size))))
        return
    device = options.device
    announce(device)
    if device == "cuda":
        import gpu

        limit = gpu.Limit()
    else:  # needs Numba, which a machine with a GPU may lack
        from limit import Limit

        limit = Limit()
    columns = "size:14 contender:11 forward:9 backward:9 both:9 quartiles:20 reps:4 eager:7"
    columns += " compile:7 limit:5 extra:7 tensors:7"
    table = Table(
        "One layer, forward and backward",
        columns.split(),
        "size: batch x out x in. Times in ms: medians, and the quartiles of both together.\n"
        "eager, compile: how many times as long those take; limit: the share of the machine's "
        "limit reached.\nMemory in MiB: peak extra, and the size of inputs, outputs, gradients.\n"
        "no dx: the input needs no gradient, as in a first layer; zeros: and four fifths of "
        f"it are 0, as of MNIST's pixels.\nLimit: {limit}.",
    )
    data = []
    for size in SIZES:
        say(f"{'x'.join(map(str, size))}: timing")
        timed = time_size(size, 2 if options.quick else 10, device, limit)
        data.append(add_rows(table, size, device, *timed, limit))
    tables = [table]
    if device == "cuda":
        inputs, grad = layer(device, SIZES[-1], device)
        tables.append(gpu.profile(lambda: step(contender(device), inputs, grad), SIZES[-1]))
    save(options.save, "kernels", tables, data, device)


if __name__ == "__main__":
    main()
