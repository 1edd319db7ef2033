"""The multi-layer perceptron against its formula."""

import numpy as np
import pytest
import torch

from ugmm.baselines import MLP


@pytest.mark.parametrize("norm", ["none", "layer", "batch"])
def test_it_is_the_formula(norm):
    torch.manual_seed(0)
    network = MLP([4, 6, 5, 3], norm=norm, dropout=0.3, dtype=torch.float64).eval()
    x = torch.randn(7, 4, dtype=torch.float64)
    weights = {name: value.numpy() for name, value in network.state_dict().items()}
    matrices = [w for name, w in weights.items() if name.endswith("weight") and w.ndim == 2]
    biases = [weights[name] for name in weights if name.endswith("bias")]
    biases = [b for b in biases if b.any()]  # a norm's, which begin at 0, leave all as it is
    h = x.numpy()
    for matrix, bias in zip(matrices[:-1], biases[:-1], strict=True):
        h = h @ matrix.T + bias
        if norm == "layer":
            h = (h - h.mean(1, keepdims=True)) / np.sqrt(h.var(1, keepdims=True) + 1e-5)
        if norm == "batch":  # nothing seen yet: mean 0, variance 1
            h = h / np.sqrt(1 + 1e-5)
        h = np.maximum(h, 0)
    expected = h @ matrices[-1].T + biases[-1]
    np.testing.assert_allclose(network(x).detach().numpy(), expected, rtol=1e-10, atol=1e-12)


def test_hidden_units_are_dropped_in_training():
    torch.manual_seed(0)
    network = MLP([4, 4000, 1], dropout=0.25)
    torch.nn.init.constant_(network.blocks[0].weight, 0)
    torch.nn.init.constant_(network.blocks[0].bias, 1)
    torch.nn.init.constant_(network.blocks[-1].weight, 1)
    torch.nn.init.constant_(network.blocks[-1].bias, 0)
    kept = network(torch.zeros(50, 4)) * 0.75 / 4000  # what is kept is scaled up by 1 / 0.75
    assert kept.mean().item() == pytest.approx(0.75, abs=0.01)
    assert len(kept.unique()) > 1
    assert network.eval()(torch.zeros(1, 4)).item() == 4000


@pytest.mark.parametrize(
    ("sizes", "keywords", "complaint"),
    [
        ([3], {}, "two or more positive widths"),
        ([3, 0, 2], {}, "two or more positive widths"),
        ([3, 4, 2], {"norm": "group"}, "norm must be"),
    ],
)
def test_bad_arguments(sizes, keywords, complaint):
    with pytest.raises(ValueError, match=complaint):
        MLP(sizes, **keywords)
