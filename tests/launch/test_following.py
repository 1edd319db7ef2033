"""Where runs stand, what their jobs have written, and ending them: of real run folders."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time

import pytest

from ugmm.cli import main
from ugmm.cluster.lock import holding
from ugmm.launch.jobs import add_job
from ugmm.runs import Run
from ugmm.studies.ablation import read_ablation


@pytest.fixture
def run(home, trained):
    """A run of four epochs of two steps, as if it had been stopped before its test."""
    folder = home / "runs" / "iris_disc" / "iris_disc-1"
    shutil.copytree(trained("iris_disc").folder, folder)
    (folder / "summary.json").unlink()
    (folder / ".lock").unlink()
    return Run(folder.relative_to(home))


@pytest.fixture
def status(capsys):
    """What the table says of each run, by the column."""

    def status(*places):
        assert main(["status", *places]) == 0
        lines = capsys.readouterr().out.splitlines()
        cells = [[c.strip() for c in re.split("[│┃]", line)[1:-1]] for line in lines]
        header, *rows = [row for row in cells if row] or [[]]
        return [dict(zip(header, row, strict=True)) for row in rows], lines

    return status


def queue(commands, *lines):
    commands.make("squeue", out="".join(f"{line}\n" for line in lines))


def test_a_run_that_nobody_works_on_is_stopped(run, commands, status):
    (row,), lines = status()
    assert (row["run"], row["state"]) == (str(run.folder), "stopped")
    assert row["epoch"] == "4/4"
    # What chose its best checkpoint; of this experiment, that is better the lower it is.
    best = min(r["val/nll"] for r in run.read_metrics() if r["val/nll"] is not None)
    assert row["best"] == f"val/nll {best:#.4g}"
    assert row["left"] == "–"  # noqa: RUF001
    assert lines[-1] == "1 run: 1 stopped"
    assert commands.told("squeue") == []  # nothing that it could be asked about


def test_a_run_that_is_worked_on_tells_its_speed_and_what_is_left(run, commands, status):
    steps = max(int(row["step"]) for row in run.read_metrics())
    header, *rows = run.metrics.read_text().splitlines(keepends=True)
    half = [row for row in rows if int(row.split(",")[0]) < 2]
    run.metrics.unlink()
    with holding(run):
        run.metrics.write_text("".join([header, *half]))
        now = time.time()
        os.utime(run.metrics, (now + 100, now + 100))
        (row,), _ = status(str(run.folder))
    assert row["state"] == "running"
    assert row["epoch"] == "2/4"
    done, total = map(int, row["step"].split("/"))
    assert total == pytest.approx(steps, abs=1)
    assert done == total / 2
    assert float(row["steps/s"]) == pytest.approx((done - 1) / 100, rel=0.05)
    assert float(row["left"].removesuffix(" s")) == pytest.approx(
        (total - done) / ((done - 1) / 100), rel=0.1
    )
    assert status(str(run.folder))[0][0]["state"] == "stopped"


@pytest.mark.parametrize(
    ("line", "state", "job"),
    [
        ("17|PENDING|Resources", "waiting", "17 PENDING (Resources)"),
        ("17|RUNNING|None", "running", "17 RUNNING"),
        ("17|CANCELLED|None", "stopped", "17 CANCELLED"),
        ("17|TIMEOUT|TimeLimit", "stopped", "17 TIMEOUT"),
        ("17|NODE_FAIL|None", "failed", "17 NODE_FAIL"),
        ("18|RUNNING|None", "stopped", "17"),
    ],
)
def test_a_job_has_the_state_that_slurm_says(run, commands, status, line, state, job):
    add_job(run.folder, "16")
    add_job(run.folder, "17")
    queue(commands, "16|RUNNING|None", line)
    (row,), _ = status()
    assert (row["state"], row["job"]) == (state, job)
    (told,) = commands.told("squeue")
    assert told["argv"][-1] == f"--user={os.getuid()}"


def test_a_job_that_still_draws_is_running(run, commands, status):
    add_job(run.folder, "17")
    run.write_summary({"steps": 8, "seconds": 2.0})
    run.undrawn.touch()
    queue(commands, "17|RUNNING|None")
    assert status(str(run.folder))[0][0]["state"] == "running"
    queue(commands, "17|TIMEOUT|None")  # its figures are safe
    assert status(str(run.folder))[0][0]["state"] == "finished"
    queue(commands, "17|RUNNING|None")
    run.undrawn.unlink()
    (row,), _ = status(str(run.folder))
    assert (row["state"], row["steps/s"]) == ("finished", "4")


def test_a_run_that_has_begun_and_waits_was_requeued(run, commands, status, monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    with holding(run):
        pass
    add_job(run.folder, "17")
    queue(commands, "17|PENDING|BeginTime")
    assert status()[0][0]["state"] == "requeued"


def test_accounts_are_asked_for_what_slurm_has_forgotten(run, commands, status):
    add_job(run.folder, "17")
    queue(commands, "18|RUNNING|None")
    commands.make("sacct", out="17|OUT_OF_MEMORY\n")
    (row,), _ = status()
    assert (row["state"], row["job"]) == ("failed", "17 OUT_OF_MEMORY")
    assert commands.told("sacct")[0]["argv"][-1] == "--jobs=17"
    commands.make("sacct", err="Slurm accounting storage is disabled\n", code=1)
    assert status()[0][0]["state"] == "stopped"


def test_slurm_that_does_not_answer_is_a_warning(run, commands, capsys):
    add_job(run.folder, "17")
    said = "slurm_load_jobs error: Unable to contact slurm controller (connect failure)\n"
    commands.make("squeue", err=said, code=1)
    assert main(["status"]) == 0
    assert "Unable to contact slurm controller" in capsys.readouterr().err


def elsewhere(run, **changes):
    """Let a run be held by a process of another machine."""
    with holding(run):
        signature = json.loads((run.folder / ".lock").read_text())
    signature["owner"] |= {"host": "node7", "pid": 4242}
    (run.folder / ".lock").write_text(json.dumps({**signature, **changes}))


def test_a_process_elsewhere_is_judged_by_what_it_writes_or_its_job(run, commands, status):
    elsewhere(run)
    assert status()[0][0]["state"] == "running"
    for path in run.folder.iterdir():
        os.utime(path, (0, 0))
    assert status()[0][0]["state"] == "stopped"
    elsewhere(run, job="17_3")
    queue(commands, "17_3|RUNNING|None")
    (row,), _ = status()
    assert (row["state"], row["job"]) == ("running", "17_3 RUNNING")
    queue(commands, "17_4|RUNNING|None")
    assert status()[0][0]["state"] == "stopped"


def test_a_script_that_was_submitted_again_by_hand_is_found_by_its_process(
    run, commands, status, capsys
):
    add_job(run.folder, "17")
    elsewhere(run, job="19")
    queue(commands, "17|TIMEOUT|TimeLimit", "19|RUNNING|None")
    commands.make("scancel")
    (row,), _ = status()
    assert (row["state"], row["job"]) == ("running", "19 RUNNING")
    assert main(["cancel", str(run.folder)]) == 0
    assert [told["argv"] for told in commands.told("scancel")] == [["19"]]


TEXT = (
    "experiment: iris_disc\nseeds: [0, 1]\nvariants:\n  plain: {}\n  wide: {model.hidden: [9]}\n"
)


@pytest.fixture
def ledger(home):
    (home / "mine.yaml").write_text(TEXT)
    found = read_ablation("mine.yaml")
    found.open_ledger().extend(found.points)
    return found.open_ledger()


def test_the_points_of_an_ablation_are_named_whether_they_have_begun_or_not(
    ledger, commands, status, trained
):
    done, failed, *_ = ledger.read_points()
    shutil.copytree(trained("iris_disc").folder, done.run.folder)
    ledger.write_failure(failed, ValueError("no"))
    add_job(ledger.folder, "18")
    queue(commands, "18_0|RUNNING|None", "18_1|PENDING|JobArrayTaskLimit")
    rows, lines = status("mine")
    assert [(row["run"], row["state"]) for row in rows] == [
        ("plain seed=0", "finished"),
        ("plain seed=1", "failed"),
        ("wide seed=0", "waiting"),
        ("wide seed=1", "waiting"),
    ]
    assert lines[-2:] == [
        "4 runs: 1 finished, 1 failed, 2 waiting",
        "job 18 of runs/mine/ablation: 1 RUNNING, 1 PENDING (JobArrayTaskLimit)",
    ]
    rows, lines = status()  # what is finished is not asked for
    assert [row["state"] for row in rows] == ["failed", "waiting", "waiting"]
    (row,), _ = status(str(done.run.folder))
    assert row["run"] == "plain seed=0"


def test_watching_ends_with_the_last_run(run, commands, monkeypatch, capsys):
    looks = []

    def sleep(_seconds):
        looks.append(1)
        if len(looks) == 2:
            queue(commands, "17|COMPLETED|None")

    monkeypatch.setattr("ugmm.launch.following.status.time.sleep", sleep)
    add_job(run.folder, "17")
    queue(commands, "17|RUNNING|None")
    assert main(["status", "--watch"]) == 0
    assert len(looks) == 2
    assert capsys.readouterr().out.count("17 RUNNING") == 2


def test_logs_are_the_newest_output_of_a_job(run, commands, capsys):
    for number, age in ((16, 100), (17, 50)):
        path = run.folder / f"job-{number}.out"
        path.write_text(f"job {number}\n")
        os.utime(path, (time.time() - age,) * 2)
    for place in (str(run.folder), "runs/iris_disc", "iris_disc"):
        assert main(["logs", place]) == 0
        assert capsys.readouterr().out == "job 17\n"


def test_logs_of_a_point_are_those_of_its_worker(ledger, commands, capsys):
    point = ledger.read_points()[0]
    point.run.folder.mkdir()
    point.run.freeze(json.dumps(dict(point.config)))
    with holding(point.run):
        pass
    logs = ledger.folder / "logs"
    logs.mkdir()
    (logs / f"worker-{os.getpid()}.txt").write_text("epoch 1\n")
    (logs / "job-18_0.out").write_text("started: plain\n")
    assert main(["logs", str(point.run.folder)]) == 0
    assert capsys.readouterr().out == "epoch 1\n"
    add_job(ledger.folder, "18")
    assert main(["logs", "mine"]) == 0
    assert capsys.readouterr().out == "started: plain\n"


def test_logs_are_followed_until_the_job_ends(run, commands, monkeypatch, capsys):
    path = run.folder / "job-17.out"
    add_job(run.folder, "17")
    queue(commands, "17|PENDING|Priority")
    written = [b"begun\n", b"half of \xc3", b"\xa4 line\n", b"the end\n"]

    def sleep(_seconds):
        with path.open("ab") as file:
            file.write(written.pop(0))
        if not written:
            queue(commands, "17|COMPLETED|None")

    monkeypatch.setattr("ugmm.launch.following.output.time.sleep", sleep)
    monkeypatch.setattr("ugmm.launch.following.output._ASK_SECONDS", 0)
    assert main(["logs", "--follow", str(run.folder)]) == 0
    output = capsys.readouterr()
    assert output.out == "begun\nhalf of ä line\nthe end\n"
    assert output.err == f"{run.folder} has not begun; its output will follow\n"


def test_without_output_a_line_says_where_it_may_be(run, home, commands, capsys):
    assert main(["logs", str(run.folder)]) == 1
    assert "has no output of a job; see: ugmm status" in capsys.readouterr().err
    with holding(run):
        pass
    assert main(["logs", str(run.folder)]) == 1
    where = (
        rf"is no job: its output went where it was started \(ugmm.*\) on {socket.gethostname()}"
    )
    assert re.search(where, capsys.readouterr().err)
    add_job(run.folder, "17")
    assert main(["logs", str(run.folder)]) == 1
    assert (
        "job 17 of runs/iris_disc/iris_disc-1 has written nothing yet" in capsys.readouterr().err
    )
    assert main(["logs", "nothing"]) == 1
    assert "no such folder: nothing; name that of a run" in capsys.readouterr().err


def test_a_job_is_cancelled(run, commands, capsys):
    add_job(run.folder, "17")
    queue(commands, "17|RUNNING|None")
    commands.make("scancel")
    assert main(["cancel", str(run.folder)]) == 0
    assert commands.told("scancel")[0]["argv"] == ["17"]
    assert capsys.readouterr().out == f"cancelled job 17: {run.folder}\n"
    queue(commands, "17|COMPLETED|None")
    assert main(["cancel", str(run.folder)]) == 1
    assert "nothing of runs/iris_disc/iris_disc-1 runs or waits" in capsys.readouterr().err
    assert len(commands.told("scancel")) == 1


def test_a_refusal_of_scancel_is_one_line(run, commands, capsys):
    add_job(run.folder, "17")
    queue(commands, "17|RUNNING|None")
    said = "scancel: error: Kill job error on job id 17: Access/permission denied\n"
    commands.make("scancel", err=said, code=1)
    assert main(["cancel", str(run.folder)]) == 1
    line = (
        "ugmm: error: job 17 cannot be cancelled: Kill job error on job id 17: Access/permission"
    )
    assert capsys.readouterr().err.startswith(line)


def test_the_array_of_a_study_is_cancelled_as_one(ledger, commands, capsys):
    add_job(ledger.folder, "18")
    queue(commands, "18_0|COMPLETED|None", "18_1|RUNNING|None", "18_2|PENDING|None")
    commands.make("scancel")
    assert main(["cancel", "mine"]) == 0
    assert [told["argv"] for told in commands.told("scancel")] == [["18"]]
    assert capsys.readouterr().out == "cancelled job 18: runs/mine/ablation\n"


HOLD = """
import pathlib, signal, sys
from ugmm.cluster.lock import holding
from ugmm.runs import Run
with holding(Run(pathlib.Path(sys.argv[1]))):
    print("held", flush=True)
    signal.pause()
"""


def test_a_process_of_this_machine_is_told_to_stop(run, commands, status, capsys):
    command = [sys.executable, "-c", HOLD, str(run.folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        assert status()[0][0]["state"] == "running"
        assert main(["cancel", str(run.folder)]) == 0
        assert process.wait(20) == -signal.SIGTERM
    assert f"told process {process.pid} to stop: {run.folder}\n" in capsys.readouterr().out
    assert status()[0][0]["state"] == "stopped"
    assert main(["cancel", str(run.folder)]) == 1


def test_a_process_elsewhere_is_left_to_who_can_reach_it(run, commands, capsys):
    elsewhere(run)
    assert main(["cancel", str(run.folder)]) == 1
    error = capsys.readouterr().err
    assert "was begun by process 4242 on node7 (ugmm" in error
    assert error.endswith("which cannot be reached from here; end it there\n")
    assert error.count("\n") == 1


def test_nothing_here_imports_torch(home):
    code = "import sys; from ugmm.cli import main; main(['status', '.']); main(['logs', 'x']); "
    code += "main(['launch', 'iris_disc', 'cluster=slurm', '--dry-run']); main(['cancel', '.']); "
    code += "print(sorted({'torch', 'lightning'} & {*sys.modules}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("[]\n")
