"""Runs tracked online by the real SDK, on a server of the tests, which may be in trouble."""

import pytest

from waiting import wait_until

SHORT = ("iris_disc", "trainer.max_epochs=20", "trainer.check_val_every_n_epoch=5")


def test_an_online_run_holds_what_dashboards_need(online, server):
    online("train", *SHORT, "seed=7", "tracking.tags=[demo]")
    (run,) = online.all_runs()
    (sent,) = server.store.runs.values()
    assert sent.name == run.id
    assert sent.exit_code == 0
    assert sent.attributes["project"] == "ugmm-iris-discriminative"
    assert sent.attributes["groupName"] == "iris_disc"
    assert sent.attributes["jobType"] == "train"
    assert sent.attributes["tags"] == ["iris_disc", "demo"]
    assert sent.config["model"]["hidden"] == [10, 5]
    assert sent.config["seed"] == 7
    figures = run.read_summary()
    assert sent.summary["test/accuracy"] == pytest.approx(figures["test/accuracy"])
    assert sent.summary["val/accuracy"]["max"] >= figures["val/accuracy"] - 1e-6
    assert sent.summary["seconds"] == figures["seconds"]
    steps = [row["trainer/global_step"] for row in sent.history if "val/accuracy" in row]
    assert len(steps) == 4
    assert any("plots/training" in name for name in sent.files)
    (artifact,) = server.store.artifacts_of(run.id)
    assert artifact.files["best.ckpt"] == run.best.read_bytes()
    assert online("sync", str(online.runs)) == "nothing to upload\n"


@pytest.mark.slow
def test_two_ranks_are_one_run(online, server):
    online("train", *SHORT, "trainer.devices=2", "trainer.strategy=ddp")
    (sent,) = server.store.runs.values()
    assert sent.config["world_size"] == 2
    assert sent.exit_code == 0


@pytest.mark.parametrize(
    "trouble",
    ["gone", pytest.param("failing", marks=pytest.mark.slow)],  # the SDK waits for half a minute
)
def test_training_ends_well_when_the_server_does_not(online, server, trouble):
    process = online.start("train", *SHORT)
    wait_until(lambda: "epoch " in process.output())
    if trouble == "gone":
        server.stop()
    else:
        server.failing = "/"
    _, err = process.communicate(timeout=150)
    assert process.returncode == 0, err
    (run,) = online.all_runs()
    assert err.splitlines() == [line for line in err.splitlines() if "ugmm sync" in line]
    assert len(err.splitlines()) == 1
    assert run.read_summary()["test/accuracy"] > 0.5
    if trouble == "gone":
        output = online("sync", str(run.folder), code=1)
        assert "no connection to 127.0.0.1" in output
        server.start()
    server.failing = ""
    assert "uploaded" in online("sync", str(run.folder))
    (sent,) = server.store.runs.values()
    assert len([row for row in sent.history if "val/accuracy" in row]) == 4
    assert sent.summary["test/accuracy"] == pytest.approx(run.read_summary()["test/accuracy"])
    (artifact,) = server.store.artifacts_of(run.id)
    assert artifact.files["best.ckpt"] == run.best.read_bytes()
    assert online("sync", str(run.folder)) == "nothing to upload\n"


def test_a_server_that_refuses_the_account_is_one_line(online, server):
    server.failing, server.status = "/graphql", 401
    told = [line for line in online("train", *SHORT).splitlines() if "W&B" in line]
    assert len(told) == 1
    assert told[0].startswith("W&B is offline (")
    assert "401" in told[0]
    refused = online("train", *SHORT, "tracking.mode=online", code=1)
    assert refused.startswith("ugmm: error: tracking.mode=online: W&B did not start (")
    assert len(refused.splitlines()) == 1
