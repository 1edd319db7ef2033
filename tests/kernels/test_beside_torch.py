"""Mixture neurons among what torch does with any module: tracing, modes, views, checkpoints."""

import copy
import io
import pickle

import onnx
import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.func import grad, jvp, vmap
from torch.fx.experimental.proxy_tensor import make_fx
from torch.overrides import TorchFunctionMode
from torch.utils.checkpoint import checkpoint

from ugmm.functional import cumulative_log_score
from ugmm.nn import UGMM, AutoregressiveUGMM, UGMMNetwork

D, C = 6, 3


def autoregressive(head="gaussian", order="fixed"):
    return AutoregressiveUGMM(D, 2, (8, 5), head, components=2, order=order, orders=2)


NETWORKS = {
    "linear": lambda: nn.Linear(D, C),
    "layer": lambda: UGMM(D, C),
    "reference": lambda: UGMM(D, C, kernel="reference"),
    "network": lambda: UGMMNetwork([D, 5, C], norm="layer", min_scale=0),
    "gaussian": autoregressive,
    "bernoulli": lambda: autoregressive("bernoulli"),
    "orders": lambda: autoregressive(order="random"),
}
each_network = pytest.mark.parametrize("name", NETWORKS)


def build(name, seed=0):
    torch.manual_seed(seed)
    return NETWORKS[name]().eval()


def inputs(name, n=4):
    x = torch.linspace(-1, 1, n * D).cos().reshape(n, D)
    if name in ("gaussian", "bernoulli", "orders"):
        return (x > 0.8).float(), torch.arange(n) % 2
    return (x,)


def gradients(network, *args):
    network.zero_grad()
    network(*args).sum().backward()
    return {name: p.grad.clone() for name, p in network.named_parameters() if p.grad is not None}


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning:torch")
@pytest.mark.filterwarnings("error::torch.jit.TracerWarning:ugmm")
@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
@each_network
def test_a_trace_is_the_network(name):
    network = build(name)
    traced = torch.jit.trace(network, inputs(name))
    file = io.BytesIO()
    torch.jit.save(traced, file)
    file.seek(0)
    for n in (4, 7, 1):
        for other in (traced, torch.jit.load(file)):
            torch.testing.assert_close(other(*inputs(name, n)), network(*inputs(name, n)))
            file.seek(0)
    assert "ugmm::" not in str(traced.inlined_graph)  # it runs where this package is not
    found, expected = gradients(traced, *inputs(name)), gradients(network, *inputs(name))
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
@pytest.mark.parametrize("dropout", [{"dropout": 0.4}, {"input_dropout": 0.4}])
def test_a_trace_in_training_draws_at_each_call(dropout):
    network = UGMM(30, 20, **dropout).train()
    traced = torch.jit.trace(network, torch.zeros(2, 30), check_trace=False)
    x = torch.randn(50, 30)
    first, second = traced(x), traced(x)
    assert first.isfinite().all()
    assert not torch.equal(first, second)
    expected = torch.stack([network(x) for _ in range(50)]).mean()
    found = torch.stack([traced(x) for _ in range(50)]).mean()
    assert abs(found - expected) < 0.05


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
@each_network
def test_legacy_onnx_export_holds_the_whole_network_or_refuses(name):
    """Where there is a floor under the scales, torch says itself what it knows nothing of."""
    file, network = io.BytesIO(), build(name)
    if any(getattr(module, "min_scale", 0) for module in network.modules()):
        with pytest.raises(torch.onnx.errors.UnsupportedOperatorError, match="aten::logaddexp"):
            torch.onnx.export(network, inputs(name), file, dynamo=False)
        return
    torch.onnx.export(network, inputs(name), file, dynamo=False)
    model = onnx.load_from_string(file.getvalue())
    onnx.checker.check_model(model)
    assert len(model.graph.node) > 0
    assert not {node.domain for node in model.graph.node} - {""}  # of standard operators
    used = {name for node in model.graph.node for name in node.input}
    assert used >= {value.name for value in model.graph.input}


@each_network
def test_a_gradient_without_memory_is_zero(name):
    """The backward of torch.sgn gives one, which has a shape and no address."""
    network = build(name)
    torch.sgn(network(*inputs(name))).sum().backward()
    for parameter in network.parameters():
        assert parameter.grad is None or not parameter.grad.any()


@pytest.mark.parametrize("kernel", ["reference", "cpu"])
def test_inputs_without_memory_are_zero(kernel):
    zeros = torch._efficientzerotensor((4, D))
    layer = UGMM(D, C, kernel=kernel)
    assert torch.equal(layer(zeros), layer(torch.zeros(4, D)))
    start = torch._efficientzerotensor((4, C))
    parameters = (layer.loc, layer.log_scale, layer.logits)
    found = cumulative_log_score(zeros, *parameters, start, kernel=kernel)
    expected = cumulative_log_score(*(t.clone() for t in (zeros, *parameters, start)))
    torch.testing.assert_close(found, expected)


VIEWS = {
    "expanded": lambda x: x[:1].expand(4, D),
    "transposed": lambda x: x.t().contiguous().t(),
    "strided": lambda x: torch.stack([x, -x], -1)[..., 0],
    "reversed": lambda x: x.flip(0),
    "negated in place": lambda x: torch._neg_view(x),
    "imaginary part of a conjugate": lambda x: torch.complex(x, x).conj().imag,
    "offset": lambda x: torch.cat([x, x])[1:5],
}


@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
@pytest.mark.parametrize("name", [name for name in NETWORKS if name != "bernoulli"])
def test_views_are_what_they_show(name, view):
    """As inputs, and as the gradients that come back."""
    network = build(name)
    x, *labels = inputs(name)
    plain, seen = x.clone().requires_grad_(), x.clone().requires_grad_()
    expected = network(view(plain).clone(memory_format=torch.contiguous_format), *labels)
    found = network(view(seen), *labels)
    torch.testing.assert_close(found, expected)
    back = view(torch.linspace(0, 1, 4 * D).reshape(4, D))
    back = back[:, 0] if labels else back[:, :C]
    expected.backward(back.clone())
    found.backward(back)
    torch.testing.assert_close(seen.grad, plain.grad)


class Names(TorchFunctionMode):
    """Notes what is called."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_function__(self, function, types, args=(), kwargs=None):
        self.names.append(getattr(function, "__name__", str(function)))
        return function(*args, **(kwargs or {}))


@each_network
def test_a_function_mode_sees_the_operation(name):
    network, args = build(name), inputs(name)
    expected = network(*args)
    with Names() as mode:
        assert torch.equal(network(*args), expected)
    assert any("linear" in n or "log_score" in n for n in mode.names), mode.names


@each_network
def test_fake_tensors_have_the_shapes(name):
    with FakeTensorMode():
        network = build(name).train()
        result = network(*(torch.empty_like(t) for t in inputs(name)))
        result.sum().backward()
    assert result.shape == build(name)(*inputs(name)).shape
    for parameter in network.parameters():
        assert parameter.grad is None or parameter.grad.shape == parameter.shape


@each_network
def test_make_fx_keeps_the_numbers(name):
    network, args = build(name), inputs(name)
    torch.testing.assert_close(make_fx(network)(*args)(*args), network(*args))
    if len(args) == 1:
        graph = make_fx(vmap(grad(lambda x: network(x).sum())))(*args)
        torch.testing.assert_close(graph(*args), vmap(grad(lambda x: network(x).sum()))(*args))


@pytest.mark.parametrize("name", ["linear", "layer", "reference", "network"])
def test_no_rows_are_mapped_to_no_gradients(name):
    network = build(name)
    assert vmap(network)(torch.zeros(0, D)).shape == (0, C)
    assert vmap(grad(lambda x: network(x).sum()))(torch.zeros(0, D)).shape == (0, D)


@pytest.mark.parametrize("norm", ["none", "layer"])
def test_a_symbolic_trace_is_the_network(norm):
    network, (x,) = UGMMNetwork([D, 5, C], norm=norm, dropout=0.2).eval(), inputs("network")
    graph = torch.fx.symbolic_trace(nn.Sequential(nn.Linear(D, D), network))
    linear, traced = getattr(graph, "0"), graph(x)
    assert torch.equal(traced, network(linear(x)))
    traced.sum().backward()
    assert linear.weight.grad.any()


@each_network
@pytest.mark.parametrize("reentrant", [False, True])
def test_activation_checkpoints_change_nothing(name, reentrant):
    network, (x, *labels) = build(name), inputs(name)
    x.requires_grad_()
    network(x, *labels).square().sum().backward()
    expected = [x.grad.clone(), *(p.grad for p in network.parameters() if p.grad is not None)]
    x.grad = None
    network.zero_grad()
    checkpoint(network, x, *labels, use_reentrant=reentrant).square().sum().backward()
    found = [x.grad, *(p.grad for p in network.parameters() if p.grad is not None)]
    assert all(torch.equal(*both) for both in zip(found, expected, strict=True))


@each_network
@pytest.mark.parametrize("copied", [copy.deepcopy, lambda n: pickle.loads(pickle.dumps(n))])
def test_a_copy_after_a_step_is_the_same(name, copied):
    network = build(name)
    expected = gradients(network, *inputs(name))
    other = copied(network)
    torch.testing.assert_close(gradients(other, *inputs(name)), expected, rtol=0, atol=0)


def test_a_compiled_transform_is_the_transform():
    """The compiler knows the registered operator, which knows no transform."""
    network, x = build("layer"), inputs("layer")[0]

    def transformed(x):
        return jvp(network, (x,), (x.cos(),))[1], vmap(grad(lambda x: network(x).sum()))(x)

    compiled = torch.compile(transformed, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(x), transformed(x))


def test_the_compiled_backward_is_one_operation():
    from torch._dynamo.backends.common import aot_autograd

    names = []

    def note(graph, _inputs):
        names.extend(str(node.target) for node in graph.graph.nodes)
        return graph

    network, x = build("layer"), inputs("layer")[0]
    backend = aot_autograd(fw_compiler=note, bw_compiler=note)
    torch.compile(network, backend=backend, fullgraph=True)(x).sum().backward()
    ours = [name for name in names if name.startswith("ugmm.")]
    assert ours == [
        "ugmm.mixture_log_score_cpu.default",
        "ugmm.mixture_log_score_cpu_backward.default",
    ]


def test_autocast_inside_a_transform_computes_in_float32():
    network, x = build("layer"), inputs("layer")[0]
    expected = vmap(grad(lambda x: network(x).sum()))(x)
    with torch.autocast("cpu", torch.bfloat16):
        found = vmap(grad(lambda x: network(x).sum()))(x)
    torch.testing.assert_close(found, expected)


def test_second_derivatives_under_autocast():
    network, x = build("layer"), inputs("layer")[0].requires_grad_()

    def penalty():
        (by_x,) = torch.autograd.grad(network(x).sum(), x, create_graph=True)
        return torch.autograd.grad(by_x.square().sum(), [x, network.loc])

    expected = penalty()
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(penalty(), expected)


def test_the_default_device_may_be_set():
    with torch.device("cpu"):
        network = build("network")
        assert gradients(network, *inputs("network"))
