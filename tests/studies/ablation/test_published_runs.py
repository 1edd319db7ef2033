"""What `ugmm compare --publish` keeps of runs, and `--published` shows of them."""

import math
import shutil
from pathlib import Path

import pandas as pd
from compare_cases import TEXT

from ugmm.cli import main


def test_a_published_section_replaces_its_own(made_up, root):
    made_up()
    path = root / "experiments" / "RESULTS.md"
    path.write_text("# Mine\n\n<!-- other -->\nkept\n<!-- /other -->\n")
    for _ in range(2):
        assert main(["compare", "mine.yaml", "--publish"]) == 0
    text = path.read_text()
    assert text.startswith("# Mine\n\n<!-- other -->\nkept\n<!-- /other -->\n\n")
    assert text.count("<!-- mine -->\n### Does dropout help?\n") == 1
    assert "| plain | 4 |" in text
    assert (root / "docs" / "images" / "ablations" / "mine.png").is_file()
    assert "[published/ablations/mine.csv](published/ablations/mine.csv)" in text


def test_what_was_published_is_shown_without_the_runs(made_up, root, capsys):
    lost = {("=wide", "seed=0 fold=1")}
    nan = {("dropout", "seed=1 fold=0"): {"test/nll": math.nan}}
    made_up(TEXT.replace("wide:", "'=wide':"), left_out=lost, also=nan)
    assert main(["compare", "mine.yaml", "--publish"]) == 0
    shown = capsys.readouterr().out.partition("the same as a page")[0]
    path = root / "experiments" / "RESULTS.md"
    page = path.read_bytes()
    shutil.rmtree("runs")
    path.unlink()
    assert main(["compare", "mine.yaml", "--published"]) == 0
    assert capsys.readouterr().out == shown
    assert main(["compare", "mine.yaml", "--published", "--publish"]) == 0
    assert path.read_bytes() == page
    assert not Path("runs").exists()
    kept = pd.read_csv(root / "experiments/published/ablations/mine.csv", dtype=str)
    assert len(kept) == 23
    assert set(kept["commit"]) == {"0123456789"}
    assert set(kept["machine"]) == {"Linux, 2 CPUs"}


def test_published_runs_stay_when_their_folders_are_gone(made_up, root, capsys):
    path = root / "experiments/published/ablations/mine.csv"
    made_up()
    assert main(["compare", "mine.yaml", "--publish"]) == 0
    whole, lines = path.read_bytes(), pd.read_csv(path, dtype=str)
    gone = lines[(lines["variant"] != "plain") | (lines["seed"] == "0")]
    for folder in gone["run"]:
        shutil.rmtree(folder)
    capsys.readouterr()
    assert main(["compare", "mine.yaml"]) == 0
    assert f"{len(lines) - len(gone)} of {len(lines)} runs are finished" in capsys.readouterr().out
    assert main(["compare", "mine.yaml", "--publish"]) == 0
    assert path.read_bytes() == whole

    # What the file no longer asks for does not stay.
    Path("mine.yaml").write_text(TEXT.replace("dropout: 0.3", "dropout: 0.2"))
    assert main(["compare", "mine.yaml", "--publish"]) == 0
    assert set(pd.read_csv(path)["variant"]) == {"plain", "wide"}


def test_what_was_published_may_be_missing_or_damaged(made_up, root, capsys):
    made_up()
    assert main(["compare", "mine.yaml", "--published"]) == 1
    error = capsys.readouterr().err
    assert "no run of mine is kept in" in error
    assert "publish it: ugmm compare mine.yaml --publish" in error
    assert main(["compare", "mine.yaml", "--publish"]) == 0
    path = root / "experiments/published/ablations/mine.csv"
    for old, new in (("plain,0,0,0.", "plain,zero,0,0."), ("variant,", "variants,")):
        text = path.read_text()
        path.write_text(text.replace(old, new))
        capsys.readouterr()
        assert main(["compare", "mine.yaml", "--published"]) == 1
        error = capsys.readouterr().err
        assert "published/ablations/mine.csv is damaged (line 2: " in error
        assert error.count("\n") == 1
        path.write_text(text)
