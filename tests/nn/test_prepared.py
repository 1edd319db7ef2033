"""The scope in which parameters do not change: the same numbers, and no stale ones."""

import copy
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


def step(net):
    optimizer = torch.optim.SGD(net.parameters(), 0.1)
    net(torch.randn(4, 40)).sum().backward()
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


def test_a_copy_is_not_prepared():
    net, x = network(), torch.randn(3, 40)
    expected = net(x)
    with net.prepared():
        net(x)
        copies = copy.deepcopy(net), pickle.loads(pickle.dumps(net))
    for each in copies:
        assert torch.equal(each(x), expected)
        step(each)
        assert not torch.equal(each(x), expected)
