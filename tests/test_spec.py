"""What a row is: from the user's units to the network's and back, and what is refused."""

import json
import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from ugmm.errors import UserError
from ugmm.spec import Column, Spec, Target

GARDENS = ("Bern", "Oslo", "Rome", "?")
TABLE = Spec(
    n_features=6,
    class_names=("a", "b"),
    columns=(
        Column("width", unit="cm", fill=2.0),
        Column("garden", GARDENS),
        Column("price"),
    ),
    label="kind",
    ignored=("id",),
    mean=(2.0, 0.25, 0.5, 0.125, 0.125, 100.0),
    std=(0.5, 1.0, 2.0, 1.0, 4.0, 10.0),
)
ROWS = [[1.5, "Oslo", 90], [3, "Rome", 120.5]]
IMAGES = Spec(784, tuple("0123456789"), image_shape=(28, 28), pixel_range=(0.0, 1.0))
PLAIN = Spec(2, ("no", "yes"))


def encoded(rows=ROWS):
    """By scikit-learn's encoder and scaler."""
    words = OneHotEncoder(categories=[GARDENS], sparse_output=False).fit([["Oslo"]])
    scaler = StandardScaler()
    scaler.mean_, scaler.scale_ = np.array(TABLE.mean), np.array(TABLE.std)
    x = [
        [row[0], *word, row[2]]
        for row, word in zip(rows, words.transform([[row[1]] for row in rows]), strict=True)
    ]
    return scaler.transform(np.array(x))


def in_any_form():
    frame = pd.DataFrame(ROWS, columns=["width", "garden", "price"])
    columns = {"width": [1.5, 3], "garden": ["Oslo", "Rome"], "price": [90, 120.5]}
    return {
        "lists": ROWS,
        "texts": [[str(value) for value in row] for row in ROWS],
        "objects": np.array(ROWS, dtype=object),
        "frame": frame,
        "frame in another order": frame[["price", "width", "garden"]],
        "frame with the rest": frame.assign(kind=["a", "b"], id=["x", "y"]),
        "frame with a unit": frame.rename(columns={"width": "width (cm)", "price": " price "}),
        "categories": frame.astype({"garden": "category", "width": "Float32"}),
        "mapping": columns,
        "mapping of tensors": columns | {"width": torch.tensor([1.5, 3])},
    }


@pytest.mark.parametrize("form", in_any_form())
def test_rows_of_any_form_become_the_same_features(form):
    x = TABLE.encode(in_any_form()[form])
    assert x.dtype == np.float32
    np.testing.assert_allclose(x, encoded(), rtol=1e-6)


def test_one_row_is_a_batch_of_one():
    frame = in_any_form()["frame"]
    for row in (ROWS[0], frame.iloc[0], frame.iloc[:1], dict(frame.iloc[0])):
        np.testing.assert_allclose(TABLE.encode(row), encoded(ROWS[:1]), rtol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.int64])
def test_numbers_go_by_position(dtype):
    rows = torch.tensor([[1, 2], [3, 4]], dtype=dtype)
    expected = np.array([[1, 2], [3, 4]], dtype=np.float32)
    for form in (
        rows,
        rows.float().numpy(),
        rows.tolist(),
        list(rows),
        rows.float().clone().requires_grad_(),
    ):
        np.testing.assert_array_equal(PLAIN.encode(form), expected)
    np.testing.assert_array_equal(PLAIN.encode(pd.DataFrame(rows.float())), expected)


def test_what_is_handed_in_is_left_alone():
    rows = np.array([[1.0, 2.0]], dtype=np.float32)
    PLAIN.encode(rows)[:] = 7
    assert rows.tolist() == [[1, 2]]


@pytest.mark.parametrize("gap", [None, math.nan, "", "NA", "?", pd.NA])
def test_missing_values_are_filled_where_training_filled_them(gap):
    x = TABLE.encode([[gap, "Oslo", 90], [1.5, gap, 90]])
    assert x[0, 0] == 0  # the mean
    assert x[1].tolist() == pytest.approx([-1, -0.25, -0.25, -0.125, 0.875 / 4, -1])
    np.testing.assert_array_equal(
        x,
        TABLE.encode(
            pd.DataFrame({"price": [90, 90], "garden": ["Oslo", gap], "width": [gap, 1.5]})
        ),
    )
    with pytest.raises(UserError, match="column 'price' has no value in row 1, and none was"):
        TABLE.encode([[1, "Oslo", 90], [1, "Oslo", gap]])


def test_categories_that_are_numbers_are_found_as_numbers():
    spec = Spec(3, ("a",), (Column("zip", ("9", "10", "0.5")),))
    expected = np.eye(3)
    for values in (["9", "10", "0.5"], [9, 10, 0.5], np.array([9.0, 10.0, 0.5])):
        np.testing.assert_array_equal(spec.encode({"zip": values}), expected)


@pytest.mark.parametrize(
    ("rows", "line"),
    [
        ({"width": [1], "garden": ["Oslo"]}, "column 'price' is missing"),
        ({"widht": [1], "garden": ["Oslo"], "price": [1]}, "unknown column 'widht'.*mean width"),
        ({"width": [1, 2], "garden": ["Oslo"], "price": [1]}, r"'garden' has shape \(1,\)"),
        ({"width": [1], "width (cm)": [1]}, "two columns 'width'"),
        ([[1, "Oslo"]], r"shape \(1, 2\), and it must be \(n, 3\): width, garden, price"),
        ([[1, "Oslo", 2], [1, "Oslo"]], "not all of one length"),
        ([], "shape"),
        (np.empty((0, 3)), "there are no rows"),
        (3, "rows cannot be of type int; give a tensor, an array, a list of rows, a data"),
        ("1, Oslo, 2", "rows cannot be of type str"),
        (None, "rows cannot be of type NoneType"),
        (iter([[1, "Oslo", 2]]), "rows cannot be of type list_iterator"),
        ([{"width": 1, "garden": "Oslo", "price": 1}], "list of mappings; give one mapping from"),
        ({"width": [[1, 2]], "garden": ["Oslo"], "price": [1]}, "'width' .* must be one list of"),
        ([["wide", "Oslo", 1]], "column 'width' is numeric, and row 0 has 'wide' in it"),
        ([["1_0", "Oslo", 1]], "column 'width' is numeric"),
        ([[1, "Olso", 1]], "column 'garden' has 'Olso' in row 0.*did you mean Oslo"),
        ([[1, pd.Timestamp("2020"), 1]], "column 'garden' has '2020.*none of its categories"),
        ([[1, "Oslo", math.inf]], "column 'price' has an infinite or too large value in row 0"),
        ([[1, "Oslo", 1e300]], "column 'price' has an infinite or too large value"),
    ],
)
def test_rows_that_were_never_trained_on_are_one_line(rows, line):
    with pytest.raises(UserError, match=line) as caught:
        TABLE.encode(rows)
    assert "\n" not in str(caught.value)


def test_what_an_array_masks_is_missing():
    masked = np.ma.masked_array([[1, 2], [3, 4]], mask=[[False, True], [False, False]])
    with pytest.raises(UserError, match="column number 1 has no value in row 0"):
        PLAIN.encode(masked)
    assert PLAIN.encode(masked[1:]).tolist() == [[3, 4]]


def test_columns_without_names_go_by_position_only():
    with pytest.raises(UserError, match="columns have no names; give an array"):
        PLAIN.encode({"a": [1], "b": [2]})
    with pytest.raises(UserError, match="column number 1 has no value in row 0"):
        PLAIN.encode([[1, None]])


def test_a_category_that_was_never_missing():
    spec = Spec(2, ("a",), (Column("garden", ("Bern", "Oslo")),))
    with pytest.raises(UserError, match="column 'garden' has no value in row 1, and none was"):
        spec.encode([["Bern"], [None]])


class TestImages:
    """Grey levels in [0, 1] or as uint8, flat or not."""

    @pytest.fixture
    def images(self):
        return np.random.default_rng(0).integers(0, 256, (5, 28, 28), dtype=np.uint8)

    def test_uint8_is_divided_by_255(self, images):
        expected = (images.reshape(5, 784) / 255).astype(np.float32)
        floats = images / 255
        for form in (
            images,
            images.reshape(5, 784),
            torch.from_numpy(images),
            floats,
            floats.astype(np.float32),
            torch.from_numpy(floats).reshape(5, 784),
        ):
            np.testing.assert_array_equal(IMAGES.encode(form), expected)
        np.testing.assert_array_equal(IMAGES.encode(images[2]), expected[2:3])
        np.testing.assert_array_equal(IMAGES.encode(images[2].flatten()), expected[2:3])

    def test_grey_is_rounded_where_the_network_knows_none(self, images):
        binary = Spec(784, ("a",), image_shape=(28, 28), pixel_range=(0.0, 1.0), binary=True)
        np.testing.assert_array_equal(binary.encode(images), images.reshape(5, 784) >= 128)

    @pytest.mark.parametrize(
        ("change", "line"),
        [
            (lambda images: images.astype(float), "go from 0 to 255.*divide them by 255, or give"),
            (lambda images: images.astype(int), "give them as uint8"),
            (lambda images: images / 255 - 1, "go from -1 to 0"),
            (lambda images: images // 128, "uint8 go from 0 to 255, these to 1; give them as fl"),
            (lambda images: images[:, :27], r"must be \(n, 784\) or \(n, 28, 28\)"),
            (lambda images: images * np.nan, "column number 0 has no value in row 0"),
        ],
    )
    def test_other_pixels_are_refused(self, images, change, line):
        with pytest.raises(UserError, match=line):
            IMAGES.encode(change(images))

    def test_another_range(self):
        spec = Spec(
            4,
            ("a",),
            tuple(map(Column, "abcd")),
            mean=(8.0,) * 4,
            std=(4.0,) * 4,
            image_shape=(2, 2),
            pixel_range=(0.0, 16.0),
        )
        assert spec.encode(np.uint8([[16, 8], [0, 4]])).tolist() == [[2, 0, -2, -1]]
        with pytest.raises(UserError, match=r"from 0 to 17, and those trained on from 0 to 16$"):
            spec.encode([[17, 0, 0, 0]])


numbers = st.floats(-1e6, 1e6)
rows = st.lists(st.tuples(numbers, st.sampled_from(GARDENS), numbers), min_size=1, max_size=9)


@settings(max_examples=50)
@given(rows)
def test_decoding_undoes_encoding(rows):
    decoded = TABLE.decode(TABLE.encode(rows))
    assert decoded[:, 1].tolist() == [row[1] for row in rows]
    for place in (0, 2):
        expected = np.array([row[place] for row in rows])
        np.testing.assert_allclose(decoded[:, place].astype(float), expected, rtol=1e-6, atol=1e-5)


@settings(max_examples=50)
@given(st.lists(st.lists(st.floats(-50, 50, width=32), min_size=2, max_size=2), min_size=1))
def test_encoding_undoes_decoding(x):
    spec = Spec(2, ("a",), mean=(3.0, -7.0), std=(0.5, 20.0))
    decoded = spec.decode(torch.tensor(x))
    assert decoded.dtype == np.float64
    np.testing.assert_allclose(spec.encode(decoded), x, rtol=1e-6, atol=1e-12)


def test_the_likeliest_category_is_decoded():
    decoded = TABLE.decode(np.float32([[0, 0.1, 0.4, -2, 0.2, 1]]))
    # In raw units the categories are 0.35, 1.3, -1.875 and 0.925.
    assert decoded.tolist() == [[2.0, "Oslo", 110.0]]


def test_the_jacobian_is_that_of_the_change_of_units():
    spec = Spec(2, ("a",), mean=(3.0, -7.0), std=(0.5, 20.0))
    raw = np.array([[2.5, 11.0], [4.0, -3.0]])
    within = norm.logpdf(spec.encode(raw).astype(float)).sum(1)
    expected = norm([3.0, -7.0], [0.5, 20.0]).logpdf(raw).sum(1)
    np.testing.assert_allclose(within + spec.log_jacobian, expected, rtol=1e-6)
    assert PLAIN.log_jacobian == 0


@pytest.mark.parametrize("spec", [TABLE, IMAGES, PLAIN])
def test_json_gives_the_same_spec(spec):
    assert Spec.from_json(spec.to_json()) == spec
    assert Spec.from_json(json.loads(json.dumps(spec.to_json()))) == spec


@pytest.mark.parametrize("content", [{}, {"columns": [1]}, {**PLAIN.to_json(), "more": 1}, [1]])
def test_json_of_something_else_is_refused(content):
    with pytest.raises(UserError, match="is damaged, or from another version of ugmm"):
        Spec.from_json(content)


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        ({"columns": (Column("a"),)}, "1 feature names for 2 features"),
        ({"mean": (1.0,), "std": (1.0,)}, "1 means for 2 features"),
        ({"mean": (1.0, 2.0)}, "either both a mean and a deviation"),
    ],
)
def test_a_spec_must_fit_together(fields, line):
    with pytest.raises(UserError, match=line):
        Spec(2, ("a",), **fields)


def test_what_is_missing_of_given_rows_is_unknown():
    rows = {"width": [1.5, None, "?"], "garden": ["", "Rome", "Oslo"]}  # and no price
    x = TABLE.encode_given(rows)
    whole = encoded([[1.5, "Oslo", 90], [3, "Rome", 1], [3, "Oslo", 1]])
    known = np.zeros((3, 6), dtype=bool)
    known[0, 0] = known[1, 1:5] = known[2, 1:5] = True
    assert np.array_equal(~np.isnan(x), known)
    np.testing.assert_allclose(x[known], whole[known], rtol=1e-6)


@pytest.mark.parametrize(
    "rows",
    [
        [[1.5, None, 90], [np.nan, "Rome", ""]],
        np.array([[1.5, np.nan, 90], [np.nan, "Rome", None]], dtype=object),
        pd.DataFrame({"price": [90, None], "width": [1.5, pd.NA], "garden": [None, "Rome"]}),
    ],
)
def test_rows_of_any_form_may_have_gaps(rows):
    x = TABLE.encode_given(rows)
    known = [[True, *[False] * 4, True], [False, *[True] * 4, False]]
    assert (~np.isnan(x)).tolist() == known


@pytest.mark.parametrize(
    ("rows", "complaint"),
    [
        ({"widht": [1.0]}, "unknown column 'widht'.*width"),
        ({"width": ["wide"]}, "column 'width' is numeric"),
        ({"garden": ["Paris"]}, "none of its categories"),
        ({"width": [math.inf]}, "infinite or too large"),
        ({}, "there are no rows"),
        ({"width": [1.0, 2.0], "price": [1.0]}, "make all of one length"),
    ],
)
def test_what_is_known_is_checked(rows, complaint):
    with pytest.raises(UserError, match=complaint):
        TABLE.encode_given(rows)


def test_images_may_have_gaps():
    images = np.full((2, 28, 28), np.nan)
    images[0, 3] = 0.5
    x = IMAGES.encode_given(images)
    assert x.shape == (2, 784)
    assert np.isnan(x).sum() == 2 * 784 - 28
    binary = Spec(784, IMAGES.class_names, pixel_range=(0, 1), image_shape=(28, 28), binary=True)
    assert set(binary.encode_given(images + 0.1)[0, 84:112]) == {1.0}
    with pytest.raises(UserError, match="the pixels go from"):
        IMAGES.encode_given(images * 3)


def test_labels_may_be_given():
    assert TABLE.given_labels({"kind": ["b", None, "", " a "]}).tolist() == [1, -1, -1, 0]
    assert TABLE.given_labels({"width": [1.0]}) is None
    assert TABLE.given_labels([[1.5, "Oslo", 90]]) is None
    with pytest.raises(UserError, match="column 'kind' has 'c' in row 0, which is no class"):
        TABLE.given_labels({"kind": ["c"]})
    merged = replace(TABLE, class_names=("a", "other"), merged=("c", "7"))
    labels = {"kind": ["other", "7", "a", " c"]}
    assert merged.given_labels(labels).tolist() == [1, 1, 0, 1]
    assert Spec.from_json(json.loads(json.dumps(merged.to_json()))) == merged
    before = {name: value for name, value in TABLE.to_json().items() if name != "merged"}
    assert Spec.from_json(before) == TABLE


NUMBERS = Spec(2, (), (Column("age"), Column("bmi")), target=Target("weight", "kg", 70.0, 12.5))


def test_rows_may_hold_the_target_which_is_no_feature():
    rows = {"bmi": [20.0, 30.0], "weight": [61.0, 80.0], "age": [40, 50]}
    np.testing.assert_array_equal(NUMBERS.encode(rows), [[40, 20], [50, 30]])
    assert NUMBERS.given_labels(rows) is None
    with pytest.raises(UserError, match="unknown column 'kind'"):
        NUMBERS.encode({**rows, "kind": ["a", "b"]})


def test_a_target_is_saved_and_specs_from_before_there_were_any_are_read():
    saved = json.loads(json.dumps(NUMBERS.to_json()))
    assert Spec.from_json(saved) == NUMBERS
    assert NUMBERS.target.label == "weight (kg)"
    before = {name: value for name, value in TABLE.to_json().items() if name != "target"}
    assert Spec.from_json(before) == TABLE
    with pytest.raises(UserError, match="damaged, or from another version"):
        Spec.from_json({**saved, "target": {"called": "weight"}})
