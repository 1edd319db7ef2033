"""What makes a network's outputs: its last neurons, these with a gain, or a linear map."""

import math

import pytest
import torch
from torch import nn

from ugmm.nn import Classifier, JointScore, UGMMNetwork

HEADS = ("mixture", "gain", "linear")


def make(head, sizes=(6, 8, 5, 3), **options):
    torch.manual_seed(0)
    options = {"norm": "layer", "dtype": torch.float64, **options}
    network = UGMMNetwork(sizes, head=head, **options)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return network.eval()


def test_a_network_without_a_head_is_as_it_was():
    network = make("mixture")
    assert not any("head" in name for name in network.state_dict())
    assert "head=" not in repr(network).splitlines()[0]


def test_a_gain_multiplies_what_the_last_neurons_say():
    plain, scaled = make("mixture"), UGMMNetwork([6, 8, 5, 3], norm="layer", head="gain").double()
    scaled.load_state_dict(plain.state_dict(), strict=False)
    x = torch.randn(7, 6, dtype=torch.float64)
    torch.testing.assert_close(scaled(x), math.sqrt(5) * plain(x), rtol=1e-6, atol=0)


def test_a_linear_head_maps_the_normalised_scores_of_the_last_neurons():
    network, x = make("linear"), torch.randn(7, 6, dtype=torch.float64)
    first, second = network.layers
    norm, linear = network.head
    h = second(network.norms[0](first(x)))
    h = (h - h.mean(1, keepdim=True)) / (h.var(1, correction=0, keepdim=True) + 1e-5).sqrt()
    expected = (h * norm.weight + norm.bias) @ linear.weight.T + linear.bias
    torch.testing.assert_close(network(x), expected)


@pytest.mark.parametrize("head", HEADS)
def test_inputs_that_are_left_out_go_through_every_head(head):
    network, x = make(head, missing=True), torch.randn(7, 6, dtype=torch.float64)
    network.set_prior(torch.tensor([0.5, 0.3, 0.2]))
    observed = torch.rand(7, 6, generator=torch.Generator().manual_seed(1)) > 0.5
    observed[0], observed[1] = True, False
    found = network.marginal_class_scores(x, observed)
    torch.testing.assert_close(found[0], network.class_scores(x)[0])
    torch.testing.assert_close(found[1].exp(), torch.tensor([0.5, 0.3, 0.2]).double())
    torch.testing.assert_close(found, network.class_scores(x.where(observed, math.nan)))


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("n_values", [5, 2100])
def test_scores_of_one_feature_are_those_of_whole_rows(head, n_values):
    network = make(head, (12, 70, 60, 3))
    x, values = torch.randn(1, 12, dtype=torch.float64), torch.randn(n_values).double()
    features = torch.tensor([3, 8])
    assert network.coordinates_pay(len(features) * n_values)
    found = network.coordinate_scores(x, values, features)
    expected = Classifier.coordinate_scores(network, x, values, features)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("head", HEADS)
def test_pairs_of_features_and_codes_go_through_every_head(head):
    network, x = make(head, (9, 8, 5, 1)), torch.randn(4, 6, dtype=torch.float64)
    joint = JointScore(network, 3)
    expected = Classifier.score_pairs(network, x, joint.codes)
    torch.testing.assert_close(joint.class_scores(x), expected.squeeze(-1))


@pytest.mark.parametrize("head", HEADS)
def test_all_of_it_begins_again(head):
    torch.manual_seed(3)
    network = UGMMNetwork([6, 8, 5, 3], norm="batch", head=head)
    first = {name: value.clone() for name, value in network.state_dict().items()}
    network(torch.randn(9, 6))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(1.0)
    torch.manual_seed(3)
    network.reset_parameters()
    for name, value in network.state_dict().items():
        assert torch.equal(value, first[name]), name


def test_data_starts_the_neurons_before_a_linear_head():
    network, x = UGMMNetwork([4, 5, 7, 3], norm="none", head="linear"), 10 + torch.randn(100, 4)
    network.init_from(x)
    spread = network.layers[0](x).std(0, correction=0)
    torch.testing.assert_close(network.layers[1].scale[0], spread, rtol=1e-4, atol=0)


def test_a_linear_head_needs_neurons_and_a_head_a_name():
    with pytest.raises(ValueError, match=r"head='linear' needs a width between input and output"):
        UGMMNetwork([4, 3], head="linear")
    with pytest.raises(ValueError, match="head must be"):
        UGMMNetwork([4, 5, 3], head="affine")
    assert [layer.dropout for layer in make("linear", dropout=[0.1, 0.2]).layers] == [0.1, 0.2]
    assert isinstance(make("mixture", (4, 3)).head, nn.Identity)


@pytest.mark.parametrize("head", HEADS)
def test_one_graph_is_compiled_and_a_program_exported_for_any_batch(head):
    network, x = make(head, dtype=torch.float32), torch.randn(5, 6)
    compiled = torch.compile(network, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x), network(x))
    shapes = {"x": {0: torch.export.Dim("batch")}}
    program = torch.export.export(network, (x,), dynamic_shapes=shapes)
    other = torch.randn(9, 6)
    torch.testing.assert_close(program.module()(other), network(other))
