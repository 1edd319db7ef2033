"""What PyTorch asks of a layer's score: registration, autograd's rules, threads."""

import functools

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from ugmm.functional import mixture_log_score
from ugmm.kernels import choose_kernel

KERNELS = ["reference", "cpu"]
each_kernel = pytest.mark.parametrize("kernel", KERNELS)


def layer(batch=12, n_out=5, n_in=20, requires_grad=True):
    generator = torch.Generator().manual_seed(0)
    shapes = [(batch, n_in)] + 3 * [(n_out, n_in)]
    return [torch.randn(s, generator=generator).requires_grad_(requires_grad) for s in shapes]


def gradients(inputs, kernel, **options):
    score = mixture_log_score(*inputs, kernel=kernel, **options)
    return torch.autograd.grad(score.square().sum(), [i for i in inputs if i.requires_grad])


@each_kernel
def test_opcheck(kernel):
    operator = getattr(torch.ops.ugmm, f"mixture_log_score_{kernel}").default
    for rest in ((None, 0.0), (torch.rand(12, 20) < 0.5, 0.1)):
        inputs = layer()
        torch.library.opcheck(operator, (*inputs, *rest))
        torch.library.opcheck(operator, (*layer(requires_grad=False), *rest))
        inputs = [i.detach() for i in inputs]
        score, *saved = operator(*inputs, *rest)
        backward = getattr(torch.ops.ugmm, f"mixture_log_score_{kernel}_backward").default
        for needs in ((True, True), (True, False), (False, True)):
            arguments = (torch.ones_like(score), *saved, *inputs, *rest, *needs)
            torch.library.opcheck(backward, arguments)


@each_kernel
def test_dispatch_modes_see_one_operation(kernel):
    class Names(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            names.append(function.name())
            return function(*args, **(kwargs or {}))

    names, inputs = [], layer()
    with Names():
        gradients(inputs, kernel)
    operators = [name for name in names if name.startswith("ugmm::")]
    name = f"ugmm::mixture_log_score_{kernel}"
    assert operators == [name, f"{name}_backward"]


@each_kernel
def test_export(kernel):
    class Model(torch.nn.Module):
        def forward(self, *inputs):
            return mixture_log_score(*inputs, kernel=kernel)

    inputs = tuple(layer(requires_grad=False))
    program = torch.export.export(Model(), inputs)
    names = [str(node.target) for node in program.graph.nodes if node.op == "call_function"]
    assert f"ugmm.mixture_log_score_{kernel}.default" in names
    torch.testing.assert_close(program.module()(*inputs), Model()(*inputs))


@each_kernel
def test_compile_sees_one_operation(kernel):
    function = functools.partial(mixture_log_score, kernel=kernel)
    compiled = torch.compile(function, fullgraph=True, backend="aot_eager")
    inputs = layer()
    results = torch.autograd.grad(compiled(*inputs).square().sum(), inputs)
    torch.testing.assert_close(results, gradients(inputs, kernel))


@each_kernel
@pytest.mark.parametrize("needed", [(0,), (1, 2, 3), (2,), (0, 3)])
def test_only_needed_gradients(kernel, needed):
    every = gradients(layer(), kernel)
    inputs = [i.requires_grad_(n in needed) for n, i in enumerate(layer(requires_grad=False))]
    for n, result in zip(needed, gradients(inputs, kernel), strict=True):
        torch.testing.assert_close(result, every[n], rtol=0, atol=0)


@each_kernel
def test_nothing_is_saved_without_autograd(kernel):
    def forbid(_tensor):
        raise AssertionError("a tensor was saved")

    with torch.autograd.graph.saved_tensors_hooks(forbid, lambda tensor: tensor):
        with torch.no_grad():
            assert not mixture_log_score(*layer(), kernel=kernel).requires_grad
        with torch.inference_mode():
            assert mixture_log_score(*layer(), kernel=kernel).is_inference()


@each_kernel
def test_no_component_tensor_is_saved(kernel):
    sizes = []
    inputs = layer(64, 32, 48)
    with torch.autograd.graph.saved_tensors_hooks(
        lambda tensor: sizes.append(tensor.numel()) or tensor, lambda tensor: tensor
    ):
        mixture_log_score(*inputs, kernel=kernel)
    assert max(sizes) <= 5 * 32 * 48  # a few constants a parameter, not one number a component


@each_kernel
def test_empty_batch_gives_zero_gradients(kernel):
    results = gradients(layer(batch=0), kernel)
    assert results[0].shape == (0, 20)
    assert all((result == 0).all() for result in results)


@each_kernel
def test_strided_inputs_and_gradients(kernel):
    inputs = layer()
    strided = [i.detach().t().contiguous().t().requires_grad_() for i in inputs]
    spread = [torch.stack([i.detach(), i.detach()], -1)[..., 0].requires_grad_() for i in inputs]
    for other in (strided, spread):
        torch.testing.assert_close(gradients(other, kernel), gradients(inputs, kernel))
    by_sum = torch.autograd.grad(mixture_log_score(*inputs, kernel=kernel).sum(), inputs)
    ones = torch.ones(12, 5)
    by_ones = torch.autograd.grad(mixture_log_score(*inputs, kernel=kernel), inputs, ones)
    torch.testing.assert_close(by_sum, by_ones)


@each_kernel
def test_autocast_runs_in_float32(kernel):
    inputs = layer(requires_grad=False)
    expected = mixture_log_score(*inputs, kernel=kernel)
    with torch.autocast("cpu", torch.bfloat16):
        assert mixture_log_score(*inputs, kernel=kernel).dtype == torch.float32
        mixed = mixture_log_score(inputs[0].bfloat16(), *inputs[1:], kernel=kernel)
        by_operator = choose_kernel(inputs[0], kernel)(inputs[0].bfloat16(), *inputs[1:])
    assert mixed.dtype == by_operator.dtype == torch.float32
    torch.testing.assert_close(mixed, expected, rtol=0.1, atol=0.1)
    torch.testing.assert_close(mixed, by_operator)


@each_kernel
def test_results_repeat_and_hardly_depend_on_threads(kernel):
    inputs = layer(70, 9, 130)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        alone = gradients(inputs, kernel)
        torch.set_num_threads(2)
        both = gradients(inputs, kernel)
        torch.testing.assert_close(both, gradients(inputs, kernel), rtol=0, atol=0)
    finally:
        torch.set_num_threads(before)
    torch.testing.assert_close(alone, both)
