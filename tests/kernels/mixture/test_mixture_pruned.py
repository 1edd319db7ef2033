"""The CPU kernel's own way for pruned neurons, against NumPy in float64."""

import numpy as np
import pytest
import torch
from mixture_oracle import NAMES, by_mpmath, by_numpy, by_torch, ordinary_layer, rounded

from ugmm.functional import mixture_log_score
from ugmm.kernels.mixture import cpu
from ugmm.kernels.prepared import Prepared


@pytest.fixture
def taken(monkeypatch):
    """Take this way whether it pays or not; returns how often it was taken."""
    calls = []
    passes = cpu.pruned.passes
    monkeypatch.setattr(cpu, "_few_left", lambda *_: True)
    monkeypatch.setattr(cpu.pruned, "passes", lambda: calls.append(1) or passes())
    return calls


def pruned_layer(batch, n_out, n_in, share=0.2, seed=0):
    layer = ordinary_layer(batch, n_out, n_in, seed)
    kept = np.random.default_rng(seed).random(layer.loc.shape) < share
    kept[np.arange(n_out), np.arange(n_out) % n_in] = True
    layer = layer._replace(logits=np.where(kept, layer.logits, -np.inf))
    return rounded(layer, torch.float32)


def score(x, loc, log_scale, logits, min_scale=0.0):
    prepared = Prepared(loc, log_scale, logits, min_scale=min_scale)
    return mixture_log_score(
        x, loc, log_scale, logits, min_scale=min_scale, kernel="cpu", prepared=prepared
    )


def compute(layer, min_scale=0.0):
    return by_torch(lambda *inputs: score(*inputs, min_scale), layer, torch.float32)


def assert_near(results, expected, tolerance=1e-5):
    for name in NAMES:
        error = np.linalg.norm(results[name] - expected[name])
        # One component has all of a neuron's weight, and no gradient by its logit.
        assert error <= tolerance * max(np.linalg.norm(expected[name]), 1.0), name


@pytest.mark.parametrize("batch", [1, 15, 16, 63, 65, 300])
@pytest.mark.parametrize(("n_out", "n_in"), [(1, 2), (3, 16), (17, 33), (130, 64)])
def test_every_remainder_of_rows_and_lanes(taken, batch, n_out, n_in):
    layer = pruned_layer(batch, n_out, n_in)
    assert_near(compute(layer, 0.1), by_numpy(layer, min_scale=0.1))
    assert taken


@pytest.mark.parametrize("threads", [1, 3])
def test_threads_share_the_work(taken, threads):
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        layer = pruned_layer(500, 40, 100)
        assert_near(compute(layer), by_numpy(layer))
    finally:
        torch.set_num_threads(before)
    assert taken


def test_far_rows_and_neurons(taken):
    layer = pruned_layer(100, 20, 30)
    layer.x[::7] += np.sign(layer.x[::7]) * 50.0
    layer.loc[::3] = 60.0
    assert_near(compute(layer), by_numpy(layer))
    assert taken


def test_digits_are_kept_far_from_every_component(taken):
    layer = pruned_layer(6, 4, 9)
    layer = layer._replace(x=layer.x * 1e6, log_scale=layer.log_scale + np.log(1e-4))
    layer = rounded(layer, torch.float32)
    assert_near(compute(layer), by_mpmath(layer)[0])
    assert taken


def test_huge_and_infinite_inputs_only_silence_their_components(taken):
    layer = pruned_layer(100, 20, 30, share=0.5)
    layer.x[1, 3], layer.x[4, 0], layer.x[5, 5], layer.x[99, 29] = np.inf, -np.inf, 1e30, np.inf
    clipped = layer._replace(x=np.clip(layer.x, -1e4, 1e4))
    assert_near(compute(layer), by_numpy(rounded(clipped, torch.float32)))
    assert taken


@pytest.mark.parametrize("name", NAMES[1:])
def test_nan_is_never_hidden_and_hurts_no_other(taken, name):
    layer = pruned_layer(100, 20, 30)
    getattr(layer, name)[2, 2] = np.nan  # of a component that is left
    hurt = np.isnan(compute(layer)["score"])
    own = np.zeros_like(hurt)
    own[2 if name == "x" else slice(None), slice(None) if name == "x" else 2] = True
    np.testing.assert_array_equal(hurt, own)
    assert taken


@pytest.mark.parametrize(
    ("share", "rows", "zeros", "pays"),
    [
        (0.1, 256, 0.0, True),
        (0.1, 256, 0.8, True),
        (0.4, 256, 0.0, True),
        (0.45, 256, 0.8, False),
        (0.6, 256, 0.0, False),
        (0.1, 1, 0.0, False),
        (0.1, 0, 0.0, False),
    ],
)
def test_it_is_taken_where_it_pays(monkeypatch, share, rows, zeros, pays):
    calls, passes = [], cpu.pruned.passes
    monkeypatch.setattr(cpu.pruned, "passes", lambda: calls.append(1) or passes())
    layer = pruned_layer(rows, 64, 100, share)
    layer.x[np.random.default_rng(0).random(layer.x.shape) < zeros] = 0
    inputs = [torch.tensor(each, dtype=torch.float32) for each in layer[:4]]
    found = score(*inputs)
    np.testing.assert_allclose(found, by_numpy(layer)["score"], rtol=1e-5, atol=1e-5)
    assert bool(calls) == pays
    calls.clear()
    mixture_log_score(*inputs, kernel="cpu")  # the lists are not made for one call
    assert not calls
