"""Weights & Biases in trouble in the midst of a run, which goes on."""

import wandb

from ugmm.training.wandb_logger import LenientWandbLogger


def test_a_run_whose_wandb_process_is_gone_goes_on(train, monkeypatch, capfd):
    logged = []

    def log(self, metrics):
        logged.append(metrics)
        if len(logged) > 1:
            raise ConnectionResetError("Connection lost")

    finished = wandb.Run.finish

    def finish(self, exit_code):
        finished(self, exit_code)
        raise ConnectionResetError("Connection lost")

    monkeypatch.setattr(wandb.Run, "log", log)
    monkeypatch.setattr(wandb.Run, "finish", finish)
    said = []
    monkeypatch.setattr("sys.stderr.write", said.append)
    run = train("iris_disc", "tracking.mode=offline")
    assert run.read_summary()
    assert len([row for row in run.read_metrics() if row["val/accuracy"] is not None]) == 2
    warnings = [text for text in said if "W&B" in text]
    assert len(warnings) == 1
    assert "Connection lost" in warnings[0]


def test_logging_stops_at_the_first_error_and_says_so(capsys):
    class Broken:
        calls = 0

        def log(self, _):
            self.calls += 1
            raise wandb.errors.CommError("gone")

    logger = LenientWandbLogger(experiment=Broken())
    for step in range(3):
        logger.log_metrics({"train/loss": 1.0}, step)
    assert logger.experiment.calls == 1
    said = "warning: W&B takes no more metrics (gone); metrics.csv has them all\n"
    assert capsys.readouterr().err == said
