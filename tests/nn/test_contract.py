"""What every network keeps to, the baselines included: one contract."""

import copy
import io
import math
import pickle

import pytest
import torch
from contract_case import D, initialise
from contract_cases import each

from ugmm.nn import UGMM, Classifier, Density, JointScore
from ugmm.objectives import cross_entropy

LEADS = [(), (5,), (2, 5), (1,), (0,)]


def scores(network, x):
    """The class scores; of a layer, its outputs."""
    return network(x) if isinstance(network, UGMM) else network.class_scores(x)


def loss(network, x, y):
    """What training lowers."""
    if isinstance(network, Density | JointScore):
        return -network(x, y).mean()
    return cross_entropy(scores(network, x), y)


@each()
def test_every_class_has_a_score(case, device, dtype):
    network = case.ready(device, dtype).eval()
    for lead in LEADS:
        found = scores(network, case.rows(*lead, device=device, dtype=dtype))
        assert found.shape == (*lead, case.n_classes)
        assert found.dtype == (torch.float64 if case.fitted else dtype)
        assert found.device.type == device.type
        assert found.isfinite().all()


@each(layer=False)
def test_predictions_follow_from_the_scores(case, device, dtype):
    network = case.ready(device, dtype).eval()
    assert isinstance(network, Classifier)
    for lead in LEADS:
        x = case.rows(*lead, device=device, dtype=dtype)
        found = network.class_scores(x)
        posterior = network.posterior(x)
        torch.testing.assert_close(posterior, found.softmax(-1))
        torch.testing.assert_close(posterior.sum(-1), torch.ones_like(posterior[..., 0]))
        assert network.predict(x).shape == lead
        assert torch.equal(network.predict(x), found.argmax(-1))
        if not network.normalized:
            continue
        torch.testing.assert_close(network.log_prob(x), found.logsumexp(-1))
        for c in range(case.n_classes):
            y = torch.full(lead, c, device=device)
            torch.testing.assert_close(network(x, y), found[..., c])


@each(layer=False)
def test_predictions_keep_no_graph(case, device, dtype):
    network, x = case.ready(device, dtype), case.rows(5, device=device, dtype=dtype)
    assert not network.posterior(x).requires_grad
    assert not network.predict(x).requires_grad
    assert network.class_scores(x.requires_grad_()).requires_grad


@each()
def test_rows_that_are_no_tensors_are_refused_with_the_remedy(case):
    network, x = case.ready(dtype=torch.float32), case.rows(5, dtype=torch.float32)
    remedy = "x must be a torch.Tensor.*torch.as_tensor.*torch.from_numpy"
    for rows in (x.numpy(), x.tolist()):
        with pytest.raises(TypeError, match=remedy):
            scores(network, rows)
        if isinstance(network, Classifier):
            with pytest.raises(TypeError, match=remedy):
                network.predict(rows)
        if case.init == "features" or case.fitted:
            with pytest.raises(TypeError, match=remedy):
                initialise(network, rows, case.labels(5))


@each(fitted=False, on_meta=True)
@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16])
def test_half_precision_stays_half_precision(case, half, device):
    network = case.ready(device, torch.float32).eval()
    x, y = case.rows(5, device=device, dtype=torch.float32), case.labels(5, device)
    wide, network = scores(network, x).detach(), network.to(half)
    found = scores(network, x.to(half))
    assert found.dtype == half
    torch.testing.assert_close(found.float(), wide, rtol=0.1, atol=0.3)
    loss(network.train(), x.to(half), y).backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad.dtype == half, name
        assert parameter.grad.isfinite().all(), name


@each(fitted=False)
def test_every_parameter_gets_a_gradient(case, device, dtype):
    network = case.ready(device, dtype)
    loss(network, case.rows(8, device=device, dtype=dtype), case.labels(8, device)).backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


@each()
def test_evaluation_repeats_itself(case, device, dtype):
    network = case.ready(device, dtype).eval()
    x = case.rows(8, device=device, dtype=dtype)
    kept, state = x.clone(), copy.deepcopy(network.state_dict())
    first = scores(network, x)
    assert torch.equal(scores(network.train().eval(), x), first)
    assert torch.equal(x, kept)
    for name, value in network.state_dict().items():
        assert torch.equal(value, state[name]), name


@each()
def test_a_row_is_scored_by_itself(case, device, dtype):
    network = case.ready(device, dtype).eval()
    x = case.rows(8, device=device, dtype=dtype)
    single = torch.stack([scores(network, row) for row in x])
    torch.testing.assert_close(scores(network, x), single)


@each()
def test_saved_weights_are_all_that_a_twin_needs(case, device, dtype):
    network, twin = case.ready(device, dtype).eval(), case.ready(device, dtype, seed=5).eval()
    x = case.rows(8, device=device, dtype=dtype)
    assert case.fitted or not torch.equal(scores(twin, x), scores(network, x))
    file = io.BytesIO()
    torch.save(network.state_dict(), file)
    file.seek(0)
    twin.load_state_dict(torch.load(file, weights_only=True))
    assert torch.equal(scores(twin, x), scores(network, x))


@each()
@pytest.mark.parametrize("copied", [copy.deepcopy, lambda n: pickle.loads(pickle.dumps(n))])
def test_a_copy_is_another_network_of_the_same_values(case, copied, device, dtype):
    network = case.ready(device, dtype).eval()
    x = case.rows(8, device=device, dtype=dtype)
    expected = scores(network, x).detach().clone()
    other = copied(network)
    assert torch.equal(scores(other, x), expected)
    with torch.no_grad():
        for tensor in (*network.parameters(), *network.buffers()):
            tensor.zero_()
    assert torch.equal(scores(other, x), expected)


@each()
def test_its_repr_describes_it(case):
    text = repr(case.build())
    for part in case.repr:
        assert part in text


@each()
def test_single_and_double_precision_agree(case, device):
    single = case.ready(device, torch.float32).eval()
    x = case.rows(8, device=device)
    double = copy.deepcopy(single).double()
    wide = scores(double, x)
    assert wide.dtype == torch.float64
    torch.testing.assert_close(scores(single, x.float()).double(), wide, rtol=1e-4, atol=1e-4)
    again = scores(double.float(), x.float())
    assert torch.equal(again, scores(single, x.float()))


@each()
def test_all_of_it_moves_to_a_device(case):
    network = case.ready(dtype=torch.float32).eval().to("meta")
    assert all(tensor.is_meta for tensor in (*network.parameters(), *network.buffers()))
    if case.on_meta:  # where a tensor left behind on the CPU raises an error
        x = case.rows(2, 5, dtype=torch.float32).to("meta")
        assert scores(network, x).shape == (2, 5, case.n_classes)
        if case.marginals:
            assert network.marginal_class_scores(x, x > 0).shape == (2, 5, case.n_classes)


@each(factory=True)
def test_it_can_be_made_on_a_device_in_a_type(case):
    network = case.build(device="meta", dtype=torch.float64)
    for parameter in network.parameters():
        assert parameter.is_meta
        assert parameter.dtype == torch.float64


@each()
def test_data_can_initialise_it(case, device, dtype):
    network = case.build().to(device, dtype)
    x, y = case.rows(30, device=device, dtype=dtype), case.labels(30, device)
    if case.init == "none":
        with pytest.raises(NotImplementedError, match="cannot be initialised from data"):
            initialise(network, x, y)
        return
    kept, before = (x.clone(), y.clone()), copy.deepcopy(network.state_dict())
    torch.manual_seed(2)
    initialise(network, x, y)
    assert torch.equal(x, kept[0])
    assert torch.equal(y, kept[1])
    after = copy.deepcopy(network.state_dict())
    assert any(not torch.equal(value, before[name]) for name, value in after.items())
    torch.manual_seed(2)
    initialise(network, x, y)
    for name, value in network.named_parameters():  # it does not matter what stood there
        assert torch.equal(value, after[name]), name
    if case.init == "labels":
        with pytest.raises(ValueError, match="features and labels"):
            initialise(network, x, None)
    else:
        initialise(network, x, None)
    assert all(parameter.isfinite().all() for parameter in network.parameters())


@each(layer=False)
def test_its_parameters_are_counted(case):
    network = case.build()
    learned = sum(parameter.numel() for parameter in network.parameters())
    expected = learned if case.n_parameters is None else case.n_parameters
    assert network.n_parameters() == expected
    assert case.fitted or learned == expected


@each(draws=True)
def test_it_draws_rows_of_its_own_kind(case, device, dtype):
    network = case.ready(device, dtype).eval()
    x, y = network.sample(7)
    assert (x.shape, y.shape) == ((7, D), (7,))
    assert (x.dtype, y.dtype) == (dtype, torch.int64)
    assert x.device.type == y.device.type == device.type
    assert not case.binary or ((x == 0) | (x == 1)).all()
    assert ((y >= 0) & (y < case.n_classes)).all()
    assert network(x, y).isfinite().all()


@each(draws=True)
def test_no_draws_are_no_rows(case, device, dtype):
    network = case.ready(device, dtype).eval()
    x, y = network.sample(0)
    assert (x.shape, y.shape) == ((0, D), (0,))
    assert (x.dtype, y.dtype) == (dtype, torch.int64)
    assert network(x, y).shape == (0,)
    with pytest.raises(ValueError, match="draws must not be negative, got -1"):
        network.sample(-1)


@each(layer=False)
@pytest.mark.parametrize("label", [-1, -100, None])
def test_a_label_out_of_range_is_refused(case, label):
    network = case.ready()
    y = case.labels(8)
    y[3] = label = case.n_classes if label is None else label
    with pytest.raises(
        IndexError, match=rf"({label}\b.* 0 to {case.n_classes - 1}|Target {label})"
    ):
        loss(network, case.rows(8), y)


@each(binary=True)
@pytest.mark.parametrize("value", [0.5, 255, -1, math.inf])
def test_features_of_0_and_1_are_nothing_else(case, value):
    network = case.ready()
    x = case.rows(8)
    x[2, 1] = value
    for refused in (network.class_scores, network.init_from):
        with pytest.raises(ValueError, match=f"a feature is {value}, and each must be 0 or 1"):
            refused(x)


@each(draws=True)
def test_a_generator_is_all_that_draws_depend_on(case, dtype):
    network = case.ready(dtype=dtype).eval()
    state = torch.get_rng_state()
    first, again = (network.sample(7, generator=torch.Generator().manual_seed(0)) for _ in "ab")
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])
    assert torch.equal(torch.get_rng_state(), state)


@each(marginals=True)
def test_all_features_known_is_no_marginal(case, device, dtype):
    network = case.ready(device, dtype).eval()
    x = case.rows(2, 5, device=device, dtype=dtype)
    found = network.marginal_class_scores(x, torch.ones_like(x, dtype=torch.bool))
    torch.testing.assert_close(found, scores(network, x))
