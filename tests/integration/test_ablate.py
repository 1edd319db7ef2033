"""An ablation by the command: killed, shared, with points that fail."""

import json
import os
import signal
import time
from pathlib import Path

import pytest

from ugmm.runs import Run

TEXT = """# A small ablation
experiment: iris_disc
seeds: [0, 1]
set: {tracking.mode: disabled, trainer.max_epochs: 60}
variants:
  plain: {}
  dropout: {model.dropout: 0.3}
"""


@pytest.fixture
def start(ugmm_command, tmp_path):
    """Write the ablation; returns what starts it."""
    for folder in ("configs", "experiments"):
        (tmp_path / folder).symlink_to(Path(__file__).parents[2] / folder)
    (tmp_path / "small.yaml").write_text(TEXT)

    def start(*arguments, anew=False):
        how = ugmm_command.start_anew if anew else ugmm_command.start
        return how("ablate", "small.yaml", *arguments)

    return start


def ended(process):
    output, errors = process.communicate(timeout=180)
    return process.returncode, output + errors


def summaries(tmp_path):
    """By folder, the figures of each run that ended, times aside."""
    folders = (tmp_path / "runs/small").glob("*_seed-*")
    read = {folder.name: Run(folder).read_summary() for folder in folders}
    return {name: {**figures, "seconds": 0} for name, figures in read.items() if figures}


def logged(tmp_path):
    """The points that workers began, in all logs."""
    logs = (tmp_path / "runs/small/ablation/logs").glob("*.txt")
    lines = [line for log in logs for line in log.read_text().splitlines()]
    return [line.split()[1].rstrip(":") for line in lines if line.startswith("== ")]


def wait_until(condition, process):
    deadline = time.monotonic() + 120
    while not condition():
        assert process.poll() is None, ended(process)
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.slow
def test_killed_ablations_end_like_an_unbroken_one(start, tmp_path):
    def begun():
        return set(logged(tmp_path))

    for done in (0, 1, 2):  # how many runs there are when the kill comes, in the middle of others
        process = start("--jobs", "2", anew=True)
        wait_until(lambda done=done: len(summaries(tmp_path)) >= done < len(begun()), process)
        process.kill()
        process.communicate()
    code, output = ended(start("--jobs", "2", anew=True))
    assert code == 0, output
    assert "4 done; runs in" in output
    broken = summaries(tmp_path)
    assert len(broken) == 4
    (tmp_path / "runs").rename(tmp_path / "broken")
    assert ended(start())[0] == 0
    assert summaries(tmp_path) == broken
    assert sorted(set(logged(tmp_path))) == sorted(logged(tmp_path))  # each once


def test_two_share_the_points_and_one_is_killed(start, tmp_path):
    first, second = start(), start()
    wait_until(lambda: len(set(logged(tmp_path))) >= 2, first)
    first.send_signal(signal.SIGKILL)
    first.communicate()
    code, output = ended(second)
    assert code == 0, output
    assert "4 done; runs in" in output
    assert len(summaries(tmp_path)) == 4
    begun = logged(tmp_path)
    assert len(begun) <= 5  # the killed one's point was begun twice, no other
    assert len(set(begun)) == 4


def test_a_failing_point_is_reported_and_retried(start, tmp_path):
    path = tmp_path / "small.yaml"
    path.write_text(
        TEXT.replace(
            "dropout: {model.dropout: 0.3}", "broken: {optimizer.lr: 1.0e+6, model.min_scale: 0}"
        )
    )
    code, output = ended(start())
    assert code == 1
    assert "2 done, 2 failed; runs in" in output
    assert "broken, seed=0: the loss is nan" in output
    assert "Traceback" not in output
    plan = json.loads((tmp_path / "runs/small/ablation/plan.json").read_text())
    assert len(plan["points"]) == 4
    begun = len(logged(tmp_path))
    code, output = ended(start())  # nothing is tried again unasked
    assert (code, len(logged(tmp_path))) == (1, begun)
    ended(start("--retry"))
    assert len(logged(tmp_path)) == begun + 2


def test_sigterm_ends_workers_too(start, tmp_path):
    process = start("--jobs", "2")
    wait_until(lambda: len(logged(tmp_path)) >= 2, process)
    workers = children(process.pid)
    assert workers
    process.terminate()
    assert ended(process)[0] == 128 + signal.SIGTERM
    deadline = time.monotonic() + 20  # multiprocessing's own helper takes a moment
    while any(Path(f"/proc/{pid}").exists() for pid in workers):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def children(pid):
    path = Path(f"/proc/{pid}/task/{pid}/children")
    if not path.exists():
        pytest.skip("needs /proc")
    return [int(child) for child in path.read_text().split() if int(child) != os.getpid()]


SEARCH = """# A small search
experiment: iris_disc
seeds: [0]
metric: val/nll
search: optuna
trials: 6
set: {tracking.mode: disabled, trainer.max_epochs: 30}
space:
  optimizer.lr: {low: 0.003, high: 0.1, log: true}
  model.hidden: [[10, 5], [20]]
"""


def test_a_killed_search_ends_with_its_trials(start, tmp_path):
    pytest.importorskip("optuna", reason="optuna is not installed")
    (tmp_path / "small.yaml").write_text(SEARCH)
    process = start("--jobs", "2")
    runs = tmp_path / "runs/small"
    wait_until(lambda: len(list(runs.glob("*/summary.json"))) >= 2, process)
    process.kill()
    process.communicate()
    code, output = ended(start("--jobs", "2"))
    assert code == 0, output
    assert "best of 6 trials: val/nll" in output
    trials = json.loads((runs / "ablation" / "trials.json").read_text())["trials"]
    assert len(trials) == 6
    points = [point for trial in trials for rung in trial["rungs"] for point in rung]
    assert all(len(list(runs.glob(f"*-{point}/summary.json"))) == 1 for point in points)
    assert len(list(runs.glob("*/summary.json"))) == len(set(points))
