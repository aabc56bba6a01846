"""The event handlers of the demo page."""

from pathlib import Path

import pytest
from made_onnx import made_onnx
from made_pictures import scene

from gancolor import Colorizer
from gancolor.demo.systems import Systems
from gancolor.inference.image_files import Picture

pytest.importorskip("gradio")
from gancolor.demo.page import Page

OPTIONS = (0, 1.0, "guided", False)


@pytest.fixture
def page(tmp_path: Path) -> Page:
    warm = Colorizer.load(made_onnx(tmp_path / "g.onnx", (0.1, 0.0), (0.2, 0.4)), device="cpu")
    return Page(Systems({"warm": warm}), tmp_path)


@pytest.fixture
def photo(tmp_path: Path) -> str:
    Picture(scene()).save(tmp_path / "photo.png")
    return str(tmp_path / "photo.png")


def test_photographs_are_decoded_and_coloured_in_turn_with_the_editors_requests(page: Page, photo: str) -> None:
    held = []
    for name in ("before", "after", "finished", "size"):
        method = getattr(page.systems, name)

        def noting(*given: object, method=method, name=name) -> object:
            held.append((name, page.systems.turn.locked()))
            return method(*given)

        setattr(page.systems, name, noting)
    page.show(photo, ["warm"], None, "", *OPTIONS)
    page.finish(photo, "warm", "PNG", "", *OPTIONS)
    assert held == [("before", True), ("after", True), ("size", True), ("finished", True)]
