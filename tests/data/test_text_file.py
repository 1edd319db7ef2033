"""Files as text: encodings, gzip, and what is no text."""

import gzip
import io
import os
import re
import socket
import tarfile
import zipfile
from pathlib import Path

import pytest

from ugmm.data import text_file
from ugmm.data.text_file import read_text
from ugmm.errors import UserError

TEXT = "größe,art\n1,Ähre\n2,Öl\n"


@pytest.mark.parametrize(
    ("encoding", "found"),
    [
        ("utf-8", "utf-8"),
        ("utf-8-sig", "utf-8-sig"),
        ("utf-16", "utf-16"),
        ("utf-16-le", "utf-16-le"),
        ("utf-16-be", "utf-16-be"),
        ("utf-32", "utf-32"),
        ("cp1252", "cp1252"),
        ("latin-1", "cp1252"),  # the same letters
    ],
)
def test_the_encoding_is_found(tmp_path, encoding, found):
    path = tmp_path / "table.csv"
    path.write_bytes(TEXT.encode(encoding))
    assert read_text(path) == (TEXT, found)


def test_an_encoding_may_be_given(tmp_path):
    path = tmp_path / "table.csv"
    path.write_bytes("x\nщ\n".encode("cp1251"))
    assert read_text(path, "cp1251") == ("x\nщ\n", "cp1251")
    path.write_bytes(b"\xef\xbb\xbfx\n1\n")
    assert read_text(path, "utf-8") == ("x\n1\n", "utf-8")
    path.write_bytes(b"x\n\x81\n")  # no character of Windows-1252
    assert read_text(path) == ("x\n\x81\n", "latin-1")


def test_gzip_is_unpacked_whatever_the_name(tmp_path):
    path = tmp_path / "table.csv"
    path.write_bytes(gzip.compress(TEXT.encode("utf-16")[:20]) + gzip.compress(b"") + b"\0\0")
    assert read_text(path)[1] == "utf-16"
    path.write_bytes(gzip.compress(TEXT[:9].encode()) + gzip.compress(TEXT[9:].encode()))
    assert read_text(path) == (TEXT, "utf-8")


def test_gzip_bombs_and_damaged_gzip_are_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr(text_file, "MOST_UNPACKED", 10_000)
    path = tmp_path / "table.csv.gz"
    packed = gzip.compress(b"a,b\n" * 5000)
    for content, line in (
        (packed, "unpacks to more than 10,000 bytes"),
        (gzip.compress(b"1,2\n" * 2000) * 2, "unpacks to more than 10,000 bytes"),
        (gzip.compress(os.urandom(999))[:500], "was cut short"),
        (gzip.compress(b"x") + b"junk", "is a damaged gzip file"),
        (gzip.compress(gzip.compress(b"x")), "is gzipped twice"),
    ):
        path.write_bytes(content)
        with pytest.raises(UserError, match=line):
            read_text(path)


def packed_zip(*names):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name in names:
            file.writestr(name, "x")
    return buffer.getvalue()


def packed_tar():
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as file:
        file.addfile(tarfile.TarInfo("x"), io.BytesIO())
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (packed_zip("xl/workbook.xml"), "an Excel workbook"),
        (packed_zip("table.csv"), "a zip archive"),
        (packed_tar(), "a tar archive"),
        (gzip.compress(packed_tar()), "a tar archive"),
        (b"PAR1" + bytes(9), "a Parquet file"),
        (b"BZh91AY&SY", "packed by bzip2"),
        (b"\xfd7zXZ\0\0", "packed by xz"),
        (b"\x93NUMPY\1\0", "a NumPy array"),
        (b"SQLite format 3\0", "an SQLite database"),
    ],
    # By what is told: packed bytes hold the time, and processes would call a test differently.
    ids=lambda value: value if isinstance(value, str) else "file",
)
def test_what_is_no_text_is_named(tmp_path, content, what):
    path = tmp_path / "table.csv"
    path.write_bytes(content)
    with pytest.raises(UserError, match=f"{re.escape(str(path))} is {what}"):
        read_text(path)


def test_what_has_no_end_is_refused_at_once(tmp_path, monkeypatch):
    os.mkfifo(tmp_path / "pipe")
    monkeypatch.chdir(tmp_path)  # a socket's path is short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")
        places = {"pipe": "a pipe", "socket": "a socket", "/dev/zero": "a device", ".": "a folder"}
        for place, what in places.items():
            with pytest.raises(UserError, match=f"data.path={place} is {what}; give a file"):
                read_text(Path(place))
