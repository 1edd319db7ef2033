"""CSV files: what columns are taken for, what becomes of them, and what is refused."""

import csv

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ugmm.data import TabularDataModule, read_csv
from ugmm.errors import UserError

FLOWERS = """\
id, width ,garden,price,species
a1,1.5,Oslo,3,setosa
a2,-2,Rome,3,virginica
a3,1e3,"Oslo",3,setosa

a4,.5,Bern,3,virginica
"""
GAPS = "width,garden,species\n1,Oslo,a\nNA,Rome,b\n3, ?,a\n5,,b\n7,Oslo,b\n"


@pytest.fixture
def write(tmp_path):
    def write(content):
        path = tmp_path / "table.csv"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def test_columns_become_numbers(write):
    table = read_csv(write(FLOWERS), "species", types={"id": "drop"})
    assert table.feature_names == ("width", "garden=Bern", "garden=Oslo", "garden=Rome", "price")
    expected = [[1.5, 0, 1, 0, 3], [-2, 0, 0, 1, 3], [1000, 0, 1, 0, 3], [0.5, 1, 0, 0, 3]]
    np.testing.assert_array_equal(table.x, expected)
    assert table.class_names == ("setosa", "virginica")
    assert table.y.tolist() == [0, 1, 0, 1]


def test_what_columns_are_is_said(write):
    path = write(FLOWERS)
    lines = read_csv(path, "species", types={"id": "drop"}).description.splitlines()
    assert lines[0] == f"{path} (utf-8, comma, decimal point): 4 rows, 5 features"
    assert [line.split(maxsplit=3) for line in lines[1:]] == [
        ["column", "type", "missing", "values"],
        ["id", "dropped", "0"],
        ["width", "numeric", "0", "-2 to 1000"],
        ["garden", "categorical", "0", "3: Bern, Oslo, Rome"],
        ["price", "numeric", "0", "3 (constant)"],
        ["species", "label", "0", "2: setosa, virginica"],
    ]


def test_types_may_be_given(write):
    text = "zip,grade,y\n10,1,a\n9,2,b\n9,3,a\n"
    table = read_csv(write(text), "y", types={"zip": "categorical", "grade": "numeric"})
    assert table.feature_names == ("zip=9", "zip=10", "grade")  # in the order of numbers
    np.testing.assert_array_equal(table.x, [[0, 1, 1], [1, 0, 2], [1, 0, 3]])


def test_labels_that_are_numbers_are_in_their_order(write):
    table = read_csv(write("x,y\n1,10\n2,9\n3,10\n"), "y")
    assert (table.class_names, table.y.tolist()) == (("9", "10"), [1, 0, 1])


def test_numbers_written_in_two_ways_are_one_class(write):
    path = write("size,y\n1,1\n1.0,1.0\n01,2\n2,01\n3,2e0\n")
    table = read_csv(path, "y", types={"size": "categorical"})
    assert (table.class_names, table.y.tolist()) == (("01", "1", "2"), [1, 1, 2, 0, 2])
    assert table.feature_names == ("size=01", "size=1", "size=2", "size=3")
    assert table.x.argmax(1).tolist() == [1, 1, 0, 2, 3]
    (column,) = table.columns
    assert column.encode(["1.0", 1, 1.0, "01", "2.00"]).argmax(1).tolist() == [1, 1, 1, 0, 2]


def test_a_label_is_optional(write):
    table = read_csv(write("a,b\n1,2\n3,4\n"))
    assert (table.class_names, table.y.tolist(), table.x.shape) == (("all",), [0, 0], (2, 2))
    assert TabularDataModule(table, folds=2).n_classes == 1


def test_missing_values_are_refused_filled_or_dropped(write):
    path = write(GAPS)
    with pytest.raises(UserError, match=r"'width' has 1 missing value\(s\), the first in line 3;"):
        read_csv(path, "species")
    table = read_csv(path, "species", missing="mean")
    assert table.feature_names == ("width", "garden=Oslo", "garden=Rome", "garden=?")
    expected = [[1, 1, 0, 0], [np.nan, 0, 1, 0], [3, 0, 0, 1], [5, 0, 0, 1], [7, 1, 0, 0]]
    np.testing.assert_array_equal(table.x, expected)
    table = read_csv(path, "species", missing="keep")
    gap = [np.nan, np.nan]
    expected = [[1, 1, 0], [np.nan, 0, 1], [3, *gap], [5, *gap], [7, 1, 0]]
    np.testing.assert_array_equal(table.x, expected)
    assert table.feature_names == ("width", "garden=Oslo", "garden=Rome")
    table = read_csv(path, "species", missing="drop")
    np.testing.assert_array_equal(table.x, [[1, 1], [7, 1]])
    assert "2 rows of 5, 2 features" in table.description
    assert "garden   categorical        2  Oslo (constant)" in table.description
    assert "width    numeric            1  1 to 7" in table.description


def test_gaps_in_a_column_that_is_left_out_do_not_matter(write):
    table = read_csv(write(GAPS), "species", types={"garden": "drop"}, missing="drop")
    assert table.x.flatten().tolist() == [1, 3, 5, 7]


@pytest.mark.parametrize(
    ("content", "options", "line"),
    [
        ("", {}, "has no rows; it needs names in its first line"),
        ("a,b\n", {}, "has no rows"),
        ("a,b\n1,2\n3\n", {}, "line 3 has 1 values for 2 columns"),
        ("a,b\n1,2,3\n", {}, "line 2 has 3 values for 2 columns"),
        ("a,b, a\n1,2,3\n", {}, "has 2 columns 'a'; rename them"),
        (",b\n1,2\n", {}, r"column 1 has no name; .* left out by to_csv\(index=False\)"),
        ("a,\n1,2\n", {}, "column 2 has no name; give it one$"),
        ("a;b\n1;2\n3\n", {}, "line 3 has 1 values for 2 columns; .*a semicolon, or set data.sep"),
        (
            "a;b\n1;2\n",
            {"separator": ":"},
            "data.separator=':' must be auto, comma, semicolon, tab",
        ),
        ("a;b\n1;2\n", {"decimal": ";"}, "data.decimal=';' must be auto, point, comma or"),
        ("a;b\n1;2\n", {"encoding": "utf8x"}, "data.encoding=utf8x is no encoding; use auto, or"),
        ('a,b\n"1,2\n', {}, "line 2: unexpected end of data; mend the quotes"),
        (
            "a,b\nü,2\n".encode("latin-1"),
            {"encoding": "utf-8"},
            "is not utf-8 text .*; use data.enc",
        ),
        (b"a,b\n1,2\0\n", {}, "holds bytes that no text has"),
        ("a,width\n1,2\n", {"label": "widht"}, "no such column; did you mean width?"),
        (
            "a b y\n1 2 u\n",
            {"label": "y"},
            "data.label=y: .* has one column only, 'a b y'; set data.separator, or separate its",
        ),
        ("sep=:\na:b\n1:2\n", {}, "data.separator=':' must be auto, comma"),
        ("age,b\n1,2\n", {"types": {"aeg": "drop"}}, "no column 'aeg'; did you mean age?"),
        ("age,b\n1,2\n", {"types": {"age": "int"}}, "data.types.age=int must be numeric,"),
        ("a,y\n1,2\n", {"types": {"y": "drop"}, "label": "y"}, "names 'y', the label"),
        ("a,b\n1,2\n1,inf\n", {}, "column 'b' holds inf in line 3, too large"),
        ("a,b\n1,2\n1,-1e200\n", {}, "column 'b' holds -1e200 in line 3"),
        ("a,b\n1,2\n2,x7\n3,4\n", {}, "'b': 'x7' in line 3 is not a number .*b: categorical}"),
        ("a;b\n1,5;2\n2.5;2\n3,5;4\n", {}, "a': '1,5' in line 2 is .*a point; .* data.decimal"),
        ("a,b\nx,1\nx,2\n", {"types": {"a": "numeric"}}, "'a': 'x' in line 2 is not a number"),
        ("id,b\nu,1\nv,2\n", {}, "'id' has another text in every row.*'data.types={id: drop}'"),
        ("a,b\n1,\n2,?\n", {"missing": "mean"}, "column 'b' has no values; leave it out by"),
        ("a,b\n1,\n2,?\n", {"missing": "drop"}, "every row lacks a value"),
        ("a,b\n1,NaN\n2,na\n", {}, r"'b' has 2 missing value\(s\), the first in line 2"),
        ("a,y\n1,\n2,u\n", {"label": "y", "missing": "mean"}, "leave out rows without a label"),
        ("a,y\n1,\n2,u\n", {"label": "y", "missing": "keep"}, "leave out rows without a label"),
        ("a,b\n1,\n2,?\n", {"missing": "keep"}, "column 'b' has no values; leave it out by"),
        ("a,y\n1,u\n2,u\n", {"label": "y"}, "data.label=y has one value only, 'u'"),
        ("y\nu\nv\n", {"label": "y"}, "has no column that could be a feature"),
    ],
)
def test_what_cannot_be_used_is_one_line(write, content, options, line):
    with pytest.raises(UserError, match=line) as caught:
        read_csv(write(content), **options)
    assert "\n" not in str(caught.value)


def test_files_that_cannot_be_read_are_one_line(tmp_path):
    with pytest.raises(UserError, match=r"cannot read data.path=.*nowhere.csv: No such file"):
        read_csv(tmp_path / "nowhere.csv")
    with pytest.raises(UserError, match=r"data.path=.* is a folder; give a file"):
        read_csv(tmp_path)
    with pytest.raises(UserError, match=r"no file is named; set data.path=table.csv"):
        read_csv("")


def test_a_byte_order_mark_is_no_part_of_a_name(write):
    assert read_csv(write(b"\xef\xbb\xbfa,b\r\n1,2\r\n")).feature_names == ("a", "b")


numbers = st.floats(-1e100, 1e100)
words = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Z"]), min_size=1)
words = words.filter(lambda text: text.lower() not in ("na", "nan", "?"))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
@given(
    names=st.lists(words, min_size=3, max_size=3, unique=True),
    rows=st.lists(st.tuples(numbers, words, st.sampled_from("uv")), min_size=2, max_size=9),
)
def test_what_is_written_is_read(write, names, rows):
    rows += [(0.0, "word", "u"), (0.0, "word", "v")]
    path = write("")
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([names, *rows])
    table = read_csv(path, names[2], types={names[1]: "categorical"})
    assert table.x[:, 0].tolist() == [row[0] for row in rows]
    assert [table.class_names[label] for label in table.y] == [row[2] for row in rows]
    chosen = [table.feature_names[1 + index] for index in table.x[:, 1:].argmax(axis=1)]
    assert chosen == [f"{names[1]}={row[1]}" for row in rows]
    assert (table.x[:, 1:].sum(axis=1) == 1).all()


@pytest.mark.parametrize("missing", ["mean", "drop"])
def test_the_file_read_by_pandas_becomes_the_same_features(write, missing):
    lines = GAPS.splitlines() + [
        f"{i},{'Oslo' if i % 3 else 'Rome'},{'ab'[i % 2]}" for i in range(9)
    ]
    path = write("id," + "\n".join(f"r{i}, {line}" if i else line for i, line in enumerate(lines)))
    table = read_csv(path, "species", types={"id": "drop"}, missing=missing)
    frame = pd.read_csv(path, na_values=["?", " ?", " NA"], skipinitialspace=True)
    if missing == "drop":
        frame = frame.dropna()
    data = TabularDataModule(table, folds=2, val_fraction=0.0)
    data.setup()
    spec = data.spec
    assert (spec.label, spec.ignored) == ("species", ("id",))
    filled = np.where(np.isnan(table.x), data.spec.columns[0].fill, table.x).astype(float)
    expected = ((filled - data.mean.numpy()) / data.std.numpy()).astype(np.float32)
    np.testing.assert_array_equal(spec.encode(frame), expected)
    if missing == "drop":
        with pytest.raises(UserError, match="column 'garden' has no value in row 0"):
            spec.encode([[1, None]])
    else:
        assert spec.encode([[None, None]])[0, 0] == pytest.approx(0, abs=1e-6)
