"""Writing a figure to disk, and what importing the package costs."""

import importlib
import subprocess
import sys

import numpy as np
import pytest
from matplotlib.image import imread

from ugmm import report
from ugmm.report.style import new_figure


def test_save_writes_a_readable_white_png_and_makes_its_folder(tmp_path):
    path = tmp_path / "plots" / "empty.png"
    report.save(new_figure(4, 3, "nothing"), path)
    image = imread(path)
    assert image.shape[:2] == (450, 600)
    assert (image[-1] == 1).all()
    assert [file.name for file in path.parent.iterdir()] == ["empty.png"]


@pytest.mark.parametrize(("kind", "first"), [("pdf", b"%PDF"), ("svg", b"<?xml")])
def test_a_vector_graphic_has_lines_and_text_but_many_points_are_pixels(tmp_path, kind, first):
    sizes = {}
    for points in (100, 100_000):
        figure = new_figure(4, 3, "points")
        axes = figure.subplots()
        at = np.random.default_rng(0).random((2, points))
        axes.plot(*at, ".")
        axes.plot([0, 1], [0, 1])
        report.save(figure, tmp_path / f"{points}.{kind}")
        written = (tmp_path / f"{points}.{kind}").read_bytes()
        assert written.startswith(first)
        report.save(figure, tmp_path / f"again.{kind}")
        assert (tmp_path / f"again.{kind}").read_bytes() == written  # no date, no chance
        has_pixels = b"/Subtype /Image" in written or b"<image" in written
        assert has_pixels == (points == 100_000)
        sizes[points] = len(written)
    assert sizes[100_000] < 300_000  # 100,000 points would take megabytes
    assert not list(tmp_path.glob("*.png"))


def test_a_failing_save_leaves_the_old_picture_and_no_other_file(tmp_path, monkeypatch):
    path = tmp_path / "picture.png"
    path.write_bytes(b"old")
    figure = new_figure(4, 3, "nothing")

    def fail(file, **_):
        file.write(b"half a picture")
        raise OSError("disk full")

    monkeypatch.setattr(figure, "savefig", fail)
    with pytest.raises(OSError, match="disk full"):
        report.save(figure, path)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("room", ["ugmm.report", "ugmm.report.run", "ugmm.report.study"])
def test_every_public_name_is_found(room):
    face = importlib.import_module(room)
    assert all(callable(getattr(face, name)) for name in face.__all__)
    assert set(face.__all__) <= set(dir(face))
    with pytest.raises(AttributeError, match="has no attribute 'pie_chart'"):
        _ = face.pie_chart


def test_the_package_loads_matplotlib_late_and_pyplot_never():
    code = """if True:
        import sys, ugmm.report, ugmm.report.run, ugmm.report.study
        assert not {"matplotlib", "rich", "torch", "numpy"} & set(sys.modules)
        for face in (ugmm.report.study, ugmm.report.run, ugmm.report):
            for name in face.__all__:
                getattr(face, name)
            assert face is not ugmm.report.study or "torch" not in sys.modules
        assert "matplotlib" in sys.modules and "matplotlib.pyplot" not in sys.modules
    """
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("width", [4, 8, 12])
def test_a_long_title_is_inside_of_the_figure(width):
    figure = new_figure(width, 3, "Which of many kinds of networks do best what was asked? " * 4)
    figure.draw_without_rendering()
    (title,) = [text for text in figure.texts if text.get_text() == figure.get_suptitle()]
    box = title.get_window_extent()
    assert box.x0 > 0
    assert box.x1 < figure.bbox.x1
    assert new_figure(width, 3, "short").get_size_inches()[1] == 3
