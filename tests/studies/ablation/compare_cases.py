"""Runs of an ablation that are made up, to be compared."""

import json
from pathlib import Path

import pandas as pd

TEXT = """# Does dropout help?
experiment: iris_disc
seeds: [0, 1, 2, 3]
folds: [0, 1]
report: [test/nll]
variants:
  plain: {}
  dropout: {model.dropout: 0.3}
  wide: {model.hidden: [40, 20]}
"""


def make_up(run, figures, epochs=4):
    run.folder.mkdir(parents=True)
    run.write_summary(figures)
    git = {"commit": "0123456789abcdef", "dirty": False}
    environment = {"git": git, "platform": "Linux", "cpus": 2}
    run.environment.write_text(json.dumps(environment))
    lines = [f"{epoch},{epoch},{0.9 + epoch / 100},{1 / (epoch + 1)}" for epoch in range(epochs)]
    run.metrics.write_text("\n".join(["epoch,step,val/accuracy,val/nll", *lines]) + "\n")


def tables():
    folder = Path("runs/mine/compare")
    return pd.read_csv(folder / "table.csv"), pd.read_csv(folder / "runs.csv")
