"""Every transform of torch does with a layer of mixtures what it does with torch.nn.Linear.

What each gives is compared with what it gives of the formula, written down here once more.
"""

import math

import pytest
import torch
from torch import nn
from torch.autograd import forward_ad
from torch.func import (
    functional_call,
    grad,
    grad_and_value,
    hessian,
    jacfwd,
    jacrev,
    jvp,
    linearize,
    stack_module_state,
    vjp,
    vmap,
)

from ugmm.functional import cumulative_log_score, mixture_log_score
from ugmm.nn import UGMM, AutoregressiveUGMM, UGMMNetwork

INF = math.inf
KERNELS = ["reference", "cpu"]
POSITIONS = torch.tensor([0, 2, 3])
pytestmark = [
    pytest.mark.filterwarnings("ignore:the fused CPU kernel is not used"),
    # torch's own, of linearize
    pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Attempted to insert a get_attr Node"),
]


def by_hand(x, loc, log_scale, logits):
    z = (x.unsqueeze(-2) - loc) / log_scale.exp()
    normal = -0.5 * z**2 - log_scale - 0.5 * math.log(2 * math.pi)
    return (normal + logits.log_softmax(-1)).logsumexp(-1)


def by_hand_cumulative(x, loc, log_scale, log_weights, start, positions=None):
    z = (x.unsqueeze(-2) - loc) / log_scale.exp()
    terms = log_weights - 0.5 * z**2 - log_scale - 0.5 * math.log(2 * math.pi)
    scores = [
        torch.cat([start.unsqueeze(-1), terms[..., :d]], -1).logsumexp(-1)
        for d in range(x.shape[-1])
    ]
    scores = torch.stack(scores, 1)
    return scores if positions is None else scores[:, positions]


def draw(*shapes, dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(shape, generator=generator, dtype=dtype) for shape in shapes]


MIXTURE = draw((3, 4), (2, 4), (2, 4), (2, 4))
CUMULATIVE = [*MIXTURE, *draw((3, 2))]


class Case:
    """An operation as a function of its tensors; and the same by hand."""

    def __init__(self, kernel, positions=None, cumulative=False):
        self.inputs = CUMULATIVE if cumulative else MIXTURE
        self.by_hand = by_hand
        self.score = lambda *p: mixture_log_score(*p, kernel=kernel)
        if cumulative:
            self.by_hand = lambda *p: by_hand_cumulative(*p, positions)
            self.score = lambda *p: cumulative_log_score(*p, positions, kernel=kernel)

    @property
    def numbers(self):
        return tuple(range(len(self.inputs)))


CASES = {
    f"{name}-{kernel}": Case(kernel, *rest)
    for kernel in KERNELS
    for name, rest in (
        ("mixture", ()),
        ("cumulative", (None, True)),
        ("positions", (POSITIONS, True)),
    )
}
each_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


def near(found, expected):
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


# A transform: of a function and its tensors; n says which of them are differentiated by.
TRANSFORMS = {
    "grad": lambda f, p, n: grad(lambda *q: f(*q).sin().sum(), n)(*p),
    "grad_and_value": lambda f, p, n: grad_and_value(lambda *q: f(*q).sin().sum(), n)(*p),
    "jacrev": lambda f, p, n: jacrev(f, n)(*p),
    "jacfwd": lambda f, p, n: jacfwd(f, n)(*p),
    "hessian": lambda f, p, n: hessian(lambda *q: f(*q).sin().sum(), n)(*p),
    "reverse over reverse": lambda f, p, n: jacrev(jacrev(f, n), n)(*p),
    "forward over forward": lambda f, p, n: jacfwd(jacfwd(f, n), n)(*p),
    "jvp": lambda f, p, n: jvp(f, tuple(p), tuple(t.cos() for t in p)),
    "linearize": lambda f, p, n: linearize(f, *p)[1](*(t.cos() for t in p)),
    "vjp": lambda f, p, n: vjp(f, *p)[1](f(*p).cos()),
    "vmap": lambda f, p, n: vmap(f)(*(torch.stack([t, t.sin()]) for t in p)),
    "vmap of parameters": lambda f, p, n: vmap(f, (None, 0) + (None,) * (len(p) - 2))(
        p[0], torch.stack([p[1], p[1].sin()]), *p[2:]
    ),
    "jacobian": lambda f, p, n: torch.autograd.functional.jacobian(f, tuple(p)),
    "jacobian, vectorised": lambda f, p, n: torch.autograd.functional.jacobian(
        f, tuple(p), vectorize=True
    ),
    "jacobian, forward mode": lambda f, p, n: torch.autograd.functional.jacobian(
        f, tuple(p), vectorize=True, strategy="forward-mode"
    ),
    "autograd's hessian": lambda f, p, n: torch.autograd.functional.hessian(
        lambda *q: f(*q).sin().sum(), tuple(p)
    ),
    "autograd's jvp": lambda f, p, n: torch.autograd.functional.jvp(
        f, tuple(p), tuple(t.cos() for t in p)
    ),
}


@each_case
@pytest.mark.parametrize("transform", TRANSFORMS.values(), ids=TRANSFORMS)
def test_a_transform_finds_what_it_finds_in_the_formula(case, transform):
    near(
        transform(case.score, case.inputs, case.numbers),
        transform(case.by_hand, case.inputs, case.numbers),
    )


@each_case
def test_a_gradient_for_each_row(case):
    rows, rest = case.inputs[0], case.inputs[1:]

    def loss(row, *rest):
        start = [t[None] for t in rest[3:]]
        return case.score(row[None], *rest[:3], *start).sin().sum()

    axes = (0, None, None, None, 0)[: len(case.inputs)]
    found = vmap(grad(loss, case.numbers), axes)(rows, *rest)
    summed = [t if axis == 0 else t.sum(0) for t, axis in zip(found, axes, strict=True)]
    expected = grad(lambda *p: case.by_hand(*p).sin().sum(), case.numbers)(*case.inputs)
    near(summed, list(expected))


@each_case
def test_gradcheck_of_every_kind(case):
    inputs = [t.double().requires_grad_() for t in case.inputs]
    assert torch.autograd.gradcheck(
        case.score,
        inputs,
        check_forward_ad=True,
        check_batched_grad=True,
        check_batched_forward_grad=True,
        fast_mode=True,
    )
    assert torch.autograd.gradgradcheck(
        case.score,
        inputs,
        check_fwd_over_rev=True,
        check_rev_over_rev=True,
        check_batched_grad=True,
        fast_mode=True,
    )


@each_case
def test_a_penalty_on_gradients_reaches_every_tensor(case):
    def penalty(f):
        inputs = [t.clone().requires_grad_() for t in case.inputs]
        # The gradient that comes back depends on the inputs too, and some of it is zero.
        (by_x,) = torch.autograd.grad(
            f(*inputs).relu().square().sum(), inputs[0], create_graph=True
        )
        return torch.autograd.grad(by_x.square().sum(), inputs)

    near(penalty(case.score), penalty(case.by_hand))


@each_case
def test_third_derivatives(case):
    def third(f):
        x = case.inputs[0].double().requires_grad_()
        result = f(x, *(t.double() for t in case.inputs[1:])).sum()
        for _ in range(3):
            (found,) = torch.autograd.grad(result, x, create_graph=True)
            result = found.sum()
        return found

    near(third(case.score), third(case.by_hand))


@pytest.mark.parametrize("kernel", KERNELS)
def test_tensors_that_depend_on_each_other(kernel):
    """A second derivative is by each tensor alone, though one is computed from another."""

    def found(f):
        x = MIXTURE[0].clone().requires_grad_()
        loc = x[:2].sin()
        parts = torch.autograd.grad(f(x, loc, loc, x[1:]).square().sum(), x, create_graph=True)
        return torch.autograd.grad(parts[0].square().sum(), x)

    near(found(lambda *p: mixture_log_score(*p, kernel=kernel)), found(by_hand))


@pytest.mark.parametrize("kernel", KERNELS)
def test_forward_mode_by_hand(kernel):
    tangents = [t.cos() for t in MIXTURE]
    with forward_ad.dual_level():
        duals = [forward_ad.make_dual(*both) for both in zip(MIXTURE, tangents, strict=True)]
        found = forward_ad.unpack_dual(mixture_log_score(*duals, kernel=kernel)).tangent
    near(found, jvp(by_hand, tuple(MIXTURE), tuple(tangents))[1])


@pytest.mark.parametrize("kernel", KERNELS)
def test_gradients_of_a_batch_at_once(kernel):
    inputs = [t.clone().requires_grad_() for t in MIXTURE]
    score = mixture_log_score(*inputs, kernel=kernel)
    grads = torch.stack([score.detach().sin(), score.detach().cos()])
    found = torch.autograd.grad(score, inputs, grads, is_grads_batched=True, retain_graph=True)
    single = [torch.autograd.grad(score, inputs, g, retain_graph=True) for g in grads]
    near(found, tuple(torch.stack(both) for both in zip(*single, strict=True)))
    pull = vmap(lambda g: torch.autograd.grad(score, inputs, g, retain_graph=True))
    near(pull(grads), found)


SPECIAL = {
    "dropped component": lambda p: p[3].__setitem__((0, 1), -INF),
    "infinite input": lambda p: p[0].__setitem__((1, 2), INF),
    "huge input": lambda p: p[0].__setitem__((1, 2), -1e30),
    "far input": lambda p: p[0].__setitem__((1, 2), 1e6),
}


@each_case
@pytest.mark.parametrize("change", SPECIAL.values(), ids=SPECIAL)
def test_special_numbers_have_derivatives(case, change):
    """As backward of the kernels: nothing is felt where there is no responsibility."""
    inputs = [t.clone() for t in case.inputs]
    change(inputs)
    found = grad(lambda *p: case.score(*p).sum(), case.numbers)(*inputs)
    again = [t.requires_grad_() for t in inputs]
    near(found, torch.autograd.grad(case.score(*again).sum(), again))
    for second in hessian(lambda *p: case.score(*p).sum(), 0)(*inputs), found:
        assert all(t.isfinite().all() for t in second)


@pytest.mark.parametrize("kernel", KERNELS)
def test_an_empty_prefix_has_no_score_and_no_derivative(kernel):
    *layer, start = (t.clone() for t in CUMULATIVE)
    start[0] = -INF

    def total(*p):
        score = cumulative_log_score(*p, kernel=kernel)
        return score.masked_fill(score == -INF, 0.0).sin().sum()

    found = grad(total, (0, 1, 4))(*layer, start)
    inputs = [t.requires_grad_() for t in (*layer, start)]
    near(found, tuple(torch.autograd.grad(total(*inputs), [inputs[i] for i in (0, 1, 4)])))
    assert all(t.isfinite().all() for t in hessian(total, 0)(*layer, start))


NETWORKS = {
    "layer": lambda: UGMM(4, 3),
    "dropout": lambda: UGMM(4, 3, dropout=0.3),
    "input dropout": lambda: UGMM(4, 3, input_dropout=0.3),
    "network": lambda: UGMMNetwork([4, 5, 3], norm="layer"),
    "linear": lambda: nn.Sequential(nn.Linear(4, 3), nn.Dropout(0.3)),
}


@pytest.mark.parametrize("build", NETWORKS.values(), ids=NETWORKS)
def test_a_network_under_transforms_is_as_good_as_a_linear_layer(build):
    """Per-sample gradients and an ensemble, the two uses of torch.func in its own tutorials."""
    torch.manual_seed(0)
    network, x, y = build(), torch.randn(6, 4), torch.arange(6) % 3
    weights = dict(network.named_parameters())

    def loss(weights, x, y):
        scores = functional_call(network, weights, (x[None],))
        return nn.functional.cross_entropy(scores, y[None])

    each = vmap(grad(loss), (None, 0, 0), randomness="different")(weights, x, y)
    assert all(each[name].shape == (6, *weights[name].shape) for name in weights)
    network.eval()
    each = vmap(grad(loss), (None, 0, 0))(weights, x, y)
    network.zero_grad()
    nn.functional.cross_entropy(network(x), y, reduction="sum").backward()
    for name, parameter in network.named_parameters():
        near(each[name].sum(0), parameter.grad)

    models = [build().eval() for _ in range(3)]
    parameters, buffers = stack_module_state(models)
    scores = vmap(lambda p, b: functional_call(models[0], (p, b), (x,)))(parameters, buffers)
    near(scores, torch.stack([model(x) for model in models]))


@pytest.mark.parametrize(
    ("head", "order"), [("gaussian", "fixed"), ("bernoulli", "fixed"), ("gaussian", "random")]
)
def test_an_autoregressive_network_under_transforms(head, order):
    torch.manual_seed(0)
    settings = {"components": 2, "order": order, "orders": 2}
    network = AutoregressiveUGMM(4, 2, (6, 5), head, **settings).eval()
    x, y = (torch.randn(5, 4) > 0).float(), torch.arange(5) % 2
    weights = dict(network.named_parameters())

    def loss(weights, x, y):
        return -functional_call(network, weights, (x, y))

    each = vmap(grad(loss), (None, 0, 0))(weights, x, y)
    (-network(x, y).sum()).backward()
    for name, parameter in network.named_parameters():
        near(each[name].sum(0), parameter.grad)
    by_x = vmap(hessian(lambda x, y: network(x, y)))(x, y)
    near(by_x, by_x.transpose(1, 2))
    _, tangent = jvp(lambda x: network(x, y), (x,), (torch.ones_like(x),))
    near(tangent, vmap(grad(lambda x, y: network(x, y)))(x, y).sum(-1))
