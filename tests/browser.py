"""A headless Chromium, told what to do over a pipe by its DevTools protocol."""

import base64
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome")
BROWSER = next(filter(None, map(shutil.which, NAMES)), None)
SWITCHES = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--hide-scrollbars"),
    *("--disable-background-networking", "--disable-component-update"),
    *("--allow-file-access-from-files", "--remote-debugging-pipe"),
)


class Browser:
    """One page of one browser; remembers what it asked for and complained of."""

    def __init__(self, profile: Path) -> None:
        commands, answers = os.pipe(), os.pipe()
        # The browser reads from file descriptor 3 and writes to 4, whatever ours are.
        shell = f'exec "$0" "$@" 3<&{commands[0]} 4>&{answers[1]}'
        self._process = subprocess.Popen(
            ["bash", "-c", shell, BROWSER, *SWITCHES, f"--user-data-dir={profile}"],
            pass_fds=(commands[0], answers[1]),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(commands[0])
        os.close(answers[1])
        self._out, self._in = os.fdopen(commands[1], "wb"), os.fdopen(answers[0], "rb")
        self._last, self._session, self._rest = 0, None, b""
        self.asked: list[str] = []
        self.complaints: list[str] = []
        self._loaded = False
        target = self.tell("Target.createTarget", url="about:blank")["targetId"]
        attached = self.tell("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Network", "Runtime", "Log"):
            self.tell(f"{domain}.enable")

    def __enter__(self) -> "Browser":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(30)
        self._out.close()
        self._in.close()

    def tell(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command and return its result; note what happens meanwhile."""
        self._last += 1
        message = {"id": self._last, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        self._out.write(json.dumps(message).encode() + b"\0")
        self._out.flush()
        while True:
            answer = self._read()
            if answer.get("id") == self._last:
                assert "error" not in answer, answer
                return answer["result"]

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            part = os.read(self._in.fileno(), 1 << 16)
            assert part, "the browser has ended"
            self._rest += part
        line, _, self._rest = self._rest.partition(b"\0")
        message = json.loads(line)
        self._note(message.get("method"), message.get("params", {}))
        return message

    def _note(self, event: str | None, told: dict[str, Any]) -> None:
        if event == "Network.requestWillBeSent":
            self.asked.append(told["request"]["url"])
        elif event == "Runtime.exceptionThrown":
            self.complaints.append(told["exceptionDetails"]["text"])
        elif event == "Runtime.consoleAPICalled" and told["type"] in ("error", "warning"):
            self.complaints.append(str(told["args"]))
        elif event == "Log.entryAdded" and told["entry"]["level"] in ("error", "warning"):
            self.complaints.append(f"{told['entry']['text']} {told['entry'].get('url', '')}")
        elif event == "Page.loadEventFired":
            self._loaded = True

    def open(self, url: str, width: int, dark: bool) -> None:
        """Open a page in a window of this width, in light or dark, and wait until it is drawn."""
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
        self.tell("Emulation.setDeviceMetricsOverride", **size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.tell("Emulation.setEmulatedMedia", features=[scheme])
        self._loaded = False
        self.tell("Page.navigate", url=url)
        while not self._loaded:
            self._read()
        self.ask("window.MathJax?.startup?.promise.then(() => 0)")

    def ask(self, expression: str) -> Any:
        """Return what an expression of JavaScript is on the page."""
        told = {"expression": expression, "awaitPromise": True, "returnByValue": True}
        return self.tell("Runtime.evaluate", **told)["result"].get("value")

    def picture(self, path: Path, whole: bool = False) -> None:
        """Write a picture of the window, or of the whole page, as a PNG."""
        told = self.tell("Page.captureScreenshot", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(told["data"]))
