"""The same run on one, two and four processes, with all that is drawn in training."""

import os
import signal
from functools import partial

import pytest
import torch

SGD = (
    "optimizer.name=sgd",
    "data.batch_size=48",  # two batches an epoch
    "data.noise=0.1",
    "trainer.precision=64-true",
    "trainer.log_every_n_steps=1",
    "trainer.max_epochs=5",
    "trainer.check_val_every_n_epoch=2",
)
IMAGE = "model.image_shape=[2,2]"
EXPERIMENTS = {
    "discriminative": (
        *("iris_disc", "model.norm=batch", "model.input_dropout=0.2", "model.dropout=[0,0.2,0.2]"),
        "optimizer.lr=0.1",
    ),
    "generative": ("iris_gen", "task.z_draws=4096", "optimizer.lr=0.01", "schedule.name=constant"),
    "paper": ("iris_paper", "task.z_draws=4096", "model.dropout=0.2", "optimizer.lr=0.01"),
    "autoregressive": (
        *("iris_gen", "task=likelihood", "model=autoregressive", "model.order=random"),
        *("model.positions=3", "model.dropout=0.2", "optimizer.lr=0.01"),
    ),
    "convolutional": (
        *("iris_disc", "model=conv", IMAGE, "model.channels=[4]", "model.kernel_sizes=[3]"),
        *("model.strides=[1]", "model.norm=centred", "model.residual=1"),
        *("model.input_dropout=0.2", "model.feature_dropout=0.2", "optimizer.lr=0.1"),
    ),
    "attention": (
        *("iris_disc", "model=vit", IMAGE, "model.patch=1", "model.score=gaussian"),
        *("model.dropout=0.2", "optimizer.lr=0.1"),
    ),
    "recurrent": (
        *("iris_disc", "model=rnn", IMAGE, "model.num_layers=2", "model.dropout=0.2"),
        "optimizer.lr=0.1",
    ),
    "perceptron": (
        *("iris_disc", "model=mlp", "model.norm=batch", "model.dropout=0.3", "optimizer.lr=0.1"),
    ),
}
FOUR_RANKS = ("discriminative", "generative", "autoregressive", "convolutional")


def without_pictures():
    """Draw nothing: pictures take most of a short run's time."""
    import ugmm.training.run

    ugmm.training.run.draw_run = lambda *_, **__: []


def dying_in(epoch):
    """Die as that epoch starts, with whatever else is killed."""
    from ugmm.training.callbacks import SeedEpochs

    without_pictures()
    start = SeedEpochs.on_train_epoch_start

    def start_or_die(self, trainer, task):
        if trainer.current_epoch == epoch:
            os._exit(9)
        start(self, trainer, task)

    SeedEpochs.on_train_epoch_start = start_or_die


def told_to_stop_in(step):
    """Get SIGTERM in the midst of that step."""
    from ugmm.tasks import DiscriminativeTask

    without_pictures()
    loss = DiscriminativeTask.loss

    def loss_and_signal(self, x, y):
        if self.global_step == step:
            os.kill(os.getpid(), signal.SIGTERM)
        return loss(self, x, y)

    DiscriminativeTask.loss = loss_and_signal


def weights(run):
    state = torch.load(run.last, weights_only=True)["state_dict"]
    return {name: tensor for name, tensor in state.items() if name.startswith("network.")}


def assert_alike(run, other, **tolerance):
    expected, found = weights(run), weights(other)
    assert expected.keys() == found.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, **tolerance, equal_nan=True)


def assert_same_figures(run, other):
    """Losses of each step, validations, and the test."""
    rows, others = run.read_metrics(), other.read_metrics()
    assert len(rows) == len(others)
    pairs = [(run.read_summary(), other.read_summary()), *zip(rows, others, strict=True)]
    for expected, found in pairs:
        assert expected.keys() == found.keys()
        for name, value in expected.items():
            if name != "seconds":
                near = pytest.approx(value, rel=1e-6, abs=1e-9) if value is not None else None
                assert found[name] == near, name


@pytest.mark.slow
@pytest.mark.parametrize("name", EXPERIMENTS)
def test_the_same_weights_and_figures_after_ten_steps_in_float64(ugmm_command, name):
    experiment, *settings = EXPERIMENTS[name]
    for world in (1, 2, 4) if name in FOUR_RANKS else (1, 2):
        ugmm_command.on_ranks(world, "train", experiment, *SGD, *settings, first=without_pictures)
    one, *others = ugmm_command.all_runs()
    assert one.read_summary()["steps"] == 10
    for other in others:
        assert_alike(one, other, rtol=1e-10, atol=1e-10)
        assert_same_figures(one, other)


@pytest.mark.slow
@pytest.mark.parametrize("name", FOUR_RANKS)
def test_the_same_gradient_in_float32(ugmm_command, name):
    """One step of SGD at rate 1 moves the weights by the gradient."""
    experiment, *settings = EXPERIMENTS[name]
    whole = ("optimizer.name=sgd", *settings, "optimizer.lr=1", "data.batch_size=96")
    for world in (1, 4):
        ugmm_command.on_ranks(
            world, "train", experiment, *whole, "trainer.max_epochs=1", first=without_pictures
        )
    assert_alike(*ugmm_command.all_runs(), rtol=0, atol=1e-5)


@pytest.mark.slow
def test_a_run_of_two_ranks_goes_on_on_one_and_on_four(ugmm_command):
    experiment, *settings = EXPERIMENTS["discriminative"]
    command = ("train", experiment, *SGD, *settings)
    ugmm_command.on_ranks(1, *command, first=without_pictures)
    (whole,) = ugmm_command.all_runs()
    dying, stopped = partial(dying_in, 3), partial(told_to_stop_in, 4)
    for first, code, world in ((dying, 9, 1), (dying, 9, 4), (stopped, 143, 1), (stopped, 143, 4)):
        ugmm_command.on_ranks(2, *command, first=first, code=code)
        killed = ugmm_command.all_runs()[-1]
        resume = ("train", "--resume", str(killed.folder))
        output = ugmm_command.on_ranks(world, *resume, first=without_pictures)
        # The last epoch that was validated, hence saved; or the step in which it was told to stop.
        assert f"going on after {'epoch 2' if first is dying else 'epoch 2, step 5'}\n" in output
        assert_alike(whole, killed, rtol=1e-10, atol=1e-10)
        assert_same_figures(whole, killed)


def test_what_a_run_that_goes_on_computes_is_settled(ugmm_command):
    ugmm_command.start("train", "iris_disc", first=partial(dying_in, 0)).communicate()
    (run,) = ugmm_command.all_runs()
    output = ugmm_command("train", "--resume", str(run.folder), "optimizer.lr=1", code=1)
    assert "optimizer.lr of a run that goes on is settled; set no more than trainer." in output
