"""A step of training is the same in several processes: every network, with all that it draws."""

import functools

import pytest
import torch
from contract_case import C, D
from contract_cases import CASES

from several import on_ranks
from ugmm.nn import UGMM, AutoregressiveUGMM, Density, JointScore, UGMMConvNetwork, UGMMNetwork
from ugmm.objectives import RankingNCE, cross_entropy
from ugmm.ranks import rank_of

ROWS, WORLD = 24, 4


def conv():
    stages = {"channels": [5, 4], "kernel_sizes": [3, 2], "strides": [1, 2], "residual": 1}
    rates = {"dropout": [0.0, 0.1], "input_dropout": 0.3, "feature_dropout": 0.2}
    return UGMMConvNetwork(D, C, **stages, **rates, norm="centred")


def with_gaps():
    density = CASES["tilted-onehot"].ready()
    density.expect_missing()
    return density


# With more that is drawn for each row than the networks of the contract have.
MORE = {
    "ugmm-input_dropout": lambda: UGMMNetwork([D, 6, C], norm="batch", input_dropout=0.3),
    "ugmm-missing": lambda: UGMMNetwork([D, 6, C], input_dropout=0.3, missing=True),
    "joint-input_dropout": lambda: JointScore(
        UGMMNetwork([D + C, 6, 1], norm="layer", input_dropout=0.3), C, "onehot"
    ),
    "conv-dropouts": conv,
    "autoregressive-positions": lambda: AutoregressiveUGMM(
        D, C, (7,), order="random", positions=2, dropout=0.2
    ),
    "tilted-noise": CASES["tilted-onehot"].ready,
    "tilted-gaps": with_gaps,
}
OF_CONTRACT = {n: c for n, c in CASES.items() if not (c.fitted or n.startswith("circuit"))}


@functools.cache
def networks():
    """All networks, in the midst of training and in float64; made where there is one process."""
    torch.manual_seed(0)
    more = {name: build().double().train() for name, build in MORE.items()}
    return {name: case.ready() for name, case in OF_CONTRACT.items()} | more


def loss(name, network, x, y):
    if name in ("tilted-noise", "tilted-gaps"):
        return RankingNCE(n_noise=16, label_weight=0.5).loss(network, x, y)
    if isinstance(network, UGMM):
        return cross_entropy(network(x), y)
    if isinstance(network, Density | JointScore):
        return -network(x, y).mean() + 0.5 * cross_entropy(network.class_scores(x), y)
    return cross_entropy(network.class_scores(x), y)


def rows_of(name):
    """A batch for a network, and its labels."""
    x = torch.randn(ROWS, D, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    case = CASES.get(name)
    if case and (case.binary or case.grey):
        x = (x > 0).double()
    if name == "ugmm-missing":
        x[::3, 1] = torch.nan
    if name == "tilted-gaps":
        x[5, 1] = torch.nan  # of one rank only
    return x, torch.arange(ROWS) % (case.n_classes if case else C)


def step(names):
    """Return what a step makes of each network: its loss, gradients and buffers."""
    rank, world = rank_of()
    found = {}
    for name in names:
        network, (x, y) = networks()[name], rows_of(name)
        torch.manual_seed(2)
        lost = loss(name, network, x[rank::world], y[rank::world])
        lost.backward()
        drawn = torch.rand(3, dtype=torch.float64)  # as far has the random state gone
        found[name] = {"loss": lost.detach(), "drawn": drawn}
        found[name] |= {n: p.grad for n, p in network.named_parameters() if p.grad is not None}
        found[name] |= {n: b.double() for n, b in network.named_buffers() if b is not None}
    return found


@functools.cache
def after_a_step(world):
    """Return what each rank has, of networks that one process has made."""
    names = list(networks())
    return on_ranks(world, step, names)


@pytest.mark.parametrize("name", [*OF_CONTRACT, *MORE])
def test_gradients_and_moments_are_those_of_one_process(name):
    (expected,), ranks = after_a_step(1), after_a_step(WORLD)
    for key, value in expected[name].items():
        found = torch.stack([rank[name][key] for rank in ranks]).mean(0)
        torch.testing.assert_close(found, value, rtol=1e-9, atol=1e-11, equal_nan=True)
