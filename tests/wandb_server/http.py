"""The server's HTTP side, on a thread: taking requests, and failing when it is told to."""

import gzip
import json
import re
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from wandb_server.graphql import Operations, UnknownOperationError
from wandb_server.store import Store


class WandbServer:
    """A server on a free port of loopback; use it as a context.

    Attributes:
        url: Its address, for WANDB_BASE_URL.
        store: What was sent.
        unknown: What it was asked for and does not do: none of it, if the tests are to be trusted.
        failing: While not empty, requests whose path has it are answered by an error: "/" for all.
        status: Of that error.
    """

    def __init__(self) -> None:
        self.store = Store()
        self.unknown: list[str] = []
        self.failing, self.status = "", 500
        self._lock = threading.RLock()
        self._connections: set[socket.socket] = set()
        self._http: _HTTP | None = None
        # A socket that does not listen: its port is refused while the server is down, and no other
        # process is given it meanwhile.
        self._place = socket.socket()
        self._place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._place.bind(("127.0.0.1", 0))
        self._port = self._place.getsockname()[1]
        self.start()
        self.url = f"http://127.0.0.1:{self._port}"
        self._operations = Operations(self.store, self.url)

    def start(self) -> None:
        """Listen, on the same port each time."""
        self._http = _HTTP(("127.0.0.1", self._port), _handler(self))
        threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self) -> None:
        """Go down: refuse connections, and break those that are open."""
        if self._http is None:
            return
        self._http.shutdown()
        self._http.server_close()
        self._http = None
        for connection in list(self._connections):
            connection.close()

    def __enter__(self) -> "WandbServer":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._place.close()

    def answer(self, method: str, path: str, body: bytes) -> tuple[int, Any]:
        """Return a status and what to send as JSON."""
        if self.failing and self.failing in path:
            return self.status, {"error": "told to fail"}
        with self._lock:
            if path == "/graphql":
                return self._graphql(json.loads(body))
            if found := re.fullmatch(r"/files/[^/]+/[^/]+/([^/]+)/file_stream", path):
                self.store.stream(found[1], json.loads(body))
                return 200, {"limits": {}}
            found = re.fullmatch(r"/upload/(run|artifact|manifest)/([^/]+)/?(.*)", path)
            if found and method == "PUT":
                self.store.upload(*found.groups(), body)
                return 200, {}
            if path.startswith("/sdk/otel/"):  # the SDK's measurements of itself
                return 200, {}
            self.unknown.append(f"{method} {path}")
            return 404, {"error": "not found"}

    def _graphql(self, asked: dict[str, Any]) -> tuple[int, Any]:
        # An error, but of no kind that the SDK would try again for minutes.
        try:
            data = self._operations.answer(asked["query"], asked.get("variables") or {})
        except UnknownOperationError as error:
            self.unknown.append(str(error))
            return 200, {"data": None, "errors": [{"message": f"unsupported: {error}"}]}
        except Exception as error:
            self.unknown.append(repr(error))
            return 400, {"errors": [{"message": repr(error)}]}
        return 200, {"data": data}


class _HTTP(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """The SDK resets idle connections as it ends."""


def _handler(server: WandbServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self) -> None:
            super().setup()
            server._connections.add(self.request)

        def finish(self) -> None:
            server._connections.discard(self.request)
            super().finish()

        def log_message(self, *_: object) -> None:
            pass

        def _reply(self) -> None:
            status, answer = server.answer(self.command, self.path, self._body())
            payload = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(payload)))
            self.end_headers()
            self.wfile.write(payload)

        do_GET = do_POST = do_PUT = _reply  # noqa: N815

        def _body(self) -> bytes:
            if self.headers.get("Transfer-Encoding") == "chunked":
                raw = b"".join(self._chunks())
            else:
                raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            zipped = self.headers.get("Content-Encoding") == "gzip"
            return gzip.decompress(raw) if zipped else raw

        def _chunks(self):
            while size := int(self.rfile.readline().split(b";")[0], 16):
                yield self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()

    return Handler
