"""What is drawn of a layer, against SciPy's mixtures and the layer's own numbers."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.stats import norm

from ugmm.report import first_layer_images, neuron_densities


def _line(axes, label):
    (line,) = [x for x in axes.get_lines() if str(x.get_label()).startswith(label)]
    return line.get_data()


def _mixture(layer, j, t):
    weights = layer.logits[j].double().softmax(-1).numpy()
    return norm.pdf(np.asarray(t)[:, None], layer.loc[j], layer.scale[j].double()) @ weights


@pytest.mark.parametrize("inputs", [1, 4, 8, 9, 784])
def test_the_line_is_the_mixture_and_integrates_to_one(make_layer, inputs):
    layer = make_layer(7, inputs)
    figure = neuron_densities(layer, -60, 60, neurons=2)
    for j, axes in enumerate(figure.axes[:2]):
        t, density = _line(axes, "mixture")
        np.testing.assert_allclose(density, _mixture(layer, j, t), rtol=1e-6, atol=1e-12)
        assert np.trapezoid(density, t) == pytest.approx(1, abs=2e-3)
        assert "100% of its mass" in axes.get_title()
    assert "the first 2 of 7 neurons" in figure.get_suptitle()


def test_components_and_rest_add_up_to_the_mixture(make_layer):
    axes = neuron_densities(make_layer(1, 20), -4, 4).axes[0]
    parts = [x.get_ydata() for x in axes.get_lines() if len(x.get_xdata()) > 1]
    *components, mixture = parts
    assert len(components) == 9  # the rest, and eight
    np.testing.assert_allclose(np.sum(components, axis=0), mixture)


def test_a_spike_between_the_points_of_an_even_grid_is_seen(make_layer):
    layer = make_layer(2, 784, mean_log_scale=-12)
    figure = neuron_densities(layer, -5, 5)
    figure.draw_without_rendering()
    t, density = _line(figure.axes[0], "mixture")
    assert np.isfinite(density).all()
    assert np.trapezoid(density, t) == pytest.approx(1, abs=0.01)
    assert figure.axes[0].get_yscale() == "log"


@pytest.mark.parametrize("scale", [0.0, 1e-30, 1e6])
def test_degenerate_scales_draw(scale):
    ones = torch.ones(1, 2)
    layer = SimpleNamespace(loc=0 * ones, scale=scale * ones, logits=0 * ones)
    figure = neuron_densities(layer, -3, 3)
    figure.draw_without_rendering()
    assert np.isfinite(_line(figure.axes[0], "mixture")[1]).all()


def test_mass_within_the_range_is_stated():
    one = torch.ones(1, 1)
    layer = SimpleNamespace(loc=0 * one, scale=one, logits=one)
    title = neuron_densities(layer, -1.959964, 1.959964).axes[0].get_title()
    assert "95% of its mass" in title


def test_inputs_are_named(make_layer):
    figure = neuron_densities(make_layer(3, 3), -3, 3, input_names=["width", "length", "one"])
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["width", "length", "one", "mixture $p_j(t)$"]
    long = [f"a rather long name of an input {k}" for k in range(20)]
    title = neuron_densities(make_layer(3, 20), -3, 3, input_names=long).axes[0].get_title()
    assert max(map(len, title.splitlines())) <= 50


def test_gradients_do_not_matter_and_nothing_is_changed(make_layer):
    layer = make_layer(2, 3)
    layer.loc = torch.nn.Parameter(layer.loc)
    before = layer.loc.detach().clone()
    neuron_densities(layer, -1, 1)
    assert torch.equal(layer.loc, before)


@pytest.mark.parametrize(("outputs", "inputs"), [(1, 12), (5, 12), (30, 14)])
def test_images_are_the_parameters(make_layer, outputs, inputs):
    layer = make_layer(outputs, inputs)
    figure = first_layer_images(layer, (3, 4), neurons=6)
    figure.draw_without_rendering()
    means, weights = (axes.images[0] for axes in figure.axes[:2])
    np.testing.assert_allclose(means.get_array()[:3, :4].ravel(), layer.loc[0, :12])
    expected = inputs * layer.logits[0].double().softmax(-1)[:12]
    np.testing.assert_allclose(weights.get_array()[:3, :4].ravel(), expected)
    low, high = means.get_clim()
    assert low == -high
    assert ("2 inputs that are not pixels" in figure.get_suptitle()) == (inputs == 14)
    drawn = np.isfinite(means.get_array().filled(np.nan)).sum()
    assert drawn == min(outputs, 6) * 12


def test_images_of_a_layer_that_learned_nothing_draw():
    zeros = torch.zeros(4, 784)
    layer = SimpleNamespace(loc=zeros, scale=zeros + 1, logits=zeros)
    first_layer_images(layer, (28, 28)).draw_without_rendering()


def test_an_image_larger_than_the_layer_is_refused(make_layer):
    with pytest.raises(ValueError, match="a layer of 12 inputs does not see 16 pixels"):
        first_layer_images(make_layer(2, 12), (4, 4))
