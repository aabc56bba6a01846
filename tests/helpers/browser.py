"""Headless Chromium, controlled through a pipe by the DevTools protocol."""

import base64
import json
import os
import shutil
import subprocess
import time
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
PATIENCE = 60  # seconds that a command or an event may take


def find_browser():
    """The path of a Chromium, or None."""
    return next((found for name in NAMES if (found := shutil.which(name))), None)


class Browser:
    """One window. `events` has what it told of its own accord.

    Args:
        profile: an empty folder.
    """

    def __init__(self, program, profile):
        ours_in, theirs_out = os.pipe()
        theirs_in, ours_out = os.pipe()

        def hand_over():  # --remote-debugging-pipe reads from 3 and writes to 4
            wanted = [os.dup(theirs_in), os.dup(theirs_out)]
            for number, pipe in zip((3, 4), wanted, strict=True):
                os.dup2(pipe, number)

        self.process = subprocess.Popen(
            [program, "--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe", "--no-first-run",
             "--disable-background-networking", "--disable-dev-shm-usage", f"--user-data-dir={profile}"],
            preexec_fn=hand_over, close_fds=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(theirs_in)
        os.close(theirs_out)
        os.set_blocking(ours_in, False)
        self._in, self._out, self._rest, self._last, self.session = ours_in, ours_out, b"", 0, None
        self.events = []
        target = self("Target.createTarget", url="about:blank")["targetId"]
        self.session = self("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self(f"{domain}.enable")

    def __call__(self, method, **params):
        """Send a command of the protocol, and return its result."""
        self._last += 1
        message = {"id": self._last, "method": method, "params": params}
        message |= {"sessionId": self.session} if self.session else {}
        os.write(self._out, json.dumps(message).encode() + b"\0")
        answer = self._wait(lambda found: found.get("id") == self._last)
        assert "error" not in answer, (method, answer["error"])
        return answer["result"]

    def size(self, width, height=900, dark=False, mobile=False):
        self("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=mobile)
        self(
            "Emulation.setEmulatedMedia",
            features=[{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}],
        )

    def open(self, path):
        """Load a file or an http address, and wait until it is loaded."""
        self.events.clear()
        self("Page.navigate", url=path if str(path).startswith("http") else Path(path).resolve().as_uri())
        self._wait(lambda found: found.get("method") == "Page.loadEventFired", self.events)

    def js(self, code):
        """Evaluate an expression; wait if it is a promise."""
        answer = self("Runtime.evaluate", expression=code, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def until(self, code, patience=PATIENCE):
        """Evaluate an expression until it is truthy, and return its value."""
        limit = time.monotonic() + patience
        while not (value := self.js(code)):
            assert time.monotonic() < limit, code
            time.sleep(0.05)
        return value

    def choose_file(self, selector, path):
        """Choose a file in a file input."""
        root = self("DOM.getDocument")["root"]["nodeId"]
        node = self("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self("DOM.setFileInputFiles", nodeId=node, files=[str(path)])

    def key(self, name, code=0, modifiers=0):
        """Press and release a key.

        Args:
            modifiers: 1 for Alt, 2 for Ctrl, 4 for Meta and 8 for Shift, added.
        """
        for kind in ("rawKeyDown", "keyUp"):
            self(
                "Input.dispatchKeyEvent", type=kind, key=name, code=name, windowsVirtualKeyCode=code,
                modifiers=modifiers,
            )  # fmt: skip

    def requests(self):
        """Return the addresses that the page requested, except embedded data."""
        asked = [e["params"]["request"]["url"] for e in self.events if e.get("method") == "Network.requestWillBeSent"]
        return [address for address in asked if not address.startswith("data:")]

    def screenshot(self, path, whole=True):
        data = self("Page.captureScreenshot", captureBeyondViewport=whole)["data"]
        Path(path).write_bytes(base64.b64decode(data))

    def close(self):
        for pipe in (self._in, self._out):
            os.close(pipe)
        try:
            self.process.wait(10)  # it ends when the pipe closes
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def _wait(self, wanted, already=()):
        for message in already:
            if wanted(message):
                return message
        limit = time.monotonic() + PATIENCE
        while time.monotonic() < limit:
            while b"\0" in self._rest:
                text, self._rest = self._rest.split(b"\0", 1)
                message = json.loads(text)
                self.events.append(message)
                if wanted(message):
                    return message
            try:
                data = os.read(self._in, 1 << 20)
                assert data, "the browser ended"
                self._rest += data
            except BlockingIOError:
                time.sleep(0.005)
        raise TimeoutError
