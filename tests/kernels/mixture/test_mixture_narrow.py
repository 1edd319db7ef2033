"""The CPU kernel's own way for few inputs, against NumPy in float64."""

import functools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mixture_oracle import NAMES, by_mpmath, by_numpy, by_torch, ordinary_layer, rounded

from ugmm.functional import mixture_log_score
from ugmm.kernels.mixture import cpu

SIZES = st.tuples(st.integers(16, 600), st.integers(1, 50), st.integers(2, 64))
by_cpu = functools.partial(mixture_log_score, kernel="cpu")


@pytest.fixture(autouse=True)
def always(monkeypatch):
    """Take this way whether it pays or not, but for inputs that are mostly zero."""
    monkeypatch.setattr(cpu, "few_inputs", lambda *_: True)


def narrow_layer(batch, n_out, n_in, seed=0):
    return rounded(ordinary_layer(batch, n_out, n_in, seed), torch.float32)


def compute(layer, known=None, min_scale=0.0):
    known = None if known is None else torch.tensor(known)
    function = functools.partial(by_cpu, known=known, min_scale=min_scale)
    return by_torch(function, layer, torch.float32)


def assert_near(results, expected, tolerance=1e-5, names=NAMES):
    for name in names:
        error = np.linalg.norm(results[name] - expected[name])
        assert error <= tolerance * np.linalg.norm(expected[name]), name


def test_it_is_taken_where_it_pays(monkeypatch):
    monkeypatch.undo()
    for sizes in ((8192, 32, 9), (96, 10, 5), (16, 3, 4), (256, 64, 64), (500, 10, 32)):
        assert cpu.few_inputs(*sizes), sizes
    for sizes in ((15, 32, 9), (96, 1, 5), (100, 4, 16), (100, 10, 64), (256, 128, 784)):
        assert not cpu.few_inputs(*sizes), sizes


@settings(derandomize=True, deadline=None, max_examples=40)
@given(sizes=SIZES, seed=st.integers(0, 1000))
def test_ordinary_inputs(sizes, seed):
    layer = narrow_layer(*sizes, seed)
    assert_near(compute(layer), by_numpy(layer))


@pytest.mark.parametrize("batch", [1, 2, 3, 5, 255, 257])
@pytest.mark.parametrize(("n_out", "n_in"), [(1, 2), (16, 9), (17, 5), (130, 64)])
def test_every_remainder_of_rows_and_lanes(batch, n_out, n_in):
    layer = narrow_layer(batch, n_out, n_in)
    assert_near(compute(layer), by_numpy(layer))


def test_one_input_has_the_whole_weight():
    layer = narrow_layer(517, 20, 1)
    results, expected = compute(layer), by_numpy(layer)
    assert_near(results, expected, names=NAMES[:-1])
    assert np.abs(results["logits"]).max() < 1e-5 * np.abs(layer.grad).sum(0).max()


@pytest.mark.parametrize("name", ["x", "loc", "log_scale", "logits"])
def test_only_needed_gradients(name):
    layer = narrow_layer(70, 20, 9)
    inputs = {n: torch.tensor(a, dtype=torch.float32) for n, a in layer._asdict().items()}
    grad = inputs.pop("grad")
    inputs[name].requires_grad_()
    found = torch.autograd.grad(by_cpu(**inputs), inputs[name], grad)[0].numpy()
    np.testing.assert_array_equal(found, compute(layer)[name].astype(np.float32))


@pytest.mark.parametrize("share", [0.02, 1.0])
def test_far_rows(share):
    layer = narrow_layer(300, 20, 9)
    far = np.random.default_rng(0).random(300) < share
    layer.x[far] += np.sign(layer.x[far]) * 50.0
    layer = rounded(layer, torch.float32)
    assert_near(compute(layer), by_numpy(layer))


def test_far_neurons_beside_near_ones():
    layer = narrow_layer(300, 40, 9)
    layer.loc[::3] = 60.0
    assert_near(compute(layer), by_numpy(layer))


@pytest.mark.parametrize("size", [1e3, 1e6])
def test_digits_are_kept_far_from_every_component(size):
    layer = ordinary_layer(6, 4, 9)
    layer = layer._replace(x=layer.x * size, log_scale=layer.log_scale + np.log(1e-4))
    layer = rounded(layer, torch.float32)
    assert_near(compute(layer), by_mpmath(layer)[0])


def test_some_zero_inputs():
    layer = narrow_layer(300, 40, 9)
    layer.x[::2, 3] = 0.0
    layer.x[7] = -0.0
    assert_near(compute(layer), by_numpy(layer))


def test_dropped_components():
    layer = narrow_layer(300, 20, 9)
    kept = np.random.default_rng(1).random(layer.loc.shape) < 0.5
    kept[:, 0] = True
    layer = layer._replace(logits=np.where(kept, layer.logits, -np.inf))
    results, expected = compute(layer), by_numpy(layer)
    assert_near(results, expected)
    for name in NAMES[2:]:
        assert (results[name][~kept] == 0).all(), name


def test_huge_and_infinite_inputs_only_silence_their_components():
    layer = narrow_layer(300, 20, 9)
    layer.x[1, 3], layer.x[4, 0], layer.x[5, 5], layer.x[299, 8] = np.inf, -np.inf, 1e30, np.inf
    clipped = layer._replace(x=np.clip(layer.x, -1e4, 1e4))
    assert_near(compute(layer), by_numpy(rounded(clipped, torch.float32)))


@pytest.mark.parametrize("name", NAMES[1:])
def test_nan_is_never_hidden_and_hurts_no_other(name):
    layer = narrow_layer(300, 20, 9)
    getattr(layer, name)[2, 7] = np.nan
    results = compute(layer)
    hurt = np.isnan(results["score"])
    own = np.zeros_like(hurt)
    own[2 if name == "x" else slice(None), slice(None) if name == "x" else 2] = True
    np.testing.assert_array_equal(hurt, own)
    for gradient in NAMES[2:]:
        rows = np.isnan(results[gradient]).any(1)
        assert rows[2], gradient
        assert name == "x" or not np.delete(rows, 2).any(), gradient


def test_nan_gradient_reaches_its_neuron_and_its_row_only():
    layer = narrow_layer(300, 20, 9)
    layer.grad[3, 2] = np.nan
    results = compute(layer)
    for name, line in (("x", 3), ("loc", 2), ("log_scale", 2), ("logits", 2)):
        assert np.isnan(results[name][line]).all(), name
        assert np.isfinite(np.delete(results[name], line, 0)).all(), name


def test_scores_do_not_depend_on_the_other_rows():
    layer = narrow_layer(300, 20, 9)
    parameters = [torch.tensor(a, dtype=torch.float32) for a in layer[1:4]]
    x = torch.tensor(layer.x, dtype=torch.float32)
    expected = by_cpu(x, *parameters)
    x[[1, 17, 130]] = torch.tensor([1e4, torch.nan, torch.inf]).unsqueeze(1)
    changed = by_cpu(x, *parameters)
    same = [b for b in range(300) if b not in (1, 17, 130)]
    torch.testing.assert_close(changed[same], expected[same], rtol=0, atol=0)
    torch.testing.assert_close(by_cpu(x[200:], *parameters), changed[200:], rtol=0, atol=0)


@settings(derandomize=True, deadline=None, max_examples=25)
@given(
    sizes=SIZES,
    share=st.sampled_from([0.05, 0.5, 0.9]),
    min_scale=st.sampled_from([0.0, 0.2]),
    seed=st.integers(0, 1000),
)
def test_unknown_inputs(sizes, share, min_scale, seed):
    layer = narrow_layer(*sizes, seed)
    known = np.random.default_rng(seed).random(layer.x.shape) < share
    results, expected = compute(layer, known, min_scale), by_numpy(layer, known, min_scale)
    assert_near(results, expected, names=NAMES[:-1])
    error = np.linalg.norm(results["logits"] - expected["logits"])
    assert error < 1e-5 * np.linalg.norm(layer.grad)


def test_unknown_inputs_of_far_rows_and_rows_of_which_nothing_is_known():
    layer = narrow_layer(300, 20, 9)
    layer.x[::3] += np.sign(layer.x[::3]) * 50.0
    layer.logits[:, :4] -= 60.0  # what is kept of a row that knows only these is next to nothing
    layer = rounded(layer, torch.float32)
    known = np.random.default_rng(3).random(layer.x.shape) < 0.7
    known[7], known[11] = False, np.arange(9) < 4
    assert_near(compute(layer, known), by_numpy(layer, known))
    held = layer._replace(x=np.where(known, layer.x, np.nan))
    for name, result in compute(held, known).items():
        np.testing.assert_array_equal(result, compute(layer, known)[name])


def test_results_repeat_and_hardly_depend_on_threads():
    layer, before = narrow_layer(500, 20, 9), torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        alone = compute(layer)
        torch.set_num_threads(3)
        many, again = compute(layer), compute(layer)
    finally:
        torch.set_num_threads(before)
    for name in NAMES:
        np.testing.assert_array_equal(many[name], again[name])
        np.testing.assert_allclose(many[name], alone[name], rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(many["score"], alone["score"])


def test_many_rows_lose_no_digits():
    """What is added up over rows of one sign, as by a mean, drifts in a single float32 sum."""
    layer = rounded(ordinary_layer(100, 16, 9), torch.float32)
    layer = layer._replace(grad=np.ones_like(layer.grad))
    many = layer._replace(x=np.tile(layer.x, (3000, 1)), grad=np.tile(layer.grad, (3000, 1)))
    results, expected = by_torch(by_cpu, many, torch.float32), by_numpy(layer)
    for name in ("loc", "log_scale", "logits"):
        error = np.linalg.norm(results[name] - 3000 * expected[name])
        assert error < 1e-5 * np.linalg.norm(3000 * expected[name]), name
