"""Shards on a web server: the one kind of far place that a test can make."""

import os
import re
import threading
from collections import Counter
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
from made_shards import shard, write_shards

from gancolor.data.cache.photographs import load_source
from gancolor.data.sources import reading
from gancolor.data.sources.find import find_source, open_source
from gancolor.utils.errors import InputError


class Server(SimpleHTTPRequestHandler):
    """Python's own, which sends whole files only."""

    def log_message(self, *_):
        pass


class Ranged(Server):
    """Sends parts of files, as servers of large files do."""

    def do_GET(self):
        asked = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        if not asked:
            super().do_GET()
            return
        first, last = map(int, asked.groups())
        whole = Path(self.translate_path(self.path)).read_bytes()
        part = whole[first : last + 1]
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {first}-{first + len(part) - 1}/{len(whole)}")
        self.send_header("Content-Length", str(len(part)))
        self.end_headers()
        self.wfile.write(part)


@pytest.fixture
def serve(tmp_path):
    """A function that serves shards: their pattern."""
    folder, servers = write_shards(tmp_path / "shards", 3, 8, classes=2), []

    def start(handler):
        servers.append(ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(folder))))
        threading.Thread(target=servers[-1].serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{servers[-1].server_port}/train-{{000..002}}.tar"

    start.folder = folder
    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def load(source, cache, decode):
    found = open_source(find_source(str(source), val_fraction=0.25), 24, cache, decode=decode)
    return load_source(found, 24, cache, decode)


@pytest.mark.parametrize("decode", ["once", "always"])
def test_photographs_are_those_of_the_same_shards_on_this_machine(serve, tmp_path, monkeypatch, decode):
    monkeypatch.setattr(reading, "CHUNK", 256)  # so that these small shards come in many parts too
    far = load(serve(Ranged), tmp_path / "far", decode)
    near = load(serve.folder, tmp_path / "near", decode)
    for one, other in zip(far, near, strict=True):
        every = torch.arange(len(one))
        assert len(one) and list(one.names) == list(other.names)
        assert torch.equal(one.take(every), other.take(every)) and torch.equal(one.labels, other.labels)


@pytest.mark.parametrize("decode", ["once", "always"])
def test_failing_requests_are_repeated(serve, tmp_path, monkeypatch, decode):
    """Also those that fail with exceptions of the HTTP client's own: 503, and an answer that is cut off."""
    pauses = []
    monkeypatch.setattr(reading.time, "sleep", pauses.append)
    asked = Counter()

    class Failing(Ranged):
        def do_GET(self):
            request = self.path, self.headers.get("Range")
            asked[request] += 1
            if asked[request] == 1:
                self.send_error(503)
            elif asked[request] == 2:
                self.send_response(206)
                self.send_header("Content-Length", "100000")
                self.end_headers()
                self.wfile.write(b"cut off")
                self.close_connection = True
            else:
                super().do_GET()

    near = load(serve.folder, tmp_path / "near", decode)
    for one, other in zip(load(serve(Failing), tmp_path / "far", decode), near, strict=True):
        every = torch.arange(len(one))
        assert torch.equal(one.take(every), other.take(every))
    assert set(pauses) == {1, 5} and min(asked.values()) >= 3


def test_server_that_always_fails_is_named(serve, tmp_path, monkeypatch):
    monkeypatch.setattr(reading.time, "sleep", lambda _: None)

    class Failing(Ranged):
        def do_GET(self):
            self.send_error(503)

    with pytest.raises(InputError, match=r"train-000\.tar can't be read \(503"):
        load(serve(Failing), tmp_path, "once")


def test_replaced_shard_of_the_same_length_is_read_again(serve, tmp_path):
    """A server that states no ETag states the time."""
    source = serve(Ranged)
    before, _ = load(source, tmp_path, "once")
    path = serve.folder / "train-001.tar"
    length, data = path.stat().st_size, shard(range(50, 58), 2)
    assert length == len(data)
    path.write_bytes(data)
    os.utime(path, (2e9, 2e9))
    after, _ = load(source, tmp_path, "once")
    assert set(before.names) != set(after.names)


def test_server_that_sends_no_parts_is_named(serve, tmp_path):
    with pytest.raises(InputError, match=r"train-\d+\.tar: its server sends whole files .* copy the shards"):
        load(serve(Server), tmp_path, "always")


def test_shard_that_is_not_there_is_named(serve, tmp_path):
    with pytest.raises(InputError, match=r"train-003\.tar is not there, or can't be reached$"):
        load(serve(Ranged).replace("002", "003"), tmp_path, "once")
