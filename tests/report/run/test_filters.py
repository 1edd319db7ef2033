"""The filters of a convolution, against its own numbers."""

import numpy as np
import pytest
import torch

from ugmm.nn import UGMMConv1d, UGMMConv2d, UGMMConvNetwork
from ugmm.report import draw_run
from ugmm.report.run.filters import filter_images, input_names
from ugmm.runs import Run
from ugmm.spec import Spec


@pytest.mark.parametrize("channels", [1, 3, 20])
def test_images_are_the_parameters_channel_by_channel(channels):
    layer = UGMMConv2d(channels, 30, (3, 2), init="paper")
    figure = filter_images(layer, "Convolution 1 of 2")
    figure.draw_without_rendering()
    means, weights = (axes.images[0].get_array() for axes in figure.axes[:2])
    loc = layer.loc.detach().numpy().reshape(30, channels, 3, 2)
    shares = layer.in_features * layer.logits.detach().softmax(-1).numpy()
    np.testing.assert_allclose(means[:3, :2], loc[0, 0])
    np.testing.assert_allclose(weights[:3, :2].ravel(), shares[0, :6], rtol=1e-5)
    beside = loc[1, 0] if channels == 1 else loc[0, 1]  # a gap of one pixel between them
    np.testing.assert_allclose(means[:3, 3:5], beside)
    if channels > 1:
        np.testing.assert_allclose(means[4:7, :2], loc[1, 0])
    drawn = np.isfinite(means.filled(np.nan)).sum()
    assert drawn == {1: 24, 3: 12 * 3, 20: 12 * 12}[channels] * 6
    assert "of 30 neurons, windows of 3 x 2" in figure.get_suptitle()


def test_inputs_are_named_by_channel_and_offset():
    assert input_names(UGMMConv2d(1, 2, 2)) == ["(+0, +0)", "(+0, +1)", "(+1, +0)", "(+1, +1)"]
    assert input_names(UGMMConv1d(2, 2, 2)) == ["0: +0", "0: +1", "1: +0", "1: +1"]


def test_a_network_of_convolutions_is_drawn(tmp_path):
    network = UGMMConvNetwork(16, 2, (3, 4), (5, 3), (1, 2), residual=1)
    words = {"title": "", "spec": Spec(16, ("a", "b"), image_shape=(4, 4))}
    x, y = torch.rand(20, 16), torch.arange(20) % 2
    paths = draw_run(Run.create(tmp_path, "group", "name"), network, {}, x=x, y=y, **words)
    assert [path.stem for path in paths] == ["filters_1", "filters_2", "filters_3", "neurons"]
