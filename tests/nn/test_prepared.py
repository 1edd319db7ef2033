"""The scope in which parameters do not change: the same numbers, and no stale ones."""

import contextlib
import copy
import functools
import pickle

import pytest
import torch

from ugmm.functional import mixture_log_score
from ugmm.kernels.prepared import Prepared
from ugmm.nn import UGMM, JointScore, UGMMNetwork
from ugmm.nn.mixture import prepared

KERNELS = ["reference", "cpu"]


def network(kernel="cpu", **options):
    torch.manual_seed(0)
    return UGMMNetwork([40, 33, 5], norm="layer", kernel=kernel, **options).eval()


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("rows", [1, 3, 200])
def test_scores_are_the_same(kernel, rows):
    net, x = network(kernel), torch.randn(rows, 40)
    x[torch.rand_like(x) < 0.7] = 0.0
    expected = net(x)
    with net.prepared():
        for _ in range(2):
            assert torch.equal(net(x), expected)
            assert torch.equal(net.predict(x), expected.argmax(-1))
    assert torch.equal(net(x), expected)


def test_known_inputs_and_joint_scores_are_the_same():
    net, x, known = network(), torch.randn(7, 40), torch.rand(7, 40) < 0.5
    joint, features = JointScore(UGMMNetwork([44, 8, 1]), 4), torch.randn(6, 40)
    expected = net.marginal_class_scores(x, known), joint.class_scores(features)
    with net.prepared(), joint.prepared():
        for _ in range(2):
            assert torch.equal(net.marginal_class_scores(x, known), expected[0])
            assert torch.equal(joint.class_scores(features), expected[1])


def test_gradients_are_the_same():
    net, x = network(), torch.randn(5, 40, requires_grad=True)
    tensors = (x, *net.parameters())
    expected = torch.autograd.grad(net(x).sum(), tensors)
    with net.prepared():
        with torch.inference_mode():
            net(x)  # what it prepares serves the next call, too
        found = torch.autograd.grad(net(x).sum(), tensors)
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


def step(net, n_in=40):
    optimizer = torch.optim.SGD(net.parameters(), 0.1)
    net(torch.randn(4, n_in)).sum().backward()
    optimizer.step()


CHANGES = {
    "an optimizer's step": step,
    "in place": lambda net: torch.nn.init.zeros_(net.layers[0].loc),
    "load_state_dict": lambda net: net.load_state_dict(network(init="paper").state_dict()),
    "another parameter": lambda net: setattr(
        net.layers[0], "loc", torch.nn.Parameter(torch.zeros(33, 40))
    ),
    "other memory": lambda net: net.double(),
}


@pytest.mark.filterwarnings("ignore:the fused CPU kernel is not used")
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_change_is_seen(change):
    net, x = network(), torch.randn(4, 40)
    with net.prepared():
        net(x)
        change(net)
        with pytest.raises(RuntimeError, match="changed while prepared"):
            net(x.to(net.layers[0].loc.dtype))
    net(x.to(net.layers[0].loc.dtype))


def test_nothing_is_kept_after_the_scope():
    net, x = network(), torch.randn(4, 40)
    with pytest.raises(ValueError, match="must end"), net.prepared():
        net(x[:, :3])
    step(net)
    fresh = network()
    fresh.load_state_dict(net.state_dict())
    assert torch.equal(net(x), fresh(x))


def test_scopes_may_be_nested():
    net, x = network(), torch.randn(4, 40)
    with net.prepared():
        with net.prepared(), prepared(net.layers[0]):
            expected = net(x)
        assert net.layers[0]._prepared is not None
        assert torch.equal(net(x), expected)
    assert net.layers[0]._prepared is None


def test_dropout_in_training_meets_no_prepared_weights():
    layer = UGMM(30, 4, dropout=0.5, kernel="cpu")
    x = torch.randn(3, 30)
    torch.manual_seed(1)
    expected = layer(x)
    with prepared(layer):
        layer.eval()
        layer(x)
        layer.train()
        torch.manual_seed(1)
        assert torch.equal(layer(x), expected)


def test_constants_are_computed_once():
    tensors = [torch.randn(4, 9) for _ in range(3)]
    scope = Prepared(*tensors)
    mixture_log_score(torch.randn(2, 9), *tensors, kernel="cpu", prepared=scope)
    first = scope.constants
    mixture_log_score(torch.randn(2, 9), *tensors, kernel="cpu", prepared=scope)
    assert first is not None
    assert scope.constants is first


@pytest.mark.parametrize(
    ("x", "error"),
    [
        (torch.randn(2, 8), ValueError),
        (torch.randn(2, 9).double(), TypeError),
        ([1.0], TypeError),
        (torch.randn(2, 9, device="meta"), ValueError),
    ],
)
def test_an_input_is_checked_all_the_same(x, error):
    tensors = [torch.randn(4, 9) for _ in range(3)]
    scope = Prepared(*tensors)
    mixture_log_score(torch.randn(2, 9), *tensors, kernel="cpu", prepared=scope)
    with pytest.raises(error, match=r"^x "):
        mixture_log_score(x, *tensors, prepared=scope)


def pairs(**options):
    torch.manual_seed(0)
    return JointScore(UGMMNetwork([24, 1], kernel="cpu", **options), 4).eval()


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_gradients_of_joint_scores_are_the_same(mode):
    net, x = pairs(), torch.randn(6, 20)
    expected = torch.autograd.grad(net.class_scores(x).sum(), net.parameters())
    with net.prepared():
        with mode():
            net.class_scores(x)
        found = torch.autograd.grad(net.class_scores(x).sum(), net.parameters())
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


CHANGES_OF_JOINT_SCORES = {
    "other tensors": lambda net: net.load_state_dict(
        pairs(init="paper").state_dict(), assign=True
    ),
    "other memory": lambda net: setattr(net.network.layers[0].loc, "data", torch.zeros(1, 24)),
    "the least scale": lambda net: setattr(net.network.layers[0], "min_scale", 2.0),
}


@pytest.mark.parametrize("change", CHANGES_OF_JOINT_SCORES.values(), ids=CHANGES_OF_JOINT_SCORES)
def test_a_change_is_seen_in_joint_scores(change):
    net, x = pairs(), torch.randn(6, 20)
    with net.prepared():
        net.class_scores(x)
        change(net)
        with pytest.raises(RuntimeError, match="changed while prepared"):
            net.class_scores(x)


COPIES = {"copied": copy.deepcopy, "pickled": lambda net: pickle.loads(pickle.dumps(net))}


@pytest.mark.parametrize("copied", COPIES.values(), ids=COPIES)
def test_a_copy_is_not_prepared(copied):
    net, x = pairs(), torch.randn(6, 20)
    with net.prepared():
        expected = net.class_scores(x)
        twin = copied(net)
        assert torch.equal(twin.class_scores(x), expected)
        step(twin.network, 24)
        assert torch.equal(net.class_scores(x), expected)
    assert not torch.equal(twin.class_scores(x), expected)


class Twice(torch.nn.Module):
    def forward(self, tensor):
        return 2 * tensor


def test_parameters_that_are_computed_at_each_look_are_not_prepared():
    net, x = network(), torch.randn(4, 40)
    torch.nn.utils.parametrize.register_parametrization(net.layers[0], "loc", Twice())
    expected = net(x)
    with net.prepared():
        for _ in range(2):
            assert torch.equal(net(x), expected)


class Scoped(torch.nn.Module):
    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x):
        with self.net.prepared():
            return self.net(x).sum()


def test_the_scope_may_be_entered_in_a_transform():
    net, x = Scoped(network()), torch.randn(4, 40)
    parameters = dict(net.named_parameters())
    expected = torch.autograd.grad(net(x), list(parameters.values()))
    found = torch.func.grad(lambda p: torch.func.functional_call(net, p, x))(parameters)
    torch.testing.assert_close(tuple(found.values()), expected)


class Classes(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.net = pairs()

    def forward(self, x):
        return self.net.class_scores(x)


@pytest.mark.parametrize("scope", [prepared, contextlib.nullcontext])
def test_joint_scores_know_transforms_and_graphs(scope):
    net, x = Classes(), torch.randn(6, 20, requires_grad=True)
    parameters, expected = dict(net.named_parameters()), net(x)
    by_x, *by_parameters = torch.autograd.grad(expected.sum(), (x, *parameters.values()))
    with scope(net):
        found = torch.func.grad(lambda x: net(x).sum())(x)
        torch.testing.assert_close(found, by_x)
        compiled = torch.compile(net, backend="eager", fullgraph=True)
        torch.testing.assert_close(compiled(x), expected)
    call = functools.partial(torch.func.functional_call, net)
    found = torch.func.grad(lambda p: call(p, x).sum())(parameters)
    torch.testing.assert_close(tuple(found.values()), tuple(by_parameters))


def test_a_compiled_network_reads_its_parameters():
    net, x = network(), torch.randn(4, 40)
    compiled = torch.compile(net, backend="eager", fullgraph=True)
    with net.prepared(), torch.no_grad():
        torch.testing.assert_close(compiled(x), net(x))
        net.layers[1].logits[0] += 1.0
        changed = compiled(x)
    torch.testing.assert_close(changed, net(x))
