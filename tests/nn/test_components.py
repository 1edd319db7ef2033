"""Components of neurons: who speaks, how many of them; and networks without some of them."""

import copy
import io
import math

import pytest
import torch
from contract_cases import CASES
from test_contract import loss, scores
from torch.distributions import Categorical, Normal

from ugmm.nn import UGMM, UGMMNetwork, effective_number, prune_components, responsibilities
from ugmm.tasks.optimization import make_optimizer

NEVER = -1e30  # a logit by which a weight is 0, however far off the other components are


def layers_of(network):
    return [module for module in network.modules() if isinstance(module, UGMM)]


@pytest.fixture
def layer():
    torch.manual_seed(0)
    return UGMM(7, 5, init="paper", min_scale=0.05, dtype=torch.float64)


@torch.no_grad()
def unlikely(network):
    """A network whose pruned components have logits that are finite."""
    twin = copy.deepcopy(network)
    for each_layer in layers_of(twin):
        each_layer.logits.clamp_(min=NEVER)
    return twin


def test_responsibilities_are_posteriors(layer):
    x = torch.randn(2, 3, 7, dtype=torch.float64)
    found = responsibilities(layer, x)
    assert found.shape == (2, 3, 5, 7)
    for j in range(5):
        parts = Normal(layer.loc[j], layer.scale[j]).log_prob(x).exp()
        joint = Categorical(logits=layer.logits[j]).probs * parts
        torch.testing.assert_close(found[..., j, :], joint / joint.sum(-1, keepdim=True))
    # They are the derivative of the scores by the logits, but for that of the weights' sum.
    (by_logits,) = torch.autograd.grad(layer(x).sum(), layer.logits)
    expected = found.sum((0, 1)) - 6 * layer.logits.softmax(-1)
    torch.testing.assert_close(by_logits, expected)


def test_effective_number():
    shares = torch.tensor([[0.25, 0.25, 0.25, 0.25], [0.5, 0.5, 0, 0], [0, 0, 1, 0]])
    torch.testing.assert_close(effective_number(shares), torch.tensor([4.0, 2.0, 1.0]))


class TestPruning:
    """All but the heaviest components go."""

    def test_the_heaviest_stay(self, layer):
        weights = layer.logits.detach().softmax(-1)
        assert prune_components(layer, 0.4) == 5 * 3
        for j in range(5):
            stays = weights[j].argsort(descending=True)[:3].sort().values
            assert torch.equal(layer.logits[j].isfinite().nonzero().squeeze(1), stays)

    def test_scores_are_those_of_a_smaller_neuron(self, layer):
        prune_components(layer, 0.4)
        x = torch.randn(6, 7, dtype=torch.float64)
        for j in range(5):
            stays = layer.logits[j].isfinite()
            small = UGMM(3, 1, min_scale=0.05, dtype=torch.float64)
            with torch.no_grad():
                for name in ("loc", "raw_scale", "logits"):
                    getattr(small, name).copy_(getattr(layer, name)[j, stays])
            torch.testing.assert_close(layer(x)[:, j], small(x[:, stays])[:, 0])

    def test_importance_of_ones_own_for_one_layer(self):
        network = UGMMNetwork([6, 4, 3])
        first, second = network.layers
        assert prune_components(network, 0.5, {first: torch.arange(6.0).repeat(4, 1)}) == 12 + 12
        assert torch.equal(first.logits[0].isfinite(), torch.arange(6) > 2)
        assert second.logits.isfinite().all()

    def test_what_is_gone_does_not_come_back(self, layer):
        prune_components(layer, 0.4)
        gone = layer.logits.isinf()
        assert prune_components(layer, 1.0) == prune_components(layer, 0.4) == 15
        assert torch.equal(layer.logits.isinf(), gone)
        assert prune_components(layer, 1.0, {layer: gone.double()}) == 15

    def test_one_always_stays(self, layer):
        assert prune_components(layer, 0.01) == 5

    def test_dropout_leaves_one_of_those_that_stay(self):
        layer = UGMM(50, 40, dropout=0.9)
        prune_components(layer, 0.04)
        masks = [layer.masked_logits() for _ in range(20)]
        assert all((mask > -math.inf).any(-1).all() for mask in masks)
        assert all((mask == -math.inf)[layer.logits == -math.inf].all() for mask in masks)

    @pytest.mark.parametrize("keep", [0, -0.1, 1.1, math.nan])
    def test_a_share_is_a_share(self, layer, keep):
        with pytest.raises(ValueError, match="keep must be in"):
            prune_components(layer, keep)

    def test_mistakes_are_named(self, layer):
        with pytest.raises(ValueError, match="no mixture neurons to prune in Linear"):
            prune_components(torch.nn.Linear(3, 2), 0.5)
        with pytest.raises(ValueError, match=r"must be \(5, 7\).*not \(7,\)"):
            prune_components(layer, 0.5, {layer: torch.ones(7)})
        with pytest.raises(ValueError, match="not the network's"):
            prune_components(layer, 0.5, {UGMM(7, 5): torch.ones(5, 7)})


KINDS = (
    "ugmm-none-paper",
    "ugmm-batch-data",
    "ugmm-linear",
    "autoregressive-gaussian-random",
    "joint-onehot",
    "tilted-onehot",
    "conv-residual",
    "rnn-both",
    "vit-all",
)


@pytest.mark.parametrize("kind", KINDS)
def test_pruned_networks_are_those_with_weights_of_zero(kind):
    case = CASES[kind]
    network = case.ready()
    prune_components(network, 0.3)
    for module in network.modules():
        for rate in ("dropout", "input_dropout", "p"):
            if isinstance(getattr(module, rate, None), float):
                setattr(module, rate, 0.0)
    twin, x, y = unlikely(network), case.rows(6), case.labels(6)
    for each in (network, twin):
        torch.manual_seed(1)
        loss(each, x, y).backward()
    for parameter, other in zip(network.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(parameter.grad, other.grad)
    expected = scores(twin.eval(), x)
    torch.testing.assert_close(scores(network.eval(), x), expected)
    with torch.no_grad(), network.prepared():
        for _ in range(2):
            torch.testing.assert_close(scores(network, x), expected)


@pytest.mark.parametrize("kind", KINDS)
def test_training_and_checkpoints_keep_them_out(kind):
    case = CASES[kind]
    network = case.ready()
    prune_components(network, 0.5)
    gone = [layer.logits.isinf() for layer in layers_of(network)]
    for optimizer in ("adam", "sgd"):
        step = make_optimizer(network, optimizer, lr=0.01)
        for _ in range(2):
            step.zero_grad()
            loss(network, case.rows(6), case.labels(6)).backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            step.step()
    file = io.BytesIO()
    torch.save(network.state_dict(), file)
    file.seek(0)
    loaded = case.ready(seed=1)
    loaded.load_state_dict(torch.load(file, weights_only=True))
    for layer, mask in zip(layers_of(loaded), gone, strict=True):
        assert torch.equal(layer.logits == -math.inf, mask)
        assert layer.logits[~mask].isfinite().all()
        assert layer.loc.isfinite().all()
    x = case.rows(5)
    torch.testing.assert_close(scores(loaded.eval(), x), scores(network.eval(), x))
