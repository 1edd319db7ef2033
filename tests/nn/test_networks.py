"""What is particular to networks of mixture neurons; test_contract.py has what all keep to."""

import numpy as np
import pytest
import torch
from torch import nn

from ugmm.nn import UGMM, JointScore, UGMMNetwork


def test_networks_of_mixtures_stack_their_layers():
    network = UGMMNetwork([6, 5, 3], norm="layer").eval()
    x = torch.randn(4, 6)
    first, second = network.layers
    expected = second(nn.functional.layer_norm(first(x), (5,)))
    torch.testing.assert_close(network(x), expected)


def test_one_dropout_rate_is_the_first_layers():
    def rates(dropout):
        return [layer.dropout for layer in UGMMNetwork([6, 5, 4, 3], dropout=dropout).layers]

    assert rates(0.2) == [0.2, 0, 0]
    assert rates([0.1, 0, 0.3]) == [0.1, 0, 0.3]
    with pytest.raises(ValueError, match="dropout has 2 rates for 3 layers"):
        rates([0.1, 0.2])


def test_initial_means_spread_as_documented():
    torch.manual_seed(0)
    wide = UGMMNetwork([400, 300, 300])
    assert wide.layers[0].loc.std().item() == pytest.approx(0.5, abs=0.01)
    assert wide.layers[1].loc.std().item() == pytest.approx(1.0, abs=0.01)
    paper = UGMMNetwork([400, 300, 300], init="paper")
    assert paper.layers[0].loc.std().item() == pytest.approx(1.0, abs=0.01)


def test_init_from_data_reaches_every_layer():
    torch.manual_seed(0)
    network = UGMMNetwork([4, 5, 3], init="data", norm="none")
    x = 10 + torch.randn(100, 4)
    network.init_from(x)
    scores = network.layers[0](x)
    spread = scores.std(0, correction=0)
    np.testing.assert_allclose(network.layers[1].scale[0].detach(), spread.detach(), rtol=1e-4)
    distance = (network.layers[1].loc - scores.mean(0)).abs() / spread
    assert distance.max() < 4


def test_reset_parameters_draws_afresh():
    network = UGMMNetwork([4, 5, 3], norm="batch")
    before = network.layers[0].loc.clone()
    network(torch.randn(8, 4))
    network.reset_parameters()
    assert not torch.equal(before, network.layers[0].loc)
    assert torch.equal(network.norms[0].running_mean, torch.zeros(5))


@pytest.mark.parametrize(
    ("sizes", "keywords", "complaint"),
    [
        ([3], {}, "two or more positive widths"),
        ([3, 0, 2], {}, "two or more positive widths"),
        ([3, 4, 2], {"norm": "group"}, "norm must be"),
        ([3, 4, 2], {"init": "zeros"}, "init must be"),
    ],
)
def test_bad_arguments(sizes, keywords, complaint):
    with pytest.raises(ValueError, match=complaint):
        UGMMNetwork(sizes, **keywords)


class TestJointScore:
    """The generative model: one score of features and label."""

    @pytest.mark.parametrize(("label", "size"), [("onehot", 3), ("real", 1)])
    def test_class_scores_evaluate_every_label(self, label, size):
        torch.manual_seed(0)
        network = UGMMNetwork([4 + size, 5, 1], dtype=torch.float64)
        joint = JointScore(network, 3, label)
        x = torch.randn(6, 4, dtype=torch.float64)
        scores = joint.class_scores(x)
        assert scores.shape == (6, 3)
        for c in range(3):
            code = np.eye(3)[c] if label == "onehot" else np.array([float(c)])
            rows = torch.from_numpy(np.hstack([x.numpy(), np.tile(code, (6, 1))]))
            torch.testing.assert_close(scores[:, c], network(rows)[:, 0])
            torch.testing.assert_close(joint(x, torch.full((6,), c)), scores[:, c])
        torch.testing.assert_close(joint.posterior(x), scores.softmax(-1))

    @pytest.mark.parametrize("sizes", [[7, 1], [7, 6, 5, 1]])
    @pytest.mark.parametrize("training", [True, False])
    def test_pairs_are_scored_as_if_joined(self, sizes, training):
        torch.manual_seed(0)
        network = UGMMNetwork(sizes, dropout=0.4, norm="layer", init="paper", dtype=torch.float64)
        network.train(training)
        x = torch.randn(2, 3, 4, dtype=torch.float64, requires_grad=True)
        codes = torch.randn(5, 3, dtype=torch.float64)
        inputs = [x, *network.parameters()]

        def outputs_and_gradients(outputs):
            torch.manual_seed(1)  # the components dropped, in training
            result = outputs()
            return [result.detach(), *torch.autograd.grad(result.square().sum(), inputs)]

        def joined():
            rows = [torch.cat([x, code.expand(2, 3, -1)], -1) for code in codes]
            return network(torch.stack(rows, -2))

        found = outputs_and_gradients(lambda: network.score_pairs(x, codes))
        assert found[0].shape == (2, 3, 5, 1)
        for result, expected in zip(found, outputs_and_gradients(joined), strict=True):
            torch.testing.assert_close(result, expected)

    def test_with_batch_norm_all_labels_of_a_batch_are_normalised_alike(self):
        joint = JointScore(UGMMNetwork([5, 4, 1], norm="batch"), 3).eval()
        x = torch.randn(6, 2)
        torch.testing.assert_close(joint.class_scores(x)[:3], joint.class_scores(x[:3]))

    def test_a_label_code_must_be_known(self):
        with pytest.raises(ValueError, match="label must be"):
            JointScore(UGMMNetwork([4, 1]), 3, "binary")


def test_layers_are_plain_modules():
    """Usable as torch.nn.Linear is, in torch's own containers."""
    network = nn.Sequential(UGMM(4, 3), nn.LayerNorm(3), UGMM(3, 2))
    assert network(torch.randn(5, 4)).shape == (5, 2)
