"""What W&B has not got: runs that were offline, or killed, or whose server was in trouble."""

import os
import shutil
import signal

import pytest

from ugmm.tracking.uploads import logs_of
from waiting import wait_until

SHORT = ("iris_disc", "trainer.max_epochs=20", "trainer.check_val_every_n_epoch=5")


def killed(online, epochs, *settings):
    """A run that was killed when its W&B log was cut short, and so many epochs before its end."""
    process = online.start("train", "iris_disc", "trainer.max_epochs=9000", *settings)
    wait_until(lambda: list(online.runs.rglob("last.ckpt")))
    (run,) = online.all_runs()
    (log,) = logs_of(run.folder)
    wait_until(lambda: log.stat().st_size > 2**16)  # the SDK writes by the block
    kept = run.last.stat().st_mtime_ns
    wait_until(lambda: run.last.stat().st_mtime_ns > kept)  # it has not written all rows
    process.send_signal(signal.SIGKILL)
    process.communicate()
    last = int(run.read_metrics()[-1]["epoch"])
    text = run.config.read_text(encoding="utf-8")
    run.config.write_text(text.replace("max_epochs: 9000", f"max_epochs: {last + epochs}"))
    return run


def assert_whole(sent, run):
    """W&B has all rows of a run, and how it ended."""
    assert [row["_step"] for row in sent.history] == list(range(len(sent.history)))
    epochs = {int(row["epoch"]) for row in sent.history if "val/accuracy" in row}
    assert epochs == {int(r["epoch"]) for r in run.read_metrics() if r.get("val/accuracy")}
    assert sent.summary["test/accuracy"] == pytest.approx(run.read_summary()["test/accuracy"])
    assert sent.exit_code == 0


@pytest.mark.parametrize("mode", [pytest.param("online", marks=pytest.mark.slow), "offline"])
def test_a_killed_run_goes_on_as_the_same(online, server, mode):
    run = killed(online, 20, f"tracking.mode={mode}")
    assert "killed within the last minute" in online("sync", str(run.folder), code=1)
    online("train", "--resume", str(run.folder))
    said = online("sync", str(online.runs))
    assert said == "nothing to upload\n" if mode == "online" else said.endswith("uploaded\n")
    assert online("sync", str(online.runs)) == "nothing to upload\n"
    (sent,) = server.store.runs.values()
    assert sent.name == run.id
    assert_whole(sent, run)
    assert len(sent.jsonl("wandb-history.jsonl")) == len(sent.history)  # no row twice
    assert len(server.store.artifacts_of(run.id)) == 1


def test_a_killed_run_that_does_not_go_on_is_uploaded_as_far_as_it_got(online, server):
    run = killed(online, 20, "tracking.mode=offline")
    (log,) = logs_of(run.folder)
    os.utime(log, (0, 0))  # long ago
    assert online("sync", str(online.runs)).endswith("uploaded\n")
    (sent,) = server.store.runs.values()
    assert sent.exit_code == 1
    assert len(sent.history) > 5
    assert online("sync", str(online.runs)) == "nothing to upload\n"


@pytest.mark.parametrize(
    "what",
    ["/"]
    + [pytest.param(p, marks=pytest.mark.slow) for p in ("/upload/artifact", "/file_stream")],
)
def test_a_server_that_fails_keeps_a_run_from_being_taken_for_uploaded(online, server, what):
    for kind in ("GRAPHQL", "FILE_STREAM", "FILE_TRANSFER"):
        online.environment[f"WANDB__{kind}_RETRY_MAX"] = "1"
    online("train", *SHORT, "tracking.mode=offline")
    server.failing = what
    said = online("sync", str(online.runs), code=1)
    assert "not uploaded: " in said
    assert "500" in said
    assert said.count("\n") == 2
    server.failing = ""
    assert online("sync", str(online.runs)).endswith("uploaded\n")
    (run,) = online.all_runs()
    (sent,) = server.store.runs.values()
    assert_whole(sent, run)
    (artifact,) = server.store.artifacts_of(run.id)
    assert artifact.files["best.ckpt"] == run.best.read_bytes()


def test_offline_runs_are_uploaded_once_and_whole(online, server, tmp_path):
    online("train", *SHORT, "tracking.mode=offline")
    (run,) = online.all_runs()
    elsewhere = tmp_path / "elsewhere"
    shutil.move(online.runs, elsewhere)
    output = online("sync", str(elsewhere), code=1)
    assert "is missing, which W&B would leave out unseen" in output
    assert "Traceback" not in output
    assert not server.store.runs
    shutil.move(elsewhere, online.runs)
    assert "uploaded" in online("sync", str(online.runs))
    (sent,) = server.store.runs.values()
    assert sent.name == run.id
    assert len(server.store.artifacts_of(run.id)) == 1
    assert online("sync", str(online.runs)) == "nothing to upload\n"


def test_without_an_account_sync_is_one_line(online, tmp_path):
    folder = tmp_path / "runs" / "g" / "r" / "wandb" / "offline-run-1"
    folder.mkdir(parents=True)
    (folder / "run-1.wandb").touch()
    output = online("sync", str(tmp_path / "runs"), code=1, WANDB_API_KEY="")
    assert output.count("\n") == 1
    assert "no W&B account is configured" in output
    assert "no such folder: nowhere" in online("sync", "nowhere", code=1)
