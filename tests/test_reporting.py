"""`ugmm report` on runs that were trained: the rows that it shows are the user's own."""

import csv
import re
import shutil

import numpy as np
import pytest

from fences import fences
from ugmm.cli import main


@pytest.fixture
def report(capsys):
    """Write the page of a run; return it."""

    def report(run, *options):
        assert main(["report", str(run.folder), *options]) == 0
        path = capsys.readouterr().out.removeprefix("report: ").rstrip("\n")
        with open(path, encoding="utf-8") as file:
            return file.read()

    return report


def table_of(html, heading):
    """The table of this heading, as a mapping for each of its rows."""
    found = next(t for t in re.findall(r"<table.*?</table>", html) if f">{heading}</th>" in t)
    names, *rows = (re.findall(r">([^<]*)</t[hd]>", row) for row in found.split("</tr>")[:-1])
    return [dict(zip(names, row, strict=True)) for row in rows]


def test_rows_are_the_users_own(trained, report):
    from sklearn.datasets import load_iris

    iris, run = load_iris(), trained("iris_disc")
    html = report(run)
    assert (run.folder / "report.html").read_text(encoding="utf-8") == html
    shown = table_of(html, "p(prediction)")
    for row in shown:
        x = iris.data[int(row["row"])]
        assert [float(row[name]) for name in ("sepal length", "petal width")] == [x[0], x[3]]
        assert row["truth"] == iris.target_names[iris.target[int(row["row"])]]
    answers = run.read_predictions()
    pairs = zip(answers["truth"], answers["prediction"], strict=True)
    wrong = sum(true != taken for true, taken in pairs)
    assert len(shown) == (min(wrong, 12) or 5)
    sizes = table_of(html, "training")
    assert sizes[0] == {
        "rows": "all",
        "training": "96",
        "validation": "24",
        "test": "30",
        "all": "150",
    }


@pytest.fixture
def flowers(tmp_path):
    """A table with categories and gaps, whose classes cannot be told apart."""
    generator = np.random.default_rng(0)
    path = tmp_path / "flowers.csv"
    with path.open("w", newline="") as file:
        lines = csv.writer(file)
        lines.writerow(["size", "<i>garden</i>", "kind"])
        for row in range(100):
            garden = "" if row % 10 == 3 else ("Bern", "Zürich")[row % 2]
            size = "" if row % 4 == 1 else f"{generator.normal():.3f}"
            lines.writerow([size, garden, ("a", "b")[row // 50]])
    return path


def test_a_table_of_ones_own_with_gaps(flowers, trained, report):
    settings = (f"data.path={flowers}", "data.label=kind", "data.missing=mean")
    run = trained("iris_disc", "data=csv", *settings)
    html = report(run)
    number, category = table_of(html, "deviation")
    assert (number["missing"], category["missing"]) == ("25", "10")
    with flowers.open() as file:
        lines = list(csv.DictReader(file))
    sizes = [float(line["size"]) for line in lines if line["size"]]
    assert min(sizes) <= float(number["least"]) < float(number["greatest"]) <= max(sizes)
    shown = table_of(html, "p(prediction)")
    assert len(shown) > 1
    for row in shown:
        line = lines[int(row["row"]) - 1]  # counted from 1
        given = (line["size"] and f"{float(line['size']):.7g}", line["<i>garden</i>"])
        assert (row["size"], row["&lt;i&gt;garden&lt;/i&gt;"]) == tuple(g or "–" for g in given)  # noqa: RUF001


def test_data_that_have_gone_or_changed(flowers, trained, report):
    settings = (f"data.path={flowers}", "data.label=kind", "data.missing=mean", "seed=1")
    run = trained("iris_disc", "data=csv", *settings)
    text = flowers.read_text()
    flowers.write_text(
        text.replace(",a\n", ",c\n").replace(",b\n", ",a\n").replace(",c\n", ",b\n")
    )
    assert "the data are others now" in report(run)
    flowers.unlink()
    html = report(run)
    assert "flowers.csv" in re.search('class="warning">(.*?)</p>', html)[1]
    assert "size" not in table_of(html, "p(prediction)")[0]


def test_a_number_that_is_predicted(trained, report):
    from sklearn.datasets import load_diabetes

    data = load_diabetes(scaled=False)
    shown = table_of(report(trained("diabetes_reg")), "off by")
    off = [abs(float(row["off by"])) for row in shown]
    assert off == sorted(off, reverse=True)
    for row in shown:
        assert float(row["truth"]) == data.target[int(row["row"])]
        assert float(row["bmi"]) == pytest.approx(data.data[int(row["row"]), 2], rel=1e-5)


def test_a_density(trained, report, tmp_path):
    run = trained("iris_gen")
    html = report(run, "--out", str(tmp_path / "new" / "page.html"))
    assert not (run.folder / "report.html").exists()
    density = [float(row["log p"]) for row in table_of(html, "log p")]
    assert density == sorted(density)
    least = min(run.read_predictions()["log_density"])
    assert density[0] == pytest.approx(least, rel=1e-3)


def test_it_says_where_the_page_is_as_the_docs_show(trained, tmp_path, monkeypatch, capsys):
    (block,) = fences("docs/reports.md", "console")
    (name,) = set(re.findall(r"iris_disc-[\w-]+", block.text))
    folder = tmp_path / "runs" / "iris_disc" / name
    shutil.copytree(trained("iris_disc").folder, folder)
    monkeypatch.chdir(tmp_path)
    commands = re.findall(r"^\$ ugmm (.*)\n(.*)\n(.*)\n", block.text, re.MULTILINE)
    assert len(commands) == 2
    for command, said, written in commands:
        assert main(command.split()) == 0
        output = capsys.readouterr()
        assert (output.err, output.out) == (f"{said}\n", f"{written}\n")
        assert (tmp_path / written.removeprefix("report: ")).is_file()


def test_what_is_no_run_is_a_line(tmp_path, capsys):
    assert main(["report", str(tmp_path / "none")]) == 1
    assert "no such run folder" in capsys.readouterr().err
