"""Which road a call takes."""

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd import forward_ad
from torch.func import functionalize, grad, jvp, vmap
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from ugmm.kernels import definition, roads
from ugmm.kernels.roads import Road, choose_road
from ugmm.nn import UGMM


class Subclass(torch.Tensor):
    """A tensor of another type."""


class Dispatch(TorchDispatchMode):
    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        return function(*args, **(kwargs or {}))


class Function(TorchFunctionMode):
    def __torch_function__(self, function, types, args=(), kwargs=None):
        return function(*args, **(kwargs or {}))


X = torch.ones(2, 3)

DIRECT = {
    "tensor": X,
    "parameter": torch.nn.Parameter(X),
    "buffer": torch.nn.Buffer(X),
    "double": X.double(),
    "no tensor": None,
    "slice": X[:, 1:],
    "transposed": X.t(),
    "expanded": X[:1].expand(5, 3),
    "empty": X[:0],
    "computed": torch.ones(2, 3, requires_grad=True).exp(),
    "in shared memory": torch.ones(2, 3).share_memory_(),
}
DISPATCHER = {
    "subclass": X.as_subclass(Subclass),
    "negative view": torch._neg_view(X),
    "imaginary part of a conjugate": torch.complex(X, X).conj().imag,
    "zeros without memory": torch._efficientzerotensor((2, 3)),
    "meta": torch.empty(2, 3, device="meta"),
    "fake": FakeTensorMode().from_tensor(X),
}


@pytest.mark.parametrize("tensor", DIRECT.values(), ids=DIRECT)
def test_plain_tensors_go_straight_to_the_kernel(tensor):
    assert choose_road(X, tensor) is Road.DIRECT
    with torch.no_grad():
        assert choose_road(X, tensor) is Road.DIRECT
    with torch.inference_mode():
        assert choose_road(X + 1, tensor) is Road.DIRECT


@pytest.mark.parametrize("tensor", DISPATCHER.values(), ids=DISPATCHER)
def test_others_are_resolved_by_the_dispatcher(tensor):
    assert choose_road(X, tensor) is Road.DISPATCHER
    assert choose_road(tensor, X) is Road.DISPATCHER


WATCHED = {
    "dispatch mode": Dispatch,
    "function mode": Function,
    "fake tensors": lambda: FakeTensorMode(allow_non_fake_inputs=True),
    "default device": lambda: torch.device("cpu"),
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
}


@pytest.mark.parametrize("watch", WATCHED.values(), ids=WATCHED)
def test_who_watches_sees_the_operation(watch):
    with watch():
        assert choose_road(X) is Road.DISPATCHER
    assert choose_road(X) is Road.DIRECT


def transformed(transform):
    """The roads that are taken inside a transform: by what it transforms, and by another."""
    taken = []

    def function(x):
        taken.extend((choose_road(x), choose_road(X)))
        return x.sum()

    transform(function)
    return set(taken)


def carried(function):
    with forward_ad.dual_level():
        function(forward_ad.make_dual(X, X))


TRANSFORMS = {
    "grad": lambda f: grad(f)(X),
    "vmap": lambda f: vmap(f)(X),
    "vmap of grad": lambda f: vmap(grad(f))(X),
    "jvp": lambda f: jvp(f, (X,), (X,)),
    "functionalize": lambda f: functionalize(f)(X),
    "forward mode": carried,
    "tracing": lambda f: torch.jit.trace(f, X, check_trace=False),
}


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
@pytest.mark.parametrize("transform", TRANSFORMS.values(), ids=TRANSFORMS)
def test_transforms_take_the_formula(transform):
    assert transformed(transform) == {Road.FORMULA}
    assert choose_road(X) is Road.DIRECT


@pytest.fixture
def by_formula(monkeypatch):
    """How often scores and gradients come from the formula."""
    calls = []
    for name in ("score_by_formula", "gradients_by_formula"):
        real = getattr(definition, name)

        def noted(*args, _name=name, _real=real):
            calls.append(_name)
            return _real(*args)

        monkeypatch.setattr(definition, name, noted)
    return calls


def test_training_never_takes_the_formula(by_formula):
    layer = UGMM(3, 2)
    layer(X).sum().backward()
    with torch.autocast("cpu", torch.bfloat16):
        layer(X).sum().backward()
    layer(X).backward(torch._neg_view(torch.ones(2, 2)))
    with Dispatch():
        layer(X).sum().backward()
    assert by_formula == []


def test_gradients_that_go_on_take_the_formula(by_formula):
    layer, x = UGMM(3, 2), X.clone().requires_grad_()
    torch.autograd.grad(layer(x).sum(), x, create_graph=True)
    assert by_formula == ["gradients_by_formula"]
    ones = torch.ones(5, 2, 2)
    torch.autograd.grad(layer(x), x, ones, is_grads_batched=True)
    assert by_formula == ["gradients_by_formula"] * 2


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_sizes_are_numbers_where_a_trace_would_give_tensors():
    seen = []

    def traced(x):
        seen.extend((type(x.shape[0]), type(roads.untraced(lambda t: t.shape[0])(x))))
        return x + 1

    torch.jit.trace(traced, X, check_trace=False)
    assert seen == [torch.Tensor, int]
