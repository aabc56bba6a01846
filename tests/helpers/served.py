"""`gancolor serve` as a process of its own."""

import os
import socket
import subprocess
import urllib.request


class Served:
    """The running service of a `gancolor` command, once it answers."""

    def __init__(self, *command: object, **options: object) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.address = f"http://127.0.0.1:{port}"
        words = [*map(os.fspath, command), "serve", "--port", str(port)]
        self.process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options)
        line = self.process.stdout.readline()
        assert self.address in line, line + self.process.stdout.read()

    def ask(self, path: str, body: bytes | None = None, **headers: str) -> bytes:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        request = urllib.request.Request(self.address + path, body, named)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.read()

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
