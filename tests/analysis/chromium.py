"""A headless Chromium driven by its DevTools protocol: opens a page at a width and in a scheme, runs scripts in it, takes its picture."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import shutil
import subprocess
import tempfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tornado.websocket import WebSocketClientConnection, websocket_connect

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
START_S = 60.0


def find() -> str | None:
    """The browser's path; None where there is none."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Browser:
    """One tab. Made by `opened()`."""

    def __init__(self, loop: asyncio.AbstractEventLoop, socket: WebSocketClientConnection) -> None:
        self._loop, self._socket, self._count = loop, socket, 0
        self.requested: list[str] = []
        for domain in ("Page", "Runtime", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> Any:
        return self._loop.run_until_complete(self._call(method, params))

    async def _call(self, method: str, params: dict[str, Any]) -> Any:
        self._count += 1
        await self._socket.write_message(json.dumps({"id": self._count, "method": method, "params": params}))
        while True:
            answer = json.loads(await self._read())
            if answer.get("id") == self._count:
                assert "error" not in answer, (method, answer)
                return answer["result"]

    async def _read(self) -> str | bytes:
        told = await asyncio.wait_for(self._socket.read_message(), START_S)
        assert told is not None, "the browser has gone"
        message = json.loads(told)
        if message.get("method") == "Network.requestWillBeSent":
            self.requested.append(message["params"]["request"]["url"])
        return told

    def open(self, page: Path, width: int, scheme: str, height: int = 900) -> None:
        """Load a page at a width in CSS pixels, in the scheme `light` or `dark`, and wait until its pictures stand."""
        self.requested = []
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        self.call("Page.navigate", url=page.resolve().as_uri())
        ready = "new Promise(done => document.readyState === 'complete' ? done(1) : addEventListener('load', () => done(1)))"
        self.script(f"{ready}.then(() => Promise.all([...document.images].map(image => image.decode().catch(() => 0)))).then(() => 1)")

    def script(self, text: str) -> Any:
        """The value of an expression, promises awaited."""
        answer = self.call("Runtime.evaluate", expression=text, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def picture(self, whole: bool = True) -> bytes:
        """PNG of the page, or of what is seen without scrolling."""
        return base64.b64decode(self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole, **self._clip(whole))["data"])

    def _clip(self, whole: bool) -> dict[str, Any]:
        if not whole:
            return {}
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]
        return {"clip": {"x": 0, "y": 0, "width": size["width"], "height": min(size["height"], 16000), "scale": 1}}


@contextlib.contextmanager
def opened(program: str) -> Iterator[Browser]:
    """A browser with a fresh profile, ended with the block."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars", "--no-first-run"]
        options += ["--disable-background-networking", "--disable-extensions", "--remote-debugging-port=0", f"--user-data-dir={profile}"]
        process = subprocess.Popen([program, *options, "about:blank"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        loop = asyncio.new_event_loop()
        try:
            port = loop.run_until_complete(_port(Path(profile) / "DevToolsActivePort", process))
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list", timeout=START_S) as answer:
                tab = next(entry for entry in json.load(answer) if entry["type"] == "page")
            socket = loop.run_until_complete(_connected(tab["webSocketDebuggerUrl"]))
            yield Browser(loop, socket)
            socket.close()
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            loop.close()


async def _connected(url: str) -> WebSocketClientConnection:
    return await websocket_connect(url, max_message_size=2**28)


async def _port(file: Path, process: subprocess.Popen[bytes]) -> str:
    """The port that the browser chose, once it has written it."""
    for _ in range(int(START_S * 10)):
        assert process.poll() is None, f"the browser ended with {process.returncode}"
        with contextlib.suppress(OSError, IndexError):
            if port := file.read_text(encoding="utf-8").split()[0]:
                return port
        await asyncio.sleep(0.1)
    raise AssertionError("the browser opened no port")
