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
def _unwarned(monkeypatch):
    monkeypatch.setattr(kernels, "_warned", False)


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
    with pytest.raises(ValueError, match="auto, reference, cpu, not 'gpu'"):
        choose_kernel(torch.zeros(1), "gpu")


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
"""


@pytest.mark.parametrize("script", [WITHOUT_NUMBA, LIGHT], ids=["without Numba", "light"])
def test_in_a_fresh_process(script):
    # The loops must be in Numba's disk cache: compiling them imports what this test looks for.
    inputs = [torch.randn(4, 3)] + [torch.randn(2, 3, requires_grad=True) for _ in range(3)]
    mixture_log_score(*inputs).sum().backward()
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)
