"""Which kernel is taken, and what is said about it."""

import subprocess
import sys
import warnings

import pytest
import torch

from ugmm import kernels
from ugmm.functional import mixture_log_score
from ugmm.kernels import choose_kernel


@pytest.fixture(autouse=True)
def unwarned(monkeypatch):
    monkeypatch.setattr(kernels, "warned", False)


def test_auto_takes_the_fused_kernel_for_float32():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert choose_kernel(torch.zeros(1)) is kernels.CPU
        assert choose_kernel(torch.zeros(1, dtype=torch.float64), "reference") is kernels.REFERENCE


@pytest.mark.parametrize("kernel", ["auto", "cpu"])
def test_float64_falls_back_with_one_warning(kernel):
    x = torch.zeros(1, dtype=torch.float64)
    with pytest.warns(RuntimeWarning, match="float64"):
        assert choose_kernel(x, kernel) is kernels.REFERENCE
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert choose_kernel(x, kernel) is kernels.REFERENCE


def test_unknown_name():
    with pytest.raises(ValueError, match="auto, reference, cpu, cuda, not 'gpu'"):
        choose_kernel(torch.zeros(1), "gpu")


class OnCuda:
    """Stands in for a tensor on a GPU, of which there may be none."""

    device = torch.device("cuda:0")

    def __init__(self, dtype=torch.float32):
        self.dtype = dtype


@pytest.mark.parametrize(("kernel", "x"), [("cpu", OnCuda()), ("cuda", torch.zeros(1))])
def test_a_kernel_for_another_device(kernel, x):
    with pytest.raises(ValueError, match=f"kernel='{kernel}' needs tensors on .* {x.device}"):
        choose_kernel(x, kernel)


@pytest.mark.parametrize("kernel", ["auto", "cuda"])
def test_on_a_gpu(kernel, monkeypatch):
    operator = object()
    monkeypatch.setattr(kernels, "cuda_operator", {"mixture": operator}.get)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert choose_kernel(OnCuda(), kernel) is operator
        assert choose_kernel(OnCuda(), "reference") is kernels.REFERENCE
    with pytest.warns(RuntimeWarning, match="float64"):
        assert choose_kernel(OnCuda(torch.float64), kernel) is kernels.REFERENCE


def test_without_triton(monkeypatch):
    monkeypatch.setattr(kernels, "cuda_operator", lambda room: None)
    with pytest.warns(RuntimeWarning, match="CUDA kernel is not used, since Triton"):
        assert choose_kernel(OnCuda()) is kernels.REFERENCE


def test_elsewhere_the_reference_says_nothing():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert choose_kernel(torch.zeros(1, device="meta")) is kernels.REFERENCE


WITHOUT_NUMBA = """
import sys, warnings
sys.modules["numba"] = None
import torch
from ugmm.functional import mixture_log_score
inputs = [torch.randn(4, 3)] + [torch.randn(2, 3) for _ in range(3)]
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    for kernel in ("auto", "cpu", "auto"):
        assert mixture_log_score(*inputs, kernel=kernel).shape == (4, 2)
assert ["Numba is not installed" in str(w.message) for w in caught] == [True], caught
"""

LIGHT = """
import sys, torch
from ugmm.functional import mixture_log_score
inputs = [torch.randn(4, 3)] + [torch.randn(2, 3, requires_grad=True) for _ in range(3)]
mixture_log_score(*inputs).sum().backward()
assert "torch._dynamo" not in sys.modules
assert "triton" not in sys.modules
"""

WITHOUT_TRITON = """
import sys
sys.modules["triton"] = None
from ugmm import kernels
assert kernels.cuda_operator("mixture") is None
assert kernels.cuda_operator("cumulative") is None
assert kernels.cuda_operator("coordinates") is None
"""

BROKEN = """
import sys
sys.modules["ugmm.kernels.mixture.loops"] = None  # a file of this package that cannot be imported
try:
    import ugmm.kernels
except ImportError:
    sys.exit()
raise AssertionError("the reference has silently taken the kernel's place")
"""


SCRIPTS = {
    "without Numba": WITHOUT_NUMBA,
    "without Triton": WITHOUT_TRITON,
    "light": LIGHT,
    "broken": BROKEN,
}


@pytest.mark.parametrize("script", SCRIPTS.values(), ids=SCRIPTS)
def test_in_a_fresh_process(script):
    # The loops must be in Numba's disk cache: compiling them imports what this test looks for.
    inputs = [torch.randn(4, 3)] + [torch.randn(2, 3, requires_grad=True) for _ in range(3)]
    mixture_log_score(*inputs).sum().backward()
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)
