"""Data that a flexible density could collapse on: training ends with finite numbers."""

import numpy as np
import pytest
import torch

from ugmm.density import TiltedGaussian
from ugmm.nn import UGMM, AutoregressiveUGMM, JointScore, UGMMNetwork
from ugmm.objectives import Likelihood, RankingNCE
from ugmm.tasks import GenerativeTask

FLOOR = 0.1


def standardised(x):
    x = x - x.mean(0)
    spread = x.std(0)
    return torch.from_numpy((x / np.where(spread > 0, spread, 1)).astype(np.float32))


def cases():
    generator = np.random.default_rng(0)
    plain = generator.normal(size=(60, 4))
    constant = plain.copy()
    constant[:, 2] = 3.0
    outlier = plain.copy()
    outlier[7, 1] = 1e6
    return {
        "a constant feature": constant,
        "all features constant": np.ones((60, 4)),
        "duplicated rows": np.repeat(plain[:6], 10, 0),
        "two features that are one": np.c_[plain, plain[:, :1]],
        "ten points": plain[:10],
        "an outlier": outlier,
        "200 features": generator.normal(size=(60, 200)),
    }


def tilted(n_features):
    network = UGMMNetwork([n_features + 2, 8, 4, 1], min_scale=FLOOR, init="data")
    return TiltedGaussian(JointScore(network, 2), n_features, 2), RankingNCE(64)


def autoregressive(n_features):
    return AutoregressiveUGMM(n_features, 2, (8,), min_scale=FLOOR), Likelihood()


@pytest.mark.parametrize("name", cases())
@pytest.mark.parametrize("kind", [tilted, autoregressive])
def test_training_ends_with_finite_numbers(name, kind):
    x = standardised(cases()[name])
    y = torch.arange(len(x)) % 2
    torch.manual_seed(0)
    network, objective = kind(x.shape[1])
    task = GenerativeTask(network, 2, objective)
    network.init_from(x, y)
    task.prepare(x, y)
    optimizer = torch.optim.Adam(network.parameters(), 0.05)
    for _ in range(60):
        optimizer.zero_grad()
        loss = task.loss(x, y)
        loss.backward()
        optimizer.step()
        assert loss.isfinite()
    for density in task.tilted:
        density.normalize(2**12)
    with torch.no_grad():
        assert network.eval().class_scores(x).isfinite().all()
    for layer in network.modules():
        if isinstance(layer, UGMM):
            assert layer.scale.min() >= FLOOR
    assert all(parameter.isfinite().all() for parameter in network.parameters())
