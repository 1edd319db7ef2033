"""All pictures of a run, for tables with names and values as people have them."""

import pytest
import torch
from matplotlib.image import imread

from ugmm.nn import AutoregressiveUGMM, UGMMNetwork
from ugmm.report import draw_run, neuron_densities
from ugmm.report.run.pictures import find_range
from ugmm.report.style import shorten
from ugmm.runs import Run
from ugmm.spec import Column, Spec


@pytest.mark.filterwarnings("error:constrained_layout")
@pytest.mark.parametrize("features", [4, 64])
def test_names_of_any_kind_are_drawn(tmp_path, features):
    classes = ["_a", "from $5 to $6$", "a class whose name is longer than any figure is wide" * 3]
    names = [f"{name}{i}" for i in range(features) for name in classes][:features]
    run = Run.create(tmp_path, "group", "name")
    record = {
        "confusion": torch.eye(3, dtype=torch.int64),
        "confidence": torch.ones(3),
        "correct": torch.ones(3),
    }
    x = torch.randn(50, features)
    network = UGMMNetwork([features, 5, 3])
    spec = Spec(features, tuple(classes), tuple(map(Column, names)))
    words = {"title": "$a$" * 99, "spec": spec}
    paths = draw_run(run, network, record, x=x, y=torch.arange(50) % 3, **words)
    assert [path.stem for path in paths] == ["confusion", "reliability", "neurons"]
    assert min(imread(paths[0]).shape[:2]) > 500  # dots


def test_a_density_of_images_completes_them(tmp_path):
    run = Run.create(tmp_path, "group", "name")
    network = AutoregressiveUGMM(12, hidden=[5], head="bernoulli")
    x = (torch.rand(50, 12) < 0.5).float()
    words = {"title": "", "spec": Spec(12, ("a",), image_shape=(4, 3))}
    paths = draw_run(run, network, {}, x=x, y=torch.zeros(50, dtype=torch.long), **words)
    assert [path.stem for path in paths] == ["samples", "completions", "first_layer", "neurons"]


def test_names_stay_apart_and_in_the_legend(make_layer):
    names = [shorten(name) for name in ("_id", "$x$", "w" * 99, "x" * 99)]
    figure = neuron_densities(make_layer(1, 4), -3, 3, input_names=names)
    (legend,) = figure.legends
    texts = [text.get_text() for text in legend.get_texts()]
    assert texts == [" _id", r"\$x\$", "w" * 23 + "…", "x" * 23 + "…", "mixture $p_j(t)$"]
    figure.draw_without_rendering()
    assert legend.get_window_extent().width < figure.bbox.width


def test_an_outlier_does_not_set_the_range():
    x = torch.linspace(-1, 1, 1001)
    assert find_range(x) == (-1, 1)
    x[-1] = 1000
    low, high = find_range(x)
    assert low == -1
    assert high == pytest.approx(x.mean().item() + 5 * x.std(correction=0).item())
