"""The page of a run that is made up: what it says, with names that HTML could stumble over."""

import re
from dataclasses import replace

import numpy as np
import pytest
from looking import check_html

from browser import BROWSER, Browser
from ugmm.report.escaping import csv_text
from ugmm.report.run.page import DataFacts, read_facts, run_page
from ugmm.runs import Run
from ugmm.spec import Column, Spec, Target
from ugmm.yaml_text import write

EVIL = '"><script>alert(1)</script>'
CLASSES = (EVIL, "=1+1", "\u202eevil", "\u05d0\u05d1" + "x" * 400)
CONFIG = {
    "experiment": "iris_disc",
    "data": {"name": "csv", "path": f"/a/{EVIL}.csv", "folds": 5, "fold": 0, "val_fraction": 0.2},
    "model": {"name": "ugmm", "hidden": [10, 5]},
    "task": {"name": "discriminative"},
    "trainer": {"max_epochs": 20, "accelerator": "cpu", "devices": 1},
    "seed": 0,
    "name": f"a{EVIL}",
}
NAMED = ["experiment", "data", "model", "task"]
HISTORY = "epoch,step,train/loss,val/nll,val/accuracy\n0,9,1.5,1.2,0.5\n1,19,0.5,0.9,0.75\n"


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A run that has begun, and logged two epochs."""
    monkeypatch.setattr("sys.argv", ["/bin/ugmm", "train", "iris_disc", f"name=a{EVIL}"])
    run = Run.create(tmp_path, "group", "name", "1")
    run.freeze(write(CONFIG))
    run.metrics.write_text(HISTORY)
    columns = (Column(EVIL, unit="<cm>"), Column("garden", ("a&b", EVIL, "?")))
    spec = Spec(4, CLASSES, columns, label="kind", mean=(5.0, 0.5, 0.25, 0.25), std=(2.0,) * 4)
    run.write_spec(spec.to_json())
    return run


def end(run):
    """End it: ten rows of four classes, of which row 7 is wrong and sure, and row 3 wrong."""
    truth = [0, 0, 0, 0, 1, 1, 1, 2, 2, 3]
    posterior = np.full((10, 4), 0.1)
    taken = [0, 0, 0, 1, 1, 1, 1, 0, 2, 3]
    posterior[range(10), taken] = 0.7
    posterior[7] = (0.97, 0.01, 0.01, 0.01)
    answers = [
        [row, CLASSES[true], CLASSES[said], *p]
        for row, (true, said, p) in enumerate(zip(truth, taken, posterior, strict=True))
    ]
    header = ["row", "truth", "prediction", *(f"p({name})" for name in CLASSES)]
    run.predictions.write_text(csv_text([header, *answers]))
    counts = np.zeros((4, 4), dtype=int)
    np.add.at(counts, (truth, taken), 1)
    run.write_confusion(CLASSES, counts.tolist())
    figures = {"val/nll": 0.9, "test/nll": 0.8, "test/accuracy": 0.8, "test/{my<own>}": 1.0}
    run.write_summary({**figures, "seconds": 2.0})


def with_data(facts):
    """The same, with data of 30 rows of which the test's number n holds n."""
    counts = {name: np.array([4, 3, 2, 1]) for name in ("train", "val", "test")}
    data = DataFacts(
        sizes=dict.fromkeys(counts, 10),
        classes=counts,
        low=np.array([1.25, np.nan]),
        high=np.array([9.5, np.nan]),
        missing=np.array([3, 2]),
        find=lambda numbers: np.array([[n + 0.5, EVIL] for n in numbers], dtype=object),
    )
    return replace(facts, data=data)


def rows_of(html, first):
    """The table whose first heading is this, a list of cells for each of its rows."""
    found = next(t for t in re.findall(r"<table.*?</table>", html) if f">{first}</th>" in t)
    return [re.findall(r">([^<]*)</t[hd]>", row) for row in found.split("</tr>")[1:-1]]


def test_it_says_what_came_of_the_run(run):
    end(run)
    html = run_page(with_data(read_facts(run)))
    text = check_html(html).text
    assert "Of 10 test rows, 8 are classified correctly" in text
    # Wilson's interval by hand: (0.8 + 0.19208 -+ 1.96 sqrt(0.016 + 0.09604 / 10)) / 1.38416
    assert "49.0% to 94.3%" in text
    assert "2 test rows of 10 got the wrong class" in text
    assert "gives its choice a probability of 72.7% and is right in 80.0%" in text
    assert rows_of(html, "metric")[0][:3] == ["accuracy", "–", "80.00%"]  # noqa: RUF001
    classes = rows_of(html, "precision")
    assert classes[0][1:] == ["4", "75.0%", "75.0%", "0.750"]  # 3 of 4 taken, 3 of 4 found
    assert classes[2][1:] == ["2", "100.0%", "50.0%", "0.667"]
    assert "ugmm train iris_disc 'name=a" in text
    assert [row[0] for row in rows_of(html, "setting")] == [*NAMED, "name"]


def test_rows_that_are_wrong_and_sure_come_first(run):
    end(run)
    html = run_page(with_data(read_facts(run)))
    wrong = rows_of(html, "p(prediction)")
    assert [row[0] for row in wrong] == ["7", "3"]
    assert wrong[0][3:6] == ["0.9700", "0.01", "7.5"]
    assert wrong[1][3:6] == ["0.7000", "0.1", "3.5"]


def test_columns_are_told_with_their_kinds_and_gaps(run):
    html = run_page(with_data(read_facts(run)))
    number, category = rows_of(html, "deviation")
    assert number[1:-1] == ["number", "&lt;cm&gt;", "5", "2", "1.25", "9.5", "3"]
    assert category[1] == "category"
    assert category[-1].startswith("a&amp;b 50.0%")


def test_data_that_are_lost_leave_out_what_rows_hold(run):
    end(run)
    html = run_page(replace(read_facts(run), lost=f"no such file {EVIL}"))
    text = check_html(html).text
    assert f"what rows hold is left out: no such file {EVIL}" in text
    assert [len(row) for row in rows_of(html, "p(prediction)")] == [5, 5]


@pytest.mark.parametrize("running", [True, False, None])
def test_a_run_that_has_not_ended_says_so(run, running):
    text = check_html(run_page(read_facts(run, is_running=running))).text
    assert "It stands at epoch 2 of 20, step 20" in text
    assert ("This run is under way" in text) == bool(running)
    assert ("ugmm train --resume" in text) != bool(running)


def test_a_run_that_has_hardly_begun_has_a_page(tmp_path):
    run = Run.create(tmp_path, "group", "name", "1")
    run.freeze(write(CONFIG))
    assert "Nothing has been logged yet" in check_html(run_page(read_facts(run))).text


def test_a_run_that_failed_says_where(run):
    run.metrics.write_text(HISTORY + "2,29,nan,,\n")
    assert "failed: no finite number in train/loss from epoch 3, step 30" in run_page(
        read_facts(run)
    )


def test_numbers_that_are_furthest_off_come_first(run):
    spec = Spec(1, (), (Column("age"),), mean=(4.0,), std=(2.0,), target=Target("cost", "EUR"))
    run.write_spec(spec.to_json())
    lines = [[1, 10.0, 11.0, 9.0, 13.0], [2, 20.0, 12.0, 10.0, 14.0], [3, 5.0, 4.5, 2.5, 6.5]]
    header = ["row", "truth", "prediction", "lower_90", "upper_90"]
    run.predictions.write_text(csv_text([header, *lines]))
    run.write_summary({"test/rmse": 4.66, "test/coverage_90": 2 / 3})
    html = run_page(read_facts(run))
    text = check_html(html).text
    assert "predictions of cost (EUR) are off by 4.660" in text
    assert "Of all 3, 1 lie outside their 90% intervals" in text
    off = rows_of(html, "off by")
    assert [row[0] for row in off] == ["2", "1", "3"]
    assert off[0][1:] == ["20", "12", "-8", "10 to 14"]


def test_images_are_shown_as_images(run):
    spec = Spec(4, ("a", "b"), image_shape=(2, 2), pixel_range=(0.0, 1.0))
    run.write_spec(spec.to_json())
    header = ["row", "truth", "prediction", "p(a)", "p(b)", "log_density"]
    lines = [[0, "a", "b", 0.25, 0.75, -3.0], [1, "b", "b", 0.5, 0.5, -90.0]]
    run.predictions.write_text(csv_text([header, *lines]))
    data = with_data(read_facts(run)).data
    facts = replace(read_facts(run), data=replace(data, find=lambda n: np.eye(4)[n]))
    parser = check_html(run_page(facts))
    shown = [a["alt"] for tag, a in parser.found if tag == "img"]
    assert shown[0] == "a, taken for b, p = 0.750, row 0"
    assert shown[1:] == ["b, log p = -90.00, row 1", "a, log p = -3.000, row 0"]


def test_pictures_of_the_folder_are_embedded(run):
    from matplotlib.figure import Figure

    from ugmm.report.style import save

    save(Figure(figsize=(3, 2)), run.plots / "neurons.png")
    (run.plots / "torn.png").write_bytes(b"\x89PNG")
    parser = check_html(run_page(read_facts(run)))
    (image,) = [attributes for tag, attributes in parser.found if tag == "img"]
    assert (image["width"], image["height"]) == ("288", "192")  # 96 to an inch
    assert "torn.png is damaged" in parser.text


@pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed: the page was not looked at")
def test_a_browser_shows_it_in_light_and_dark_and_on_a_phone(run, tmp_path):
    end(run)
    path = tmp_path / "page.html"
    path.write_text(run_page(with_data(read_facts(run))), encoding="utf-8")
    with Browser(tmp_path / "profile") as browser:
        papers = set()
        for width, dark in ((1280, False), (390, True)):
            browser.open(path.as_uri(), width, dark)
            assert browser.ask("document.documentElement.scrollWidth") <= width
            papers.add(browser.ask("getComputedStyle(document.body).backgroundColor"))
        assert len(papers) == 2
        assert browser.complaints == []
        assert {url for url in browser.asked if not url.startswith("data:")} == {path.as_uri()}
        assert browser.ask("document.querySelectorAll('svg').length") == 2
