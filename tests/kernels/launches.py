"""Steps of the CUDA kernel on a driver that only notes what is launched: `python launches.py`.

Triton compiles, but its interpreter does not, and a process of tests may be the interpreter's.
"""

import torch
from triton.backends.compiler import GPUTarget
from triton.runtime import driver
from triton.runtime.autotuner import Autotuner

from ugmm.kernels.definition import register
from ugmm.kernels.mixture import cuda
from ugmm.kernels.prepared import Prepared

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


def main():
    """Compare each kind's first step, launched by Triton, with its second, by `Launcher`."""
    driver.set_active(Driver())
    Autotuner._bench = lambda *_, **__: [1.0, 1.0, 1.0]
    cuda._multiprocessors = lambda _device: 20
    operator = register(cuda.KERNEL._replace(name="noted", dispatch_key="CPU"))
    x = torch.randn(41, 70, requires_grad=True)
    parameters = [torch.randn(33, 70, requires_grad=True) for _ in range(3)]
    known = torch.rand(41, 70) < 0.5
    shifted = torch.randn(41 * 70 + 1)[1:].view(41, 70)  # by 4 bytes
    for x_here, known_here, floor in ((x, None, 0.0), (x, known, 0.1), (shifted, None, 0.0)):
        step = lambda x=x_here, known=known_here, floor=floor: (  # noqa: E731
            operator(x, *parameters, known, floor, None).sum().backward()
        )
        kinds = len(cuda._FORWARD._found)
        first, second = launched(step), launched(step)
        assert [launch[0] for launch in first] == ["prepare", "forward", "backward", "finish"]
        assert second == first
        assert len(cuda._FORWARD._found) == kinds + (x_here is x), "launches of no kind are kept"
    prepared = Prepared(*parameters)
    inside = lambda: operator(x, *parameters, None, 0.0, prepared)  # noqa: E731
    assert [launch[0] for launch in launched(inside)] == ["prepare", "forward"]
    assert [launch[0] for launch in launched(inside)] == ["forward"]


if __name__ == "__main__":
    main()
