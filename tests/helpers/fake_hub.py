"""Local fake of the Hugging Face Hub."""

import base64
import http.server
import importlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class Hub:
    """The part of the Hub's API that gancolor uses: repositories of files, accessible with the token."""

    TOKEN = "hf_of_this_test"
    COMMIT = "c" * 40

    def __init__(self):
        self.files: dict[str, dict[str, bytes]] = {}
        self.private: set[str] = set()
        self.commits = 0
        self.address = ""

    def get(self, path, token):
        """(status, headers, body)"""
        if path.startswith("/api/models/"):
            repo = "/".join(path.split("/")[3:5])
            if repo not in self.files or (repo in self.private and token != self.TOKEN):
                return 404, {"X-Error-Code": "RepoNotFound"}, b"{}"
            if "/revision/" in path and path.rpartition("/")[2] not in ("main", self.COMMIT):
                return 404, {"X-Error-Code": "RevisionNotFound"}, b"{}"
            siblings = [{"rfilename": name} for name in self.files[repo]]
            return 200, {}, json.dumps({"id": repo, "sha": self.COMMIT, "siblings": siblings}).encode()
        _, owner, name, _, _, *file = path.split("/")
        content = self.files.get(f"{owner}/{name}", {}).get("/".join(file))
        if content is None:
            return 404, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": self.COMMIT}, b""
        return 200, {"X-Repo-Commit": self.COMMIT, "ETag": f'"{hash(content)}"'}, content

    def post(self, path, body, token):
        if token != self.TOKEN:
            return 401, {}, b'{"error": "Invalid credentials"}'
        if path == "/api/repos/create":
            asked = json.loads(body)
            repo = "/".join(filter(None, (asked.get("organization"), asked["name"])))
            self.files.setdefault(repo, {})
            if asked.get("private") or asked.get("visibility") == "private":
                self.private.add(repo)
            return 200, {}, json.dumps({"url": f"{self.address}/{repo}", "name": repo, "id": repo}).encode()
        if "/preupload/" in path:
            files = json.loads(body)["files"]
            answer = [{"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in files]
            return 200, {}, json.dumps({"files": answer}).encode()
        if "/commit/" in path:
            repo = "/".join(path.split("/")[3:5])
            for line in body.decode().splitlines():
                entry = json.loads(line)
                if entry["key"] == "file":
                    self.files[repo][entry["value"]["path"]] = base64.b64decode(entry["value"]["content"])
            self.commits += 1
            answer = {
                "success": True,
                "commitOid": self.COMMIT,
                "commitUrl": f"{self.address}/{repo}/commit/{self.COMMIT}",
            }
            return 200, {}, json.dumps(answer).encode()
        return 200, {}, b"{}"


def handler(hub):
    """Return the request handler of a `Hub`."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self, status, headers, body):
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def token(self):
            return self.headers.get("Authorization", "").removeprefix("Bearer ")

        def do_GET(self):
            self.answer(*hub.get(self.path.partition("?")[0], self.token()))

        do_HEAD = do_GET  # noqa: N815

        def do_POST(self):
            if self.headers.get("Transfer-Encoding") == "chunked":
                body = b""
                while size := int(self.rfile.readline(), 16):
                    body += self.rfile.read(size)
                    self.rfile.readline()
                self.rfile.readline()
            else:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.answer(*hub.post(self.path.partition("?")[0], body, self.token()))

        def log_message(self, *_):
            pass

    return Handler


def point_to(monkeypatch, address: str, cache: Path):
    """Redirect huggingface_hub, which reads its environment when it is imported."""
    constants = importlib.import_module("huggingface_hub.constants")
    monkeypatch.setattr(constants, "ENDPOINT", address)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", address + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(cache / "token"))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.delenv("HF_TOKEN", raising=False)


class Server(http.server.ThreadingHTTPServer):
    def handle_error(self, request, client_address) -> None:
        """Say nothing of clients that hang up: the traceback would be among the messages that tests read."""


@contextmanager
def hosted(monkeypatch, cache: Path) -> Iterator[Hub]:
    """Start a fake Hub for this process, with an empty cache at `cache`."""
    hub = Hub()
    server = Server(("127.0.0.1", 0), handler(hub))
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    hub.address = f"http://127.0.0.1:{server.server_port}"
    point_to(monkeypatch, hub.address, cache)
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
