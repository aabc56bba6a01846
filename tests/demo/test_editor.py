"""What the hint editor's script asks of the server."""

import base64
import io
import json
import time
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from pathlib import Path

import numpy as np
import pytest
from made_onnx import made_onnx
from made_pictures import scene
from PIL import Image

from gancolor import Colorizer, Hint
from gancolor.demo.systems import Systems
from gancolor.inference.image_files import Picture

pytest.importorskip("gradio")
from gancolor.demo.editor import WAITING, Editor, hints_of

RED = {"x": 20, "y": 30, "color": "#a03030"}


@pytest.fixture(scope="module")
def colorizer(tmp_path_factory) -> Colorizer:
    return Colorizer.load(made_onnx(tmp_path_factory.mktemp("generator") / "g.onnx", (0.1, 0.0), (0.2, 0.4)))


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    (tmp_path / "page").mkdir()
    Picture(scene()).save(tmp_path / "page/photo.png")
    return tmp_path / "page/photo.png"


@pytest.fixture
def editor(colorizer: Colorizer, photo: Path) -> Editor:
    return Editor(Systems({"warm": colorizer}), photo.parent)


def request(photo: Path, *hints: dict, **more: object) -> dict:
    return {"file": str(photo), "system": "warm", "options": [0, 1.0, "guided", False], "hints": list(hints), **more}


def pixels(answer: dict) -> np.ndarray:
    kind, data = answer["picture"].split(",")
    assert kind == "data:image/jpeg;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data)))).astype(int)


def test_picture_has_the_hints(editor: Editor, photo: Path, colorizer: Colorizer) -> None:
    plain, hinted = editor.colour(request(photo)), editor.colour(request(photo, RED))
    for answer, hints in ((plain, []), (hinted, [Hint(**RED)])):
        assert np.abs(pixels(answer) - colorizer(scene(), hints)).mean() < 3
    assert np.abs(pixels(plain) - pixels(hinted)).mean() > 2


def test_variants_are_small_pictures_with_the_hints_that_make_them(photo: Path) -> None:
    class Undecided:
        takes_hints, has_distribution, about = False, True, {}

        def __call__(self, lightness):
            return np.concatenate([0 * lightness, 0 * lightness], axis=1)

        def distribution(self, lightness):
            batch, _, height, width = lightness.shape
            shares = np.broadcast_to(np.array([0.6, 0.4]).reshape(1, 2, 1, 1), (batch, 2, height, width))
            return shares, np.array([[0.0, 0.0], [0.5, 0.3]])

    editor = Editor(Systems({"warm": Colorizer(Undecided(), 32)}), photo.parent)
    assert json.loads(editor.value(str(photo), "warm", []))["variants"] is True
    automatic, *others = editor.variants(request(photo))["variants"]
    assert automatic["hints"] == [] and len(others) >= 1
    for other in others:
        coloured = editor.colour(request(photo, *other["hints"]))
        assert np.abs(pixels(other) - pixels(coloured)).mean() < 3
        assert np.abs(pixels(other) - pixels(automatic)).mean() > 1


def test_systems_without_a_distribution_have_no_variants(editor: Editor, photo: Path) -> None:
    assert json.loads(editor.value(str(photo), "warm", []))["variants"] is False
    assert "no distribution of colours" in editor.variants(request(photo))["error"]


def test_suggestions_are_colours(editor: Editor, photo: Path) -> None:
    answer = editor.suggest(request(photo, x=10, y=10))
    assert len(answer["colours"]) > 4 and all(Hint(0, 0, color) for color in answer["colours"])


@pytest.mark.parametrize("place", [(-1e9, 1), (float("inf"), 1), (1, 60), (float("nan"), 0)])
def test_places_outside_the_photograph_have_no_suggestions(editor: Editor, photo: Path, place) -> None:
    error = editor.suggest(request(photo, x=place[0], y=place[1]))["error"]
    assert "\n" not in error and ("lies outside" in error or "give numbers" in error)


def test_colours_of_a_file_are_as_the_page_knows_them(editor: Editor, photo: Path) -> None:
    text = json.dumps({"width": 90, "height": 60, "hints": [{**RED, "color": "rgb(160, 48, 48)"}]})
    assert editor.check(request(photo, text=text)) == {"hints": [RED]}


def test_files_of_hints_are_checked_against_the_photograph(editor: Editor, photo: Path) -> None:
    text = json.dumps({"width": 90, "height": 60, "hints": [RED]})
    assert editor.check(request(photo, text=text)) == {"hints": [RED]}
    wrong = json.dumps({"width": 91, "height": 60, "hints": []})
    for given, said in (("{", "not a file of hints"), (wrong, "91 x 60 pixels, and the photograph has 90 x 60")):
        answer = editor.check(request(photo, text=given))
        assert said in answer["error"] and set(answer) == {"error"}


def test_other_files_of_this_machine_are_not_shown(editor: Editor, photo: Path, tmp_path: Path) -> None:
    Picture(scene()).save(tmp_path / "private.png")
    for path in (tmp_path / "private.png", photo.parent / "../private.png", "/etc/passwd"):
        for ask in (editor.colour, editor.suggest, editor.check):
            assert ask(request(Path(path), x=1, y=1, text="")) == {"error": "this photograph is not on this page"}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"system": "other"}, "this photograph is not on this page"),
        ({"hints": [{"x": 1, "y": 2, "color": "reddish"}]}, "'reddish' is not a colour"),
        ({"hints": [{"x": 100, "y": 2, "color": "red"}]}, "lies outside the photograph"),
        ({"hints": [{"x": 1}]}, "reload the page"),
        ({"options": [0, 7.0, "guided", False]}, "strength"),
        ({"options": [1, 2, 3, 4, 5, 6, 7]}, "reload the page"),
        ({"options": [2048, 1, "guided", False]}, "2048 is not one of this page's working sizes"),
        ({"file": "x" * 5000}, "this photograph is not on this page"),
        ({"hints": [{"x": float("inf"), "y": 1, "color": "red"}]}, "give numbers of pixels"),
    ],
)
def test_wrong_requests_have_an_error_in_one_line(editor: Editor, photo: Path, change: dict, said: str) -> None:
    error = editor.colour(request(photo) | change)["error"]
    assert said in error and "\n" not in error
    assert "reload the page" in editor.colour({})["error"]


def test_requests_are_answered_one_at_a_time(editor: Editor, photo: Path, monkeypatch) -> None:
    running, most = 0, 0

    def suggest(*_: object) -> list[str]:
        nonlocal running, most
        running += 1
        most = max(most, running)
        time.sleep(0.01)
        running -= 1
        return []

    monkeypatch.setattr(editor.systems, "suggestions", suggest)
    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(editor.suggest, [request(photo, x=1, y=1)] * 4)) == [{"colours": []}] * 4
    assert most == 1


def test_requests_above_those_that_may_wait_are_sent_away(editor: Editor, photo: Path) -> None:
    with ThreadPoolExecutor(WAITING + 2) as threads:
        with editor.systems.turn:
            asked = [threads.submit(editor.suggest, request(photo, x=1, y=1)) for _ in range(WAITING + 2)]
            refused, others = wait(asked, 20, FIRST_COMPLETED)
            assert [each.result() for each in refused] == [{"error": "16 requests wait already; try again later"}]
        assert all(each.result()["colours"] for each in others)
    assert editor.suggest(request(photo, x=1, y=1))["colours"]


def test_value_names_the_photograph_and_its_hints_count_only_for_it(editor: Editor, photo: Path) -> None:
    value = json.loads(editor.value(str(photo), "warm", [0, 1.0, "guided", False]))
    assert value == {
        "file": str(photo), "name": "photo.png", "system": "warm", "options": [0, 1.0, "guided", False],
        "size": [60, 90], "variants": False,
    }  # fmt: skip
    edited = json.dumps({**value, "hints": [RED]})
    assert hints_of(edited, str(photo)) == (Hint(**RED),)
    assert hints_of(edited, "other.png") == hints_of("", str(photo)) == hints_of(None, None) == ()
