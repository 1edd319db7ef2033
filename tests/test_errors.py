"""What an error suggests in place of a mistyped name: what is near, and nothing that is far."""

import pytest
import torch

from ugmm.cli import main
from ugmm.errors import lacks_memory, nearest

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


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 4 bytes"),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    ],
)
def test_a_lack_of_memory_is_one_line(monkeypatch, capsys, error):
    def fail(*_):
        raise error

    settings = "make the largest of model.hidden, data.batch_size, "
    freeing = "free some, or use a machine with more\n"  # where no setting would help
    for where, command, remedy in [
        ("cli", "train iris_disc", settings),
        ("studies.arguments", "crossval iris", settings),
        ("queries.arguments", "sample run", "make the largest of -n, the rows of "),
        ("cli", "show iris_disc", freeing),
        ("cli", "eval run", freeing),
        ("cli", "report run", freeing),
        ("deploy.predicting.arguments", "predict run rows.csv", freeing),
        ("deploy.exports.arguments", "export run --to=onnx", freeing),
    ]:
        monkeypatch.setattr(f"ugmm.{where}._{command.split()[0]}", fail)
        assert main(command.split()) == 1
        line = f"ugmm: error: this needs more memory than there is; {remedy}"
        assert capsys.readouterr().err.startswith(line), command


def test_a_bug_is_no_lack_of_memory():
    assert not lacks_memory(RuntimeError("a bug"))
