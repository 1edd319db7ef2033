"""The Lightning module of a run, or of a checkpoint, whoever has trained it."""

import re

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from torch.utils.data import DataLoader, TensorDataset

import ugmm
from ugmm.errors import UserError
from ugmm.loading import load_network
from ugmm.nn import UGMMNetwork
from ugmm.tasks import DiscriminativeTask, GenerativeTask

QUICK = dict.fromkeys(("enable_progress_bar", "enable_model_summary", "logger"), False)
KINDS = {"iris_disc": DiscriminativeTask, "iris_gen": GenerativeTask}


@pytest.mark.parametrize("experiment", KINDS)
def test_a_run_has_one_task_however_it_is_loaded(trained, experiment):
    run, kind = trained(experiment), KINDS[experiment]
    x = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = load_network(run.folder).class_scores(x)
        for task in (
            ugmm.load_task(run.folder),
            ugmm.load_task(run.best),
            kind.load_from_checkpoint(run.best).eval(),
        ):
            assert type(task) is kind
            assert not task.training
            torch.testing.assert_close(task(x), expected, rtol=0, atol=0, equal_nan=True)
            assert task.optimizer["name"] == "adam"
            assert task.objective == ugmm.load_task(run.folder).objective
    trainer = Trainer(accelerator="cpu", **QUICK)
    loader = DataLoader(TensorDataset(x, torch.zeros(5)), batch_size=5)
    one = trainer.predict(ugmm.load_task(run.folder), loader)
    two = trainer.predict(ugmm.load_task(run.folder), [loader, loader])
    for (predicted,) in (one, *two):
        torch.testing.assert_close(predicted.softmax(-1), expected.softmax(-1))
    last = torch.load(run.last, weights_only=True)["state_dict"]
    for place in (run.folder, run.best):
        for name, tensor in ugmm.load_task(place, "last").state_dict().items():
            torch.testing.assert_close(tensor, last[name], rtol=0, atol=0, equal_nan=True)


def test_a_checkpoint_from_before_there_were_hyper_parameters(trained):
    run = trained("iris_disc")
    content = torch.load(run.best, weights_only=True)
    for key in [key for key in content if key.startswith("hparams") or key == "hyper_parameters"]:
        del content[key]
    torch.save(content, run.best)
    assert isinstance(ugmm.load_task(run.best), DiscriminativeTask)


class Mine(DiscriminativeTask):
    """A user's own task."""

    def __init__(self, network, n_classes, width=1):
        super().__init__(network, n_classes)
        self.width = width


class Stranger(LightningModule):
    """None of ours."""

    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)


def save(task, path):
    trainer = Trainer(accelerator="cpu", **QUICK)
    trainer.strategy.connect(task)
    trainer.save_checkpoint(path, weights_only=True)
    return path


def test_a_task_of_the_users_own(tmp_path, monkeypatch):
    path = save(Mine(UGMMNetwork([4, 3]), 3, width=5), tmp_path / "mine.ckpt")
    assert ugmm.load_task(path).width == 5
    monkeypatch.delitem(globals(), "Mine")
    with pytest.raises(UserError, match=r"is of a \S*\.Mine, which is not imported"):
        ugmm.load_task(path)


def test_what_is_no_checkpoint_of_a_task_is_one_line(tmp_path):
    path = save(Stranger(), tmp_path / "stranger.ckpt")
    with pytest.raises(UserError, match="names no task of ugmm"):
        ugmm.load_task(path)
    path.write_text("hello")
    with pytest.raises(UserError, match="corrupt"):
        ugmm.load_task(path)
    torch.save([1], path)
    with pytest.raises(UserError, match="not a checkpoint of Lightning"):
        ugmm.load_task(path)
    with pytest.raises(UserError, match="no checkpoint at"):
        ugmm.load_task(tmp_path / "nowhere.ckpt")


@pytest.mark.parametrize("damage", ["a flipped bit", "nan", "another width"])
def test_damaged_weights_are_refused(tmp_path, damage):
    path = save(DiscriminativeTask(UGMMNetwork([4, 3]), 3), tmp_path / "own.ckpt")
    if damage == "a flipped bit":
        data = bytearray(path.read_bytes())
        weight = torch.load(path, weights_only=True)["state_dict"]["network.layers.0.loc"]
        place = data.index(weight.numpy().tobytes()[:16])
        data[place + 3] ^= 0x80
        path.write_bytes(data)
    else:
        content = torch.load(path, weights_only=True)
        wrong = torch.full((3, 4), torch.nan) if damage == "nan" else torch.zeros(3, 5)
        content["state_dict"]["network.layers.0.loc"] = wrong
        torch.save(content, path)
    with pytest.raises(UserError, match=re.escape(str(path))):
        ugmm.load_task(path)
