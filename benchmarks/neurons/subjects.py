"""The networks that are looked at: trained if they are not there yet, and as they began."""

import copy
from collections.abc import Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ugmm.config.compose import compose
from ugmm.config.frozen import read_config
from ugmm.data import InMemoryDataModule, Split
from ugmm.density import TiltedGaussian
from ugmm.loading import load_network
from ugmm.nn import UGMM, Classifier, UGMMNetwork
from ugmm.runs import Run
from ugmm.training.build import build, prepare
from ugmm.training.run import start

__all__ = [
    "EXPERIMENTS", "FOLDER", "SEEDS", "Trained", "inputs_of", "layers_of", "told", "train",
    "trained_at",
]  # fmt: skip

SEEDS = (0, 1, 2)
EXPERIMENTS = {  # with their settings
    "mnist_disc": ["trainer.max_epochs=15", "trainer.threads=1"],
    "iris_disc": [],
    "iris_gen": [],
}
FOLDER = Path("runs", "neurons")


class Trained(NamedTuple):
    """A network, after training and as it was before the first step."""

    before: Classifier
    after: Classifier
    data: InMemoryDataModule
    commit: str

    def rows(self, split: str, most: int | None = None) -> Split:
        """The rows of a split; of many, some drawn by a fixed seed."""
        x, y = self.data.splits[split]
        some = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))[:most]
        return Split(x[some], y[some])


def train(experiment: str, seed: int, runs: Path, quick: bool) -> Trained:
    """Return a trained network: of a run that is there, or of one that is started now."""
    settings = [*EXPERIMENTS[experiment], *(["trainer.max_epochs=1"] if quick else [])]
    name = f"{experiment}_seed{seed}" + "_quick" * quick
    found = sorted(runs.glob(f"{experiment}/{name}-*/summary.json"))
    if found:
        run = Run.open(found[0].parent)
    else:
        own = [f"seed={seed}", f"name={name}", f"runs_dir={runs}", "tracking.mode=disabled"]
        run, _ = start(compose(experiment, [*settings, *own]))
    config = read_config(run)
    data, task = build(config)
    prepare(task, data, config)
    data.setup("test")
    torch.set_num_threads(1)
    after = load_network(run.folder)
    assert isinstance(after, Classifier)
    commit = run.read_environment().get("git", {}).get("commit") or "?"
    return Trained(copy.deepcopy(task.network).eval(), after, data, commit[:7])


def trained_at(networks: Sequence[Trained]) -> str:
    """Say at which commits they were."""
    return "trained at " + ", ".join(sorted({each.commit for each in networks}))


def layers_of(network: nn.Module) -> list[UGMM]:
    """Return a network's layers of mixture neurons, the first one first."""
    return [module for module in network.modules() if isinstance(module, UGMM)]


@torch.no_grad()
def inputs_of(network: Classifier, rows: Split) -> list[Tensor]:
    """Return what each layer sees of rows; of a joint score's, with their own labels."""
    inner, x = network, rows.x
    if isinstance(network, TiltedGaussian):
        inner = network.score.network
        x = torch.cat([x, F.one_hot(rows.y, network.n_classes).to(x)], -1)
    assert isinstance(inner, UGMMNetwork)
    seen: list[Tensor] = []

    def note(_layer: nn.Module, args: tuple[Tensor, ...]) -> None:
        seen.append(args[0])

    hooks = [layer.register_forward_pre_hook(note) for layer in layers_of(inner)]
    inner(x)
    for hook in hooks:
        hook.remove()
    return seen


def told(values: Sequence[float], digits: int, factor: float = 1) -> str:
    """Return a mean over seeds, and its standard error."""
    values = [factor * value for value in values]
    error = stdev(values) / len(values) ** 0.5 if len(values) > 1 else 0.0
    return f"{mean(values):.{digits}f} ± {error:.{digits}f}"
