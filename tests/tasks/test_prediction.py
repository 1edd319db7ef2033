"""Predicting, and loading a checkpoint back, as users of Lightning do it."""

import re

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer
from torch.utils.data import DataLoader, TensorDataset

from ugmm.baselines import GMM, MLP, GaussianClasses
from ugmm.data import IrisDataModule
from ugmm.density import Ensemble, TiltedGaussian
from ugmm.errors import UserError
from ugmm.nn import AutoregressiveUGMM, Classifier, JointScore, UGMMNetwork
from ugmm.objectives import ClassificationObjective, CrossEntropy, Likelihood
from ugmm.tasks import DiscriminativeTask, FittedTask, GenerativeTask


def trainer(tmp_path, **settings):
    quiet = ("enable_progress_bar", "enable_model_summary", "logger")
    return Trainer(
        accelerator="cpu", default_root_dir=tmp_path, **dict.fromkeys(quiet, False), **settings
    )


def discriminative():
    network = UGMMNetwork([4, 5, 3], dropout=(0.1, 0.0), norm="batch", dtype=torch.float32)
    return DiscriminativeTask(network, 3, CrossEntropy(0.1), {"lr": np.float64(0.05)})


def mlp():
    return DiscriminativeTask(MLP(np.array([4, 6, 3]), norm="layer"), n_classes=3)


def tilted(members=1):
    made = [
        TiltedGaussian(JointScore(UGMMNetwork([7, 5, 1], min_scale=0.1), 3, "onehot"), 4, 3)
        for _ in range(members)
    ]
    network = made[0] if members == 1 else Ensemble(made)
    return GenerativeTask(network, 3, z_draws=2**10, optimizer={"lr": 0.01})


def autoregressive():
    return GenerativeTask(AutoregressiveUGMM(4, 3, [6]), 3, Likelihood(0.5), noise=0)


KINDS = [discriminative, mlp, tilted, lambda: tilted(2), autoregressive]


@pytest.fixture
def saved(rows, tmp_path):
    """Train a task for an epoch with a Trainer of the user's own, and save it."""

    def saved(task):
        torch.manual_seed(0)
        task.prepare(*rows)
        own = trainer(tmp_path, max_epochs=1, enable_checkpointing=False)
        own.fit(task, DataLoader(TensorDataset(*rows), batch_size=10))
        own.save_checkpoint(tmp_path / "own.ckpt")
        return tmp_path / "own.ckpt"

    return saved


@pytest.mark.parametrize("make", KINDS)
def test_a_checkpoint_of_a_trainer_is_loaded_without_further_words(make, rows, saved):
    task = make()
    path = saved(task)
    assert torch.load(path, weights_only=True)["hyper_parameters"]
    loaded = type(task).load_from_checkpoint(path, weights_only=True)
    assert loaded.hparams == task.hparams
    assert loaded.hparams["n_classes"] == 3
    assert loaded.objective == task.objective
    assert loaded.optimizer == task.optimizer
    state, expected = loaded.state_dict(), task.state_dict()
    assert state.keys() == expected.keys()
    for name in state:
        torch.testing.assert_close(state[name], expected[name], rtol=0, atol=0, equal_nan=True)
    for each in (task, loaded):
        each.eval()
        each.on_test_epoch_start()
    torch.testing.assert_close(loaded(rows[0]), task(rows[0]), rtol=0, atol=0)


@pytest.mark.parametrize("make", KINDS)
@pytest.mark.parametrize("batch", ["x, y", "[x]", "x"])
def test_prediction_takes_batches_with_and_without_labels(make, batch, rows, tmp_path):
    torch.manual_seed(0)
    task, (x, y) = make(), rows
    task.prepare(x, y)
    data = {"x, y": TensorDataset(x, y), "[x]": TensorDataset(x), "x": x}[batch]
    predicted = trainer(tmp_path).predict(task, DataLoader(data, batch_size=8))
    assert [len(part) for part in predicted] == [8, 8, 8, 6]
    with torch.no_grad():
        torch.testing.assert_close(torch.cat(predicted), task.eval()(x))
    assert torch.cat(predicted).isfinite().all()


def test_a_data_module_predicts_its_test_rows(tmp_path):
    data, task = IrisDataModule(), discriminative()
    predicted = torch.cat(trainer(tmp_path).predict(task, datamodule=data))
    with torch.no_grad():
        torch.testing.assert_close(predicted, task.eval()(data.splits["test"].x))


def test_a_network_that_scores_no_classes_is_refused_at_once():
    network = torch.nn.Sequential(torch.nn.Linear(4, 3))
    with pytest.raises(TypeError, match=r"must be a ugmm\.nn\.Classifier, and is a Sequential"):
        DiscriminativeTask(network, 3)


class Mine(Classifier):
    """A user's own network."""

    def __init__(self, width, *, activation=None, **options):
        super().__init__()
        self.layer = torch.nn.Linear(4, 3)
        self.width, self.activation, self.options = width, activation, options

    def forward(self, x):
        return self.layer(x)


class MyLoss(ClassificationObjective):
    """A user's own loss, which says nothing of what it was made with."""

    def of_scores(self, scores, y):
        return scores.square().mean() + 0 * y.sum()


def test_a_network_of_the_users_own_is_made_again_where_it_is_imported(saved, monkeypatch):
    path = saved(DiscriminativeTask(Mine(7, depth=[1, 2], parts={"one": Mine(5)}), 3))
    loaded = DiscriminativeTask.load_from_checkpoint(path)
    assert (loaded.network.width, loaded.network.options["depth"]) == (7, [1, 2])
    assert loaded.network.options["parts"]["one"].width == 5
    monkeypatch.delitem(globals(), "Mine")
    with pytest.raises(UserError, match=r"network is a \S+\.Mine, which is not imported"):
        DiscriminativeTask.load_from_checkpoint(path)
    handed = type(loaded.network)(1)
    assert DiscriminativeTask.load_from_checkpoint(path, network=handed).network is handed


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: DiscriminativeTask(Mine(1, activation=torch.relu), 3), "network.activation"),
        (lambda: DiscriminativeTask(Mine(1), 3, MyLoss()), "objective"),
        (lambda: FittedTask(GaussianClasses(4, 3, 2, GMM(2).parts, 9), 3), "network.estimate"),
    ],
)
def test_what_no_checkpoint_can_hold_is_named(make, name, saved):
    task = make()
    path = saved(task)
    torch.load(path, weights_only=True)
    with pytest.raises(UserError, match=re.escape(f"{name} (")):
        type(task).load_from_checkpoint(path)


@pytest.mark.parametrize(
    "path", ["os.system", "subprocess.Popen", "ugmm.cli.main", "ugmm.nn.nothing", "nowhere", "", 5]
)
def test_a_checkpoint_makes_nothing_but_networks(path):
    with pytest.raises(UserError, match="network"):
        DiscriminativeTask({"class_path": path, "init_args": {"args": "true"}}, 3)


def test_a_recipe_with_wrong_arguments_is_one_line():
    recipe = {"class_path": "ugmm.nn.UGMMNetwork", "init_args": {"sizes": [4, 5, 3], "norm": "no"}}
    with pytest.raises(UserError, match=r"network: ugmm\.nn\.UGMMNetwork cannot be made"):
        DiscriminativeTask(recipe, 3)
    for broken in ({}, {"class_path": "ugmm.nn.UGMMNetwork", "init_args": 5}):
        with pytest.raises(UserError, match="network"):
            DiscriminativeTask(broken, 3)
