"""How convolutions are computed: derivatives, chunks, compilation, precision, copies."""

import copy
import pickle

import pytest
import torch
from torch.func import functional_call, grad, vmap

from ugmm.nn import UGMMConv1d, UGMMConv2d
from ugmm.nn.convolution import scores as scoring
from ugmm.nn.mixture import prepared

MODES = ["drop", "zeros", "reflect"]
COMPLEX = {"kernel_size": (3, 2), "stride": (2, 1), "padding": (1, 2), "dilation": (1, 2)}


def make(kind, *sizes, dtype=torch.float64, **options):
    """A layer whose weights and scales all differ."""
    torch.manual_seed(0)
    return kind(*sizes, init="paper", min_scale=0.1, dtype=dtype, **options)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("groups", [1, 2])
def test_first_and_second_derivatives_are_those_of_finite_differences(mode, groups):
    layer = make(UGMMConv2d, 2, 2, 2, padding=1, groups=groups, padding_mode=mode)
    x = torch.randn(2, 2, 3, 2, dtype=torch.float64, requires_grad=True)
    names = [name for name, _ in layer.named_parameters()]

    def scores(x, *values):
        return functional_call(layer, dict(zip(names, values, strict=True)), (x,))

    inputs = (x, *(p.detach().clone().requires_grad_() for p in layer.parameters()))
    assert torch.autograd.gradcheck(scores, inputs)
    assert torch.autograd.gradgradcheck(scores, inputs)


@pytest.fixture
def small_chunks(monkeypatch):
    """Let three images of 6 x 5 and 36 inputs go through the kernel at once."""
    monkeypatch.setitem(scoring._HELD, "cpu", 3 * 3 * 8 * 24)


@pytest.mark.parametrize("kernel", ["auto", "reference"])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("groups", [1, 2])
def test_chunks_make_no_difference(small_chunks, kernel, mode, groups):
    options = {**COMPLEX, "groups": groups, "padding_mode": mode, "kernel": kernel}
    layer = make(UGMMConv2d, 4, 6, **options, dtype=torch.float32)
    x = torch.randn(7, 4, 6, 5, requires_grad=True)
    wanted = (x, *layer.parameters())
    found, weight = layer(x), torch.randn(7, 6, 3, 7)
    grads = torch.autograd.grad(found, wanted, weight)
    whole = torch.stack([layer.double()(one.double()) for one in x])
    expected = torch.autograd.grad(whole, (x, *layer.parameters()), weight.double())
    torch.testing.assert_close(found.double(), whole, rtol=1e-5, atol=1e-5)
    for one, other in zip(grads, expected, strict=True):
        torch.testing.assert_close(one.double(), other.double(), rtol=1e-4, atol=1e-4)


def test_no_patches_are_kept_for_backward():
    layer = make(UGMMConv2d, 16, 8, 3, padding=1, dtype=torch.float32)
    x = torch.randn(40, 16, 14, 14, requires_grad=True)
    kept = {}

    def keep(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes() // 4
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        layer(x).sum().backward()
    image, scores, patches = 40 * 16 * 16 * 16, 40 * 14 * 14 * 8, 40 * 14 * 14 * 144
    assert max(kept.values()) < 1.1 * image
    assert sum(kept.values()) < 1.1 * (image + 2.5 * scores) < patches / 3


def test_only_what_is_needed_has_a_gradient():
    layer = make(UGMMConv2d, 1, 2, 3)
    x = torch.randn(2, 1, 5, 5, dtype=torch.float64)
    layer(x).sum().backward()
    assert x.grad is None
    layer.requires_grad_(False)
    layer(x.requires_grad_()).sum().backward()
    assert x.grad.isfinite().all()
    assert not layer(x.detach()).requires_grad


@pytest.mark.parametrize("groups", [1, 2])
def test_it_compiles_without_a_break(groups):
    layer = make(UGMMConv2d, 2, 4, 3, padding=1, groups=groups, dtype=torch.float32)
    x = torch.randn(3, 2, 5, 5, requires_grad=True)
    expected = layer(x)
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")(x)
    torch.testing.assert_close(compiled, expected)
    wanted = (x, *layer.parameters())
    found = torch.autograd.grad(compiled.square().sum(), wanted)
    for one, other in zip(
        found, torch.autograd.grad(expected.square().sum(), wanted), strict=True
    ):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", [UGMMConv1d, UGMMConv2d])
def test_it_is_exported_for_batches_of_any_size(kind):
    layer = kind(2, 4, 3, stride=2, padding=1, input_dropout=0.1).eval()
    x = torch.randn(5, 2, *(7,) * layer.dimensions)
    batch = torch.export.Dim("batch", min=1)
    program = torch.export.export(layer, (x,), dynamic_shapes={"x": {0: batch}})
    torch.testing.assert_close(program.module()(x[:3]), layer(x[:3]))


def test_gradients_of_single_images_by_torch_func():
    layer = make(UGMMConv2d, 1, 2, 3, padding=1)
    x, parameters = torch.randn(3, 1, 4, 4, dtype=torch.float64), dict(layer.named_parameters())

    def total(parameters, image):
        return functional_call(layer, parameters, (image,)).square().sum()

    found = vmap(grad(total), (None, 0))(parameters, x)
    for i, image in enumerate(x):
        expected = torch.autograd.grad(layer(image).square().sum(), list(parameters.values()))
        for value, (name, other) in zip(expected, found.items(), strict=True):
            torch.testing.assert_close(other[i], value, msg=name)


def test_autocast_computes_in_float32():
    layer = make(UGMMConv2d, 1, 2, 3, padding=1, dtype=torch.float32)
    x = torch.randn(3, 1, 4, 4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = layer(x)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, layer(x))


@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("mode", MODES)
def test_half_precision_stays_half_precision(half, mode):
    layer = make(UGMMConv2d, 1, 2, 3, padding=1, padding_mode=mode, dtype=torch.float32)
    x = torch.randn(3, 1, 4, 4)
    wide, found = layer(x), layer.to(half)(x.to(half))
    assert found.dtype == half
    torch.testing.assert_close(found.float(), wide, rtol=0.05, atol=0.05)
    found.sum().backward()
    assert all(p.grad.dtype == half and p.grad.isfinite().all() for p in layer.parameters())


def test_prepared_constants_are_used_and_guarded():
    layer = make(UGMMConv2d, 1, 2, 3, padding=1, dtype=torch.float32).eval()
    x = torch.randn(3, 1, 4, 4)
    expected = layer(x)
    with prepared(layer), torch.no_grad():
        torch.testing.assert_close(layer(x), expected)
        torch.testing.assert_close(layer(x), expected)
        layer.loc.add_(1)
        with pytest.raises(RuntimeError, match="changed while prepared"):
            layer(x)


def test_no_images_have_no_scores():
    layer = make(UGMMConv2d, 1, 2, 3, padding=1, dtype=torch.float32)
    scores = layer(torch.randn(0, 1, 4, 4, requires_grad=True))
    assert scores.shape == (0, 2, 4, 4)
    scores.sum().backward()
    assert all((p.grad == 0).all() for p in layer.parameters())


def test_saved_weights_and_copies():
    layer = make(UGMMConv2d, 2, 4, 3, padding=1)
    assert list(layer.state_dict()) == ["loc", "raw_scale", "logits"]
    assert layer.loc.shape == (4, 18)
    twin = UGMMConv2d(2, 4, 3, padding=1, min_scale=0.1).double()
    twin.load_state_dict(layer.state_dict())
    x = torch.randn(2, 2, 4, 4, dtype=torch.float64)
    for other in (twin, copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert torch.equal(other(x), layer(x))
