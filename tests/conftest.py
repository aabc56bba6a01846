"""Fixtures of all tests: a home folder of their own, seeds, and photographs drawn by code."""

import gc
import http.server
import itertools
import os
import tempfile
import threading
from functools import partial
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as for torch below; before NumPy is imported

import hypothesis
import numpy as np
import pytest
import skimage.data
import torch
from PIL import Image

from gancolor.data.sources.demo import draw_scene

gc.disable()  # until all tests are collected: of what they import and define, nothing is garbage

# Property tests try the same examples every time, and leave nothing in the working tree.
hypothesis.configuration.set_hypothesis_home_dir(Path(tempfile.gettempdir()) / "gancolor-hypothesis")
hypothesis.settings.register_profile("gancolor", deadline=None, derandomize=True, database=None, max_examples=40)
hypothesis.settings.load_profile("gancolor")
torch.set_num_threads(1)  # networks in tests are so small that threads would only wait for each other
# Without a GPU, torch.manual_seed formats the whole stack several times, for errors of a later start of CUDA.
seed_torch = torch.manual_seed if torch.cuda.is_available() else torch.default_generator.manual_seed


def pytest_collection_finish():
    """Collect garbage from now on, without looking through all that was imported each time."""
    gc.freeze()
    gc.enable()


@pytest.fixture(scope="session")
def homes(tmp_path_factory):
    """The paths of as many folders as tests ask for."""
    folder = tmp_path_factory.mktemp("homes")
    return (folder / str(number) for number in itertools.count())


@pytest.fixture(autouse=True)
def home(homes, monkeypatch):
    """Simulate a user with empty caches, no account and no proxy."""
    folder = next(homes)  # not tmp_path_factory.mktemp, which reads the names of all folders there are, for each test
    folder.mkdir()
    for name in list(os.environ):
        if name.startswith("WANDB_") or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(folder))
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
    monkeypatch.setenv("TORCH_HOME", str(folder / "torch"))
    monkeypatch.setenv("FASTAI_HOME", str(folder / "fastai"))
    monkeypatch.setenv("WANDB_MODE", "disabled")
    return folder


@pytest.fixture(autouse=True)
def seeded():
    """Seed all random numbers, so that tests do not depend on earlier ones."""
    seed_torch(0)
    np.random.seed(0)


@pytest.fixture(scope="session")
def photos(tmp_path_factory):
    """A folder of twelve colourful JPEG photographs of several sizes and shapes."""
    folder = tmp_path_factory.mktemp("photos")
    for index in range(12):
        picture = Image.fromarray(draw_scene(3, index, 48 + 4 * index))
        width, height = picture.size
        picture.crop((0, 0, width, height - index % 3 * 8)).save(folder / f"{index:02d}.jpg", quality=92)
    return folder


@pytest.fixture(scope="session")
def scenes():
    """Four scenes as uint8 sRGB (4, 3, 64, 64)."""
    return torch.stack([torch.from_numpy(draw_scene(3, index, 64)).permute(2, 0, 1) for index in range(4)])


@pytest.fixture(scope="session")
def real_photographs():
    """The photographs that scikit-image carries (a face, a cat, a cup, a launch): uint8 sRGB (3, H, W)."""
    pictures = (skimage.data.astronaut(), skimage.data.chelsea(), skimage.data.coffee(), skimage.data.rocket())
    return [torch.from_numpy(picture).permute(2, 0, 1) for picture in pictures]


@pytest.fixture
def serve():
    """Return a function that serves a folder over HTTP on this machine and returns its address."""
    servers = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    def start(folder):
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder)))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def nowhere():
    """An address on this machine where nothing answers."""
    server = http.server.HTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler)
    port = server.server_port
    server.server_close()
    return f"http://127.0.0.1:{port}"
