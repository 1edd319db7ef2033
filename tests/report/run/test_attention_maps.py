"""Where a Transformer looks: what is shown, and for which token."""

import numpy as np
import pytest
import torch
from matplotlib.patches import Rectangle

from ugmm.nn import UGMM, VisionTransformer
from ugmm.report import draw_run
from ugmm.report.run.attention import attention_maps
from ugmm.report.run.pictures import _inputs_of
from ugmm.runs import Run
from ugmm.spec import Spec


def test_maps_are_of_all_tokens_and_of_the_one_with_most_in_it():
    rng = np.random.default_rng(0)
    images = np.zeros((2, 4, 6))
    images[0, 2:, 2:4] = 1  # patch 4 of 2 lines of 3
    images[1, :2, 4:] = 1  # patch 2
    weights = rng.dirichlet(np.ones(6), (2, 3, 6))
    figure = attention_maps(images, weights, ["a", "b"], "dot score")
    axes = np.array(figure.axes[:-1]).reshape(2, 7)  # the last is the colours'
    for row, token in enumerate((4, 2)):
        np.testing.assert_array_equal(axes[row, 0].images[0].get_array(), images[row])
        assert axes[row, 0].get_ylabel() == "ab"[row]
        for head in range(3):
            everyone, one = (axes[row, 1 + head + 3 * k].images[0].get_array() for k in (0, 1))
            expected = 6 * weights[row, head]
            np.testing.assert_allclose(everyone, expected.mean(0).reshape(2, 3))
            np.testing.assert_allclose(one, expected[token].reshape(2, 3))
        (mark,) = (p for p in axes[row, 4].patches if isinstance(p, Rectangle))
        assert mark.get_xy() == (2 * (token % 3) - 0.5, 2 * (token // 3) - 0.5)
    assert "dot score" in figure.get_suptitle()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_run_of_a_transformer_has_them(tmp_path, dtype):
    torch.manual_seed(0)
    network = VisionTransformer(16, 3, None, 2, 8, 1, 2, 6, score="gaussian", dtype=dtype).train()
    x, y = torch.rand(30, 16), torch.arange(30) % 3
    run = Run.create(tmp_path, "group", "name")
    spec = Spec(16, ("a", "b", "c"), image_shape=(4, 4))
    paths = draw_run(run, network, {}, title="", x=x, y=y, spec=spec)
    assert [path.stem for path in paths] == ["attention", "neurons"]


def test_neurons_within_are_drawn_over_what_they_are_given():
    torch.manual_seed(0)
    network = VisionTransformer(16, 3, None, 2, 8, 1, 2, 6)
    layer = next(module for module in network.modules() if isinstance(module, UGMM))
    given = _inputs_of(layer, network, torch.rand(30, 16))
    assert given.shape == (30, 4, 8)
    torch.testing.assert_close(given.std(-1, correction=0), torch.ones(30, 4), rtol=1e-3, atol=0)
