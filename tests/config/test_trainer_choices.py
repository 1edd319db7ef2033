"""The choices of `configs/trainer/`: where a run happens, and nothing of what it is."""

from pathlib import Path

import pytest

from ugmm.config.canonical import compute_identity
from ugmm.config.compose import compose

CHOICES = sorted(path.stem for path in Path(__file__).parents[2].glob("configs/trainer/*.yaml"))


def test_there_is_one_for_each_kind_of_machine():
    assert CHOICES == ["cpu1", "ddp8", "gpu1", "gpus", "nodes2"]


@pytest.mark.parametrize("choice", CHOICES)
def test_it_changes_neither_the_batch_nor_what_is_computed(choice):
    plain, chosen = compose("mnist_disc"), compose("mnist_disc", [f"trainer={choice}"])
    assert chosen.data.batch_size == plain.data.batch_size
    assert chosen.optimizer == plain.optimizer
    assert chosen.trainer.max_epochs == 60  # the experiment's own
    assert compute_identity(chosen) == compute_identity(plain)


@pytest.mark.parametrize(
    ("choice", "processes"), [("cpu1", 1), ("gpu1", 1), ("ddp8", 8), ("nodes2", 16)]
)
def test_several_processes_are_trained_by_ddp(choice, processes):
    trainer = compose("mnist_disc", [f"trainer={choice}"]).trainer
    assert isinstance(trainer.devices, int)
    assert trainer.devices * trainer.num_nodes == processes
    assert (trainer.strategy == "ddp") == (processes > 1)


def test_a_key_can_still_be_set_beside_the_choice():
    trainer = compose("mnist_disc", ["trainer=ddp8", "trainer.precision=bf16-mixed"]).trainer
    assert (trainer.devices, trainer.precision) == (8, "bf16-mixed")
