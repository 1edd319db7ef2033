"""What PyTorch asks of the cumulative score: registration, autograd's rules, threads, choice."""

import functools
import warnings

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from ugmm import kernels
from ugmm.functional import cumulative_log_score
from ugmm.kernels import choose_cumulative

each_kernel = pytest.mark.parametrize("kernel", ["reference", "cpu"])
POSITIONS = torch.tensor([1, 4, 9])


def layer(batch=6, n_out=5, n_in=20, requires_grad=True):
    generator = torch.Generator().manual_seed(0)
    shapes = [(batch, n_in)] + 3 * [(n_out, n_in)] + [(batch, n_out)]
    return [torch.randn(s, generator=generator).requires_grad_(requires_grad) for s in shapes]


def gradients(inputs, kernel, positions=None):
    score = cumulative_log_score(*inputs, positions, kernel=kernel)
    return torch.autograd.grad(score.square().sum(), [i for i in inputs if i.requires_grad])


@each_kernel
@pytest.mark.parametrize("positions", [None, POSITIONS])
def test_opcheck(kernel, positions):
    operator = getattr(torch.ops.ugmm, f"cumulative_log_score_{kernel}").default
    torch.library.opcheck(operator, (*layer(), positions))
    inputs = (*layer(requires_grad=False), positions)
    score, *saved = operator(*inputs)
    backward = getattr(torch.ops.ugmm, f"cumulative_log_score_{kernel}_backward").default
    for needs in ((True, True), (True, False), (False, True)):
        torch.library.opcheck(backward, (torch.ones_like(score), *saved, *inputs, *needs))


@each_kernel
def test_dispatch_modes_see_one_operation(kernel):
    class Names(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            names.append(function.name())
            return function(*args, **(kwargs or {}))

    names, inputs = [], layer()
    with Names():
        gradients(inputs, kernel, POSITIONS)
    operators = [name for name in names if name.startswith("ugmm::")]
    name = f"ugmm::cumulative_log_score_{kernel}"
    assert operators == [name, f"{name}_backward"]


@each_kernel
@pytest.mark.parametrize("positions", [None, POSITIONS])
def test_compile_sees_one_operation(kernel, positions):
    function = functools.partial(cumulative_log_score, kernel=kernel)
    compiled = torch.compile(function, fullgraph=True, backend="aot_eager")
    inputs = layer()
    results = torch.autograd.grad(compiled(*inputs, positions).square().sum(), inputs)
    torch.testing.assert_close(results, gradients(inputs, kernel, positions))


@each_kernel
@pytest.mark.parametrize("needed", [(0,), (1, 2, 3), (4,), (0, 3)])
def test_only_needed_gradients(kernel, needed):
    every = gradients(layer(), kernel)
    inputs = [i.requires_grad_(n in needed) for n, i in enumerate(layer(requires_grad=False))]
    for n, result in zip(needed, gradients(inputs, kernel), strict=True):
        torch.testing.assert_close(result, every[n], rtol=0, atol=0)


def test_little_is_saved():
    sizes = []
    with torch.autograd.graph.saved_tensors_hooks(
        lambda tensor: sizes.append(tensor.numel()) or tensor, lambda tensor: tensor
    ):
        score = cumulative_log_score(*layer(64, 32, 96), kernel="cpu")
    assert max(sizes) <= score.numel() / 16


@each_kernel
@pytest.mark.parametrize("positions", [None, POSITIONS, POSITIONS[:0]])
def test_nothing_to_do(kernel, positions):
    inputs = layer(batch=0) if positions is None else layer()
    if positions is not None and len(positions):
        inputs = layer(batch=0)
    score = cumulative_log_score(*inputs, positions, kernel=kernel)
    assert score.shape == (len(inputs[0]), 20 if positions is None else len(positions), 5)
    assert all((result == 0).all() for result in gradients(inputs, kernel, positions))


@each_kernel
def test_strided_inputs_and_gradients(kernel):
    inputs = layer()
    strided = [i.detach().t().contiguous().t().requires_grad_() for i in inputs]
    positions = torch.stack([POSITIONS, POSITIONS], -1)[:, 0]
    expected = gradients(inputs, kernel, POSITIONS)
    torch.testing.assert_close(gradients(strided, kernel, positions), expected)
    score = cumulative_log_score(*inputs, kernel=kernel)
    by_sum = torch.autograd.grad(score.sum(), inputs, retain_graph=True)
    by_ones = torch.autograd.grad(score, inputs, torch.ones_like(score))
    torch.testing.assert_close(by_sum, by_ones)


@each_kernel
def test_autocast_runs_in_float32(kernel):
    inputs = layer(requires_grad=False)
    expected = cumulative_log_score(*inputs, POSITIONS, kernel=kernel)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = cumulative_log_score(inputs[0].bfloat16(), *inputs[1:], POSITIONS, kernel=kernel)
        operator = choose_cumulative(inputs[0], kernel)
        by_operator = operator(inputs[0].bfloat16(), *inputs[1:], POSITIONS)
    assert mixed.dtype == by_operator.dtype == torch.float32
    torch.testing.assert_close(mixed, expected, rtol=0.1, atol=0.1)
    torch.testing.assert_close(mixed, by_operator)


@pytest.mark.parametrize("sizes", [(70, 9, 130), (3, 70, 400), (200, 200, 40)])
def test_results_repeat_and_hardly_depend_on_threads(sizes):
    inputs, before = layer(*sizes), torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        alone = gradients(inputs, "cpu")
        torch.set_num_threads(5)
        many = gradients(inputs, "cpu")
        torch.testing.assert_close(many, gradients(inputs, "cpu"), rtol=0, atol=0)
    finally:
        torch.set_num_threads(before)
    for some, others in zip(alone, many, strict=True):
        assert (some - others).norm() < 1e-6 * some.norm()


def test_choice(monkeypatch):
    x = torch.zeros(1, 1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert choose_cumulative(x) is kernels.CUMULATIVE_CPU
        assert choose_cumulative(x, "reference") is kernels.CUMULATIVE_REFERENCE
    monkeypatch.setattr(kernels, "warned", False)
    with pytest.warns(RuntimeWarning, match="float64"):
        assert choose_cumulative(x.double()) is kernels.CUMULATIVE_REFERENCE
    monkeypatch.setattr(kernels, "CUMULATIVE_CPU", None)
    monkeypatch.setattr(kernels, "warned", False)
    with pytest.warns(RuntimeWarning, match="Numba"):
        assert choose_cumulative(x) is kernels.CUMULATIVE_REFERENCE
