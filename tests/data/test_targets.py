"""Rows with a number to predict, against scikit-learn's folds and scaler."""

import numpy as np
import pytest
import torch
from sklearn import datasets
from sklearn.model_selection import KFold
from sklearn.preprocessing import StandardScaler

from ugmm.data import InMemoryDataModule, Split, Table, TabularDataModule, read_csv
from ugmm.errors import UserError
from ugmm.spec import Column, Target


def module(source, **options):
    data = TabularDataModule(source, **options)
    data.setup()
    return data


def table(y, **stated):
    y = np.asarray(y, dtype=np.float64)
    x = np.arange(len(y), dtype=np.float64)[:, None]
    return Table(x, y, (Column("f"),), (), target=Target("price", unit="$"), **stated)


def test_diabetes_is_standardised_in_folds():
    data = module("diabetes", fold=2, val_fraction=0.0, seed=3)
    x, y = datasets.load_diabetes(return_X_y=True, scaled=False)
    train, test = list(KFold(5, shuffle=True, random_state=3).split(x))[2]
    scaler = StandardScaler().fit(y[train, None])
    assert (data.n_features, data.n_classes, data.class_names) == (10, 0, ())
    assert data.feature_names[:4] == ("age", "sex", "bmi", "bp")
    for split, index in (("train", train), ("test", test)):
        found = data.splits[split]
        assert found.x.dtype == found.y.dtype == torch.float32
        np.testing.assert_allclose(found.y, scaler.transform(y[index, None])[:, 0], rtol=1e-6)
        expected = StandardScaler().fit(x[train]).transform(x[index])
        np.testing.assert_allclose(found.x, expected, rtol=2e-6, atol=1e-6)
    assert data.target == data.spec.target
    assert data.target.name == "progression"
    assert data.target.mean == pytest.approx(scaler.mean_[0], rel=1e-12)
    assert data.target.std == pytest.approx(scaler.scale_[0], rel=1e-12)
    rows = data.rows()
    np.testing.assert_array_equal(rows.y, y)
    np.testing.assert_array_equal(rows.x, x)


def test_folds_and_validation_rows_are_disjoint_and_together_all():
    tests = []
    for fold in range(3):
        data = module(table(np.arange(23.0)), folds=3, fold=fold)
        found = {name: data.target.std * s.y + data.target.mean for name, s in data.splits.items()}
        together = torch.cat(list(found.values())).sort().values
        torch.testing.assert_close(together, torch.arange(23.0), rtol=0, atol=1e-5)
        assert len(found["val"]) == np.ceil(0.2 * (23 - len(found["test"])))
        tests.append(found["test"])
    assert torch.cat(tests).round().unique().tolist() == list(range(23))


class Made(InMemoryDataModule):
    """A data set of one's own, whose target says no more than its name."""

    n_features, target = 1, Target("made")

    def __init__(self, y):
        super().__init__(batch_size=2, seed=0)
        self.y = y

    def load(self):
        split = Split(torch.zeros(len(self.y), 1), self.y)
        return {"train": split, "test": split}


def test_a_data_set_of_ones_own_is_standardised_too():
    data = Made(torch.tensor([1, 3, 5], dtype=torch.int64))
    data.setup()
    expected = (torch.tensor([1.0, 3, 5]) - 3) / (8 / 3) ** 0.5
    torch.testing.assert_close(data.splits["test"].y, expected)
    assert (data.target.mean, data.target.std) == (3.0, pytest.approx((8 / 3) ** 0.5))
    (x, y), *_ = data.train_dataloader()
    assert (x.shape, y.shape, y.dtype) == ((2, 1), (2,), torch.float32)


@pytest.mark.parametrize(
    ("y", "line"),
    [
        ([2.5, 2.5, 2.5], "the target 'made' is 2.5 in all training rows"),
        ([0.1] * 7, "the target 'made' is 0.1 in all training rows"),
        ([1.0, float("nan")], "have the target nan in row 1; leave such rows out"),
        ([1.0, float("inf"), 2.0], "have the target inf in row 1"),
        ([1e200, -1e200], "the target 'made' is too large to be squared"),
    ],
)
def test_targets_that_are_none_are_one_line(y, line):
    with pytest.raises(UserError, match=line):
        Made(torch.tensor(y, dtype=torch.float64)).setup()


@pytest.mark.parametrize(
    ("rows", "options", "line"),
    [
        (5, {"folds": 3}, "has 5 rows, too few for two in each of data.folds=3"),
        (12, {"folds": 6, "val_fraction": 0.05}, "val_fraction=0.05 divides 10 rows into 9 and 1"),
        (12, {"rare": "drop"}, "data.rare=drop is of classes, and the table has a number"),
    ],
)
def test_folds_that_cannot_be_are_one_line(rows, options, line):
    with pytest.raises(UserError, match=line):
        module(table(np.arange(float(rows))), **options)


def test_a_column_of_a_file_is_the_target(tmp_path):
    path = tmp_path / "houses.csv"
    path.write_text("rooms;garden;price\n3;yes;100,5\n4;no;250\n2;yes;\n2;no;75\n")
    found = read_csv(path, target="price", missing="drop")
    assert found.y.tolist() == [100.5, 250, 75]
    assert found.y.dtype == np.float64
    assert (found.target, found.class_names, found.label) == (Target("price"), (), None)
    assert found.feature_names == ("rooms", "garden=no", "garden=yes")
    assert "  price   target             1  75 to 250" in found.description
    with pytest.raises(
        UserError, match=r"'price' has 1 missing value\(s\), .* without a target by"
    ):
        read_csv(path, target="price")


@pytest.mark.parametrize(
    ("text", "options", "line"),
    [
        ("a,b\n1,2\n3,x\n", {}, "data.target=b: 'x' in line 3 is not a number"),
        ("a,b\n1,2\n3,2.0\n", {}, "data.target=b is 2 in every row: there is nothing to predict"),
        ("a,b\n1,\n3,2\n", {"missing": "mean"}, "leave out rows without a target"),
        ("a,b\n1,?\n3,2\n", {"missing": "keep"}, "leave out rows without a target"),
        ("a,b\n1,inf\n3,2\n", {}, "column 'b' holds inf in line 2, too large"),
        ("a,b\n1,2\n3,4\n", {"label": "a"}, "either classes, 'a', or a number to predict, 'b'"),
        ("a,b\n1,2\n3,4\n", {"types": {"b": "numeric"}}, "names 'b', the target; leave it out"),
        ("a,c\n1,2\n3,4\n", {}, "data.target=b: .* has no such column"),
        ("b\n1\n2\n", {}, "has no column that could be a feature"),
    ],
)
def test_what_is_no_target_is_one_line(text, options, line, tmp_path):
    path = tmp_path / "table.csv"
    path.write_text(text)
    with pytest.raises(UserError, match=line):
        read_csv(path, target="b", **options)
