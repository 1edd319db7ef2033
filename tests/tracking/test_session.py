"""Weights & Biases: what an offline run holds when it is read back, and how runs end."""

from pathlib import Path

import pytest

from ugmm.runs import Run


def test_an_offline_run_holds_what_dashboards_need(train_and_draw, inspect):
    run = train_and_draw("iris_gen", "tracking.mode=offline", "tracking.tags=[demo]", "seed=7")
    state = inspect(run)
    assert state["run_id"] == run.id
    assert state["state"] == "finished"
    assert state["exit_code"] == 0
    assert state["project"] == "ugmm-iris-generative"
    assert state["name"].startswith("max_epochs=4")  # what tells the run from its group
    assert state["tags"] == ["iris_gen", "demo"]

    config = state["config"]
    assert config["model"]["hidden"] == [20, 8]  # nested, and numbers rather than strings
    assert config["optimizer"]["lr"] == 0.02
    assert config["seed"] == 7
    assert set(config["git"]) == {"commit", "dirty"}

    summary, ours = state["summary"], run.read_summary()
    best = max(
        row["val/accuracy"] for row in run.read_metrics() if row["val/accuracy"] is not None
    )
    assert summary["val/accuracy"]["max"] == pytest.approx(best)
    assert "min" in summary["val/nll"]
    assert summary["test/accuracy"] == pytest.approx(ours["test/accuracy"])
    assert summary["parameters"] == ours["parameters"]
    for picture in ("training", "confusion", "reliability", "neurons"):
        assert summary[f"plots/{picture}"]["_type"] == "image-file"
        (file,) = run.folder.glob(f"wandb/offline-run-*/files/media/images/plots/{picture}_*.png")
        assert file.read_bytes() == (run.plots / f"{picture}.png").read_bytes()

    records = inspect(run, records=True)
    described = next(record["run"] for record in records if record["type"] == "run")
    assert described["run_group"] == "iris_gen"
    assert described["job_type"] == "train"
    history = [record["history"]["item"] for record in records if record["type"] == "history"]
    steps = [item["trainer/global_step"] for item in history if "val/accuracy" in item]
    assert len(steps) == 2
    assert steps == sorted(steps)
    (artifact,) = [record["artifact"] for record in records if record["type"] == "artifact"]
    assert artifact["type"] == "model"
    staged = artifact["manifest"]["contents"][0]["local_path"]
    assert Path(staged).is_relative_to(run.folder)  # a copied folder can still be synced


def test_a_failed_run_is_marked_failed(train, inspect, tmp_path):
    train("iris_disc", "tracking.mode=offline", "optimizer={name: sgd, lr: 1.0e+6}")
    (folder,) = (tmp_path / "runs").glob("*/*")
    state = inspect(Run.open(folder))
    assert state["exit_code"] == 1
    assert state["state"] != "finished"


def test_two_runs_in_one_process_are_two_runs(train, inspect):
    one, two = (train("iris_disc", "tracking.mode=offline", f"seed={seed}") for seed in (1, 2))
    states = [inspect(run) for run in (one, two)]
    assert [state["config"]["seed"] for state in states] == [1, 2]
    assert states[0]["run_id"] != states[1]["run_id"]
