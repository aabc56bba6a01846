"""The service on a generator whose chroma is constant, in this process."""

import io

import pytest
from made_onnx import made_onnx
from made_pictures import scene
from PIL import Image
from starlette.testclient import TestClient

from gancolor.inference.colorizer import Colorizer
from gancolor.serve.app import Service, build_app
from gancolor.serve.limits import Limits


@pytest.fixture(scope="session")
def colorizer(tmp_path_factory) -> Colorizer:
    return Colorizer.load(made_onnx(tmp_path_factory.mktemp("onnx") / "red.onnx", (0, 0), (0.3, 0.2)), device="cpu")


@pytest.fixture
def service(colorizer: Colorizer) -> Service:
    return Service(colorizer, Limits(upload_mb=1, megapixels=1, waiting=1, seconds=20))


@pytest.fixture
def client(service: Service) -> TestClient:
    return TestClient(build_app(service), raise_server_exceptions=False)


def encoded(format: str = "JPEG", height: int = 30, width: int = 40, **options: object) -> bytes:
    """Return a picture's file."""
    file = io.BytesIO()
    Image.fromarray(scene(height, width)).save(file, format, **options)
    return file.getvalue()


@pytest.fixture(scope="session")
def made():
    return encoded
