"""What an error suggests in place of a mistyped name: what is near, and nothing that is far."""

import pytest

from ugmm.errors import nearest

TRAINER = [f"trainer.{key}" for key in ("max_epochs", "devices", "monitor", "gradient_clip_val")]


@pytest.mark.parametrize(
    ("name", "known", "close"),
    [
        ("trainer.max_epoch", TRAINER, "trainer.max_epochs"),
        ("trainer.epochs", TRAINER, "trainer.max_epochs"),
        ("trainer.clip_val", TRAINER, "trainer.gradient_clip_val"),
        ("MLP", ["mlp", "ugmm"], "mlp"),
        ("mnist_dsic", ["mnist_disc", "iris_disc", "iris_gen"], "mnist_disc"),
        ("mnist", ["mnist_disc", "iris_disc", "mnist_gen"], "mnist_disc or mnist_gen"),
        ("test/acuracy", ["test/ece", "test/accuracy", "val/ece"], "test/accuracy"),
        ("mpl", ["mlp", "ugmm"], "mlp"),
        (12, ["21", "3"], "21"),
        ("qds", ["qda", "kde"], "qda"),
    ],
)
def test_what_is_near(name, known, close):
    assert nearest(name, known).startswith(f"did you mean {close}")


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("trainer.logger", TRAINER),
        ("trainer.early_stopping", TRAINER),
        ("trainer.", TRAINER),
        ("test/f1", ["test/ece", "test/nll"]),
        ("learning_rate", ["log_every_n_steps", "accelerator"]),
        ("layers", ["types", "label"]),
        ("", ["data", "model"]),
    ],
)
def test_what_is_far_is_not_suggested(name, known):
    assert nearest(name, known) == f"there are {', '.join(known)}"


def test_none_and_very_many():
    assert nearest("x", []) == "there are none"
    assert nearest("x", [f"column {n}" for n in range(5000)]).endswith("column 29 and 4970 more")
