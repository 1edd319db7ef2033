"""When a job must stop, and how it comes again, asked of a Slurm that is the test's own script."""

import os
import signal
import time

import pytest

from ugmm.cluster import preemption, signals
from ugmm.cluster.preemption import Notice, requeuing

JOB = {
    "JobId": "17", "JobState": "RUNNING", "Requeue": "1", "BatchFlag": "1", "Reason": "None",
}  # fmt: skip


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """Start `scontrol` and `squeue` that answer what they are told; gives what they were asked."""
    for name in [name for name in os.environ if name.startswith(("SLURM_", "TORCHELASTIC"))]:
        monkeypatch.delenv(name)
    monkeypatch.delenv("UGMM_RUN_FOLDER", raising=False)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    asked = tmp_path / "asked"

    def slurm(end="N/A", environment=(), refuses="", **job):
        shown = " ".join(f"{name}={value}" for name, value in {**JOB, **job}.items())
        answers = {
            "squeue": f"echo {end}",
            "scontrol": f"""case $1 in
                show) echo "{shown}";;
                requeue) echo "$@" >> {asked}; [ -z "{refuses}" ] || {{ echo "{refuses}" >&2; exit 1; }};;
            esac""",  # noqa: E501
        }
        for name, answer in answers.items():
            program = tmp_path / name
            program.write_text(f"#!/bin/sh\n{answer}\n")
            program.chmod(0o755)
        for name, value in {"SLURM_JOB_ID": "17", **dict(environment)}.items():
            monkeypatch.setenv(name, value)
        return lambda: asked.read_text().splitlines() if asked.exists() else []

    return slurm


def preempted(place="epoch 3, step 40"):
    with signals.closing_cleanly("ugmm go on"), requeuing():
        raise signals.Stopped(138, place)


def test_a_job_is_requeued(slurm, capsys):
    asked = slurm()
    assert signals.run_command(preempted) == 0
    assert asked() == ["requeue 17"]
    assert capsys.readouterr().err == "requeued job 17: goes on after epoch 3, step 40\n"


def test_the_task_of_an_array_is_requeued(slurm, capsys):
    asked = slurm(environment={"SLURM_ARRAY_JOB_ID": "15", "SLURM_ARRAY_TASK_ID": "4"})
    assert signals.run_command(preempted) == 0
    assert asked() == ["requeue 15_4"]
    assert "requeued job 15_4: goes on" in capsys.readouterr().err


@pytest.mark.parametrize(
    "job",
    [
        {"Requeue": "0"},
        {"BatchFlag": "0"},  # of salloc, or srun alone
        {"JobState": "COMPLETING"},  # cancelled, or over its time
        {"JobState": "CANCELLED"},
    ],
)
def test_a_job_that_cannot_or_shall_not_be_is_not(slurm, capsys, job):
    asked = slurm(**job)
    assert signals.run_command(preempted) == 138
    assert asked() == []
    assert capsys.readouterr().err == "stopped; go on with: ugmm go on\n"


def test_without_slurm_nothing_is_asked(slurm, monkeypatch, capsys):
    asked = slurm()
    monkeypatch.delenv("SLURM_JOB_ID")
    assert signals.run_command(preempted) == 138
    assert asked() == []


def test_a_refusal_is_one_line_and_the_run_can_be_resumed(slurm, capsys):
    slurm(refuses="Access denied")
    assert signals.run_command(preempted) == 138
    assert capsys.readouterr().err == (
        "warning: job 17 could not be requeued (Access denied)\nstopped; go on with: ugmm go on\n"
    )


def test_a_process_that_does_not_lead_leaves_it_to_the_one_that_does(slurm):
    step = {"SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "2", "SLURM_PROCID": "1"}
    asked = slurm(environment=step)
    assert signals.run_command(preempted) == 138
    assert asked() == []


def test_a_signal_outside_of_training_requeues_too(slurm, capsys):
    def command():
        with signals.closing_cleanly("ugmm go on"), requeuing():
            signal.raise_signal(signal.SIGUSR1)

    asked = slurm()
    assert signals.run_command(command) == 0
    assert asked() == ["requeue 17"]
    assert capsys.readouterr().err == "requeued job 17\n"


@pytest.mark.parametrize("number", [signal.SIGINT, None])
def test_what_is_no_preemption_does_not(slurm, number):
    def command():
        with signals.closing_cleanly("ugmm go on"), requeuing():
            if number is not None:
                signal.raise_signal(number)
            raise ZeroDivisionError

    asked = slurm()
    if number is None:
        with pytest.raises(ZeroDivisionError):
            signals.run_command(command)
    else:
        assert signals.run_command(command) == 128 + number
    assert asked() == []


def test_what_slurm_ends_the_job_with_changes_nothing(slurm, monkeypatch):
    """It sends SIGTERM as soon as the job is back in the queue."""
    slurm()
    monkeypatch.setattr(signals, "_SAME_SECONDS", 0.0)
    tell = signals.tell
    monkeypatch.setattr(
        signals, "tell", lambda words: (signal.raise_signal(signal.SIGTERM), tell(words))
    )
    assert signals.run_command(preempted) == 0


def test_the_end_of_the_job_counts_as_a_signal(slurm, monkeypatch):
    now = time.time()
    slurm(environment={"SLURM_JOB_END_TIME": str(int(now + 1000))})
    notice = Notice(grace=60)
    assert notice.signum() == 0
    monkeypatch.setattr(time, "time", lambda: now + 939)
    assert notice.signum() == 0
    monkeypatch.setattr(time, "time", lambda: now + 941)
    assert notice.signum() == signal.SIGTERM


def test_a_short_job_has_half_of_its_time(slurm, monkeypatch):
    monkeypatch.setattr(time, "time", lambda: 1000.0)
    slurm(environment={"SLURM_JOB_END_TIME": "1040"})
    assert Notice(grace=60).deadline == 1020


def test_an_older_slurm_is_asked(slurm, monkeypatch):
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    slurm(end="2100-01-01T00:00:00")
    assert Notice(grace=60).deadline == 4102444800 - 60


@pytest.mark.parametrize("end", ["N/A", "NONE", ""])
def test_a_job_may_be_without_an_end(slurm, end):
    slurm(end=end)
    assert Notice(grace=60).deadline is None


def test_a_slurm_that_does_not_answer_keeps_nobody(slurm, monkeypatch):
    slurm(end="never; sleep 20")
    monkeypatch.setattr(preemption, "_ASK_SECONDS", 0.2)
    assert Notice(grace=60).deadline is None
