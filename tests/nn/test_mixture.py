"""The layer: its values against SciPy's mixtures, its dropout, floors and initial values."""

import itertools
import math

import numpy as np
import pytest
import torch
from scipy.special import logsumexp
from scipy.stats import norm

from ugmm.nn import UGMM, AutoregressiveUGMM, UGMMNetwork


def scipy_score(layer, x, logits=None):
    """The neuron's formula, by SciPy."""
    logits = (layer.logits if logits is None else logits).detach().numpy()
    loc, scale = layer.loc.detach().numpy(), layer.scale.detach().numpy()
    log_weights = logits - logsumexp(logits, axis=1, keepdims=True)
    terms = log_weights + norm.logpdf(x.numpy()[..., None, :], loc, scale)
    return logsumexp(terms, axis=-1)


@pytest.fixture
def layer():
    torch.manual_seed(0)
    return UGMM(7, 5, init="paper", min_scale=0.05, dtype=torch.float64)


@pytest.mark.parametrize("lead", [(), (3,), (2, 3), (2, 1, 4), (0,), (3, 0)])
def test_any_leading_shape(layer, lead):
    x = torch.randn(*lead, 7, dtype=torch.float64)
    np.testing.assert_allclose(layer(x).detach().numpy(), scipy_score(layer, x), rtol=1e-12)
    assert layer(x).shape == (*lead, 5)


def test_float32(layer):
    x = torch.randn(11, 7)
    expected = scipy_score(layer, x.double())
    np.testing.assert_allclose(layer.float()(x).detach().numpy(), expected, rtol=1e-5, atol=1e-5)


def test_autocast_computes_in_float32(layer):
    x = torch.randn(11, 7)
    layer.float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        score = layer(x)
    assert score.dtype == torch.float32
    torch.testing.assert_close(score, layer(x))


@pytest.mark.parametrize("options", [{}, {"dropout": 0.3}, {"input_dropout": 0.3}])
@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16])
def test_half_precision_drops_as_often(options, half):
    """Draws and sums of weights are made in float32: half precision has few numbers below 1."""
    torch.manual_seed(0)
    layer = UGMM(40, 200, dtype=half, **options)
    x = torch.randn(100, 40).to(half)
    wide = UGMM(40, 200, **options)
    wide.load_state_dict(layer.state_dict())
    found, expected = layer(x), wide(x.float())
    assert found.dtype == half
    torch.testing.assert_close(found.float().mean(), expected.mean(), rtol=0.01, atol=0)
    torch.testing.assert_close(found.float().std(), expected.std(), rtol=0.1, atol=0)


@pytest.mark.parametrize(
    "build",
    [
        lambda: UGMM(20, 8, kernel="fast"),
        lambda: UGMMNetwork([20, 8, 3], kernel="fast"),
        lambda: AutoregressiveUGMM(20, kernel="fast"),
    ],
)
def test_an_unknown_kernel_is_refused_at_once(build):
    with pytest.raises(ValueError, match="one of auto, reference, cpu, cuda, not 'fast'"):
        build()


@pytest.mark.parametrize("options", [{}, {"dropout": 0.3}, {"input_dropout": 0.3}])
@pytest.mark.parametrize("kernel", ["auto", "reference", "cpu", "cuda"])
def test_shapes_without_numbers(options, kernel):
    layer = UGMM(20, 8, kernel=kernel, device="meta", **options)
    score = layer(torch.empty(3, 20, device="meta"))
    assert score.is_meta
    assert score.shape == (3, 8)
    score.sum().backward()
    assert layer.loc.grad.shape == (8, 20)


def test_every_parameter_gets_a_gradient(layer):
    layer(torch.randn(3, 7, dtype=torch.float64)).sum().backward()
    for parameter in layer.parameters():
        assert parameter.grad is not None
        assert parameter.grad.abs().max() > 0


class TestDropout:
    """Components are dropped, the remaining weights renormalise."""

    def test_values_are_those_of_a_renormalised_part_of_the_mixture(self, layer):
        """Every neuron scores all rows by one subset of its components; brute force finds it."""
        layer = UGMM(4, 6, dropout=0.5, init="paper", dtype=torch.float64)
        x = torch.randn(5, 4, dtype=torch.float64)
        scores = layer(x).detach().numpy()
        subsets = [
            np.array(kept, bool) for kept in itertools.product([0, 1], repeat=4) if any(kept)
        ]
        found = []
        for j in range(6):
            for kept in subsets:
                logits = layer.logits.detach().clone()
                logits[j, torch.from_numpy(~kept)] = -math.inf
                if np.allclose(scipy_score(layer, x, logits)[:, j], scores[:, j], rtol=1e-10):
                    found.append(tuple(kept))
        assert len(found) == 6
        assert len(set(found)) > 1  # not one mask for all neurons

    def test_one_mask_is_shared_by_the_batch(self, layer):
        layer.dropout = 0.5
        row = torch.randn(1, 7, dtype=torch.float64)
        scores = layer(row.expand(6, 7))
        assert torch.equal(scores, scores[:1].expand_as(scores))
        assert not torch.equal(scores[:1], layer(row))

    @pytest.mark.parametrize("rate", [0.2, 0.9])
    def test_the_rate_is_the_rate(self, rate):
        torch.manual_seed(0)
        layer = UGMM(1000, 200, dropout=rate)
        share = layer.masked_logits().isinf().float().mean().item()
        assert share == pytest.approx(rate, abs=0.005)

    def test_no_neuron_loses_all_components(self):
        torch.manual_seed(0)
        layer = UGMM(2, 20000, dropout=0.99)
        assert layer.masked_logits().isfinite().any(1).all()
        assert layer(torch.randn(3, 2)).isfinite().all()
        alone = UGMM(1, 5, dropout=0.99)
        assert alone.masked_logits().isfinite().all()

    def test_evaluation_drops_nothing(self, layer):
        layer.dropout = 0.5
        x = torch.randn(4, 7, dtype=torch.float64)
        np.testing.assert_allclose(layer.eval()(x).detach().numpy(), scipy_score(layer, x))


class TestScale:
    """The floor holds, and the initial scales are what was asked for."""

    def test_the_floor_holds_wherever_training_goes(self):
        layer = UGMM(3, 2, min_scale=0.1)
        with torch.no_grad():
            layer.raw_scale.fill_(-1000)
        assert (layer.scale >= 0.1).all()
        torch.testing.assert_close(layer.log_scale, layer.scale.log())

    def test_without_a_floor_log_scale_is_the_parameter(self):
        layer = UGMM(3, 2, min_scale=0)
        assert layer.log_scale is layer.raw_scale

    @pytest.mark.parametrize("floor", [0, 1e-3, 0.5])
    def test_unit_scales_are_one(self, floor):
        scale = UGMM(30, 20, min_scale=floor).scale
        torch.testing.assert_close(scale, torch.ones_like(scale))

    @pytest.mark.parametrize("floor", [1.0, 2.0])
    def test_a_floor_above_the_initial_scale_keeps_a_live_gradient(self, floor):
        layer = UGMM(3, 2, min_scale=floor)
        layer(torch.randn(5, 3)).sum().backward()
        assert layer.raw_scale.grad.abs().max() > 1e-4

    def test_the_papers_draws(self):
        torch.manual_seed(0)
        layer = UGMM(1000, 100, init="paper", min_scale=0)
        for values, mean, std in (
            (layer.loc, 0, 1),
            (layer.scale, 0.5, 1 / math.sqrt(12)),
            (layer.logits, 0.5, 1 / math.sqrt(12)),
        ):
            assert values.mean().item() == pytest.approx(mean, abs=0.01)
            assert values.std().item() == pytest.approx(std, abs=0.01)
        assert layer.scale.min() > 0
        assert layer.scale.max() <= 1


def test_init_from_data_spreads_neurons_as_the_data():
    torch.manual_seed(0)
    x = 3 + torch.randn(50, 4) * torch.tensor([1.0, 5.0, 0.0, 2.0])
    layer = UGMM(4, 5000, min_scale=1e-3)
    layer.init_from(x)
    mean, spread = x.double().numpy().mean(0), x.double().numpy().std(0)
    loc, scale = layer.loc.detach().numpy(), layer.scale.detach().numpy()
    assert 0 < scale[0, 2] < 0.01  # a constant input has no spread: any small positive scale
    spread[2] = scale[0, 2]
    np.testing.assert_allclose(scale, np.tile(spread, (5000, 1)), rtol=1e-5)
    np.testing.assert_allclose(loc.mean(0), mean, atol=0.1)
    np.testing.assert_allclose(loc.std(0)[[0, 1, 3]], spread[[0, 1, 3]], rtol=0.05)


@pytest.mark.parametrize("x", [torch.zeros(0, 4), torch.zeros(4), torch.zeros(3, 5)])
def test_init_from_refuses_what_is_no_batch(x):
    with pytest.raises(ValueError, match="expected a batch of 4 inputs"):
        UGMM(4, 2).init_from(x)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"in_features": 0}, "needs inputs and outputs"),
        ({"dropout": 1.0}, "dropout must be in"),
        ({"min_scale": -1}, "min_scale must be finite and not negative"),
        ({"min_scale": float("nan")}, "min_scale must be finite and not negative, got nan"),
        ({"init": "zeros"}, "init must be"),
    ],
)
def test_bad_arguments(arguments, complaint):
    with pytest.raises(ValueError, match=complaint):
        UGMM(**{"in_features": 3, "out_features": 2, **arguments})


def test_repr_tells_the_settings(layer):
    text = repr(UGMM(3, 2, dropout=0.25))
    assert "in_features=3, out_features=2, dropout=0.25" in text


@pytest.mark.parametrize("kernel", ["reference", "cpu"])
def test_inputs_left_out_are_as_if_they_did_not_exist(kernel):
    torch.manual_seed(1)
    layer = UGMM(9, 4, init="paper", kernel=kernel)
    x = torch.randn(6, 9)
    observed = torch.rand(6, 9) < 0.5
    observed[:, 0] = True
    scores = layer.marginal_score(x.masked_fill(~observed, math.nan), observed)
    for row, known in enumerate(observed):
        part = UGMM(int(known.sum()), 4)
        for name in ("loc", "raw_scale", "logits"):
            getattr(part, name).data = getattr(layer, name).data[:, known]
        expected = scipy_score(part, x[row, known])
        np.testing.assert_allclose(scores[row].detach().numpy(), expected, rtol=1e-5, atol=1e-5)


def test_known_inputs_of_tiny_weight_still_count():
    layer = UGMM(3, 1)
    layer.logits.data = torch.tensor([[200.0, 0.0, 0.0]])
    observed = torch.tensor([[False, True, True]])
    score = layer.marginal_score(torch.zeros(1, 3), observed)
    layer.logits.data = torch.zeros(1, 3)
    expected = layer.marginal_score(torch.zeros(1, 3), observed)
    torch.testing.assert_close(score, expected)


@pytest.mark.parametrize("kernel", ["reference", "cpu"])
def test_input_dropout_leaves_inputs_of_each_row_out(kernel):
    torch.manual_seed(2)
    layer = UGMM(12, 3, input_dropout=0.4, kernel=kernel)
    x = torch.randn(2000, 12, requires_grad=True)
    scores = layer(x)
    scores.sum().backward()
    kept = x.grad != 0  # what was dropped has no gradient
    assert kept.float().mean() == pytest.approx(0.6, abs=0.01)
    assert kept.any(-1).all()
    torch.testing.assert_close(scores, layer.marginal_score(x, kept), rtol=1e-5, atol=1e-5)
    for parameter in layer.parameters():
        assert parameter.grad.isfinite().all()
    layer.eval()
    np.testing.assert_allclose(
        layer(x).detach().numpy(), scipy_score(layer, x.detach()), rtol=1e-4, atol=1e-4
    )


def test_gradients_under_input_dropout_are_those_of_the_formula():
    torch.manual_seed(4)
    layer = UGMM(6, 2, input_dropout=0.5, init="paper", min_scale=0.1, kernel="reference").double()
    x = torch.randn(5, 6, dtype=torch.float64)

    def score(*parameters):
        torch.manual_seed(5)
        return torch.func.functional_call(layer, dict(zip(names, parameters, strict=True)), (x,))

    names, parameters = zip(*layer.named_parameters(), strict=True)
    assert torch.autograd.gradcheck(score, parameters)


def test_both_dropouts_may_not_take_all_components():
    with pytest.raises(ValueError, match="use one of them"):
        UGMM(8, 2, dropout=0.2, input_dropout=0.2)
    UGMM(784, 2, dropout=0.2, input_dropout=0.2)
    with pytest.raises(ValueError, match="input_dropout must be in"):
        UGMM(8, 2, input_dropout=1.0)
