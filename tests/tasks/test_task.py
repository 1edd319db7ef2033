"""Tasks, run by a real Trainer on a few rows: their metrics against scikit-learn and NumPy."""

import copy
import pickle

import numpy as np
import pytest
import torch
from lightning.pytorch import Callback, Trainer
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    confusion_matrix,
    f1_score,
    log_loss,
)
from torch.utils.data import DataLoader, TensorDataset

from ugmm.kernels.prepared import Prepared
from ugmm.nn import UGMMNetwork
from ugmm.nn.mixture import scope
from ugmm.tasks import DiscriminativeTask


def make():
    torch.manual_seed(0)
    return DiscriminativeTask(UGMMNetwork([4, 5, 3], norm="layer"), 3, optimizer={"lr": 0.05})


def test_evaluation_agrees_with_scikit_learn(rows, run):
    task = make()
    metrics = run("test", task, rows)
    x, y = rows
    with torch.no_grad():
        posterior = task.network.eval().posterior(x).numpy()
    assert metrics["test/accuracy"] == pytest.approx(accuracy_score(y, posterior.argmax(1)))
    balanced = balanced_accuracy_score(y, posterior.argmax(1))
    assert metrics["test/balanced_accuracy"] == pytest.approx(balanced)
    f1 = f1_score(y, posterior.argmax(1), average="macro")
    assert metrics["test/macro_f1"] == pytest.approx(f1)
    assert metrics["test/nll"] == pytest.approx(log_loss(y, posterior), rel=1e-5)
    assert metrics["test/ece"] == pytest.approx(ece(posterior, y.numpy()), abs=1e-6)
    record = task.test_record
    np.testing.assert_array_equal(record["confusion"], confusion_matrix(y, posterior.argmax(1)))
    sure = np.sort(posterior.max(1))  # in one batch, where the record is of two
    np.testing.assert_allclose(np.sort(record["confidence"]), sure, rtol=1e-6)
    assert record["correct"].sum() == (posterior.argmax(1) == y.numpy()).sum()


def ece(posterior, y, bins=15):
    confidence, correct = posterior.max(1), posterior.argmax(1) == y
    index = np.minimum((confidence * bins).astype(int), bins - 1)
    gaps = [
        (index == b).sum() * abs(correct[index == b].mean() - confidence[index == b].mean())
        for b in np.unique(index)
    ]
    return sum(gaps) / len(y)


def test_training_lowers_the_loss(rows, run):
    task = make()
    before = task.loss(*rows).item()
    metrics = run("fit", task, rows, max_epochs=20)
    assert task.loss(*rows).item() < before - 0.05
    assert "train/loss" in metrics


def test_a_second_test_starts_from_nothing(rows, run):
    task = make()
    assert run("test", task, rows) == run("test", task, rows)
    assert task.test_record["confusion"].sum() == 30


def test_train_accuracy_is_over_the_epochs_batches(rows, run):
    task = make()
    task.optimizer["lr"] = 0.0
    metrics = run("fit", task, rows, max_epochs=2)
    with torch.no_grad():
        expected = (task.network(rows[0]).argmax(1) == rows[1]).float().mean()
    assert metrics["train/accuracy"] == pytest.approx(expected.item())


@pytest.mark.parametrize("every", [1, 2])
def test_on_a_plateau_the_rate_falls_at_validations(rows, every):
    task = make()
    task.optimizer = {"name": "sgd", "lr": 1e-6}  # so that the accuracy never changes
    task.schedule = {"name": "plateau", "patience": 1, "gamma": 0.5, "monitor": "val/accuracy"}
    trainer = Trainer(
        accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, max_epochs=10 * every, check_val_every_n_epoch=every,
    )  # fmt: skip
    batches = DataLoader(TensorDataset(*rows), batch_size=15)
    trainer.fit(task, batches, batches)
    # Of ten validations the first is the best; the third, fifth, seventh and ninth are too many.
    (group, *_) = trainer.optimizers[0].param_groups
    assert group["lr"] == pytest.approx(1e-6 * 0.5**4)
    trainer.validate(task, batches, verbose=False)
    assert group["lr"] == pytest.approx(1e-6 * 0.5**4)


def test_a_step_is_logged_only_where_that_is_read(rows, monkeypatch):
    """By loggers every third step; by callbacks, after the last batch of an epoch."""
    task, seen = make(), []

    def record(metrics, *, logged=True):
        if "train/loss" in metrics:
            seen.append((task.global_step, logged, float(metrics["lr"])))

    monkeypatch.setattr(task, "record", record)
    trainer = Trainer(
        accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, max_epochs=4, check_val_every_n_epoch=2, log_every_n_steps=3,
        accumulate_grad_batches=2,
    )  # fmt: skip
    batches = DataLoader(TensorDataset(*rows), batch_size=10)  # three, of which two make a step
    trainer.fit(task, batches, batches)
    rate = pytest.approx(0.05)
    assert seen == [
        (2, False, rate),
        (3, True, rate),
        (4, False, rate),
        (6, True, rate),
        (8, False, rate),
    ]


class Failing(Callback):
    def on_validation_batch_end(self, *args):
        raise OSError("the disk is full")


class Copying(Callback):
    copy = staticmethod(copy.deepcopy)

    def on_validation_batch_end(self, trainer, task, *args):
        self.task = self.copy(task)

    on_validation_end = on_validation_batch_end


class Pickling(Copying):
    @staticmethod
    def copy(task):
        return pickle.loads(pickle.dumps(task))


def test_after_a_validation_that_failed_the_network_can_be_trained_on(rows, run):
    task, batches = make(), DataLoader(TensorDataset(*rows), batch_size=10)
    with pytest.raises(OSError, match="full"):
        run("validate", task, rows, callbacks=[Failing()])
    task.train()
    optimizer = torch.optim.SGD(task.network.parameters(), 0.1)
    for x, y in batches:
        task.loss(x, y).backward()
        optimizer.step()
    run("validate", task, rows)


@pytest.mark.parametrize("kind", [Copying, Pickling])
def test_a_task_may_be_copied_in_a_validation(rows, run, kind):
    task, copying = make(), kind()
    run("validate", task, rows, callbacks=[copying], inference_mode=False)
    expected = task.network(rows[0])
    assert torch.equal(copying.task.network(rows[0]), expected)
    with torch.no_grad():
        copying.task.network.layers[0].loc.add_(1)
    assert not torch.equal(copying.task.network(rows[0]), expected)


def test_a_validation_prepares_each_layer_once(rows, run, monkeypatch):
    made = []

    def make_prepared(*of, **options):
        made.append(of)
        return Prepared(*of, **options)

    monkeypatch.setattr(scope, "Prepared", make_prepared)
    task = make()
    run("validate", task, rows)
    assert len(made) == 2
    run("test", task, rows)
    assert len(made) == 4
