"""A few rows, and a real Trainer that runs a task on them."""

import pytest
import torch
from lightning.pytorch import Trainer


class Rows:
    """Batches of unequal size."""

    def __init__(self, x, y):
        self.batches = [(x[:7], y[:7]), (x[7:], y[7:])]

    def __iter__(self):
        return iter(self.batches)

    def __len__(self):
        return len(self.batches)


@pytest.fixture
def rows():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(30, 4, generator=generator)
    return x, torch.randint(3, (30,), generator=generator)


@pytest.fixture
def run():
    return _run


def _run(verb, task, rows, **settings):
    trainer = Trainer(
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **settings,
    )
    getattr(trainer, verb)(task, Rows(*rows))
    return {name: float(value) for name, value in trainer.callback_metrics.items()}
