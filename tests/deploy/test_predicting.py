"""Answers about a file, a block at a time, are those about all of its rows in one piece."""

import csv
import gzip
import io
from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from ugmm.cli import main
from ugmm.config.compose import compose
from ugmm.data.csv_table import read_cells
from ugmm.deploy.predicting import tables
from ugmm.deploy.predicting.outputs import check_output, writing_answers
from ugmm.deploy.predicting.predict import read_names
from ugmm.deploy.predicting.rows import RowReader
from ugmm.deploy.predicting.tables import open_table
from ugmm.errors import UserError
from ugmm.nn import UGMMNetwork
from ugmm.spec import Column, Spec
from ugmm.trained import TrainedNetwork

SPEC = Spec(
    n_features=5,
    class_names=("yes", "no"),
    columns=(
        Column("size", unit="cm", fill=2.5),
        Column("hue", categories=("dark red", "7", "?")),
        Column("weight"),
    ),
    label="kind",
    ignored=("note",),
)


def encoded(path, spec=SPEC, **options):
    """The rows of a file in model units, a block after the other."""
    with open_table(str(path)) as table:
        reader = RowReader(table, spec, **options)
        return np.vstack([x for x, _, _ in reader.parts()])


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr(tables, "_CELLS", 12)
    monkeypatch.setattr(tables, "_BYTES", 64)


NUMBERS = st.one_of(
    st.floats(-1e6, 1e6).map(repr),
    st.integers(-99, 99).map(str),
    st.sampled_from(
        ["+1.5", ".5", "1.", "1e3", "-0", " 2 ", "\t3", "\uff11", "inf", "1e39", "1_0"]
    ),
    st.sampled_from(["x", "-nan", "nan(1)", "0x1", "1 2", "", " ", "NA", "nan", " ? ", "NaN"]),
)
WORDS = st.sampled_from(["dark red", " dark  red", "7", "7.0", "07", "?", "", "Na", "8", "x"])
ROWS = st.lists(st.tuples(NUMBERS, WORDS, NUMBERS, st.sampled_from("yx")), min_size=1, max_size=9)


@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(rows=ROWS, quoted=st.booleans(), order=st.permutations(range(4)))
@example(rows=[("1", "7", "2", "x")] * 40 + [("a", "7", "2", "x")], quoted=False, order=range(4))
def test_cells_mean_what_they_mean_to_the_reader_of_training(
    rows, quoted, order, small_blocks, tmp_path
):
    path = tmp_path / "rows.csv"
    with path.open("w", newline="") as file:
        how = csv.QUOTE_ALL if quoted else csv.QUOTE_MINIMAL
        writer = csv.writer(file, quoting=how)
        for row in [("size (cm)", "hue", "weight", "note"), *rows]:
            writer.writerow([row[place] for place in order])
    columns = {name: column.values for name, column in read_cells(path)[0].items()}
    try:
        expected = SPEC.encode(columns)
    except UserError:
        # Of several mistakes it may be another one that is told; rows are counted from 1.
        last = "'size' is numeric, and row 41 has 'a'" if len(rows) == 41 else "column"
        with pytest.raises(UserError, match=last):
            encoded(path)
    else:
        np.testing.assert_array_equal(encoded(path), expected)


def test_a_file_is_written_in_many_ways(tmp_path):
    frame = pd.DataFrame(
        {"size": [1.5, 2.25] * 60, "hue": ["7", "dark red"] * 60, "weight": range(120)}
    )
    expected = SPEC.encode(frame)
    text = frame.to_csv(index=False)
    commas = frame.to_csv(index=False, sep=";", decimal=",")
    contents = {
        "plain.csv": text.encode(),
        "quoted.csv": frame.to_csv(index=False, quoting=csv.QUOTE_ALL).encode(),
        "old.csv": text.replace("\n", "\r").encode(),
        "dos.csv": b"\xef\xbb\xbf" + text.replace("\n", "\r\n\r\n").encode(),
        "packed.csv.gz": gzip.compress(text.encode()),
        "tabs.csv": text.replace(",", "\t").encode("utf-16"),
        "bare.csv": text.encode("utf-16-le"),
        "commas.csv": commas.encode(),
        "named.csv": b"sep=;\n" + commas.encode(),
        "breaks.csv": text.replace("dark red", '"dark\nred"').encode(),
        "note.csv": commas.replace("weight", "weight;note").replace("\n", ";ä\n").encode("cp1252"),
    }
    contents["note.csv"] = contents["note.csv"].replace(b"note;\xe4", b"note")
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
        np.testing.assert_array_equal(encoded(tmp_path / name), expected, err_msg=name)


CZECH = "size;hue;weight;note\n1,5;dark red;2;žluť\n1,25;7;3;x\n"


def test_a_file_is_read_as_the_run_states_that_its_own_was(tmp_path, monkeypatch, capsys):
    config = compose(
        "iris_disc",
        ["data=csv", "data.path=a.csv", "data.encoding=cp1250", "data.separator=;"],
    )
    columns = (*SPEC.columns[:2], Column("note", ("žluť", "x")))
    spec = replace(SPEC, columns=columns, n_features=6, ignored=("weight",))
    network = TrainedNetwork(UGMMNetwork([6, 2]).eval(), spec, config)
    monkeypatch.setattr("ugmm.deploy.predicting.predict.load", lambda _: network)
    path = tmp_path / "rows.csv"

    def answered(content, *options):
        path.write_bytes(content)
        code = main(["predict", "run", str(path), "--keep", "note,size", *options])
        output = capsys.readouterr()
        return output.out if code == 0 else output.err

    expected = answered(CZECH.encode("cp1250"))
    assert [row["note"] for row in csv.DictReader(io.StringIO(expected))] == ["žluť", "x"]
    same = [
        answered(CZECH.encode("utf-8-sig")),  # which says so itself
        answered(CZECH.encode("utf-16")),
        answered(CZECH.encode(), "--encoding", "utf-8"),
        answered(CZECH.encode(), "--encoding", "auto", "--decimal", "comma"),
    ]
    assert same == [expected] * 4
    error = answered(CZECH.encode())
    assert "(the run has data.encoding='cp1250', data.separator=';'; give --encoding, " in error
    assert "which is none of its categories" in error
    assert "is not ascii text; name its" in answered(CZECH.encode(), "--encoding", "ascii")
    for name in ("elvish", "hex"):
        assert f"--encoding {name} is no enc" in answered(CZECH.encode(), "--encoding", name)
    commas = CZECH.replace(",", ".").replace(";", ",").encode("cp1250")
    assert (
        "--separator if the file differs) has no such column; did you mean size,hue"
        in answered(commas)
    )
    assert "dark red" not in answered(commas, "--separator", "comma")
    # Of "1,5" it is stated that it is no number.
    assert "give a number" in answered(CZECH.encode("cp1250"), "--decimal", "point")


def test_with_decimal_commas_a_point_makes_no_number(tmp_path):
    lines = ["size;hue;weight", *["1,5;7;2,5"] * 200, "1.234;7;?"]
    (tmp_path / "a.csv").write_text("\n".join(lines))
    with pytest.raises(
        UserError, match=r"row 201 has '1\.234' in it, where decimals stand behind"
    ):
        encoded(tmp_path / "a.csv")


def test_parquet_has_types_of_its_own(tmp_path):
    columns = {
        "weight": pa.array([1, 2, 3], pa.int8()),
        "hue": pa.array([7, 7, None], pa.int64()),
        "size": pa.array([True, None, False]),
        "kind": pa.array(["yes", "x", None]),
        "note": pa.array([[1], [2], []]),
    }
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table(columns), path)
    found = encoded(path)
    np.testing.assert_array_equal(found[:, 0], [1, 2.5, 0])
    np.testing.assert_array_equal(found[:, 1:4], [[0, 1, 0], [0, 1, 0], [0, 0, 1]])
    columns["hue"] = pa.array(["7", "dark  red", "7"]).dictionary_encode()
    columns["weight"] = pa.array(["1", " 2", "3e0"])
    pq.write_table(pa.table(columns), path)
    np.testing.assert_array_equal(encoded(path)[:, 1:], [[0, 1, 0, 1], [1, 0, 0, 2], [0, 1, 0, 3]])


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", "is empty"),
        ("size,hue,weight\n", "has no rows"),
        ("size,hue\n1,7\n", "column 'weight' is missing"),
        ("size,hue,wieght\n1,7,2\n", "unknown column 'wieght'; .* did you mean weight?"),
        ("size,hue,weight,size (cm)\n1,7,2,3\n", "two columns 'size'"),
        ("size,hue,weight,\n1,7,2,3\n", "column 4 has no name"),
        ("size,hue,weight,note,note\n1,7,2,3,4\n", "2 columns 'note'"),
        ("size,hue,weight\n1,7,2\n\n3,7\n", "line 4 has 2 values for 3 columns"),
        ('size,hue,weight\n1,"7,2\n', "line 2: unexpected end of data; mend the quotes"),
        ('size,hue,weight\n1,"7"8,2\n', "line 2: ',' expected after '\"'"),
        ("size,hue,weight\n1,7,2\n1,9,2\n", "'9' in row 2, which is none of its categories"),
        ("size,hue,weight\n1,7,2\n1,7,\n", "'weight' has no value in row 2"),
        ("size,hue,weight\n1,7,1e99\n", "'weight' has an infinite .* in row 1"),
    ],
)
def test_mistakes_are_told_in_a_line(text, line, tmp_path):
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(UserError, match=line):
        encoded(tmp_path / "a.csv")


def test_images_without_names_go_by_position(tmp_path):
    spec = Spec(n_features=4, class_names=("0", "1"), image_shape=(2, 2), pixel_range=(0.0, 1.0))
    path = tmp_path / "images.csv"
    path.write_text("label,a,b,c,d\n5,0,255,51,0\n7,0,0,102,1\n")
    expected = np.array([[0, 255, 51, 0], [0, 0, 102, 1]]) / 255
    np.testing.assert_allclose(encoded(path, spec, keep=["label"]), expected, rtol=1e-6)
    with pytest.raises(UserError, match="has 5 columns, and the network 4 inputs without names"):
        encoded(path, spec)
    path.write_text("a,b,c,d\n0,0.5,1,0\n")
    np.testing.assert_array_equal(encoded(path, spec), [[0, 0.5, 1, 0]])
    path.write_text("a,b,c,d\n0,0.5,200,0\n")
    with pytest.raises(UserError, match=r"images\.csv: the pixels go from 0 to 200"):
        encoded(path, spec)


def test_a_network_that_keeps_missing_values_needs_no_column(tmp_path):
    spec = Spec(
        n_features=2,
        class_names=("a", "b"),
        columns=(Column("x"), Column("y")),
        keeps_missing=True,
    )
    path = tmp_path / "a.csv"
    path.write_text("y\n1\n\n?\n")
    np.testing.assert_array_equal(encoded(path, spec), [[np.nan, 1], [np.nan, np.nan]])
    path.write_text("id\n1\n")
    with pytest.raises(UserError, match="has none of the network's columns"):
        encoded(path, spec, keep=["id"])


ANSWERS = {
    "id": pa.array(["a", "=1+1"]),
    "prediction": np.array(["x,y", "=2"], dtype=object),
    "p(x)": np.array([1 / 3, 1e-30]),
}


@pytest.mark.parametrize("name", ["answers.csv", "answers.csv.gz", "answers.parquet"])
def test_answers_are_whole_or_not_there(name, tmp_path):
    path = tmp_path / name
    with writing_answers(str(path)) as write:
        assert write(ANSWERS)
        assert write(ANSWERS)
        assert not path.exists()
    if name.endswith("parquet"):
        assert pq.read_table(path).to_pydict()["p(x)"] == [1 / 3, 1e-30] * 2
    else:
        content = path.read_bytes()
        text = (gzip.decompress(content) if name.endswith("gz") else content).decode()
        # A class that a spreadsheet would take for a formula is none; the user's cells stay.
        lines = ["id,prediction,p(x)", 'a,"x,y",0.3333333', "=1+1,'=2,1e-30"]
        assert text.splitlines() == [*lines, *lines[1:]]
    before = path.read_bytes()
    with pytest.raises(ZeroDivisionError), writing_answers(str(path)) as write:
        write({**ANSWERS, "id": 1 / 0})
    assert [p.name for p in tmp_path.iterdir()] == [name]
    assert path.read_bytes() == before


def test_where_answers_cannot_go_is_told_before_the_work(tmp_path):
    for out, line in [
        (str(tmp_path), "is a folder"),
        (str(tmp_path / "a.xlsx"), "must end in .csv, .csv.gz or .parquet"),
        (str(tmp_path / "b" / "a.csv"), "there is no folder"),
    ]:
        with pytest.raises(UserError, match=line):
            check_output(out, "rows.csv")
    check_output("/dev/null", "rows.csv")
    assert read_names(' id,"a,b",id') == ["id", "a,b"]
