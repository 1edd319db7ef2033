"""Networks that read an image line by line."""

import pytest
import torch
from torch import nn

from ugmm.baselines import GRUNetwork
from ugmm.config.compose import compose
from ugmm.errors import UserError
from ugmm.nn import UGMMRecurrentNetwork

BOTH = pytest.mark.parametrize("kind", [UGMMRecurrentNetwork, GRUNetwork])


@BOTH
def test_lines_are_steps_with_all_channels(kind):
    network = kind(24, 3, 5, image_shape=(2, 3, 4))
    x = torch.arange(2.0 * 24).reshape(2, 24)
    lines = network.lines(x)
    images = x.reshape(2, 2, 3, 4)
    assert lines.shape == (3, 2, 8)
    for step in range(3):
        assert torch.equal(lines[step], torch.cat([images[:, 0, step], images[:, 1, step]], -1))


@BOTH
@pytest.mark.parametrize("bidirectional", [False, True])
def test_the_last_states_of_the_last_layer_are_scored(kind, bidirectional):
    torch.manual_seed(0)
    network = kind(12, 3, 5, num_layers=2, bidirectional=bidirectional, image_shape=(3, 4))
    x = torch.randn(6, 12)
    outputs, _ = network.rnn(x.reshape(6, 3, 4).transpose(0, 1))
    # What reads from below has read all at the first line.
    states = torch.cat([outputs[-1, :, :5], outputs[0, :, 5:]], -1)
    torch.testing.assert_close(network(x), network.head(states))


@BOTH
def test_or_their_mean_over_all_lines(kind):
    torch.manual_seed(0)
    network = kind(12, 3, 5, pool="mean", image_shape=(3, 4))
    x = torch.randn(6, 12)
    outputs, _ = network.rnn(x.reshape(6, 3, 4).transpose(0, 1))
    torch.testing.assert_close(network(x), network.head(outputs.mean(0)))


@BOTH
def test_another_pool_is_refused(kind):
    with pytest.raises(ValueError, match="pool must be 'last' or 'mean', got 'max'"):
        kind(4, 3, pool="max")


def test_update_gates_of_a_gru_start_where_they_are_told():
    """With gates that hold on, a state hardly moves; a GRU's own formula says how much."""
    torch.manual_seed(0)
    network = GRUNetwork(4, 3, 5, num_layers=2, bidirectional=True, gate_bias=3.0)
    for name, value in network.rnn.named_parameters():
        if name.startswith("bias"):
            assert torch.equal(value[5:10], torch.full((5,), 3.0 * ("ih" in name)))
    with torch.no_grad():
        for name, value in network.rnn.named_parameters():
            if name.startswith("weight"):
                value[5:10] = 0
    hx = torch.randn(4, 2, 5)
    _, final = network.rnn(torch.zeros(1, 2, 2), hx)
    gate = torch.tensor(3.0).sigmoid()
    assert ((final - gate * hx).abs() <= 1 - gate).all()


def test_gates_start_as_torch_draws_them_unless_told():
    torch.manual_seed(0)
    network = GRUNetwork(4, 3, 5)
    torch.manual_seed(0)
    gru = nn.GRU(2, 5)
    for mine, its in zip(network.rnn.parameters(), gru.parameters(), strict=True):
        assert torch.equal(mine, its)


@pytest.mark.parametrize("pool", ["last", "mean"])
def test_a_reader_is_one_graph_and_one_program(pool):
    torch.manual_seed(0)
    network = UGMMRecurrentNetwork(12, 3, 5, bidirectional=True, pool=pool, image_shape=(3, 4))
    x = torch.randn(6, 12)
    compiled = torch.compile(network, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x), network(x))
    batch = torch.export.Dim("batch")
    program = torch.export.export(network, (x,), dynamic_shapes={"x": {0: batch}})
    other = torch.randn(9, 12)
    torch.testing.assert_close(program.module()(other), network(other))


@BOTH
def test_scores_are_bounded_whatever_is_read(kind):
    """For states are: so a density may be tilted by such a score, with an affine head, too."""
    torch.manual_seed(0)
    network = kind(12, 3, 5, num_layers=2, image_shape=(3, 4))
    weight, bias = network.head.parameters()
    bound = weight.abs().sum(1) + bias.abs()
    for size in (1.0, 1e3, 1e6):
        assert (network(size * torch.randn(50, 12)).abs() <= bound).all()


@BOTH
def test_a_labels_code_is_no_pixel(kind):
    name = "rnn" if kind is UGMMRecurrentNetwork else "gru"
    with pytest.raises(UserError, match=r"a label's code is no pixel; set task\.label=none"):
        compose("iris_gen", [f"model={name}", "data=wine", "model.image_shape=[4,4]"])
    images = [f"model={name}", "task.label=none", "model.image_shape=[2,2]"]
    assert compose("iris_gen", images).network(4, 1)


def test_a_reader_of_one_state_is_refused_before_it_is_made():
    with pytest.raises(UserError, match=r"model\.hidden_size=1 must be"):
        compose("mnist_rows_rnn", ["model.hidden_size=1"])
