"""Products with matrices of zeros and ones, against torch's of general matrices in float64."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ugmm.kernels.compiled.bits import Bits


def tensors(rows, columns, n, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(rows, columns, generator=generator)
    x[torch.rand(rows, columns, generator=generator) < 0.6] = 0.0
    known = torch.rand(rows, columns, generator=generator) < 0.7
    return x, known, torch.randn(columns, n, generator=generator)


@pytest.mark.parametrize("across", [False, True])
@pytest.mark.parametrize("which", ["zero", "known", "both"])
@settings(derandomize=True, deadline=None, max_examples=25)
@given(
    rows=st.integers(1, 300), columns=st.integers(1, 70), n=st.integers(1, 70), seed=st.integers(0)
)
def test_products(which, across, rows, columns, n, seed):
    x, known, factor = tensors(rows, columns, n, seed % 1000)
    matrix = torch.ones(rows, columns).double()
    if which != "known":
        matrix *= x == 0
    if which != "zero":
        matrix *= known
    if across:
        matrix, factor = matrix.t(), torch.randn(rows, n)
    bits = Bits.of(None if which == "known" else x, None if which == "zero" else known, across)
    expected = matrix @ factor.double()
    size = matrix @ factor.double().abs()
    error = (bits.times(factor).double() - expected).abs()
    assert (error <= 1e-6 * size).all()


def test_what_is_not_finite_is_not_0():
    x = torch.tensor([[0.0, torch.nan, torch.inf, -0.0]])
    assert Bits.of(x, None).times(torch.eye(4)).tolist() == [[1.0, 0.0, 0.0, 1.0]]


def test_the_result_does_not_depend_on_threads():
    x, known, factor = tensors(300, 200, 90)
    before = torch.get_num_threads()
    try:
        products = []
        for threads in (1, 2):
            torch.set_num_threads(threads)
            products.append(Bits.of(x, known).times(factor))
            products.append(Bits.of(x, known, across=True).times(factor.new_ones(300, 5)))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(products[0], products[2])
    assert torch.equal(products[1], products[3])
