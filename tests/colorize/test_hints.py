"""Colour hints on the command line."""

from pathlib import Path

import numpy as np
import pytest
from made_files import files, save
from made_pictures import scene
from PIL import Image

from gancolor import Hint
from gancolor.inference.hints import hints_text
from gancolor.utils.errors import InputError

HINTS = [Hint(20, 30, "#a03030"), Hint(70, 10, "blue", 5)]


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    save(tmp_path / "in/photo.png", scene(60, 90))
    return tmp_path / "in/photo.png"


def result(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path)).astype(int)


def test_hints_by_flags_by_file_and_beside_the_photograph_are_the_same(
    photo: Path, tmp_path: Path, colorize, colorizer
) -> None:
    expected = colorizer(str(photo), HINTS).pixels
    assert np.abs(expected.astype(int) - colorizer(str(photo)).pixels).mean() > 1
    text = hints_text(HINTS, (60, 90))
    (tmp_path / "mine.json").write_text(text)
    flags = ["--hint", "20,30,#a03030", "--hint", "70,10,blue,5"]
    for name, words in {"a": flags, "b": ["--hints", tmp_path / "mine.json"]}.items():
        assert colorize(photo, "-o", tmp_path / f"{name}.png", *words)[0] == 0
        assert np.abs(result(tmp_path / f"{name}.png") - expected).max() <= 1
    save(photo.with_name("other.png"), scene(60, 90))
    photo.with_name("photo.png.hints.json").write_text(text)
    assert colorize(photo.parent, "-o", tmp_path / "out")[0] == 0
    assert files(tmp_path / "out") == ["other.png", "photo.png"]
    assert np.abs(result(tmp_path / "out/photo.png") - expected).max() <= 1
    assert np.abs(result(tmp_path / "out/other.png") - colorizer(str(photo)).pixels).max() <= 1


def test_given_hints_replace_those_beside_the_photograph_and_flags_add_to_a_file(
    photo: Path, tmp_path: Path, colorize, colorizer
) -> None:
    photo.with_name("photo.png.hints.json").write_text(hints_text([Hint(5, 5, "green", 20)], (60, 90)))
    (tmp_path / "mine.json").write_text(hints_text(HINTS[:1], (60, 90)))
    words = ["--hints", tmp_path / "mine.json", "--hint", "70,10,blue,5"]
    assert colorize(photo, "-o", tmp_path / "a.png", *words)[0] == 0
    assert np.abs(result(tmp_path / "a.png") - colorizer(str(photo), HINTS).pixels).max() <= 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--hint", "90,3,red"], "a hint at 90, 3 lies outside the photograph of 90 x 60 pixels"),
        (["--hint", "3,3,reddish"], "'reddish' is not a colour"),
        (["--hint", "3,red"], "--hint 3,red: write X,Y,COLOR"),
        (["--hint", "3", "3", "red"], "--hint 3: write X,Y,COLOR"),
        (["--hints", "none.json"], "none.json: can't be read"),
        (["--hints", "small.json"], "its hints are for 9 x 6 pixels, and the photograph has 90 x 60 pixels"),
    ],
)
def test_wrong_hints_are_refused_and_nothing_is_written(
    photo: Path, tmp_path: Path, colorize, monkeypatch, words: list[str], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("small.json").write_text(hints_text([], (6, 9)))
    with pytest.raises(InputError, match=said) as caught:
        colorize(photo, "-o", tmp_path / "out", *words)
    assert "\n" not in str(caught.value) and not (tmp_path / "out").exists()


def test_hints_for_several_photographs_are_refused(photo: Path, tmp_path: Path, colorize) -> None:
    save(photo.with_name("other.png"), scene(60, 90))
    with pytest.raises(InputError, match=r"are for a single photograph; .* beside each: photo.jpg.hints.json"):
        colorize(photo.parent, "-o", tmp_path / "out", "--hint", "1,1,red")
    assert not (tmp_path / "out").exists()


def test_a_wrong_file_beside_a_photograph_costs_only_this_photograph(photo: Path, tmp_path: Path, colorize) -> None:
    save(photo.with_name("other.png"), scene(60, 90))
    photo.with_name("photo.png.hints.json").write_text("{")
    status, said, errors = colorize(photo.parent, "-o", tmp_path / "out")
    assert status == 1 and "1 coloured" in said and "1 not coloured" in said
    assert "not coloured:" in errors and "photo.png.hints.json is not a file of hints" in errors
    assert files(tmp_path / "out") == ["other.png"]
