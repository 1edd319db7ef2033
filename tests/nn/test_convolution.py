"""Convolutions: torch.nn's geometry, a loop over places, and what is kept for backward."""

import copy
import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.special import logsumexp
from scipy.stats import norm
from torch import nn

from ugmm.nn import LogMeanExpPool2d, UGMMConv1d, UGMMConv2d

MODES = ["drop", "zeros", "reflect"]
COMPLEX = {"kernel_size": (3, 2), "stride": (2, 1), "padding": (1, 2), "dilation": (1, 2)}


def make(kind=UGMMConv2d, *sizes, dtype=torch.float64, **options):
    """A layer whose weights and scales all differ."""
    torch.manual_seed(0)
    return kind(*sizes, init="paper", min_scale=0.1, dtype=dtype, **options)


def loop_over_places(layer, images):
    """The definition by NumPy and SciPy, one place and one neuron at a time."""
    loc, scale = (t.detach().double().numpy() for t in (layer.loc, layer.scale))
    logits = layer.logits.detach().double().numpy()
    images, (h, w) = images.detach().double().numpy(), images.shape[2:]
    (kh, kw), (sh, sw), (dh, dw) = layer.kernel_size, layer.stride, layer.dilation
    (ph, pw), groups = layer.padding, layer.groups
    rows, columns = (
        (n + 2 * p - d * (k - 1) - 1) // s + 1
        for n, p, d, k, s in zip((h, w), (ph, pw), (dh, dw), (kh, kw), (sh, sw), strict=True)
    )
    channels, neurons = layer.in_channels // groups, layer.out_channels // groups
    found = np.zeros((len(images), layer.out_channels, rows, columns))
    for b, j, r, c in np.ndindex(found.shape):
        terms, weights = [], []
        for k, (ch, u, v) in enumerate(itertools.product(range(channels), range(kh), range(kw))):
            y, x = r * sh - ph + u * dh, c * sw - pw + v * dw
            inside = 0 <= y < h and 0 <= x < w
            if layer.padding_mode == "drop" and not inside:
                continue
            if layer.padding_mode == "reflect":
                y, x = (n - 1 - abs(n - 1 - abs(at)) for at, n in ((y, h), (x, w)))
                inside = True
            value = images[b, j // neurons * channels + ch, y, x] if inside else 0.0
            terms.append(logits[j, k] + norm.logpdf(value, loc[j, k], scale[j, k]))
            weights.append(logits[j, k])
        found[b, j, r, c] = logsumexp(terms) - logsumexp(weights)
    return found


@st.composite
def geometries(draw):
    """The arguments of a convolution and the size of an image."""
    pair = st.tuples(st.integers(1, 3), st.integers(1, 3))
    kernel, dilation = draw(pair), draw(pair)
    options = {"kernel_size": kernel, "dilation": dilation}
    kind = draw(st.sampled_from(["numbers", "one number", "same", "valid"]))
    options["stride"] = 1 if kind == "same" else draw(st.one_of(st.integers(1, 3), pair))
    options["padding"] = kind
    if kind == "numbers":
        options["padding"] = draw(st.tuples(st.integers(0, 3), st.integers(0, 3)))
    elif kind == "one number":
        options["padding"] = draw(st.integers(0, 2))
    return options, draw(st.tuples(st.integers(4, 9), st.integers(4, 9)))


@settings(max_examples=60, deadline=None, derandomize=True)
@given(geometries(), st.sampled_from(MODES), st.sampled_from([1, 2]))
def test_the_geometry_is_that_of_torch(geometry, mode, groups):
    """A linear layer that adds up the values of a window sees what these neurons see."""
    options, size = geometry
    try:
        linear = nn.Conv2d(
            2, 4, **options, groups=groups, bias=False, padding_mode=mode.replace("drop", "zeros")
        ).double()
        x = torch.randn(2, 2, *size, dtype=torch.float64)
        expected = linear(x)
    except RuntimeError:  # smaller than a window, or a reflection beyond the image
        assume(False)
    layer = UGMMConv2d(2, 4, **options, groups=groups, padding_mode=mode, dtype=torch.float64)
    assert layer(x).shape == expected.shape
    padded = layer._padded(layer._as_images(x), 0.0)
    seen = torch.cat(
        [layer._windows.unfold(part) @ linear.weight.flatten(1).chunk(groups)[g].T
         for g, part in enumerate(padded.chunk(groups, 1))], -1
    )  # fmt: skip
    found = seen.view(2, *expected.shape[2:], 4).permute(0, 3, 1, 2)
    torch.testing.assert_close(found, expected)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(st.integers(1, 3), st.integers(1, 3), st.integers(0, 2), st.integers(1, 2))
def test_the_geometry_of_sequences_is_that_of_torch(kernel, stride, padding, dilation):
    x = torch.randn(2, 3, 9)
    options = {"stride": stride, "padding": padding, "dilation": dilation}
    expected = nn.Conv1d(3, 5, kernel, **options)(x).shape
    assert UGMMConv1d(3, 5, kernel, **options)(x).shape == expected
    assert UGMMConv1d(3, 5, kernel, **options)(x[0]).shape == expected[1:]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_values_are_those_of_a_loop_over_places(mode, groups, dtype):
    layer = make(UGMMConv2d, 4, 6, **COMPLEX, groups=groups, padding_mode=mode, dtype=dtype)
    x = torch.randn(2, 4, 6, 5, dtype=dtype)
    expected = loop_over_places(layer, x)
    tolerance = 1e-12 if dtype == torch.float64 else 1e-5
    np.testing.assert_allclose(layer(x).detach(), expected, rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(layer(x[0]).detach(), expected[0], rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("mode", MODES)
def test_a_sequence_is_an_image_of_height_one(mode):
    line = make(UGMMConv1d, 2, 3, 3, padding=2, padding_mode=mode)
    image = UGMMConv2d(2, 3, (1, 3), padding=(0, 2), padding_mode=mode, min_scale=0.1).double()
    image.load_state_dict(line.state_dict())
    x = torch.randn(4, 2, 7, dtype=torch.float64)
    torch.testing.assert_close(line(x), image(x.unsqueeze(2)).squeeze(2))
    np.testing.assert_allclose(
        image(x.unsqueeze(2)).detach(), loop_over_places(image, x.unsqueeze(2))
    )


def test_an_edge_of_tiny_weight_still_counts():
    layer = make(UGMMConv2d, 1, 1, 3, padding=1)
    with torch.no_grad():
        layer.logits.fill_(-900.0)
        layer.logits[0, 0] = 0.0  # looks up and left: outside, from the first place
    x = torch.randn(1, 1, 3, 3, dtype=torch.float64)
    np.testing.assert_allclose(layer(x).detach(), loop_over_places(layer, x))


def test_a_neuron_that_knows_nothing_scores_0_and_learns_nothing():
    layer = make(UGMMConv2d, 1, 1, 3, padding=1)
    with torch.no_grad():
        layer.logits.fill_(-math.inf)
        layer.logits[0, 0] = 0.0
    x = torch.randn(1, 1, 3, 3, dtype=torch.float64, requires_grad=True)
    scores = layer(x)
    assert (scores[0, 0, 0] == 0).all()
    assert (scores[0, 0, 1:, 1:] != 0).all()
    scores[0, 0, 0].sum().backward()
    for tensor in (x, layer.loc, layer.raw_scale):
        assert (tensor.grad == 0).all()
    assert layer.logits.grad.isfinite().all()


@pytest.mark.parametrize("mode", MODES)
def test_dropout_has_one_mask_for_all_places(mode):
    layer = make(UGMMConv2d, 2, 3, 3, padding=1, dropout=0.5, padding_mode=mode)
    x = torch.randn(2, 2, 5, 5, dtype=torch.float64)
    torch.manual_seed(1)
    found = layer(x)
    torch.manual_seed(1)
    masked = copy.deepcopy(layer)
    with torch.no_grad():
        masked.logits.copy_(layer.masked_logits())
    torch.testing.assert_close(found, masked.eval()(x))
    assert torch.isinf(masked.logits).any()
    assert not torch.equal(layer(x), found)


@pytest.mark.parametrize("mode", MODES)
def test_unknown_values_are_left_out(mode):
    """As the loop over places has it, where a value is outside for dropped padding."""
    layer = make(UGMMConv2d, 2, 3, 2, padding=1, padding_mode=mode)
    x, observed = torch.randn(2, 2, 4, 4, dtype=torch.float64), torch.rand(2, 2, 4, 4) > 0.4
    found = layer.marginal_score(x.masked_fill(~observed, math.nan), observed)
    edges = {"drop": 0.0, "zeros": 1.0, "reflect": None}[mode]
    pad = nn.ReflectionPad2d(1) if edges is None else nn.ConstantPad2d(1, edges)
    seen, known = (
        nn.functional.unfold(layer._padded(x, 0.0), 2),
        nn.functional.unfold(pad(observed.double()), 2),
    )
    terms = norm.logpdf(
        seen.transpose(1, 2).unsqueeze(2), layer.loc.detach(), layer.scale.detach()
    )
    logits = np.where(
        known.transpose(1, 2).unsqueeze(2) > 0, layer.logits.detach().numpy(), -np.inf
    )
    with np.errstate(invalid="ignore"):
        expected = logsumexp(logits + terms, axis=-1) - logsumexp(logits, axis=-1)
    expected = np.nan_to_num(expected, nan=0.0).transpose(0, 2, 1).reshape(found.shape)
    np.testing.assert_allclose(found.detach(), expected, atol=1e-12)


def test_input_dropout_leaves_values_of_each_image_out():
    torch.manual_seed(0)
    layer = make(UGMMConv2d, 2, 3, 3, padding=1, input_dropout=0.5, dtype=torch.float32)
    x = torch.randn(1, 2, 5, 5).expand(4, -1, -1, -1)
    scores = layer(x)
    assert not torch.allclose(scores[0], scores[1])
    scores.sum().backward()
    assert all(p.grad.isfinite().all() for p in layer.parameters())
    torch.testing.assert_close(layer.eval()(x)[0], layer(x)[1])


@pytest.mark.parametrize("mode", MODES)
def test_init_from_data_spreads_neurons_as_the_data(mode):
    torch.manual_seed(0)
    layer = UGMMConv1d(2, 4000, 3, padding=1, groups=2, padding_mode=mode, min_scale=0.0)
    x = torch.randn(50, 2, 40)
    x[:, 0] = 3 + 2 * x[:, 0]
    layer.init_from(x)
    middle = layer.in_features // 2  # never outside
    for part, mean, std in ((slice(2000), 3, 2), (slice(2000, None), 0, 1)):
        assert layer.loc[part, middle].mean().item() == pytest.approx(mean, abs=0.15)
        assert layer.loc[part, middle].std().item() == pytest.approx(std, rel=0.1)
        assert layer.scale[part].mean().item() == pytest.approx(std, rel=0.1)
    with pytest.raises(ValueError, match="expected a batch of images, got none"):
        layer.init_from(x[:0])


def test_init_from_data_where_no_window_lies_inside():
    layer = UGMMConv2d(1, 2, 5, padding=2)
    layer.init_from(torch.randn(3, 1, 2, 2))
    assert all(p.isfinite().all() for p in layer.parameters())


def test_a_seed_is_all_that_initial_values_depend_on():
    first, again = make(UGMMConv2d, 2, 4, 3), make(UGMMConv2d, 2, 4, 3)
    assert torch.equal(first.loc, again.loc)
    assert torch.equal(first.raw_scale, again.raw_scale)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"kernel_size": 0}, "kernel_size must be a number, or 2 of them, of at least 1, got 0"),
        ({"kernel_size": (1, 2, 3)}, "kernel_size must be a number, or 2 of them"),
        ({"stride": 0}, "stride must be"),
        ({"kernel_size": 2.5}, "kernel_size must be a number, or 2 of them, .* got 2.5"),
        ({"kernel_size": (3, 2.5)}, r"kernel_size must be .* got \(3, 2.5\)"),
        ({"dilation": None}, "dilation must be a number, or 2 of them, .* got None"),
        ({"kernel_size": "33"}, "kernel_size must be .* got '33'"),
        ({"padding": -1}, "padding must be a number, or 2 of them, of at least 0, got -1"),
        ({"padding": "some"}, "padding must be numbers, 'same' or 'valid', got 'some'"),
        ({"padding": "same", "stride": 2}, "padding='same' needs a stride of 1"),
        ({"groups": 2}, "groups=2 must divide in_channels=3 and out_channels=4"),
        ({"padding_mode": "circular"}, "padding_mode must be 'drop', 'zeros' or 'reflect'"),
        ({"dropout": 1.0}, "dropout must be in"),
    ],
)
def test_bad_arguments(options, complaint):
    with pytest.raises(ValueError, match=complaint):
        UGMMConv2d(3, 4, **{"kernel_size": 3, **options})


def test_bad_inputs():
    layer = UGMMConv2d(3, 4, 3)
    with pytest.raises(ValueError, match=r"x must be \(B, 3, H, W\) or \(3, H, W\), not \(3, 9\)"):
        layer(torch.randn(3, 9))
    with pytest.raises(ValueError, match=r"2 x 5, padded, is smaller than a kernel.*3 x 3"):
        layer(torch.randn(3, 2, 5))
    with pytest.raises(TypeError, match="must have one dtype"):
        layer(torch.randn(3, 5, 5).double())
    with pytest.raises(TypeError, match=r"x must be a torch\.Tensor"):
        layer([1.0])
    for dtype in (torch.int64, torch.uint8, torch.bool):
        images = torch.zeros(3, 5, 5, dtype=dtype)
        for call in (layer, layer.init_from, LogMeanExpPool2d(2)):
            with pytest.raises(TypeError, match=rf"not {dtype}: convert it by x\.float\(\)"):
                call(images)
    with pytest.raises(ValueError, match="known must be of x's shape"):
        layer.marginal_score(torch.randn(3, 5, 5), torch.ones(3, 5, 4, dtype=torch.bool))


def test_sizes_may_be_numbers_of_numpy():
    layer = UGMMConv2d(1, 2, np.int64(3), padding=(np.int64(1), 0))
    assert (layer.kernel_size, layer.padding) == ((3, 3), (1, 0))


def test_repr_tells_the_settings():
    layer = UGMMConv2d(4, 6, (3, 2), stride=2, padding="valid", groups=2, dropout=0.1)
    for part in (
        "4, 6, kernel_size=(3, 2), stride=(2, 2), padding='valid'", "groups=2", "dropout=0.1",
        "padding_mode='drop'", "min_scale=0.001",
    ):  # fmt: skip
        assert part in repr(layer)
    assert "UGMMConv1d(1, 2, kernel_size=(3,), stride=(1,), padding=(0,)" in repr(
        UGMMConv1d(1, 2, 3)
    )
