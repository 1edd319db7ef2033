"""The pictures of an ablation: what is drawn, in which colours, and that all of it is seen."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_hex

from ugmm.report.statistics import Record
from ugmm.report.study.plots import final_dots, looks_of, validation_curves
from ugmm.report.study.variants import compare_variants
from ugmm.report.style import SERIES, Look


def compared(names, metric="test/accuracy"):
    rng = np.random.default_rng(0)
    records = [
        Record(name, seed, None, Path(name), {metric: 0.5 + i / 100 + 0.001 * rng.random()})
        for i, name in enumerate(names)
        for seed in range(3)
    ]
    return compare_variants(records, metric, "max", names[0]), records


def history(values, metric="val/accuracy"):
    return [{"epoch": float(epoch), metric: value} for epoch, value in enumerate(values)]


def test_of_many_variants_the_baseline_and_the_best_stand_out():
    names = [f"v{i:02}" for i in range(20)]
    rows, _ = compared(names)
    for goal, best in (("max", names[-7:]), ("min", names[1:8])):
        looks = looks_of(rows, goal, "v00")
        assert list(looks) == names
        assert [name for name in names if looks[name].is_solid] == ["v00", *best]


@pytest.mark.parametrize("count", [9, 42])
def test_no_two_variants_look_alike(count):
    names = [f"v{i:02}" for i in range(count)]
    rows, records = compared(names)
    looks = looks_of(rows, "max", "v00")
    runs = {name: [history([0.1, 0.2]), history([0.2, 0.3])] for name in names}
    figure = validation_curves(runs, ["val/accuracy"], "Q", looks)
    (axes,) = figure.axes
    drawn = {(to_hex(line.get_color()), str(line._dash_pattern)) for line in axes.lines}
    assert len(drawn) == len(axes.lines) == count
    assert len(axes.collections) == min(count, 8)  # bands
    (legend,) = figure.legends
    assert sorted(text.get_text() for text in legend.get_texts()) == names
    figure.canvas.draw()
    assert axes.get_window_extent().height > 300  # pixels, of 690 and more
    dots = final_dots(rows, records, "test/accuracy", "v00", "Q", looks)
    diamonds = [line for line in dots.axes[0].lines if line.get_marker() == "D"]
    full = [line.get_markerfacecolor() == line.get_color() for line in diamonds]
    assert full == [looks[name].is_solid for name in names]


def test_eight_variants_have_a_colour_each():
    names = list("abcdefgh")
    rows, _ = compared(names)
    assert [look.colour for look in looks_of(rows, "max", "a").values()] == list(SERIES)


def test_a_variant_of_few_epochs_is_in_the_picture():
    runs = {"long": [history([0.1, *[0.9] * 39])], "short": [history([0.1, 0.4, 0.5, 0.6])]}
    looks = {"long": Look("#000000", "-"), "short": Look("#111111", "-")}
    (axes,) = validation_curves(runs, ["val/accuracy"], "Q", looks).axes
    bottom, top = axes.get_ylim()
    assert 10 < bottom < 50  # the first epoch is not what the axis is scaled by
    assert top > 90


def test_the_line_is_the_mean_and_the_band_the_range():
    runs = {"a": [history([0.2, 0.4]), history([0.6, 0.5])]}
    figure = validation_curves(runs, ["val/accuracy", "val/nll"], "Q", {"a": Look("#123456", "-")})
    (axes,) = figure.axes  # nothing was logged for a second one
    assert axes.lines[0].get_xydata() == pytest.approx(np.array([[1, 40], [2, 45]]))
    assert to_hex(axes.lines[0].get_color()) == "#123456"
    edges = axes.collections[0].get_paths()[0].vertices
    assert sorted({round(y) for x, y in edges if x == 1}) == [20, 60]
    assert sorted({round(y) for x, y in edges if x == 2}) == [40, 50]


def labels(names, title="Q"):
    rows, records = compared(names)
    looks = looks_of(rows, "max", names[0])
    figure = final_dots(rows, records, "test/accuracy", names[0], title, looks)
    figure.canvas.draw()  # where a formula would fail
    return [label.get_text() for label in figure.axes[0].get_yticklabels()]


def test_long_names_stay_different():
    found = labels(
        [
            f"optimizer.lr={rate} model.dropout=0.1 model.input_dropout=0.2 model.norm={norm}"
            for rate in (0.003, 0.01)
            for norm in ("none", "batch")
        ]
    )
    assert found[0] == "lr=0.003 dropout=0.1 input_dropout=0.2\nnorm=none"
    assert len(set(found)) == 4


def test_names_are_whole_where_their_last_parts_are_equal():
    names = ["model.norm=none", "data.norm=none"]
    assert labels(names, r"$5 or \frac$?") == names


@pytest.mark.parametrize(
    ("metric", "label"),
    [("test/nll", "test/nll (nats)"), ("seconds", "seconds"), ("test/ece", "test/ece (%)")],
)
def test_axes_say_their_unit(metric, label):
    rows, records = compared(["a", "b"], metric)
    figure = final_dots(rows, records, metric, "a", "Q", looks_of(rows, "max", "a"))
    assert figure.axes[0].get_xlabel() == label
