"""A headless Chromium, driven by WebDriver's protocol as it is, for what a page does when it runs.

Where there is no browser, tests that need one are skipped with the reason.
"""

import base64
import json
import shutil
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest


class Browser:
    """One page at a time; whatever it logs as an error is kept."""

    def __init__(self, address: str) -> None:
        self._address = address
        options = {"args": ["--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run",
                            "--disable-background-networking", "--hide-scrollbars"]}  # fmt: skip
        found = self._send(
            "POST", "",
            capabilities={"alwaysMatch": {
                "goog:chromeOptions": options,
                "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
            }},
        )  # fmt: skip
        self._address += f"/{found['sessionId']}"

    def _send(self, method: str, path: str, **body: object) -> Any:
        request = urllib.request.Request(
            self._address + path,
            json.dumps(body).encode() if method == "POST" else None,
            {"Content-Type": "application/json"},
            method=method,
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)["value"]

    def devtools(self, command: str, **parameters: object) -> Any:
        """Call Chromium's own protocol."""
        return self._send("POST", "/goog/cdp/execute", cmd=command, params=parameters)

    def open(
        self, page: Path | str, *, width: int = 1280, height: int = 900, dark: bool = False
    ) -> None:
        """Show a file, or an address, at a size, light or dark."""
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.devtools("Emulation.setEmulatedMedia", features=[scheme])
        self.devtools(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=1, mobile=False,
        )  # fmt: skip
        address = page if isinstance(page, str) else page.resolve().as_uri()
        self._send("POST", "/url", url=address)

    def run(self, script: str, *arguments: object) -> Any:
        """Run a script and give what it returns."""
        return self._send("POST", "/execute/sync", script=script, args=list(arguments))

    def point(self, x: float, y: float, *, click: bool = False) -> None:
        """Move the pointer to a place of the window, and press there."""
        kinds = ["mouseMoved", *(["mousePressed", "mouseReleased"] if click else [])]
        for kind in kinds:
            pressed = {} if kind == "mouseMoved" else {"button": "left", "clickCount": 1}
            self.devtools("Input.dispatchMouseEvent", type=kind, x=x, y=y, **pressed)

    def screenshot(self, path: Path, *, whole: bool = False) -> None:
        """Write what is seen, or the whole page, as a PNG."""
        found = self.devtools("Page.captureScreenshot", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(found["data"]))

    def errors(self) -> list[str]:
        """What the page has logged as an error since it was asked last."""
        logged = self._send("POST", "/se/log", type="browser")
        return [one["message"] for one in logged if one["level"] == "SEVERE"]

    def fetched(self) -> list[str]:
        """Every address that was asked for since this was asked last."""
        events = [
            json.loads(one["message"])["message"]
            for one in self._send("POST", "/se/log", type="performance")
        ]
        return [
            event["params"]["request"]["url"]
            for event in events
            if event["method"] == "Network.requestWillBeSent"
        ]

    def close(self) -> None:
        self._send("DELETE", "")


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start a browser, and end it."""
    driver = shutil.which("chromedriver")
    if driver is None or not (shutil.which("chromium") or shutil.which("google-chrome")):
        pytest.skip("needs Chromium and chromedriver")
    process = subprocess.Popen(
        [driver, "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        assert process.stdout is not None
        started = next(line for line in process.stdout if "started successfully on port" in line)
        port = started.split("port")[1].strip(" .\n")
        browser = Browser(f"http://127.0.0.1:{port}/session")
        try:
            yield browser
        finally:
            browser.close()
    finally:
        process.terminate()
        process.wait(timeout=10)
        if process.stdout is not None:
            process.stdout.close()
