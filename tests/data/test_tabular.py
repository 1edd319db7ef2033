"""Tables in folds, against scikit-learn's own scaler, imputer and densities of SciPy."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal
from sklearn import datasets
from sklearn.impute import SimpleImputer
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from ugmm.data import IrisDataModule, Table, TabularDataModule
from ugmm.data.tabular import SCIKIT
from ugmm.errors import UserError
from ugmm.spec import Column, Spec

SIZES = {
    "iris": (150, 4, 3, None),
    "wine": (178, 13, 3, None),
    "breast_cancer": (569, 30, 2, None),
    "digits": (1797, 64, 10, (8, 8)),
}


def module(source, **options):
    data = TabularDataModule(source, **options)
    data.setup()
    return data


def table(x, y=None, classes=("a", "b")):
    x = np.asarray(x, dtype=np.float64)
    y = np.arange(len(x)) % len(classes) if y is None else np.asarray(y)
    return Table(x, y, tuple(Column(f"f{i}") for i in range(x.shape[1])), classes)


@pytest.mark.parametrize("name", SCIKIT)
def test_every_data_set_is_standardised_in_stratified_folds(name):
    rows, features, classes, shape = SIZES[name]
    data = TabularDataModule(name, fold=1, val_fraction=0.0, seed=3)
    assert (data.n_features, data.n_classes, data.image_shape) == (features, classes, shape)
    assert (len(data.feature_names), len(data.class_names)) == (features, classes)
    data.setup()
    x, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    train, test = list(StratifiedKFold(5, shuffle=True, random_state=3).split(x, y))[1]
    scaler = StandardScaler().fit(x[train])
    assert len(train) + len(test) == rows
    for split, index in (("train", train), ("test", test)):
        np.testing.assert_array_equal(data.splits[split].y, y[index])
        np.testing.assert_allclose(
            data.splits[split].x, scaler.transform(x[index]), rtol=2e-7, atol=1e-12
        )
    np.testing.assert_allclose(data.std, scaler.scale_, rtol=1e-12)


def test_iris_is_the_table_of_that_name():
    one, other = IrisDataModule(seed=2), module("iris", seed=2)
    one.setup()
    for name, split in one.splits.items():
        assert torch.equal(split.x, other.splits[name].x)
    assert isinstance(one, TabularDataModule)
    with pytest.raises(
        UserError, match=r"class 'setosa' has 50 row\(s\), fewer than data.folds=51"
    ):
        IrisDataModule(folds=51)


def test_the_jacobian_turns_a_density_into_one_of_raw_units():
    data = module("wine")
    x = data.splits["test"].x.double()
    raw = x * data.std + data.mean
    served = multivariate_normal(np.zeros(13)).logpdf(x)
    expected = multivariate_normal(data.mean.numpy(), data.std.numpy() ** 2).logpdf(raw)
    np.testing.assert_allclose(served + data.log_jacobian, expected, rtol=1e-9)


@pytest.mark.parametrize("value", [0.0, 0.1, 1e-200, 7e9])
def test_constant_features_stay_finite(value):
    x = np.random.default_rng(0).normal(size=(30, 2))
    x[:, 1] = value
    x[0, 1] += 3  # but for one row, which is in the test set of one fold
    for fold in range(5):
        data = module(table(x), fold=fold, val_fraction=0.0)
        raw = data.splits["test"].x[:, 1].double() * data.std[1] + data.mean[1]
        constant = raw.max().item() == pytest.approx(value + 3, rel=0, abs=0.1)
        assert constant == (data.std[1] == 1)
        assert np.isfinite(data.log_jacobian)
        if constant:
            assert (data.splits["train"].x[:, 1].abs() < 1e-5).all()
            assert data.splits["test"].x[:, 1].max().item() == pytest.approx(3)


def names_of(data):
    return [data.class_names[c] for c in data.table.y]


@pytest.mark.parametrize("folds", [2, 3, 5])
def test_rare_classes_are_refused_left_out_or_merged(folds):
    y = [0] * 20 + [1] * 1 + [2] * 20 + [3] * 2 + [4] * 2
    rows = table(np.arange(45.0)[:, None], y, classes=("a", "b", "c", "d", "e"))
    with pytest.raises(
        UserError, match=rf"'b' has 1 row\(s\), fewer than data.folds={folds}; .*rare"
    ):
        module(rows, folds=folds)
    data = module(rows, folds=folds, rare="drop")
    assert names_of(data) == ["a"] * 20 + ["c"] * 20
    assert data.table.x[20:22, 0].tolist() == [21, 22]
    assert "data.rare=drop: classes with fewer than" in data.description
    assert "'b' (1), 'd' (2), 'e' (2), are left out" in data.description
    data = module(rows, folds=folds, rare="merge")
    assert data.class_names == ("a", "c", "other")
    assert data.spec.merged == ("b", "d", "e")
    assert names_of(data) == ["a"] * 20 + ["other"] + ["c"] * 20 + ["other"] * 4
    for split in data.splits.values():
        assert set(split.y.tolist()) <= {0, 1, 2}
    assert module(rows, folds=folds, rare="drop").spec.class_names == ("a", "c")


def test_where_rare_classes_are_all_there_is():
    few = table(
        np.arange(24.0)[:, None], [0] * 20 + [1] * 2 + [2] * 2, classes=("a", "other", "c")
    )
    with pytest.raises(UserError, match=r"data.rare=merge: .*'other'.* too few together"):
        module(few, rare="merge")
    with pytest.raises(UserError, match=r"data.rare=drop leaves less than two classes"):
        module(few, rare="drop")
    assert module(few, folds=4, rare="merge").class_names == ("a", "other")
    plain = module(table(np.arange(40.0)[:, None]), rare="drop")
    assert (plain.class_names, plain.description) == (("a", "b"), "")


@pytest.mark.parametrize("decimal", [".", ","])
def test_a_label_of_decimals_is_pointed_out(decimal):
    classes = tuple(f"{i / 2}".replace(".", decimal) for i in range(20))
    rows = table(np.arange(20.0)[:, None], np.arange(20), classes=classes)
    with pytest.raises(UserError, match="a quantity is predicted by data"):
        module(rows)


def test_a_class_that_validation_takes_whole_is_named():
    rows = table(np.arange(84.0)[:, None], [0] * 40 + [1] * 40 + [2] * 4, classes=("a", "b", "c"))
    with pytest.raises(UserError, match=r"'c' has no row left to train on .*val_fraction=0.9"):
        module(rows, folds=3, val_fraction=0.9)


def test_missing_values_become_the_training_mean():
    generator = np.random.default_rng(1)
    x = generator.normal(3, 2, (60, 3))
    x[generator.random(x.shape) < 0.2] = np.nan
    data = module(table(x), val_fraction=0.0)
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    index = next(folds.split(x, np.arange(60) % 2))
    pipeline = make_pipeline(SimpleImputer(), StandardScaler()).fit(x[index[0]])
    for split, rows in zip(("train", "test"), index, strict=True):
        np.testing.assert_allclose(data.splits[split].x, pipeline.transform(x[rows]), atol=1e-6)


@pytest.mark.parametrize("keep", [False, True])
def test_a_feature_without_a_training_value_is_refused(keep):
    x = np.ones((10, 2))
    x[:, 1] = np.nan
    with pytest.raises(UserError, match="feature 'f1' is missing in all training rows"):
        module(replace(table(x), keep_missing=keep))


def test_missing_values_that_are_kept_are_nan_and_do_not_count():
    generator = np.random.default_rng(1)
    x = generator.normal(3, 2, (60, 3))
    x[generator.random(x.shape) < 0.2] = np.nan
    data = module(replace(table(x), keep_missing=True), val_fraction=0.0)
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    train, test = next(folds.split(x, np.arange(60) % 2))
    scaler = StandardScaler().fit(x[train])  # which leaves NaN aside
    for split, rows in (("train", train), ("test", test)):
        np.testing.assert_allclose(data.splits[split].x, scaler.transform(x[rows]), atol=1e-6)
    np.testing.assert_array_equal(data.spec.encode(x), served_by_index(data))
    np.testing.assert_allclose(data.spec.decode(served_by_index(data)), x, rtol=1e-5)
    assert Spec.from_json(data.spec.to_json()) == data.spec
    assert np.isnan(data.spec.encode([[None, "", 1.0]])[0, :2]).all()
    with pytest.raises(UserError, match="column 'f2' has an infinite or too large value in row 0"):
        data.spec.encode([[None, None, np.inf]])


def test_a_category_that_is_missing_is_unknown_in_all_its_features():
    town = Column("town", ("Oslo", "Rome"))
    codes = town.encode(["Oslo", None, "Rome", "Rome"] * 5, keep_missing=True)
    rows = Table(codes, np.arange(20) // 2 % 2, (town,), ("a", "b"), keep_missing=True)
    data = module(rows, val_fraction=0.0)
    x = data.spec.encode({"town": ["Rome", "", None]})
    assert np.isnan(x).tolist() == [[False, False], [True, True], [True, True]]
    assert data.spec.decode(x)[0, 0] == "Rome"
    assert np.isnan(data.spec.decode(x)[1, 0])
    with pytest.raises(UserError, match="'Bern' in row 0, which is none of its categories"):
        data.spec.encode({"town": ["Bern"]})


def test_values_whose_squares_overflow_are_refused():
    with pytest.raises(UserError, match="feature 'f0' is too large to be squared"):
        module(table(np.linspace(-1e200, 1e200, 10)[:, None]))


def test_a_table_without_a_label_has_folds_that_are_a_partition():
    x = np.arange(23.0)[:, None]
    tests = []
    for fold in range(5):
        data = module(table(x, np.zeros(23, int), ("all",)), fold=fold)
        assert data.n_classes == 1
        tests += (data.splits["test"].x.double() * data.std + data.mean).flatten().tolist()
    assert sorted(np.round(tests)) == x.flatten().tolist()
    assert np.round(tests).tolist() != x.flatten().tolist()  # they are shuffled


def test_classes_too_small_for_the_folds_are_refused():
    x = np.arange(20.0)[:, None]
    with pytest.raises(UserError, match=r"class 'b' has 4 row\(s\), fewer than data.folds=5"):
        TabularDataModule(table(x, [0] * 16 + [1] * 4))
    with pytest.raises(UserError, match=r"class 'b' has 0 row\(s\)"):
        TabularDataModule(table(x, [0] * 20))
    with pytest.raises(UserError, match="class 'b' has one row outside the test fold"):
        module(table(x, [0] * 18 + [1] * 2), folds=2)
    with pytest.raises(UserError, match="no data set 'irises'; there are iris, wine"):
        TabularDataModule("irises")


def served_by_index(data):
    """All rows that a module serves, in the table's order."""
    folds = StratifiedKFold(data.folds, shuffle=True, random_state=data.seed)
    train, test = list(folds.split(data.table.x, data.table.y))[data.fold]
    assert not len(data.splits["val"].x)
    x = np.empty(data.table.x.shape, np.float32)
    x[train], x[test] = data.splits["train"].x, data.splits["test"].x
    return x


@pytest.mark.parametrize("name", SCIKIT)
def test_raw_rows_become_what_is_served(name):
    data = module(name, fold=1, val_fraction=0.0)
    loaded = getattr(datasets, f"load_{name}")(as_frame=True)
    for rows in (loaded.data, loaded.frame, loaded.data.to_numpy()):
        np.testing.assert_array_equal(data.spec.encode(rows), served_by_index(data))
    assert {column.unit for column in data.spec.columns} == {"cm" if name == "iris" else ""}
    assert data.spec.class_names == data.class_names


def test_gaps_are_filled_as_in_training():
    generator = np.random.default_rng(1)
    x = generator.normal(3, 2, (60, 3))
    x[generator.random(x.shape) < 0.2] = np.nan
    x[:, 2] = 7
    data = module(table(x), val_fraction=0.0)
    np.testing.assert_array_equal(data.spec.encode(x), served_by_index(data))
    with pytest.raises(UserError, match="column 'f2' has no value in row 0"):
        data.spec.encode([[1, 2, None]])
    data = module(replace(table(x), fill_missing=True), val_fraction=0.0)
    assert data.spec.encode([[1, 2, None]])[0, 2] == 0
