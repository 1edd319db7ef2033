"""Which command makes which picture of docs/images."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Picture:
    """One file.

    Attributes:
        name: Of the file.
        commands: What makes it, run one after the other in the root of the repository; `RUNS`
            stands for a folder of runs, `OUT` for the file to write.
        plot: The picture of a run that is kept, by its name in `plots/`; "" where a command
            writes the file itself.
        is_quick: Whether it is made when none is named.
    """

    name: str
    commands: tuple[str, ...]
    plot: str = ""
    is_quick: bool = False


def _of_run(name: str, settings: str, plot: str, is_quick: bool = False) -> Picture:
    """Return a picture of those that a training draws."""
    command = f"ugmm train {settings} runs_dir=RUNS tracking.mode=disabled"
    return Picture(name, (command,), plot, is_quick)


_SCORE = "model.score=gaussian optimizer.lr=0.01 trainer.max_epochs=4"
_SHORT = "trainer.limit_train_batches=100 trainer.check_val_every_n_epoch=2"

PICTURES = (
    Picture(
        "architecture_light.svg", ("python docs/figures/architecture.py light OUT",), "", True
    ),
    Picture("architecture_dark.svg", ("python docs/figures/architecture.py dark OUT",), "", True),
    _of_run("iris_samples.png", "iris_gen", "samples.png", is_quick=True),
    _of_run("training.png", "mnist_disc", "training.png"),
    _of_run("first_layer.png", "mnist_disc", "first_layer.png"),
    _of_run("digits_samples.png", "mnist_gen_conv", "samples.png"),
    _of_run("grey_samples.png", "mnist_grey_conv", "samples.png"),
    _of_run("filters.png", "mnist_conv", "filters_1.png"),
    _of_run("recurrence.png", "mnist_rows_rnn", "reading.png"),
    _of_run("attention.png", f"mnist_vit_standard {_SCORE} {_SHORT}", "attention.png"),
    Picture(
        "complete.png",
        (
            "ugmm train mnist_gen runs_dir=RUNS tracking.mode=disabled",
            "ugmm complete RUNS/mnist_gen --out OUT",
        ),
    ),
    Picture("coverage.png", ("python benchmarks/architectures/regression.py --picture OUT",)),
    Picture("pruning.png", ("python benchmarks/neurons/pruning.py --picture OUT",)),
    Picture("speed.png", ("python benchmarks",)),
    Picture(
        "uncertainty.png",
        (
            "ugmm ablate mnist_families",
            "ugmm train mnist_gen",
            "python benchmarks/uncertainty/digits.py --picture OUT",
        ),
    ),
)
