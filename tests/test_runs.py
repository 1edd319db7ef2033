"""Run folders: made once, written whole, read back as written."""

import os

import pytest

from ugmm.errors import UserError
from ugmm.runs import Run, locate


def test_every_run_has_a_folder_of_its_own(tmp_path):
    runs = [Run.create(tmp_path, "mnist_disc", "dropout=0.3 seed=1") for _ in range(20)]
    assert len({run.id for run in runs}) == 20
    assert all(run.id.startswith("dropout-0.3_seed-1-") for run in runs)
    assert runs[0].folder.parent == tmp_path / "mnist_disc"


def test_processes_of_one_launch_share_a_folder(tmp_path):
    first, second = (Run.create(tmp_path, "group", "name", "slurm17") for _ in range(2))
    assert first.folder == second.folder == tmp_path / "group" / "name-slurm17"


@pytest.mark.parametrize("name", ["../../etc", "a/b", "ü : ?#", "", "." * 300])
def test_names_become_plain_file_names(tmp_path, name):
    run = Run.create(tmp_path, name, name)
    assert run.folder.parent.parent == tmp_path
    assert len(run.id) <= 128  # what W&B allows
    assert set(run.id) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-")


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"cannot write .*: Not a directory"):
        Run.create(tmp_path / "file", "group", "name")


def test_only_run_folders_open(tmp_path):
    with pytest.raises(UserError, match="no such run folder"):
        Run.open(tmp_path / "nowhere")
    with pytest.raises(UserError, match="not a run folder"):
        Run.open(tmp_path)


@pytest.fixture
def three(tmp_path, monkeypatch):
    """Runs of two groups in `runs`, the oldest first, and what lies beside them."""
    monkeypatch.chdir(tmp_path)
    runs = [Run.create("runs", group, "name") for group in ("a", "a", "b")]
    for age, run in enumerate(runs):
        run.freeze("seed: 1\n")
        os.utime(run.config, (age, age))
        run.checkpoints.mkdir()
        run.best.touch()
    Run.create("runs", "b", "not_begun")
    return runs


def test_a_run_is_located_by_its_folder_or_a_checkpoint(three, capsys):
    first = three[0]
    run, checkpoint = locate(first.folder)
    assert (run.folder, checkpoint) == (first.folder, None)
    assert locate(first.checkpoints)[0].folder == first.folder
    run, checkpoint = locate(str(first.best))
    assert (run.id, checkpoint) == (first.id, first.best)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(("place", "number"), [("latest", 2), ("runs", 2), ("runs/a", 1)])
def test_a_folder_of_runs_stands_for_the_newest_which_is_told(three, capsys, place, number):
    run, checkpoint = locate(place)
    assert (run.folder, checkpoint) == (three[number].folder, None)
    at = "runs" if place == "latest" else place
    assert capsys.readouterr().err == f"the newest run of {at} is {run.folder}\n"


@pytest.mark.parametrize(
    ("place", "line"),
    [
        ("latest", r"there is no run in .*runs; name a run folder"),
        ("nowhere", "no such run folder: nowhere"),
        (".", "not a run folder"),
        ("other.ckpt", "no checkpoint at other.ckpt"),
        ("lone/deep/lone.ckpt", "is not a run folder"),
    ],
)
def test_where_there_is_no_run(tmp_path, monkeypatch, place, line):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lone" / "deep").mkdir(parents=True)
    (tmp_path / "lone" / "deep" / "lone.ckpt").touch()
    with pytest.raises(UserError, match=line):
        locate(place)


def test_freeze_and_summary_round_trip(tmp_path):
    run = Run.create(tmp_path, "group", "name")
    assert run.read_summary() == {}
    run.freeze("seed: 1\n")
    run.write_summary({"test/accuracy": 0.5})
    again = Run.open(run.folder)
    assert again.config.read_text() == "seed: 1\n"
    assert again.read_summary() == {"test/accuracy": 0.5}
    environment = again.read_environment()
    assert environment["packages"]["torch"]
    assert set(environment["git"]) == {"commit", "dirty"}


def test_metrics_survive_a_line_that_was_cut_short(tmp_path):
    run = Run.create(tmp_path, "group", "name")
    run.metrics.write_text("epoch,step,val/accuracy\n0,9,0.5\n1,19,0.7")
    assert run.read_metrics() == [{"epoch": 0, "step": 9, "val/accuracy": 0.5}]


@pytest.mark.parametrize(
    "line", [b"1,x,0.5", b"1,2,0.5,4", b"1,2,\xff", b"inf,1,0.5", b"nan,1,0.5"]
)
def test_damaged_metrics_are_one_line(tmp_path, line):
    run = Run.create(tmp_path, "group", "name")
    run.metrics.write_bytes(b"epoch,step,val/accuracy\n" + line + b"\n")
    with pytest.raises(UserError, match=r"metrics\.csv is damaged"):
        run.read_metrics()


@pytest.mark.parametrize("content", [b'{"a": 1', b"[]", b"", b"\xff"])
@pytest.mark.parametrize("name", ["summary", "environment", "spec"])
def test_damaged_json_is_one_line(tmp_path, name, content):
    run = Run.create(tmp_path, "group", "name")
    getattr(run, name).write_bytes(content)
    with pytest.raises(UserError, match=rf"{name}\.json is damaged") as mistake:
        getattr(run, f"read_{name}")()
    assert "\n" not in str(mistake.value)


@pytest.mark.parametrize("value", ['"0.5"', "null", "[1]", "true", "1" + 400 * "0"])
def test_a_summary_holds_numbers(tmp_path, value):
    run = Run.create(tmp_path, "group", "name")
    run.summary.write_text(f'{{"test/accuracy": {value}}}')
    with pytest.raises(UserError, match=r"summary\.json is damaged \(test/accuracy is"):
        run.read_summary()


def test_confusions_are_read_back_and_damaged_ones_are_one_line(tmp_path):
    run = Run.create(tmp_path, "group", "name")
    assert run.read_confusion() is None
    run.write_confusion(("a", "b"), [[3, 0], [1, 2]])
    assert run.read_confusion() == (["a", "b"], [[3, 0], [1, 2]])
    for content in ("{", "5", '{"classes": ["a"]}', '{"classes": ["a"], "counts": [[1, 2]]}'):
        run.confusion.write_text(content)
        with pytest.raises(UserError, match=r"confusion\.json is damaged"):
            run.read_confusion()
    run.confusion.write_text('{"classes": ["a"], "counts": [["x"]]}')
    with pytest.raises(UserError, match=r"no square of counts\); remove it"):
        run.read_confusion()
