"""What every regression network keeps to, the baselines included."""

import copy
import io
import pickle
from functools import partial

import pytest
import torch
from torch import nn

from ugmm.baselines import LinearRegressor, MLPRegressor
from ugmm.functional import mixture_log_score
from ugmm.nn import (
    GaussianPredictive,
    MixturePredictive,
    QuantilePredictive,
    RegressionNetwork,
    Regressor,
)
from ugmm.nn.recipe import class_path
from ugmm.nn.regression import make_predictive_head
from ugmm.objectives import NegativeLogDensity, Pinball, RankedProbability
from ugmm.tasks.remake import remake

N = 4
LEADS = [(), (5,), (2, 5), (1,), (0,)]
HEADS = {  # name: arguments, number of parameters, and of the last layer's outputs
    "gaussian": ({}, 2, 1),
    "heteroscedastic": ({}, 2, 2),
    "mixture": ({"components": 2}, 6, 6),
    "quantiles": ({"levels": (0.1, 0.4, 0.9)}, 3, 3),
}
PREDICTIVES = {
    "gaussian": GaussianPredictive,
    "heteroscedastic": GaussianPredictive,
    "mixture": MixturePredictive,
    "quantiles": QuantilePredictive,
}
NETWORKS = {  # name: network, width before the head, number of parameters before it
    "ugmm": (partial(RegressionNetwork, N, (7,), dropout=0.2), 7, 3 * 4 * 7 + 2 * 7 + 4),
    "ugmm-deep": (
        partial(RegressionNetwork, N, (7, 5), input_dropout=0.2, skip=False, init="data"),
        5,
        3 * (4 * 7 + 7 * 5) + 2 * (7 + 5),
    ),
    "mlp": (partial(MLPRegressor, N, (7, 5), dropout=0.2, norm="layer"), 5, 5 * 7 + 8 * 5 + 24),
    "linear": (partial(LinearRegressor, N), 4, 0),
}
CASES = [(name, head) for name in NETWORKS for head in HEADS]
EACH = pytest.mark.parametrize(("name", "head"), CASES, ids=["-".join(c) for c in CASES])
OURS = pytest.mark.parametrize("head", HEADS)


def build(name, head, **settings):
    return NETWORKS[name][0](head=head, **HEADS[head][0], **settings)


def ready(name, head, device="cpu", dtype=torch.float64, seed=0):
    """A network in the midst of training."""
    torch.manual_seed(seed)
    network = build(name, head, device=device, dtype=dtype)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return network.train()


def rows(*lead, device="cpu", dtype=torch.float64):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(*lead, N, generator=generator, dtype=torch.float64).to(device, dtype)


def loss(network, x, y):
    """What training lowers."""
    objective = NegativeLogDensity() if network.has_density else Pinball()
    return objective.loss(network, x, y)


@EACH
def test_every_row_has_a_prediction(name, head, device, dtype):
    network = ready(name, head, device, dtype).eval()
    assert isinstance(network, Regressor)
    for lead in LEADS:
        x = rows(*lead, device=device, dtype=dtype)
        parameters, predictive = network(x), network.predictive(x)
        assert parameters.shape == (*lead, HEADS[head][1])
        assert parameters.dtype == dtype
        assert type(predictive) is PREDICTIVES[head]
        assert predictive.mean.shape == lead
        assert predictive.mean.isfinite().all()
        assert torch.equal(network.predict(x), predictive.mean)
        assert network.has_density == predictive.has_density
        low, high = predictive.interval(0.9)
        assert (low < high).all()


@EACH
def test_predictions_keep_no_graph_and_distributions_do(name, head):
    network, x = ready(name, head), rows(5)
    assert not network.predict(x).requires_grad
    assert network.predictive(x).mean.requires_grad


@EACH
def test_rows_that_are_no_tensors_are_refused_with_the_remedy(name, head):
    network = ready(name, head)
    for ask in (network.predictive, network.predict):
        with pytest.raises(TypeError, match=r"x must be a torch.Tensor.*torch.as_tensor"):
            ask(rows(5).numpy())


@EACH
@pytest.mark.parametrize("objective", [NegativeLogDensity(), RankedProbability(), Pinball()])
def test_every_parameter_gets_a_gradient(name, head, objective, device, dtype):
    if objective.needs == ("density" if head == "quantiles" else "quantiles"):
        pytest.skip("the head has no such thing")
    network, y = ready(name, head, device, dtype), rows(8, device=device, dtype=dtype)[:, 0]
    objective.loss(network, rows(8, device=device, dtype=dtype), y).backward()
    for key, parameter in network.named_parameters():
        assert parameter.grad is not None, key
        assert parameter.grad.isfinite().all(), key
        assert parameter.grad.any(), key


@EACH
@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16])
def test_half_precision_stays_half_precision_but_for_the_distribution(name, head, half):
    network = ready(name, head, dtype=torch.float32).eval()
    x, y = rows(8, dtype=torch.float32), rows(8, dtype=torch.float32)[:, 0]
    wide, network = network(x).detach(), network.to(half)
    found = network(x.to(half))
    assert found.dtype == half
    torch.testing.assert_close(found.float(), wide, rtol=0.1, atol=0.1)
    assert network.predictive(x.to(half)).mean.dtype == torch.float32
    loss(network.train(), x.to(half), y).backward()
    for key, parameter in network.named_parameters():
        assert parameter.grad.dtype == half, key
        assert parameter.grad.isfinite().all(), key


@EACH
def test_evaluation_repeats_itself(name, head):
    network, x = ready(name, head).eval(), rows(8)
    first = network(x)
    assert torch.equal(network.train().eval()(x), first)
    single = torch.stack([network(row) for row in x])
    torch.testing.assert_close(first, single)
    with network.prepared():
        torch.testing.assert_close(network(x), first)


@EACH
def test_seeds_decide_how_it_begins(name, head):
    first, again, other = (ready(name, head, seed=seed).eval() for seed in (0, 0, 1))
    assert torch.equal(first(rows(5)), again(rows(5)))
    assert not torch.equal(first(rows(5)), other(rows(5)))


@EACH
def test_saved_weights_are_all_that_a_twin_needs(name, head):
    network, twin, x = ready(name, head).eval(), ready(name, head, seed=5).eval(), rows(8)
    file = io.BytesIO()
    torch.save(network.state_dict(), file)
    file.seek(0)
    twin.load_state_dict(torch.load(file, weights_only=True))
    assert torch.equal(twin(x), network(x))
    for copied in (copy.deepcopy(network), pickle.loads(pickle.dumps(network))):
        assert torch.equal(copied(x), network(x))


@EACH
def test_a_recipe_makes_it_again(name, head):
    network = build(name, head)
    recipe = {"class_path": class_path(type(network)), "init_args": network.init_args}
    again = remake(recipe, Regressor, "network")
    assert repr(again) == repr(network)
    again.load_state_dict(network.state_dict())


@EACH
def test_its_parameters_are_counted(name, head):
    _, width, before = NETWORKS[name]
    last = (width + 1) * HEADS[head][2] + (head == "gaussian")
    assert build(name, head).n_parameters() == before + last


@EACH
def test_it_is_one_graph(name, head):
    network, x = ready(name, head, dtype=torch.float32).eval(), rows(5, dtype=torch.float32)
    compiled = torch.compile(network, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(x), network(x))
    program = torch.export.export(network, (x,))
    torch.testing.assert_close(program.module()(x), network(x))


@EACH
def test_it_can_be_made_on_a_device_in_a_type(name, head):
    network = build(name, head, device="meta", dtype=torch.float64)
    for parameter in network.parameters():
        assert parameter.is_meta
        assert parameter.dtype == torch.float64
    assert network(rows(2, 5, device="meta")).shape == (2, 5, HEADS[head][1])


@OURS
def test_the_skip_moves_the_whole_distribution(head):
    torch.manual_seed(0)
    network, x = ready("ugmm", head).eval(), rows(50)
    after, shift = network.predictive(x), network.skip(x).squeeze(-1)
    network.skip = None
    before = network.predictive(x)
    torch.testing.assert_close(after.mean, before.mean + shift)
    torch.testing.assert_close(after.variance, before.variance)
    torch.testing.assert_close(after.quantile(0.2), before.quantile(0.2) + shift)


def test_values_are_those_of_the_formula():
    network, x = ready("ugmm", "heteroscedastic").eval(), rows(5)
    (layer,), (norm,) = network.layers, network.norms
    scores = mixture_log_score(x, layer.loc, layer.log_scale, layer.logits)
    scores = scores - scores.mean(-1, keepdim=True)
    scores = scores / (scores.square().mean(-1, keepdim=True) + norm.eps).sqrt()
    raw = (scores * norm.weight + norm.bias) / 7**0.5 @ network.head.linear.weight.T
    raw = raw + network.head.linear.bias
    found = network.predictive(x)
    torch.testing.assert_close(found.mean, raw[:, 0] + x @ network.skip.weight[0])
    scale = 0.01 + ((torch.e - 1) * raw[:, 1].exp()).log1p()
    torch.testing.assert_close(found.scale, scale)


@OURS
def test_predictions_begin_about_as_wide_as_standardised_targets(head):
    torch.manual_seed(0)
    predictive = RegressionNetwork(N, head=head).predictive(torch.randn(500, N))
    total = predictive.variance.mean() + predictive.mean.var()
    assert 0.5 < total < 4


def test_a_step_of_adam_hardly_grows_with_the_width():
    moves = []
    for width in (32, 2048):
        torch.manual_seed(0)
        network, x = RegressionNetwork(N, (width,)), torch.randn(500, N)
        before = network(x)
        optimizer = torch.optim.Adam(network.head.parameters(), 0.01)
        network(x).sum().backward()
        optimizer.step()
        moves.append(float((network(x) - before).detach().abs().mean()))
    assert moves[1] < 10 * moves[0]


def test_a_floor_holds_however_sure_the_network_is():
    network = ready("ugmm", "heteroscedastic")
    with torch.no_grad():
        network.head.linear.bias[1] = -1e4
    scale = network.predictive(rows(5)).scale
    torch.testing.assert_close(scale, torch.full_like(scale, 0.01))


@OURS
def test_features_that_are_not_known_are_left_out(head):
    network, x = ready("ugmm", head).eval(), rows(6)
    full = network(x)
    network.expect_missing()
    assert network.missing
    assert network.init_args["missing"]
    torch.testing.assert_close(network(x), full)
    x[:, 1], x[-1] = torch.nan, torch.nan
    found = network(x)
    assert found.isfinite().all()
    known = ~x.isnan()
    scores = network.layers[0].marginal_score(x.nan_to_num(7.0), known)
    expected = network.head(network.norms[0](scores) / 7**0.5, network.skip(x.nan_to_num(0.0)))
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("name", ["mlp", "linear"])
def test_baselines_need_every_feature(name):
    with pytest.raises(NotImplementedError, match="cannot do without features"):
        build(name, "gaussian").expect_missing()
    with pytest.raises(NotImplementedError, match="cannot be initialised from data"):
        build(name, "gaussian").init_from(rows(5))


def test_data_can_initialise_every_layer():
    network = ready("ugmm-deep", "gaussian")
    x = 5 + 2 * rows(300)
    network.init_from(x)
    first, second = network.layers
    torch.testing.assert_close(first.scale[0], x.std(0, correction=0))
    inner = network.norms[0].eval()(first.eval()(x))
    assert (second.loc.mean(0) - inner.mean(0)).abs().max() < 2
    assert isinstance(network.norms[0], nn.LayerNorm)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"head": "x"}, "head must be 'gaussian', 'heteroscedastic', 'mixture' or 'quantiles'"),
        ({"head": "mixture", "components": 0}, "components must be at least 1"),
        ({"head": "quantiles", "levels": [0.9, 0.1]}, "levels must be two or more increasing"),
        ({"min_std": 0}, "min_std must be positive"),
        ({"init": "paper"}, "init must be 'unit' or 'data'"),
        ({"hidden": []}, r"\[in_features, \*hidden\] must be two or more positive widths"),
        ({"dropout": 1.0}, r"dropout must be in \[0, 1\)"),
    ],
)
def test_what_makes_no_network_is_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        RegressionNetwork(N, **settings)


def test_heads_begin_afresh():
    for name, (settings, *_) in HEADS.items():
        head = make_predictive_head(name, 3, **settings)
        torch.manual_seed(0)
        head.reset_parameters()
        first = copy.deepcopy(head.state_dict())
        with torch.no_grad():
            for parameter in head.parameters():
                parameter.fill_(9)
        torch.manual_seed(0)
        head.reset_parameters()
        assert all(torch.equal(value, first[key]) for key, value in head.state_dict().items())
