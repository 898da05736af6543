"""A headless Chromium driven over the DevTools protocol: only what the tests of the report page ask of one.

Needs a Chromium on the machine (`find_chromium`) and the package websocket-client; downloads no browser.
"""

import contextlib
import itertools
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import websocket

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
TROUBLE = ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded")
# background network and the GPU are off: what the page itself asks for is all that is left
FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"),
    *(
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--disable-extensions",
    ),
    *(
        "--remote-debugging-port=0",
        "--remote-allow-origins=*",
        "--hide-scrollbars",
        "--force-color-profile=srgb",
    ),
)


def find_chromium() -> str | None:
    """Path of a Chromium: CHROMIUM of the environment, else one on the PATH, else None."""
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)


class Page:
    """One open page: evaluate scripts in it, click, resize, and see what it complained about or asked for."""

    def __init__(self, address: str) -> None:
        self._socket = websocket.create_connection(address, timeout=120)
        self._numbers = itertools.count(1)
        self.trouble: list[str] = []
        self.requests: list[str] = []
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Send a command and return its result; events that come meanwhile are noted."""
        number = next(self._numbers)
        self._socket.send(json.dumps({"id": number, "method": method, "params": params}))
        while True:
            message = json.loads(self._socket.recv())
            if message.get("id") == number:
                assert "error" not in message, message
                return message["result"]
            self._note(message.get("method", ""), message.get("params", {}))

    def _note(self, method: str, params: dict[str, Any]) -> None:
        if method == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])
        elif method in TROUBLE:
            self.trouble.append(json.dumps(params))

    def evaluate(self, script: str) -> Any:
        """Value of a JavaScript expression in the page (promises are awaited)."""
        asked = {"expression": script, "returnByValue": True, "awaitPromise": True}
        answer = self.call("Runtime.evaluate", **asked)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def open(self, url: str) -> None:
        """Load a page and wait until its images are decoded."""
        self.call("Page.navigate", url=url)
        until = time.monotonic() + 120
        ready = f"location.href === {json.dumps(url)} && document.readyState === 'complete'"
        while not self.evaluate(ready):
            assert time.monotonic() < until, "the page does not load"
            time.sleep(0.05)
        self.evaluate(
            "Promise.allSettled(Array.from(document.images, (image) => image.decode())).then(() => 0)"
        )

    def resize(self, width: int, height: int = 900) -> None:
        """Give the page a width in CSS pixels."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )

    def press(self, key: str, code: int, text: str = "") -> None:
        """Press and release a key, as from a keyboard."""
        shared = {"key": key, "windowsVirtualKeyCode": code}
        self.call("Input.dispatchKeyEvent", type="keyDown", text=text, **shared)
        self.call("Input.dispatchKeyEvent", type="keyUp", **shared)


@contextlib.contextmanager
def open_page(folder: Path) -> Iterator[Page]:
    """A page of a fresh Chromium whose profile lies in `folder`; the browser ends with the block."""
    command = [find_chromium() or "chromium", *FLAGS, f"--user-data-dir={folder}", "about:blank"]
    with (folder / "chromium.log").open("w") as log:
        browser = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        port_file, until = folder / "DevToolsActivePort", time.monotonic() + 120
        while not port_file.exists() or len(port_file.read_text().split()) < 2:
            assert browser.poll() is None and time.monotonic() < until, (folder / "chromium.log").read_text()
            time.sleep(0.05)
        yield Page(page_address(port_file.read_text().split()[0]))
    finally:
        browser.terminate()
        try:
            browser.wait(30)
        except subprocess.TimeoutExpired:
            browser.kill()
            browser.wait()


def page_address(port: str) -> str:
    """WebSocket address of the browser's first page."""
    import urllib.request

    until = time.monotonic() + 60
    while time.monotonic() < until:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list", timeout=60) as answer:
            pages = [target for target in json.load(answer) if target["type"] == "page"]
        if pages:
            return pages[0]["webSocketDebuggerUrl"]
        time.sleep(0.05)
    raise TimeoutError("the browser opened no page")
