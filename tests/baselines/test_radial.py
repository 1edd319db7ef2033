"""Networks of radial bumps against loops by their definition."""

import math

import pytest
import torch

from ugmm.baselines import FastKAN, RBFNetwork
from ugmm.baselines.radial import FastKANLayer
from ugmm.config.compose import compose


def moved(network):
    """The network, its parameters moved from where they begin."""
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return network


def fast_kan_layer(layer, row):
    """One layer's outputs for one row, sum by sum."""
    values = {name: value.tolist() for name, value in layer.state_dict().items()}
    n, places = len(row), [-2, -1, 0, 1, 2]
    mean = sum(row) / n
    deviation = math.sqrt(sum((x - mean) ** 2 for x in row) / n + 1e-5)
    outputs = []
    for j, bias in enumerate(values["base.bias"]):
        y = bias
        for i, x in enumerate(row):
            normalised = (x - mean) / deviation * values["norm.weight"][i] + values["norm.bias"][i]
            for g, place in enumerate(places):
                weight = values["of_bumps.weight"][j][i * len(places) + g]
                y += weight * math.exp(-((normalised - place) ** 2))
            y += values["base.weight"][j][i] * x / (1 + math.exp(-x))
        outputs.append(y)
    return outputs


def test_fast_kan_is_the_definition():
    torch.manual_seed(0)
    network = moved(FastKAN([4, 6, 3], bumps=5, dtype=torch.float64))
    x = torch.randn(3, 4, dtype=torch.float64)
    for row, found in zip(x.tolist(), network(x).tolist(), strict=True):
        for layer in network.layers:
            row = fast_kan_layer(layer, row)
        assert found == pytest.approx(row, rel=1e-10)


def test_its_weights_begin_as_in_its_authors_code():
    torch.manual_seed(0)
    (layer,) = FastKAN([400, 100]).layers
    assert layer.of_bumps.weight.std().item() == pytest.approx(0.1, abs=0.001)
    assert layer.places.tolist() == pytest.approx([-2 + 4 * g / 7 for g in range(8)])


def test_rbf_is_the_definition():
    torch.manual_seed(0)
    network = moved(RBFNetwork(4, 3, units=6, dtype=torch.float64))
    values = {name: value.tolist() for name, value in network.state_dict().items()}
    x = torch.randn(5, 4, dtype=torch.float64)
    for row, found in zip(x.tolist(), network(x).tolist(), strict=True):
        units = [
            math.exp(-(math.dist(row, centre) ** 2) / (2 * math.exp(log_scale) ** 2))
            for centre, log_scale in zip(values["centres"], values["log_scale"], strict=True)
        ]
        expected = [
            bias + sum(w * h for w, h in zip(weights, units, strict=True))
            for weights, bias in zip(values["head.weight"], values["head.bias"], strict=True)
        ]
        assert found == pytest.approx(expected, rel=1e-10)


def test_rbf_gradients_are_right():
    torch.manual_seed(0)
    network = moved(RBFNetwork(3, 2, units=4, dtype=torch.float64))
    x = torch.randn(2, 3, dtype=torch.float64)
    names, values = zip(*network.named_parameters(), strict=True)

    def scores(*parameters):
        return torch.func.functional_call(network, dict(zip(names, parameters, strict=True)), x)

    assert torch.autograd.gradcheck(scores, values)


@pytest.mark.parametrize("n", [50, 3])
def test_its_units_begin_on_rows_and_reach_the_others(n):
    torch.manual_seed(0)
    network = RBFNetwork(20, 3, units=7)
    x = 5 + 2 * torch.randn(n, 20)
    network.init_from(x)
    assert (network.centres[:, None] == x).all(-1).any(1).all()
    assert len(network.centres.unique(dim=0)) == min(n, 7)
    distances = (x[:, None] - network.centres).square().sum(-1).mean(0)
    torch.testing.assert_close(distances / (2 * network.log_scale.exp() ** 2), torch.ones(7))


@pytest.mark.parametrize(
    ("build", "complaint"),
    [
        (lambda: FastKAN([3]), "two or more positive widths"),
        (lambda: FastKAN([3, 2], bumps=1), "bumps must be two or more, got 1"),
        (lambda: FastKANLayer(3, 2, bumps=1), "bumps must be two or more, got 1"),
        (lambda: RBFNetwork(3, 2, units=0), "units must be at least 1"),
        (lambda: RBFNetwork(3, 2).init_from(torch.zeros(0, 3)), r"3 inputs, got \(0, 3\)"),
        (lambda: RBFNetwork(3, 2).init_from(torch.zeros(4, 2)), r"3 inputs, got \(4, 2\)"),
    ],
)
def test_bad_arguments(build, complaint):
    with pytest.raises(ValueError, match=complaint):
        build()


@pytest.mark.parametrize(
    ("overrides", "kind"),
    [
        (["model=fast_kan", "model.hidden=[6]", "model.bumps=5"], FastKAN),
        (["model=rbf", "model.units=6"], RBFNetwork),
    ],
)
def test_experiments_can_choose_them(overrides, kind):
    network = compose("iris_disc", overrides).network(4, 3)
    assert type(network) is kind
    assert network.class_scores(torch.randn(5, 4)).shape == (5, 3)


@pytest.mark.parametrize("network", [FastKAN([4, 6, 3]), RBFNetwork(4, 3, units=6)])
def test_one_graph_is_compiled_and_a_program_exported_for_any_batch(network):
    x = torch.randn(5, 4)
    compiled = torch.compile(network, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x), network(x))
    shapes = {"x": {0: torch.export.Dim("batch")}}
    program = torch.export.export(network, (x,), dynamic_shapes=shapes)
    other = torch.randn(9, 4)
    torch.testing.assert_close(program.module()(other), network(other))
