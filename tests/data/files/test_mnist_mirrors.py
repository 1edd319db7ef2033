"""Fetching MNIST from mirrors: every way a network fails, and two processes at once."""

import gzip
import os
import subprocess
import sys
import threading
import time
from contextlib import contextmanager

import pytest
from sources import DEAD, contents, mirror, reply, serve, use

from ugmm.data.files import cache as fetch
from ugmm.data.files import mnist as mnist_files
from ugmm.data.files.cache import cache_folder
from ugmm.errors import UserError


def test_the_cache_is_where_the_environment_says(monkeypatch, tmp_path):
    monkeypatch.setenv("UGMM_DATA_DIR", str(tmp_path))
    assert cache_folder("mnist") == tmp_path / "mnist"
    monkeypatch.setenv("UGMM_DATA_DIR", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder("mnist") == tmp_path / "xdg/ugmm/mnist"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder("mnist") == tmp_path / ".cache/ugmm/mnist"


def test_an_account_without_a_home_is_one_line(monkeypatch):
    monkeypatch.delenv("UGMM_DATA_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", "~nobody_of_this_name/cache")
    with pytest.raises(UserError, match=r"no home folder to find ~nobody.* set UGMM_DATA_DIR"):
        cache_folder("mnist")


def test_the_first_mirror_that_works_fills_the_cache(cache, files, monkeypatch, capsys):
    with mirror(serve(files)) as good:
        use(monkeypatch, DEAD, good.url + "/mnist/")
        mnist_files.fetch_mnist()
        mnist_files.fetch_mnist()
    assert contents(cache) == files
    assert good.asked == [f"{name}.gz" for name in files]
    assert capsys.readouterr().err.splitlines() == [f"fetching 4 files into {cache}"]


def test_a_pipe_in_the_place_of_a_file_holds_nothing_up(cache, files, monkeypatch):
    cache.mkdir()
    path = cache / mnist_files.TEST_IMAGES
    os.mkfifo(path)
    with pytest.raises(UserError, match=r"t10k-images-idx3-ubyte is a pipe; give a file"):
        fetch.read_verified(path, "0")
    with mirror(serve(files)) as good:
        use(monkeypatch, good.url)
        mnist_files.fetch_mnist()
    assert contents(cache) == files


def broken(kind, files):
    """An answer that is wrong for the test images and good for the rest."""

    def answer(handler, name):
        packed = gzip.compress(files[name])
        if name != mnist_files.TEST_IMAGES:
            reply(handler, packed)
        elif kind == "truncated":
            reply(handler, packed[:-100], length=len(packed))
        elif kind == "damaged":
            reply(handler, packed[:100] + bytes(100) + packed[200:])
        elif kind == "not gzip":
            reply(handler, b"<html>sign in first</html>")
        elif kind == "another file":
            reply(handler, gzip.compress(b"something else"))
        elif kind == "missing":
            handler.send_error(404)
        elif kind == "nonsense":
            handler.wfile.write(b"\0" * 100)

    return answer


@pytest.mark.parametrize(
    "kind", ["truncated", "damaged", "not gzip", "another file", "missing", "nonsense"]
)
def test_a_bad_file_is_taken_from_the_next_mirror(kind, cache, files, monkeypatch):
    with mirror(broken(kind, files)) as bad, mirror(serve(files)) as good:
        use(monkeypatch, bad.url, good.url)
        mnist_files.fetch_mnist()
    assert contents(cache) == files
    assert good.asked[0] == f"{mnist_files.TEST_IMAGES}.gz"  # the ones before it were kept
    assert len(good.asked) == 2


@pytest.mark.parametrize(
    ("kind", "stall", "file", "complaint"),
    [("stalls", 0.2, 60.0, "timed out"), ("drips", 60.0, 0.3, "longer than")],
)
def test_a_server_that_is_too_slow_is_given_up(kind, stall, file, complaint, cache, monkeypatch):
    monkeypatch.setattr(fetch, "STALL_SECONDS", stall)
    monkeypatch.setattr(fetch, "FILE_SECONDS", file)

    def answer(handler, name):
        reply(handler, b"\x1f", length=1000)
        for _ in range(20):
            time.sleep(0.05)
            if kind == "drips":
                handler.wfile.write(b"\0")

    start = time.monotonic()
    with mirror(answer) as slow:
        use(monkeypatch, slow.url)
        with pytest.raises(UserError, match=complaint):
            mnist_files.fetch_mnist()
    assert time.monotonic() - start < 20
    assert contents(cache) == {}


def test_no_network_and_no_cache_is_one_line(cache, monkeypatch):
    use(monkeypatch, DEAD)
    with pytest.raises(UserError) as caught:
        mnist_files.fetch_mnist()
    line = str(caught.value)
    assert "\n" not in line
    for part in (*mnist_files.DIGESTS, DEAD, "no route to the index", str(cache), "UGMM_DATA_DIR"):
        assert part in line
    assert contents(cache) == {}


def test_a_damaged_cache_is_reported_and_only_that_file_fetched(
    small_mnist, files, monkeypatch, capsys
):
    damaged = small_mnist / mnist_files.TRAIN_IMAGES
    damaged.write_bytes(damaged.read_bytes()[:1000])
    with pytest.raises(UserError, match="is damaged"):
        mnist_files.read_mnist()
    with mirror(serve(files)) as good:
        use(monkeypatch, good.url)
        mnist_files.fetch_mnist()
    assert good.asked == [f"{mnist_files.TRAIN_IMAGES}.gz"]
    assert contents(small_mnist) == files
    assert f"{damaged} is damaged" in capsys.readouterr().err.splitlines()[0]


def test_a_full_cache_needs_no_source_and_no_write(small_mnist, monkeypatch):
    monkeypatch.setattr(mnist_files, "list_mirrors", lambda _: pytest.fail("looked for a mirror"))
    monkeypatch.setattr(fetch, "FileLock", lambda path: pytest.fail("took the lock"))
    mnist_files.fetch_mnist()


def test_a_folder_that_cannot_be_written_is_one_line(cache):
    cache.parent.joinpath("mnist").write_text("a file where the folder should be")
    with pytest.raises(UserError, match=r"cannot write to .*mnist .*UGMM_DATA_DIR"):
        mnist_files.fetch_mnist()


def test_a_lock_that_is_never_given_up_is_not_waited_for_for_ever(cache, monkeypatch, capsys):
    monkeypatch.setattr(fetch, "LOCK_SECONDS", 0.1)
    cache.mkdir()
    with (
        fetch.locked(cache),
        pytest.raises(UserError, match=r"another process has held .*\.lock"),
    ):
        mnist_files.fetch_mnist()
    assert "waiting for another process" in capsys.readouterr().err


# Fetches in a process of its own. It takes the place of the package `ugmm.data`, whose import
# of lightning would take longer than the test.
CHILD = """
import sys, types
import ugmm
data = types.ModuleType("ugmm.data")
data.__path__ = [ugmm.__path__[0] + "/data"]
sys.modules["ugmm.data"] = data
from ugmm.data.files import mnist as mnist_files
url, *digests = sys.argv[1:]
mnist_files.DIGESTS = dict(zip(mnist_files.DIGESTS, digests, strict=True))
mnist_files.list_mirrors = lambda _: [url]
mnist_files.fetch_mnist()
"""


def start_fetch(url):
    command = [sys.executable, "-c", CHILD, url, *mnist_files.DIGESTS.values()]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


@contextmanager
def held_mirror(files):
    """A mirror that answers nobody before its `open` is set."""
    opened = threading.Event()

    def answer(handler, name):
        opened.wait(20)
        serve(files)(handler, name)

    with mirror(answer) as server:
        server.open = opened
        try:
            yield server
        finally:
            opened.set()


def test_of_two_processes_one_fetches_and_the_other_waits(cache, files):
    with held_mirror(files) as server:
        first = start_fetch(server.url)
        assert first.stderr.readline().startswith("fetching 4 files")
        second = start_fetch(server.url)
        assert second.stderr.readline().startswith("waiting for another process")
        server.open.set()
        assert [first.communicate(timeout=20)[1], second.communicate(timeout=20)[1]] == ["", ""]
    assert (first.returncode, second.returncode) == (0, 0)
    assert len(server.asked) == 4
    assert contents(cache) == files


def test_a_process_that_is_killed_leaves_nothing_in_the_way(cache, files, monkeypatch):
    with held_mirror(files) as server:
        process = start_fetch(server.url)
        assert process.stderr.readline().startswith("fetching 4 files")
        while not server.asked:
            time.sleep(0.01)
        process.kill()
        process.communicate(timeout=20)
        left = [path.name for path in cache.iterdir()]
        assert all(name == ".lock" or name.startswith("partial-") for name in left)
        assert len(left) == 2
        server.open.set()
        use(monkeypatch, server.url)
        mnist_files.fetch_mnist()
    assert contents(cache) == files
