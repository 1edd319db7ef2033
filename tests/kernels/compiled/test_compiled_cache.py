"""Where compiled loops are kept: no place that cannot be used stops a computation."""

import errno
import importlib.util
import itertools
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numba
import pytest
from numba.core.caching import IndexDataCacheFile

import ugmm
from ugmm.kernels.compiled import cache

numbers = itertools.count()
SOURCE = """
from numba import types
from ugmm.kernels.compiled.cache import kept_cfunc

def double(x):
    return 2 * x

def compiled():
    return kept_cfunc(types.int64(types.int64), double)
"""


@pytest.fixture(autouse=True)
def places(monkeypatch, tmp_path):
    """Every place that Numba knows is in the test's folder; none has failed yet."""
    monkeypatch.setattr(cache, "_places", list(cache._places))
    monkeypatch.setattr(numba.config, "CACHE_DIR", "")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    for name in ("HOME", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.setenv(name, str(tmp_path / "home"))


@pytest.fixture
def load(tmp_path):
    """The function of a file, as another process would meet it; the file may come anew."""

    def load(folder="source"):
        (tmp_path / folder).mkdir(exist_ok=True)
        file = tmp_path / folder / "tiny.py"
        file.write_text(SOURCE)
        spec = importlib.util.spec_from_file_location(f"tiny_{next(numbers)}", file)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module.compiled

    return load


def kept(folder):
    return sorted(path.name for path in Path(folder).rglob("*.nb?"))


def obstruct(*folders):
    """Let there be no such folders, for the superuser too."""
    for folder in folders:
        folder.parent.mkdir(exist_ok=True)
        folder.write_text("no folder")


@pytest.mark.filterwarnings("error")
def test_beside_the_source(load, tmp_path):
    assert load()().ctypes(21) == 42
    assert len(kept(tmp_path / "source")) == 2
    again = load()()
    assert again.cache_hits == 1
    assert again.ctypes(4) == 8


@pytest.mark.filterwarnings("error")
def test_in_the_home_folder(load, tmp_path):
    obstruct(tmp_path / "source" / "__pycache__")
    assert load()().ctypes(21) == 42
    assert kept(tmp_path / "home")
    assert not kept(tmp_path / "tmp")


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("named", [False, True])
def test_in_a_folder_of_our_own(load, tmp_path, monkeypatch, named):
    obstruct(tmp_path / "source" / "__pycache__", tmp_path / "home")
    if named:
        monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path / "home" / "cache"))
    named = numba.config.CACHE_DIR
    with pytest.warns(RuntimeWarning, match="compiled kernels are kept in .*/tmp/ugmm-") as told:
        assert load()().ctypes(21) == 42
    assert load()().cache_hits == 1  # and is told no more
    assert len(told) == 1
    assert "\n" not in str(told[0].message)
    (folder,) = (tmp_path / "tmp").iterdir()
    assert folder.stat().st_mode & 0o777 == 0o700
    assert kept(folder)
    assert named == numba.config.CACHE_DIR


def make_open(folder):
    folder.mkdir()
    folder.chmod(0o777)


def make_link(folder):
    (folder.parent / "elsewhere").mkdir(mode=0o700)
    folder.symlink_to(folder.parent / "elsewhere")


@pytest.mark.filterwarnings("error")
@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="a folder is as safe as its user's account")
@pytest.mark.parametrize("make", [make_open, make_link, Path.touch])
def test_a_folder_that_is_not_ours_is_not_used(load, tmp_path, make):
    obstruct(tmp_path / "source" / "__pycache__", tmp_path / "home")
    make(tmp_path / "tmp" / f"ugmm-compiled-{os.geteuid()}")
    with pytest.warns(RuntimeWarning, match="kept nowhere: each process") as told:
        assert load()().ctypes(21) == 42
    assert load()().ctypes(3) == 6
    assert len(told) == 1
    assert not kept(tmp_path)


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="there are no numbers of users")
def test_a_folder_of_another_user_is_not_used(monkeypatch):
    user = os.geteuid() + 1
    monkeypatch.setattr(os, "geteuid", lambda: user)
    with pytest.raises(PermissionError, match="not a folder of this user alone"):
        cache.own_folder()


def test_nowhere_at_all(load, tmp_path, monkeypatch):
    obstruct(tmp_path / "source" / "__pycache__", tmp_path / "home")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))
    with pytest.warns(RuntimeWarning, match="kept nowhere") as told:
        assert load()().ctypes(21) == 42
    assert len(told) == 1


def test_a_full_disk(load, monkeypatch):
    def save(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(IndexDataCacheFile, "save", save)
    with pytest.warns(RuntimeWarning, match="No space left on device"):
        assert load()().ctypes(21) == 42


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("kind", ["nbi", "nbc"])
@pytest.mark.parametrize("content", [b"", b"hello", "half"])
def test_damaged_files_are_written_anew(load, tmp_path, kind, content):
    load()()
    (file,) = (tmp_path / "source").rglob(f"*.{kind}")
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2] if content == "half" else content)
    assert load()().ctypes(21) == 42
    assert load()().cache_hits == 1


@pytest.mark.slow
def test_a_layer_trains_where_no_cache_can_be(tmp_path):
    """In a process of its own, with sources that can only be read and no home."""
    copy = tmp_path / "ugmm"
    shutil.copytree(Path(ugmm.__file__).parent, copy, ignore=lambda *_: ["__pycache__"])
    rooms = [folder for folder in (copy / "kernels").iterdir() if folder.is_dir()]
    obstruct(*(room / "__pycache__" for room in rooms))
    code = (
        "import torch; from ugmm.nn import UGMM; "
        "UGMM(5, 3)(torch.zeros(2, 5)).sum().backward(); print('done')"
    )
    none = dict.fromkeys(("HOME", "XDG_CACHE_HOME", "NUMBA_CACHE_DIR"), os.devnull + "/none")
    environment = {**os.environ, **none, "PYTHONPATH": str(tmp_path), "TMPDIR": f"{tmp_path}/tmp"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=True,
    )  # fmt: skip
    assert done.stdout == "done\n"
    assert done.stderr.count("UGMMWarning: compiled kernels are kept in") == 1
    assert kept(tmp_path / "tmp")


def test_what_is_kept_is_taken_before_anything_is_made_ready_to_compile(load, monkeypatch):
    def get_ready(context):
        raise AssertionError("nothing is to be compiled")

    load()()
    monkeypatch.setattr("numba.core.base.BaseContext.refresh", get_ready)
    assert load()().ctypes(21) == 42
    with pytest.raises(AssertionError, match="nothing is to be compiled"):
        load("elsewhere")()
