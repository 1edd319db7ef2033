"""Optimisers leave scales and logits undecayed; schedules follow their closed forms."""

import math
import pickle

import pytest
import torch
from torch import nn

from ugmm.baselines import MLP, GRUNetwork
from ugmm.nn import UGMMNetwork
from ugmm.tasks.optimization import make_optimizer, make_schedule, parameter_groups


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd"])
def test_weight_decay_shrinks_means_and_nothing_else(name):
    torch.manual_seed(0)
    network = UGMMNetwork([4, 3, 2], norm="layer", init="paper")
    before = {k: p.detach().clone() for k, p in network.named_parameters()}
    optimizer = make_optimizer(network, name, lr=0.1, weight_decay=0.5)
    for parameter in network.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    for key, parameter in network.named_parameters():
        moved = not torch.equal(parameter, before[key])
        assert moved == key.endswith("loc"), key


def test_an_mlp_decays_its_matrices():
    groups = parameter_groups(MLP([4, 3, 2], norm="layer"), 0.1)
    assert [p.shape for p in groups[0]["params"]] == [(3, 4), (2, 3)]
    assert groups[0]["weight_decay"] == 0.1
    assert groups[1]["weight_decay"] == 0


def test_a_gru_decays_its_matrices():
    groups = parameter_groups(GRUNetwork(4, 3, 5, bidirectional=True), 0.1)
    assert [p.shape for p in groups[0]["params"]] == [(15, 2), (15, 5)] * 2 + [(3, 10)]


def rates(steps, steps_per_epoch=5, lr=0.2, **schedule):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=lr)
    scheduler = make_schedule(optimizer, steps, steps_per_epoch, **schedule)
    seen = []
    for _ in range(steps):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return seen


def test_constant_needs_no_schedule():
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.2)
    assert make_schedule(optimizer, 10, 5) is None


def test_step_falls_after_its_milestones():
    seen = rates(20, name="step", milestones=(1, 3), gamma=0.1)
    assert seen == pytest.approx([0.2] * 5 + [0.02] * 10 + [0.002] * 5)


def test_cosine_rises_then_falls():
    seen = rates(40, name="cosine", warmup=0.25)
    rise = [0.2 * (i + 1) / 11 for i in range(10)]
    fall = [0.1 * (1 + math.cos(math.pi * i / 30)) for i in range(30)]
    assert seen == pytest.approx(rise + fall)
    assert rates(30, name="cosine", warmup=0) == pytest.approx(fall)


@pytest.mark.parametrize("steps", [1, 2, 5, 10])
@pytest.mark.parametrize("warmup", [0.1, 0.2, 0.5])
def test_one_cycle_of_few_steps(steps, warmup):
    assert all(0 < rate <= 1.0 for rate in rates(steps, name="one_cycle", warmup=warmup))


def test_one_cycle_peaks_where_its_warm_up_ends():
    seen = rates(100, name="one_cycle", warmup=0.3)
    assert seen[29] == max(seen) == pytest.approx(0.2)
    assert seen[0] == pytest.approx(0.2 / 25)
    assert seen[-1] < 1e-4


def test_unknown_names():
    network = MLP([2, 1])
    with pytest.raises(ValueError, match="must be"):
        make_optimizer(network, "lion")
    optimizer = make_optimizer(network)
    with pytest.raises(ValueError, match="must be"):
        make_schedule(optimizer, 10, 5, "linear")


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd"])
def test_an_optimizer_can_be_pickled(name):
    layer = nn.Linear(2, 1)
    optimizer = make_optimizer(layer, name=name, lr=0.5)
    layer(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    found = pickle.loads(pickle.dumps(optimizer))
    assert type(found) is type(optimizer)
    assert repr(found.state_dict()) == repr(optimizer.state_dict())
