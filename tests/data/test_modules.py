"""The data modules: splits, standardisation, checks at the edge, and Lightning's side of it."""

from itertools import chain

import lightning
import numpy as np
import pytest
import torch
from sklearn.datasets import load_iris
from sklearn.preprocessing import StandardScaler

from ugmm.data import (
    InMemoryDataModule,
    IrisDataModule,
    Split,
)
from ugmm.errors import UserError
from ugmm.spec import Column, Spec

FLOWERS, SPECIES = load_iris(return_X_y=True)


def iris(**options):
    module = IrisDataModule(**options)
    module.setup()
    return module


def centimetres(module, split):
    """The rows as scikit-learn has them: one decimal."""
    x = module.splits[split].x.double() * module.std + module.mean
    return (x * 10).round().int().numpy()


def as_bag(rows):
    return sorted(map(tuple, rows.tolist()))


def test_iris_names_are_known_without_setup():
    reference = load_iris()
    module = IrisDataModule()
    # Without the unit: what is served is standardised.
    names = tuple(name.removesuffix(" (cm)") for name in reference.feature_names)
    assert module.feature_names == names
    assert module.class_names == tuple(reference.target_names)
    assert (module.n_features, module.n_classes, module.image_shape) == (4, 3, None)


@pytest.mark.parametrize("seed", [0, 3])
def test_iris_folds_are_a_stratified_partition(seed):
    tests, labels = [], []
    for fold in range(5):
        module = iris(fold=fold, seed=seed)
        tests.append(centimetres(module, "test"))
        labels.append(module.splits["test"].y)
        sizes = {name: len(split.y) for name, split in module.splits.items()}
        assert sizes == {"train": 96, "val": 24, "test": 30}
        for name, each in (("train", 32), ("val", 8), ("test", 10)):
            assert module.splits[name].y.bincount().tolist() == [each] * 3
        everything = np.concatenate([centimetres(module, name) for name in module.splits])
        assert as_bag(everything) == as_bag((FLOWERS * 10).round().astype(int))
    assert as_bag(np.concatenate(tests)) == as_bag((FLOWERS * 10).round().astype(int))
    assert torch.cat(labels).bincount().tolist() == np.bincount(SPECIES).tolist()


def test_iris_is_standardised_by_its_training_rows():
    module = iris(fold=2)
    scaler = StandardScaler().fit(centimetres(module, "train") / 10)
    np.testing.assert_allclose(module.mean, scaler.mean_, rtol=1e-12)
    np.testing.assert_allclose(module.std, scaler.scale_, rtol=1e-12)
    for name, split in module.splits.items():
        assert split.x.dtype == torch.float32
        assert split.y.dtype == torch.int64
        expected = scaler.transform(centimetres(module, name) / 10)
        np.testing.assert_allclose(split.x, expected, atol=1e-6)


def test_iris_depends_on_its_seed_alone():
    first, again, other = iris(seed=1), iris(seed=1), iris(seed=2)
    assert torch.equal(first.splits["train"].x, again.splits["train"].x)
    assert not torch.equal(first.splits["train"].x, other.splits["train"].x)


def test_iris_without_validation_trains_on_the_rest():
    module = iris(val_fraction=0.0)
    assert len(module.splits["train"].y) == 120
    assert module.val_dataloader() == []


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"fold": 5}, "data.fold=5 .* from 0 to 4"),
        ({"fold": -1}, "data.fold=-1 "),
        ({"folds": 1}, "data.folds=1 .* at least 2"),
        ({"val_fraction": 1.0}, "data.val_fraction=1.0 .* from 0.0 to below 1.0"),
        ({"val_fraction": float("nan")}, "data.val_fraction=nan"),
        ({"batch_size": 0}, "data.batch_size=0 .* at least 1"),
        ({"seed": -1}, "data.seed=-1 "),
    ],
)
def test_arguments_out_of_range_are_refused(options, line):
    with pytest.raises(UserError, match=line):
        IrisDataModule(**options)


@pytest.mark.parametrize("fraction", [0.001, 0.999])
def test_a_validation_fraction_that_leaves_a_class_out_is_refused(fraction):
    with pytest.raises(UserError, match=f"data.val_fraction={fraction}"):
        iris(val_fraction=fraction)


class Rows(InMemoryDataModule):
    """Whatever rows a test gives it, in every split."""

    n_features, n_classes, class_names, feature_names = 2, 2, ("a", "b"), ("width", "height")

    def __init__(self, x, y, batch_size=4):
        super().__init__(batch_size=batch_size, seed=0)
        self.rows = Split(torch.as_tensor(x, dtype=torch.float32), torch.as_tensor(y))

    def load(self):
        return dict.fromkeys(("train", "val", "test"), self.rows)


@pytest.mark.parametrize(
    ("x", "y", "line"),
    [
        ([[0, 1], [2, float("nan")]], [0, 1], "row 1, feature height"),
        ([[0, float("-inf")]], [0], "row 0, feature height"),
        ([[0, 1]], [2], "label 2; labels must be 0 to 1"),
        ([[0, 1]], [-1], "label -1"),
        ([[0, 1, 2]], [0], r"\(1, 3\)"),
        ([[0, 1]], [0, 1], r"labels \(2,\)"),
    ],
)
def test_rows_that_no_network_can_learn_are_refused(x, y, line):
    with pytest.raises(UserError, match=line):
        Rows(x, y).setup()


def test_a_module_that_keeps_missing_values_takes_nan_and_nothing_else():
    rows = Rows([[0, 1], [2, float("nan")]], [0, 1])
    rows.keeps_missing = True
    rows.setup()
    assert rows.spec.keeps_missing
    rows = Rows([[0, float("nan")], [2, float("inf")]], [0, 1])
    rows.keeps_missing = True
    with pytest.raises(UserError, match="row 1, feature height"):
        rows.setup()


class Recorder(lightning.LightningModule):
    """A linear model that remembers its batches, and saves a checkpoint at one moment."""

    def __init__(self, save_at=None):
        super().__init__()
        torch.manual_seed(0)
        self.layer = torch.nn.Linear(2, 2)
        self.seen, self.evaluated, self.save_at = [], [], save_at

    def training_step(self, batch, index):
        x, y = batch
        self.seen.append((self.current_epoch, *y.tolist()))
        return torch.nn.functional.mse_loss(self.layer(x)[:, 0], y.float())

    def validation_step(self, batch, index):
        self.evaluated.append(batch[1].tolist())

    def on_train_batch_end(self, outputs, batch, index):
        self.save("batch")

    def on_validation_end(self):
        self.save("validation")

    def on_train_epoch_end(self):
        self.save("epoch")

    def save(self, moment):
        if self.save_at == (moment, len(self.seen)):
            self.trainer.save_checkpoint(self.trainer.default_root_dir + "/saved.ckpt")

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 1e-4)


class Numbered(Rows):
    """Rows whose labels are their numbers."""

    n_classes = 22
    class_names = tuple(map(str, range(22)))

    def __init__(self):
        super().__init__([[i, -i] for i in range(22)], list(range(22)))


def fit(model, folder, data=None, **options):
    trainer = lightning.Trainer(
        max_epochs=4,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        default_root_dir=folder,
    )
    trainer.fit(model, datamodule=data or Numbered(), **options)
    return model


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    return fit(Recorder(), tmp_path_factory.mktemp("whole"))


def test_lightning_trains_every_epoch_in_its_own_order(uninterrupted):
    assert [batch[0] for batch in uninterrupted.seen] == [0] * 5 + [1] * 5 + [2] * 5 + [3] * 5
    module = Numbered()
    module.setup()
    first = [tuple(y.tolist()) for _, y in module.train_dataloader()]
    assert [batch[1:] for batch in uninterrupted.seen[:5]] == first
    assert len({batch[1:] for batch in uninterrupted.seen}) == 20
    assert list(chain(*uninterrupted.evaluated[:6])) == list(range(22))


def test_lightning_trains_without_validation_rows(tmp_path):
    data = Numbered()
    data.setup()
    data.splits["val"] = Split(torch.empty(0, 2), torch.empty(0, dtype=torch.int64))
    model = fit(Recorder(), tmp_path, data)
    assert len(model.seen) == 20
    assert model.evaluated == []


@pytest.mark.parametrize(
    "moment",
    [
        ("batch", 2),
        ("batch", 5),
        ("batch", 7),
        ("batch", 15),
        ("validation", 5),
        ("validation", 10),
        ("epoch", 5),
        ("epoch", 10),
    ],
)
def test_a_resumed_run_sees_what_was_left(moment, uninterrupted, tmp_path):
    """Resumed within an epoch, behind its last batch, after its validation and at its end."""
    fit(Recorder(moment), tmp_path)
    resumed = fit(Recorder(), tmp_path, ckpt_path=tmp_path / "saved.ckpt", weights_only=True)
    assert resumed.seen == uninterrupted.seen[moment[1] :]
    assert torch.equal(resumed.layer.weight, uninterrupted.layer.weight)


class Tiny(InMemoryDataModule):
    n_features, n_classes, class_names = 1, 2, ("no", "yes")

    def load(self):
        split = Split(torch.zeros(4, 1), torch.tensor([0, 1, 0, 1]))
        return {"train": split, "test": split}


def test_a_data_set_may_have_no_validation():
    module = Tiny(batch_size=2, seed=0)
    module.setup()
    assert module.val_dataloader() == []


@pytest.mark.parametrize("names", [(), ("no",)])
def test_a_data_set_must_name_its_classes(monkeypatch, names):
    monkeypatch.setattr(Tiny, "class_names", names)
    with pytest.raises(UserError, match="Tiny must state class_names, one for each of its 2"):
        Tiny(batch_size=2, seed=0).setup()


class Scaled(Rows):
    """Rows that are standardised, and images too."""

    def __init__(self, mean, std, **stated):
        super().__init__([[0.5, 1.0]], [0])
        self.mean, self.std = mean, std
        for name, value in stated.items():
            setattr(self, name, value)


def test_a_data_set_says_what_its_rows_are():
    data = Rows([[0.5, 1.0]], [0])
    data.setup()
    assert data.spec == Spec(2, ("a", "b"), (Column("width"), Column("height")))
    shared, each = Scaled(3.0, 2.0), Scaled(torch.tensor([3, 3]), np.array([2.0, 2.0]))
    for data in (shared, each):
        data.setup()
        assert (data.spec.mean, data.spec.std) == ((3.0, 3.0), (2.0, 2.0))
        assert data.spec.encode([[4.0, 5.0]]).tolist() == [[0.5, 1.0]]
        assert data.log_jacobian == pytest.approx(-2 * np.log(2))
    with pytest.raises(UserError, match="3 means for 2 features"):
        Scaled(torch.ones(3), torch.ones(3)).setup()


def test_an_image_has_pixels_from_0_to_1_unless_it_says_otherwise():
    data = Scaled(None, None, image_shape=(1, 2))
    data.setup()
    assert data.spec.encode(np.uint8([[51, 255]])).tolist() == [[pytest.approx(0.2), 1.0]]
    with pytest.raises(UserError, match="go from 0 to 2"):
        data.spec.encode([[0, 2]])
    data = Scaled(None, None, image_shape=(1, 2), pixel_range=None)
    data.setup()
    assert data.spec.encode([[0, 2]]).tolist() == [[0, 2]]
