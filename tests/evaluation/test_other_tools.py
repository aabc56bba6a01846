import os
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from gancolor.data.cache.photographs import load_photographs
from gancolor.data.catalogue import Item
from gancolor.data.sources.demo import draw_scene
from gancolor.data.sources.find import DemoScene, find_source
from gancolor.data.sources.folders import list_photographs
from gancolor.evaluation.other_tools import AMBIGUOUS, NAMELESS, ToolPictures, names_in
from gancolor.utils.errors import InputError


def draw(path: Path, size: tuple[int, int] = (48, 48), number: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(draw_scene(3, number, 64)).resize(size).save(path)
    return path


@pytest.fixture
def photographs(tmp_path):
    """Three photographs, two of them in folders: cats/a.jpg and dogs/b.jpeg square, c.jpg of 60 x 40."""
    folder = tmp_path / "photographs"
    draw(folder / "cats" / "a.jpg", number=0)
    draw(folder / "dogs" / "b.jpeg", number=1)
    draw(folder / "c.jpg", (60, 40), number=2)
    return list_photographs(folder)


def match(folder: Path, items: Sequence[Item], names: Iterable[str] = (), name: str = "tool") -> ToolPictures:
    """Match the pictures of a folder to items of a source that has photographs of these names too."""
    return ToolPictures(name, folder, items, dict.fromkeys([*(item.name for item in items), *names]))


@pytest.fixture
def predict(tmp_path, photographs):
    """Match pictures with these names (and sizes) to the photographs."""

    def predict(*names: str, size=(48, 48), items=photographs):
        for name in names:
            draw(tmp_path / "made" / name, size if not name.rpartition("/")[2].startswith("c") else (60, 40))
        return match(tmp_path / "made", items)

    return predict


def found(predictions: ToolPictures) -> dict[str, str]:
    return {prediction.name: prediction.file.name for prediction in predictions.found}


@pytest.mark.parametrize(
    "names",
    [
        ["cats/a.jpg", "dogs/b.jpeg", "c.jpg"],
        ["cats/a.png", "dogs/b.webp", "c.bmp"],
        ["a.png", "b.png", "c.png"],
        ["cats/a.png", "other/b.png", "deep/er/c.png"],
        ["cats/a.png", "b.png", "c.png", "a.png", "unrelated.png"],
    ],
)
def test_pictures_are_matched_by_path_or_by_name_whatever_the_suffix(predict, names):
    predictions = predict(*names)
    assert found(predictions) == dict(zip(["cats/a.jpg", "dogs/b.jpeg", "c.jpg"], names, strict=False))
    assert (predictions.missing, predictions.notes) == ({}, [])


def test_one_name_in_two_folders_is_matched_by_path_alone(tmp_path, photographs, predict):
    folder = photographs[0].path.parent
    draw(folder / "dogs" / "a.jpg")
    items = list_photographs(folder)
    predictions = predict("cats/a.png", "a.png", "b.png", "c.png", items=items)
    assert found(predictions) == {"c.jpg": "c.png", "cats/a.jpg": "cats/a.png", "dogs/b.jpeg": "b.png"}
    assert predictions.missing == {"dogs/a.jpg": AMBIGUOUS}


@pytest.mark.parametrize(
    ("others", "reason"),
    [
        (["cats/b.jpg"], AMBIGUOUS),  # the picture cats/b.png is of that photograph
        (["train/b.jpg"], AMBIGUOUS),
        (["birds/c.jpg"], NAMELESS),
    ],
)
def test_picture_of_a_photograph_that_is_not_scored_is_matched_with_no_other(photographs, predict, others, reason):
    predict("cats/a.png", *(["cats/b.png"] if reason == AMBIGUOUS else []), "c.png")
    predictions = match(photographs[0].path.parents[1] / "made", photographs, others)
    assert found(predictions) == {"cats/a.jpg": "cats/a.png", "c.jpg": "c.png"}
    assert predictions.missing == {"dogs/b.jpeg": reason}


def test_suffix_of_a_photograph_that_is_not_scored_decides(tmp_path, photographs):
    draw(tmp_path / "made" / "cats" / "a.png")
    draw(tmp_path / "made" / "c.png", (60, 40))
    predictions = match(tmp_path / "made", photographs, ["cats/a.png"])
    assert found(predictions) == {"c.jpg": "c.png"} and predictions.missing["cats/a.jpg"] == AMBIGUOUS


def test_photographs_for_training_have_their_own_names(tmp_path):
    """Photographs train/a.jpg and val/a.jpg are told apart, and a shuffle's parts are of one folder."""
    for number, name in enumerate(("train/a.jpg", "train/c.jpg", "val/a.jpg")):
        draw(tmp_path / name, number=number)
    assert list(names_in(find_source(str(tmp_path)))) == ["a.jpg", "train/a.jpg", "train/c.jpg"]
    draw(tmp_path / "train" / "d.jpg")
    assert sorted(names_in(find_source(str(tmp_path / "train")))) == ["a.jpg", "c.jpg", "d.jpg"]


@pytest.mark.parametrize(
    ("names", "both"),
    [(["x/a.png", "y/a.png"], ["x/a.png", "y/a.png"]), (["cats/a.png", "cats/a.jpg"], ["cats/a.jpg", "cats/a.png"])],
)
def test_two_pictures_of_one_photograph_are_refused(predict, names, both):
    with pytest.raises(InputError, match=f"{both[0]} and {both[1]} both match cats/a.jpg; remove one"):
        predict(*names)


def test_missing_and_damaged_pictures_are_listed_with_reasons(tmp_path, predict):
    predict("c.png")
    (tmp_path / "made" / "a.png").write_bytes(b"not a picture")
    predictions = predict("c.png")
    assert list(found(predictions)) == ["c.jpg"]
    assert predictions.missing["dogs/b.jpeg"] == "no picture with its name"
    assert predictions.missing["cats/a.jpg"].startswith("not a picture")


@pytest.mark.parametrize(
    ("size", "kind"),
    [
        ((60, 40), ""),
        ((120, 80), "of another size than the photographs, resized like them"),
        ((256, 168), "of another size than the photographs, resized like them"),  # rounded to a multiple of 8
        ((32, 32), "square although the photographs are not, compared with their scored squares"),
        ((40, 60), None),
        ((60, 38), None),
    ],
)
def test_other_sizes_are_noted_and_other_shapes_left_out(tmp_path, photographs, size, kind):
    draw(tmp_path / "made" / "a.png")
    draw(tmp_path / "made" / "c.png", size)
    predictions = match(tmp_path / "made", photographs)
    if kind is None:
        assert predictions.missing["c.jpg"] == f"{size[0]} x {size[1]} is not the shape of the photograph, 60 x 40"
    else:
        assert predictions.notes == ([f"tool: 1 of 2 pictures {kind}"] if kind else [])


@pytest.mark.parametrize("fit", ["crop", "squash"])
def test_square_picture_of_a_wide_photograph_is_taken_as_the_scored_square(tmp_path, photographs, fit):
    """The tool was given the centre square (or the squashed whole), and gives that back, or it made all of it."""
    wide = photographs[0]
    square = Image.fromarray(wide.load(32, fit).permute(1, 2, 0).numpy())
    for picture in (square, Image.open(wide.path)):
        picture.save(tmp_path / "c.png")
        predictions = match(tmp_path, [wide])
        assert torch.equal(predictions.found[0].load(32, fit), wide.load(32, fit))


def test_turned_photographs_are_compared_as_they_are_seen(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    (tmp_path / "made").mkdir()
    Image.fromarray(draw_scene(3, 0, 64)).resize((60, 40)).save(tmp_path / "turned.jpg", exif=exif)
    draw(tmp_path / "made" / "turned.png", (40, 60))
    assert list_photographs(tmp_path)[1].upright_size() == (60, 40)
    predictions = match(tmp_path / "made", list_photographs(tmp_path)[1:])
    assert predictions.notes == [] and len(predictions.found) == 1


def test_scenes_drawn_by_code_have_any_square_size(tmp_path):
    scene = DemoScene(1, 4)
    draw(tmp_path / f"{scene.name}.png", (64, 64))
    assert match(tmp_path, [scene]).notes == []
    draw(tmp_path / f"{scene.name}.png", (64, 40))
    with pytest.raises(InputError, match="is not the shape"):
        match(tmp_path, [scene])


def test_prediction_has_the_photographs_name_and_class(tmp_path, photographs):
    photograph = replace(photographs[1], label=2)
    shutil.copytree(photograph.path.parent, tmp_path / "made")
    (prediction,) = match(tmp_path / "made", [photograph]).found
    assert (prediction.name, prediction.label) == ("cats/a.jpg", 2)
    assert prediction.digest() == photograph.digest()
    draw(tmp_path / "made" / "a.jpg", number=5)
    assert prediction.digest() != photograph.digest()


@pytest.mark.parametrize(
    ("names", "match"),
    [
        (None, r"--predictions tool=.*made: no such folder"),
        ([], r"none of its pictures matches a photograph \(c\.jpg: no picture with its name\); they are matched"),
        (["x.png"], "none of its pictures matches a photograph"),
    ],
)
def test_folder_without_a_single_picture_of_them_is_refused(tmp_path, predict, names, match):
    if names is not None:
        (tmp_path / "made").mkdir()
    with pytest.raises(InputError, match=match):
        predict(*(names or []))


def test_suffix_distinguishes_photographs_with_the_same_stem(tmp_path):
    """x.jpg and x.png are two photographs; a picture x.png belongs to only one of them."""
    folder = tmp_path / "photographs"
    for name in ("x.jpg", "x.png"):
        draw(folder / name)
    draw(tmp_path / "made" / "x.png")
    predictions = match(tmp_path / "made", list_photographs(folder))
    assert [made.of.name for made in predictions.found] == ["x.png"] and list(predictions.missing) == ["x.jpg"]


def test_files_of_two_tools_with_equal_size_and_time_are_distinguished(tmp_path, photographs):
    """Uncompressed pictures from archives can have equal size and time."""
    made = []
    for number, tool in enumerate(("one", "two")):
        os.utime(draw(tmp_path / tool / "a.bmp", number=number), (10**9, 10**9))
        predictions = match(tmp_path / tool, photographs, name=tool)
        made.append(load_photographs(predictions.found, 16, tmp_path / "cache").pictures)
    assert not torch.equal(*made)


def test_names_that_are_not_utf8_are_read(tmp_path):
    folder = tmp_path / os.fsdecode(b"f\xe9")
    for name in (b"bad\xff.jpg", b"good.jpg"):
        draw(folder / os.fsdecode(name))
    loaded = load_photographs(match(folder, list_photographs(folder)).found, 16, tmp_path / "cache")
    assert list(loaded.names) == [r"bad\xff.jpg", "good.jpg"]
