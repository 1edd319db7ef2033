"""What recurrent neurons do while they read an image."""

import pytest
import torch

from ugmm.nn import UGMMRecurrentNetwork
from ugmm.report import draw_run
from ugmm.report.run.recurrence import draw_reading, name_inputs, trace_reading
from ugmm.runs import Run
from ugmm.spec import Spec


@pytest.fixture
def network():
    torch.manual_seed(0)
    return UGMMRecurrentNetwork(24, 3, 5, num_layers=2, image_shape=(2, 4, 3)).eval()


def test_a_trace_is_what_the_cell_does_step_by_step(network):
    x = torch.rand(6, 24)
    lines, states, gates = trace_reading(network, x)
    assert lines.shape == (6, 4, 6)
    assert torch.equal(lines[:, 1], x.reshape(6, 2, 4, 3)[:, :, 1].flatten(1))
    h = torch.zeros(6, 5)
    for step in range(4):
        n, z = network.rnn.cells[0].candidate_and_gate(lines[:, step], h)
        h = n + z * (h - n)
        torch.testing.assert_close(states[:, step], h)
        torch.testing.assert_close(gates[:, step], z)


def test_each_image_has_its_states_and_gates(network):
    lines, states, gates = (t.numpy() for t in trace_reading(network, torch.rand(2, 24)))
    figure = draw_reading(lines, states, gates, ["a", "b"], neurons=3)
    panels = [axes for axes in figure.axes if axes.images]
    shown = [axes.images[0].get_array() for axes in panels[:6]]
    for row in range(2):
        for value, of in zip(
            shown[3 * row :][:3], (lines, states[..., :3], gates[..., :3]), strict=True
        ):
            assert (value == of[row]).all()
    assert "the first 3 of 5 recurrent neurons" in figure.get_suptitle()
    assert panels[3].get_ylabel() == "class b\nline"


@pytest.mark.filterwarnings("error:constrained_layout")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_run_has_it(tmp_path, network, dtype):
    network = network.to(dtype)
    x, y = torch.rand(50, 24), torch.arange(50) % 3
    words = {"title": "", "spec": Spec(24, ("a", "b", "c"))}
    paths = draw_run(Run.create(tmp_path, "group", "name"), network, {}, x=x, y=y, **words)
    assert [path.stem for path in paths] == ["reading", "neurons"]


def test_a_cell_as_wide_as_an_image_does_not_see_one(tmp_path):
    network = UGMMRecurrentNetwork(4, 3, 5).eval()
    x, y = torch.rand(50, 4), torch.arange(50) % 3
    words = {"title": "", "spec": Spec(4, ("a", "b", "c"), image_shape=(2, 2))}
    paths = draw_run(Run.create(tmp_path, "group", "name"), network, {}, x=x, y=y, **words)
    assert [path.stem for path in paths] == ["reading", "neurons"]


def test_neurons_see_pixels_of_a_line_and_states(network):
    names = name_inputs(network)
    assert len(names) == network.rnn.cells[0].mixture.in_features
    assert (names[0], names[6], names[-1]) == ("pixel 0", "state 0", "state 4")
