"""Steps of the CUDA kernels on a driver that only notes what is launched: `python launches.py`.

Triton compiles, but its interpreter does not, and a process of tests may be the interpreter's.
"""

import torch
from triton.backends.compiler import GPUTarget
from triton.runtime import driver
from triton.runtime.autotuner import Autotuner

from ugmm.kernels.coordinates.cuda import CudaCandidates
from ugmm.kernels.cumulative import cuda as cumulative_cuda
from ugmm.kernels.definition import register
from ugmm.kernels.mixture import cuda
from ugmm.kernels.prepared import Prepared
from ugmm.kernels.problem import Problem

noted = []


class Utils:
    def load_binary(self, *_):
        return 1, 1, 32, 0, 1024  # a module, a function, registers, spills, most threads

    def get_device_properties(self, _device):
        return {"max_shared_mem": 2**17}


class Launch:
    """Of a compiled kernel: notes its name, grid and arguments."""

    def __init__(self, source, _metadata):
        self.name, self.constants = source.fn.__name__, source.constants

    def __call__(self, *args):
        grid, rest = args[:3], args[9:]  # behind a stream, a function, metadata and hooks
        plain = [(a.dtype, tuple(a.shape)) if torch.is_tensor(a) else a for a in rest]
        noted.append((self.name, grid, plain, self.constants))


class Driver:
    utils, launcher_cls = Utils(), Launch

    def get_current_device(self):
        return 0

    def get_current_stream(self, _device):
        return 0

    def get_current_target(self):
        return GPUTarget("cuda", 90, 32)

    def get_benchmarker(self):
        return None


def launched(step):
    noted.clear()
    step()
    return list(noted)


def mixture():
    """Each kind of step; and calls where parameters are prepared."""
    cuda._multiprocessors = lambda _device: 20
    operator = register(cuda.KERNEL._replace(name="noted", dispatch_key="CPU"))
    x = torch.randn(41, 70, requires_grad=True)
    parameters = [torch.randn(33, 70, requires_grad=True) for _ in range(3)]
    known = torch.rand(41, 70) < 0.5
    shifted = torch.randn(41 * 70 + 1)[1:].view(41, 70)  # by 4 bytes
    for x_here, known_here, floor in ((x, None, 0.0), (x, known, 0.1), (shifted, None, 0.0)):
        inputs = (x_here, *parameters, known_here, floor, None)
        kinds = len(cuda._FORWARD._found)
        twice(operator, inputs, ["prepare", "forward", "backward", "finish"])
        assert len(cuda._FORWARD._found) == kinds + (x_here is x), "launches of no kind are kept"
    inputs = (x, *parameters, None, 0.0, Prepared(*parameters))
    assert names(launched(lambda: operator(*inputs))) == ["prepare", "forward"]
    assert names(launched(lambda: operator(*inputs))) == ["forward"]


def cumulative():
    """Steps for all prefixes and for some, with the input's gradient and without."""
    kernel = cumulative_cuda.KERNEL._replace(name="cumulative_noted", dispatch_key="CPU")
    operator = register(kernel)
    parameters = [torch.randn(33, 70, requires_grad=True) for _ in range(3)]
    start = torch.randn(41, 33)
    for x in (torch.randn(41, 70), torch.randn(41, 70, requires_grad=True)):
        for positions in (None, torch.arange(0, 60, 7)):
            inputs = (x, *parameters, start, positions)
            forward, backward = ["prepare", "carry", "forward"], ["carry_back", "backward"]
            twice(operator, inputs, [*forward, "prepare", *backward, "finish"])


def coordinates():
    """Candidates of all rows alike, and of each row its own, in two blocks."""
    problem = Problem(torch.randn(41, 70), *(torch.randn(33, 70) for _ in range(3)))
    wanted = torch.arange(0, 60, 7)

    def ask(rows):
        candidates = CudaCandidates(problem, wanted, torch.randn(rows, len(wanted), 5))
        candidates.scores(0, 100)
        candidates.scores(100, 41 * len(wanted))

    for rows in (1, 41):
        first, second = (launched(lambda rows=rows: ask(rows)) for _ in range(2))
        assert names(first) == ["prepare", "add_others", "score", "score"], names(first)
        assert second == first


def names(launches):
    return [name for name, *_ in launches]


def twice(operator, inputs, expected):
    """Compare a kind's first step, launched by Triton, with its second, by `Launcher`."""
    first, second = (launched(lambda: operator(*inputs).sum().backward()) for _ in range(2))
    assert names(first) == expected, names(first)
    assert second == first


if __name__ == "__main__":
    driver.set_active(Driver())
    Autotuner._bench = lambda *_, **__: [1.0, 1.0, 1.0]
    mixture()
    cumulative()
    coordinates()
