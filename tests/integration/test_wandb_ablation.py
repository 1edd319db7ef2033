"""An ablation in Weights & Biases: its runs by either road, and its dashboard."""

import json
import re
from pathlib import Path

import pytest

from ugmm.runs import Run
from waiting import wait_until

pytest.importorskip("wandb_workspaces", reason="wandb-workspaces is not installed: not tested")

TEXT = """# Does dropout help?
experiment: iris_disc
seeds: [0, 1]
report: [test/nll]
set: {trainer.max_epochs: 20}
grid: {model.dropout: [0.0, 0.3]}
"""


@pytest.fixture
def small(online, tmp_path, monkeypatch):
    """The command, started in a folder that holds an ablation."""
    for folder in ("configs", "experiments"):
        (tmp_path / folder).symlink_to(Path(__file__).parents[2] / folder)
    (tmp_path / "small.yaml").write_text(TEXT)
    monkeypatch.chdir(tmp_path)
    return online


def check_runs(server, tmp_path):
    """What a dashboard finds: four runs in one group, each with its variant and its model."""
    runs = list(server.store.runs.values())
    assert len(runs) == 4
    assert {run.attributes["groupName"] for run in runs} == {"small"}
    assert {run.attributes["project"] for run in runs} == {"ugmm-iris-discriminative"}
    places = sorted((run.config["variant"], run.config["seed"]) for run in runs)
    variants = ("model.dropout=0.0", "model.dropout=0.3")
    assert places == [(variant, seed) for variant in variants for seed in (0, 1)]
    for run in runs:
        assert run.exit_code == 0
        assert run.config["model"]["dropout"] == float(run.config["variant"][-3:])
        figures = Run(tmp_path / run.config["run_folder"]).read_summary()
        assert run.summary["test/accuracy"] == pytest.approx(figures["test/accuracy"])
        assert "max" in run.summary["val/accuracy"]
        assert len(server.store.artifacts_of(run.name)) == 1
    return runs


def test_an_online_ablation_and_its_dashboard(small, server, tmp_path):
    small("ablate", "small.yaml", "--jobs", "2")
    runs = check_runs(server, tmp_path)
    assert "saved: " in small("dashboard", "small.yaml")
    (view,) = server.store.views
    assert view["displayName"] == "Does dropout help?"
    check_keys(view["spec"], runs[0])
    printed = json.loads(small("dashboard", "small.yaml", "--dry-run"))
    check_keys(json.dumps(printed["spec"]), runs[0])


def check_keys(spec, run):
    """Every key that a workspace names is one that a run has."""
    summary, config = set(run.summary), run.config
    logged = {key for row in run.history for key in row}
    named = set(re.findall(r'"config:([^"]+)"', spec))
    named |= set(re.findall(r'"groupBy": ?"([^"]+)"', spec))
    assert {"variant", "model.dropout", "seed"} <= {name.replace(".value", "") for name in named}
    for name in named:
        value = config
        for part in name.replace(".value", "").split("."):
            value = value[part]
    summarised = set(re.findall(r'"(?:summary:|summary_metrics\.)([^"]+)"', spec))
    assert {"test/accuracy", "test/nll"} <= summarised <= summary
    lines = {
        key
        for found in re.findall(r'"metrics": ?\[([^\]]*)\]', spec)
        for key in re.findall(r'"([^"]+)"', found)
    }
    lines = {key for key in lines if not key.startswith("summary_metrics.")}
    assert {"val/accuracy", "val/nll"} <= lines <= logged
    axes = set(re.findall(r'"xAxis": ?"([^"]+)"', spec))
    assert {"trainer/global_step"} <= axes <= logged


def test_a_point_is_run_as_an_agent_of_a_sweep_asks(small, server, tmp_path):
    agents = {"WANDB_SWEEP_ID": "sweep1", "WANDB_RUN_ID": "given"}
    small("ablate", "small.yaml", "--point=model.dropout=0.3 seed=1", **agents)
    (run,) = server.store.runs.values()
    assert (run.name, run.attributes["sweep"], run.exit_code) == ("given", "sweep1", 0)
    assert (run.config["variant"], run.config["seed"]) == ("model.dropout=0.3", 1)
    figures = Run(tmp_path / run.config["run_folder"]).read_summary()
    assert run.summary["test/accuracy"] == pytest.approx(figures["test/accuracy"])


@pytest.mark.slow
def test_a_sweep_runs_the_same_points(small, server, tmp_path):
    output = small("ablate", "small.yaml", "--wandb")
    assert "other machines join by: wandb agent tester/ugmm-iris-discriminative/sweep1" in output
    assert "4 done" in output
    runs = check_runs(server, tmp_path)
    (sweep,) = server.store.sweeps.values()
    assert {run.name for run in runs} == set(sweep.given)
    for run in runs:
        assert run.config["variant"] in sweep.given[run.name]["point"]
    assert "4 done" in small("ablate", "small.yaml", "--wandb")  # nothing is left, no sweep made
    assert len(server.store.sweeps) == 1
    assert len(server.store.runs) == 4


def test_without_an_account_each_is_one_line(small):
    for command in (("ablate", "small.yaml", "--wandb"),):
        output = small(*command, code=1, WANDB_API_KEY="")
        assert "no W&B account is configured" in output.splitlines()[-1]
        assert "Traceback" not in output
    output = small("dashboard", "small.yaml", code=1, WANDB_API_KEY="")
    assert "holds no W&B run: start the ablation" in output
    assert "Traceback" not in output


@pytest.mark.slow
def test_an_ablation_outlives_its_server(small, server, tmp_path):
    process = small.start("ablate", "small.yaml", "--jobs", "2")
    wait_until(lambda: server.store.runs)
    server.stop()
    out, err = process.communicate(timeout=240)
    assert process.returncode == 0, out + err
    assert "4 done" in out
    logs = "".join(path.read_text() for path in (tmp_path / "runs").rglob("worker-*.txt"))
    told = [line for line in logs.splitlines() if "ugmm sync" in line]
    assert len(told) == 4  # of each run once: that W&B has not got it all, or that it is offline
    server.start()
    assert small("sync").count("uploaded") == 4
    check_runs(server, tmp_path)
    assert small("sync") == "nothing to upload\n"
