"""Writing to disk: whole or not at all, one line where it cannot be done, nothing left behind."""

import errno
import json
import os

import pytest

from ugmm.cli import main
from ugmm.errors import UserError
from ugmm.writing import (
    WriteError,
    cut_torn_line,
    explaining,
    make_folder,
    replacing,
    sweep,
    write_atomic,
)

REASONS = {
    errno.ENOSPC: "the disk is full; free some space and",
    errno.EDQUOT: "your quota of disk space is used up; remove what you do not need and",
    errno.EROFS: "the file system is read-only; make it writable, or name another folder and",
    errno.EACCES: "permission is denied; get access, or name another folder and",
    errno.ELOOP: f"{os.strerror(errno.ELOOP)}; mend that and",
}


@pytest.fixture(params=REASONS)
def refusing(request, monkeypatch):
    """Refuse to bring files to the disk; gives the line that is due."""

    def refuse(descriptor):
        raise OSError(request.param, os.strerror(request.param))

    monkeypatch.setattr(os, "fsync", refuse)
    return REASONS[request.param]


@pytest.mark.parametrize("content", ["text", b"bytes"])
def test_a_write_that_is_refused_is_one_line_and_changes_nothing(tmp_path, refusing, content):
    path = tmp_path / "summary.json"
    path.write_text("old")
    with pytest.raises(UserError) as caught:
        write_atomic(path, content)
    assert str(caught.value) == f"cannot write {path}: {refusing} try again"
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_caller_may_know_how_to_go_on(tmp_path, refusing):
    with pytest.raises(WriteError) as caught:
        write_atomic(tmp_path / "file", "text")
    line = str(caught.value.going_on("go on with: ugmm train --resume RUN"))
    assert line.endswith(f"{refusing} go on with: ugmm train --resume RUN")


@pytest.mark.parametrize("write", [make_folder, lambda path: write_atomic(path, "text")])
def test_a_file_where_a_folder_should_be_is_one_line(tmp_path, write):
    (tmp_path / "file").touch()
    with pytest.raises(WriteError, match=r"cannot write .*: Not a directory; mend that"):
        write(tmp_path / "file" / "below")


def test_any_other_failure_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "summary.json"
    write_atomic(path, json.dumps({"old": 1}))
    with pytest.raises(UnicodeEncodeError):
        write_atomic(path, "\ud800")
    with pytest.raises(ZeroDivisionError), replacing(path) as temporary:
        temporary.write_text(f"half {1 / 0}")
    assert json.loads(path.read_text()) == {"old": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_what_is_no_file_stays_what_it_is(tmp_path):
    full, folder = tmp_path / "full", tmp_path / "folder"
    full.symlink_to("/dev/full")
    folder.mkdir()
    for path, complaint in ((full, "the disk is full"), (folder, "Is a directory")):
        with pytest.raises(WriteError, match=complaint):
            write_atomic(path, "text")
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    write_atomic(pipe, "text")
    assert os.read(reader, 9) == b"text"
    os.close(reader)
    assert pipe.is_fifo()
    assert full.is_symlink()
    assert {path.name for path in tmp_path.iterdir()} == {"full", "folder", "pipe"}


def test_what_a_killed_process_left_is_swept(tmp_path):
    deep = tmp_path / "run" / "checkpoints"
    make_folder(deep)
    write_atomic(deep / "last.ckpt", b"whole")
    (deep / ".hidden").touch()
    killed = os.fork()
    if not killed:
        with replacing(deep / "last.ckpt") as temporary:
            temporary.write_bytes(b"ha")
            os._exit(9)
    os.waitpid(killed, 0)
    assert len(list(deep.iterdir())) == 3
    sweep(tmp_path / "run")
    assert {path.name for path in deep.iterdir()} == {"last.ckpt", ".hidden"}
    assert (deep / "last.ckpt").read_bytes() == b"whole"


def test_the_command_makes_any_error_of_the_system_one_line(tmp_path, monkeypatch, capsys):
    path = tmp_path / "spec.yaml"

    def refuse(*_):
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr("ugmm.cli._list", refuse)
    assert main(["list"]) == 1
    expected = f"ugmm: error: {path}: the disk is full; free some space and try again\n"
    assert capsys.readouterr().err == expected


def test_only_errors_of_the_system_are_explained(tmp_path):
    with pytest.raises(KeyError), explaining(tmp_path):
        raise KeyError("mine")


@pytest.mark.parametrize(
    ("before", "after"), [(b"", b""), (b"a\n", b"a\n"), (b"a\nb", b"a\n"), (b"b", b"")]
)
def test_a_torn_line_is_cut_off(tmp_path, before, after):
    path = tmp_path / "lines"
    cut_torn_line(path)  # nothing there, nothing to do
    assert not path.exists()
    path.write_bytes(before)
    cut_torn_line(path)
    assert path.read_bytes() == after
