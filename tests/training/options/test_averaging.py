"""Averages of weights: what they are, where they are used, and that a resumed run has the same."""

import pytest
import torch
from lightning.pytorch import Callback, Trainer
from torch.utils.data import DataLoader, TensorDataset

from ugmm.config.training import AveragingConfig
from ugmm.nn import UGMMNetwork, prune_components
from ugmm.tasks import DiscriminativeTask
from ugmm.training.options.averaging import AverageWeights
from ugmm.training.run import evaluate

EPOCHS, BATCHES = 8, 3
QUIET = dict.fromkeys(("enable_progress_bar", "enable_model_summary", "logger"), False)


class Watch(Callback):
    """Keeps the first layer's means as they are: after each step, at validations, at the end."""

    def __init__(self):
        self.steps, self.validated = [], []

    def on_train_batch_end(self, trainer, pl_module, *_):
        self.steps.append(self.look(pl_module))

    def on_validation_epoch_end(self, trainer, pl_module):
        self.validated.append(self.look(pl_module))

    @staticmethod
    def look(task):
        return task.network.layers[0].loc.detach().clone().double()


@pytest.fixture
def fit(rows):
    def fit(norm="none", first=(), **settings):
        torch.manual_seed(0)
        task = DiscriminativeTask(UGMMNetwork([4, 5, 3], norm=norm), 3, optimizer={"lr": 0.05})
        watch = Watch()
        average = AverageWeights(AveragingConfig(**settings), EPOCHS)
        data = DataLoader(TensorDataset(*rows), batch_size=10)
        trainer = Trainer(
            accelerator="cpu", max_epochs=EPOCHS, callbacks=[*first, watch, average],
            enable_checkpointing=False, num_sanity_val_steps=0, **QUIET,
        )  # fmt: skip
        trainer.fit(task, data, data)
        return task, watch, average

    return fit


@pytest.fixture
def rows():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(10 * BATCHES, 4, generator=generator)
    return x, torch.randint(3, (len(x),), generator=generator)


def ema(values, decay):
    average = values[0]
    for t, value in enumerate(values[1:], 1):
        kept = min(decay, (1 + t) / (10 + t))
        average = kept * average + (1 - kept) * value
    return average


@pytest.mark.parametrize("start", [None, 0.5])
def test_ema_is_of_all_steps_from_its_start(fit, start):
    task, watch, _ = fit(name="ema", decay=0.6, start=start)
    skipped = 0 if start is None else EPOCHS // 2 * BATCHES
    for epoch, validated in enumerate(watch.validated):
        seen = watch.steps[skipped : (epoch + 1) * BATCHES]
        expected = ema(seen, 0.6) if seen else watch.steps[(epoch + 1) * BATCHES - 1]
        torch.testing.assert_close(validated, expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(watch.look(task), watch.validated[-1])


def test_swa_is_the_mean_of_the_ends_of_the_last_epochs(fit):
    task, watch, _ = fit(name="swa")
    ends = watch.steps[BATCHES - 1 :: BATCHES]
    expected = torch.stack(ends[6:]).mean(0)  # a quarter of eight epochs
    torch.testing.assert_close(watch.look(task), expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(watch.validated[5], ends[5])  # before it begins


def test_training_itself_is_as_without(fit):
    _, plain, _ = fit(name="ema", start=0.99)
    _, averaged, _ = fit(name="ema")
    for one, two in zip(plain.steps, averaged.steps, strict=True):
        torch.testing.assert_close(one, two, rtol=0, atol=0)


def test_the_moments_of_a_batch_norm_are_averaged(fit):
    _, _, average = fit(name="swa", norm="batch")
    assert any("running_mean" in name for name in average.average)
    assert not any("num_batches" in name for name in average.average)


class Prune(Callback):
    """Keeps half of the components when an epoch begins."""

    def __init__(self, epoch):
        self.epoch = epoch

    def on_train_epoch_start(self, trainer, pl_module):
        if trainer.current_epoch == self.epoch:
            prune_components(pl_module.network, 0.5)


@pytest.mark.parametrize("name", ["ema", "swa"])
@pytest.mark.parametrize("epoch", [0, 3])
def test_what_was_pruned_stays_so_and_the_rest_is_averaged(fit, name, epoch):
    task, watch, _ = fit(first=[Prune(epoch)], name=name, start=0.0, decay=0.6)
    for layer in task.network.layers:
        assert not layer.logits.isnan().any()
        assert (layer.logits.isfinite().sum(1) == layer.in_features // 2).all()
    seen = watch.steps if name == "ema" else watch.steps[BATCHES - 1 :: BATCHES]
    expected = ema(seen, 0.6) if name == "ema" else torch.stack(seen).mean(0)
    torch.testing.assert_close(watch.look(task), expected, rtol=1e-5, atol=1e-6)
    assert task(torch.zeros(1, 4)).isfinite().all()


@pytest.mark.parametrize(
    ("experiment", "name", "overrides"),
    [("iris_disc", "swa", ()), ("iris_gen", "ema", ("task.z_draws=4096",))],
)
def test_the_best_and_the_test_have_the_average(train, experiment, name, overrides):
    run = train(experiment, f"trainer.averaging.name={name}", "trainer.averaging.start=0",
                "trainer.monitor=val/nll", *overrides)  # fmt: skip
    saved = torch.load(run.best, weights_only=True)
    raw, used = saved["averaging"]["weights"], saved["state_dict"]
    assert any(not torch.equal(raw[n], used[f"network.{n}"]) for n in raw)
    (again, _), summary = evaluate(run), run.read_summary()
    for key in ("test/accuracy", "test/nll"):
        assert again[key] == pytest.approx(summary[key], rel=1e-6)
