"""What the trainer does at every epoch beside training: nothing that it need not do."""

import random
from types import SimpleNamespace

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, seed_everything
from lightning.pytorch.callbacks import LambdaCallback

from ugmm.training.callbacks import SeedEpochs, leave_out_idle_hooks


def draws():
    return random.random(), np.random.random(), torch.rand(2).tolist()  # noqa: NPY002


def test_every_rank_of_an_epoch_is_seeded_as_one_process_would_be():
    device = SimpleNamespace(root_device=torch.device("cpu"))
    trainer = SimpleNamespace(current_epoch=3, global_rank=1, strategy=device)
    SeedEpochs(7).on_train_epoch_start(trainer, None)
    seeded = draws()
    seed_everything(int(np.random.SeedSequence((7, 3, 0)).generate_state(1)[0]), verbose=False)
    assert draws() == seeded
    trainer.current_epoch = 4
    SeedEpochs(7).on_train_epoch_start(trainer, None)
    assert draws() != seeded


def test_hooks_that_do_something_stay():
    class Kept(Callback):
        def on_train_batch_end(self, *args):
            """Do something."""

    class Task(LightningModule):
        def on_train_epoch_end(self):
            """Do something."""

    callback, task = Kept(), Task()
    leave_out_idle_hooks(SimpleNamespace(callbacks=[callback]), task)
    assert callable(callback.on_train_batch_end)
    assert callable(task.on_train_epoch_end)
    assert callback.on_train_epoch_end is None
    assert callback.on_after_backward is None
    assert task.on_train_batch_end is None
    assert callable(task.on_validation_model_zero_grad)


def test_hooks_of_one_callback_alone_stay():
    callback = LambdaCallback(on_train_epoch_end=print)
    leave_out_idle_hooks(SimpleNamespace(callbacks=[callback]), LightningModule())
    assert callback.on_train_epoch_end is print
