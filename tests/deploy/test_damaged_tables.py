"""Tables that were good once: each is answered, or refused in one line; `--damaged` many."""

import csv
import gzip
import io
import random

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from ugmm.config.compose import compose
from ugmm.data.csv_table import read_cells
from ugmm.deploy.predicting import tables
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
        Column("size", fill=2.5),
        Column("hue", categories=("red", "7", "?")),
        Column("mass"),
    ),
    label="kind",
    mean=(1.0,) * 5,
    std=(3.0,) * 5,
)
FRAME = pd.DataFrame(
    {
        "size": [1.5, 2.25, -3, 4e3, None] * 6,
        "hue": ["red", "7", None, "red", "7"] * 6,
        "kind": ["yes", "no", "no", "yes", "yes"] * 6,
        "mass": range(30),
    }
)
STRANGE = [b'"', b",", b";", b"\t", b"\n", b"\r", b"\0", b"\xff\xfe", b"\xef\xbb\xbf", b"\xe4"]
STRANGE += [
    b"inf",
    b"-nan",
    b"1e400",
    b"9" * 400,
    b"NA",
    b"?",
    b" ",
    b"sep=;\n",
    b"1,5",
    b"\x1f\x8b",
]
STRANGE += ["\u0661".encode(), "\u2028".encode(), b"1_0", b"+", b"0x1", b"PAR1", b'""', b"''"]


def good_files():
    frame, packed = FRAME, io.BytesIO()
    text = frame.to_csv(index=False)
    yield text.encode()
    yield frame.to_csv(index=False, quoting=csv.QUOTE_ALL).encode()
    yield frame.to_csv(index=False, sep=";", decimal=",").encode("cp1252")
    yield text.replace("\n", "\r\n").encode("utf-16")
    yield gzip.compress(text.encode(), mtime=0)
    for compression in ("snappy", "none", "gzip"):
        packed = io.BytesIO()
        pq.write_table(pa.Table.from_pandas(frame), packed, compression=compression)
        yield packed.getvalue()


def damage(content, draw):
    """Change a file in one of many ways."""
    place, end = sorted(draw.randrange(len(content) + 1) for _ in range(2))
    lines = content.splitlines(keepends=True)
    line = draw.randrange(len(lines))
    ways = [
        lambda: content[:place],
        lambda: content[:place] + content[end:],
        lambda: content[:place] + draw.choice(STRANGE) + content[place:],
        lambda: content[:place] + draw.choice(STRANGE) + content[place + 1 :],
        lambda: content[:place] + content[place:end] * 2 + content[end:],
        lambda: content[:place] + bytes([draw.randrange(256)]) + content[place + 1 :],
        lambda: content[:place] + draw.randbytes(draw.randrange(9)) + content[end:],
        lambda: b"".join(lines[:line] + lines[line + 1 :]),
        lambda: b"".join(lines[:line] + lines[line : line + 1] * 2 + lines[line + 1 :]),
        lambda: b"".join(draw.sample(lines, len(lines))),
        lambda: b"".join(lines[:1]),
        lambda: content.replace(
            *draw.choices([b",", b";", b'"', b"\n", b"7", b"size", b"mass"], k=2)
        ),
    ]
    return draw.choice(ways)()


def answer(network, path):
    """The features, and the answers, of a file; or the error's line."""
    try:
        with open_table(str(path)) as table:
            x = torch.cat([x for x, _, _ in RowReader(table, network.spec).parts()])
    except UserError as error:
        return str(error)
    answers = network.answer_features(x)
    assert np.isfinite(answers["p(yes)"]).all()
    return x.numpy()


def as_in_training(path):
    """The features by the reader of `ugmm.data.read_csv`; or its error's line."""
    try:
        columns = {}
        for name, cells in read_cells(path)[0].items():
            columns[name] = cells.values
            if cells.dialect.decimal == "comma" and name in ("size", "mass"):
                columns[name] = cells.numbers()
                if columns[name].count(None) > cells.values.count(None):
                    return f"{name} is not numeric"
        return SPEC.encode(columns)
    except UserError as error:
        return str(error)


def test_what_is_damaged_is_answered_or_refused(tmp_path, monkeypatch, request):
    monkeypatch.setattr(tables, "_CELLS", 30)
    monkeypatch.setattr(tables, "_BYTES", 128)
    torch.manual_seed(0)
    network = TrainedNetwork(UGMMNetwork([5, 2]).eval(), SPEC, compose("iris_disc"))
    path, draw, good = tmp_path / "damaged", random.Random(0), list(good_files())
    answered = alike = 0
    for _ in range(request.config.getoption("--damaged")):
        content = draw.choice(good)
        for _ in range(draw.choice([1, 1, 1, 2, 5])):
            content = damage(content, draw) or b""
            if not content:
                break
        path.write_bytes(content)
        found = answer(network, path)
        answered += not isinstance(found, str)
        assert isinstance(found, np.ndarray) or "\n" not in found
        if content.startswith(b"PAR1"):
            continue
        expected = as_in_training(path)
        assert isinstance(found, str) == isinstance(expected, str), (content, found, expected)
        if not isinstance(found, str):
            np.testing.assert_array_equal(found, expected)
            alike += 1
    assert answered > alike > 0
