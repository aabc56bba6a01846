"""`gancolor colorize --variants` and `--uncertainty`."""

from pathlib import Path

import numpy as np
import pytest
from made_files import files, save
from made_generators import made_generator
from made_pictures import scene
from PIL import Image

from gancolor import Colorizer
from gancolor.cli import _gancolor
from gancolor.inference.image_files import Picture
from gancolor.utils.errors import InputError


@pytest.fixture(scope="module")
def classifier(tmp_path_factory) -> Path:
    return made_generator(tmp_path_factory.mktemp("siggraph17") / "generator.safetensors", arch="siggraph17")


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    save(tmp_path / "in/photo.png", scene(60, 90))
    return tmp_path / "in/photo.png"


def colorize(*words: object) -> int:
    return _gancolor(["colorize", "--device", "cpu", *map(str, words)])


def test_variants_are_numbered_and_the_first_is_the_automatic_one(photo, classifier, tmp_path, capfd) -> None:
    out = tmp_path / "out"
    assert colorize(photo, "-o", out, "--variants", 3, "--checkpoint", classifier) == 0
    made = files(out)
    assert made[0] == "photo.1.png" and 1 <= len(made) <= 3
    expected = Colorizer.load(classifier, device="cpu")(str(photo)).pixels
    assert np.abs(np.asarray(Image.open(out / "photo.1.png")).astype(int) - expected).max() <= 1
    assert (len(made) == 3) != (
        "of 3 variants: the generator predicts no other plausible colours" in capfd.readouterr().out
    )
    assert colorize(photo, "-o", out, "--variants", 3, "--checkpoint", classifier) == 0
    assert "1 there already" in capfd.readouterr().out


def test_several_checkpoints_give_one_variant_each(photo, classifier, checkpoint, tmp_path) -> None:
    words = ["--checkpoint", checkpoint, "--checkpoint", classifier, "--variants", 2]
    assert colorize(photo, "-o", tmp_path / "out", *words) == 0
    for number, path in ((1, checkpoint), (2, classifier)):
        found = np.asarray(Image.open(tmp_path / f"out/photo.{number}.png")).astype(int)
        assert np.abs(found - Colorizer.load(path, device="cpu")(str(photo)).pixels).max() <= 1


def test_uncertainty_is_written_beside_the_coloured_photograph(photo, classifier, tmp_path) -> None:
    assert (
        colorize(
            photo, "-o", tmp_path / "out", "--uncertainty", tmp_path / "uncertainty.png", "--checkpoint", classifier
        )
        == 0
    )
    assert (
        Image.open(tmp_path / "uncertainty.png").size == (90, 60)
        and Image.open(tmp_path / "uncertainty.png").mode == "L"
    )
    assert files(tmp_path / "out") == ["photo.png"]


def test_uncertainty_is_written_for_photographs_that_are_coloured_already_and_replaces_nothing(
    photo, classifier, tmp_path, capfd
) -> None:
    out, uncertainty = tmp_path / "out", tmp_path / "uncertainty.png"
    assert colorize(photo, "-o", out, "--checkpoint", classifier) == 0
    words = [photo, "-o", out, "--uncertainty", uncertainty, "--checkpoint", classifier]
    assert colorize(*words) == 0 and uncertainty.is_file() and "1 there already" in capfd.readouterr().out
    uncertainty.write_bytes(b"mine")
    assert colorize(*words) == 0 and "uncertainty.png: already exists; kept" in capfd.readouterr().out
    assert uncertainty.read_bytes() == b"mine"
    assert colorize(*words, "--overwrite") == 0 and Image.open(uncertainty).mode == "L"


@pytest.mark.parametrize("there", [True, False])
def test_a_map_never_replaces_the_photograph_or_its_result(photo, tmp_path, there: bool) -> None:
    link = tmp_path / "link"
    link.symlink_to(tmp_path)
    for name in ("x.png", "x.2.png") if there else ():
        save(tmp_path / name, scene())
    result = ["-o", tmp_path / "x.png"]
    for path, words, role in (
        (photo, [], "the photograph"),
        (photo, ["--in_place"], "the photograph"),
        (tmp_path / "x.png", result, "its result"),
        (link / "x.png", result, "its result"),
        (link / "x.2.png", [*result, "--variants", 3], "its result"),
    ):
        with pytest.raises(InputError, match=f"--uncertainty {path} is {role} itself; give another name$"):
            colorize(photo, "--uncertainty", path, "--overwrite", *words)
    assert Image.open(photo).mode == "RGB"


def test_variants_never_replace_an_input(photo, classifier, tmp_path) -> None:
    words = ["--variants", 2, "--overwrite", "--checkpoint", classifier]
    other = save(photo.with_name("other.2.png"), scene(20, 30))
    with pytest.raises(InputError, match=r"other\.2\.png would take the place of an input; give another -o$"):
        colorize(other, "-o", photo.with_name("other.png"), *words)
    assert Image.open(other).size == (30, 20)


def test_an_interrupted_photograph_is_completed(photo, classifier, checkpoint, tmp_path, monkeypatch, capfd) -> None:
    """The first variant is written last. Another that is there without it is kept unless --overwrite is given."""
    out, saved = tmp_path / "out", Picture.save
    words = [photo, "-o", out, "--variants", 2, "--checkpoint", checkpoint, "--checkpoint", classifier]

    def save_or_stop(picture: Picture, path: Path, quality: int) -> None:
        if path.name == "photo.1.png":
            raise KeyboardInterrupt
        saved(picture, path, quality)

    with monkeypatch.context() as stopped:
        stopped.setattr(Picture, "save", save_or_stop)
        with pytest.raises(KeyboardInterrupt):
            colorize(*words)
    assert files(out) == ["photo.2.png"]
    save(out / "photo.2.png", scene(20, 30))
    assert colorize(*words) == 0 and "photo.2.png: already exists; kept" in capfd.readouterr().out
    assert Image.open(out / "photo.1.png").size == (90, 60) and Image.open(out / "photo.2.png").size == (30, 20)
    assert colorize(*words, "--overwrite") == 0
    assert Image.open(out / "photo.2.png").size == (90, 60)


def test_of_several_pages_the_first_is_coloured_with_a_warning(photo, classifier, tmp_path, capfd) -> None:
    pages = [Image.fromarray(scene(40, 60))] * 2
    pages[0].save(tmp_path / "x.tif", save_all=True, append_images=pages[1:])
    assert colorize(tmp_path / "x.tif", "-o", tmp_path / "out", "--variants", 1, "--checkpoint", classifier) == 0
    assert "x.tif: the first of its 2 pages is coloured" in capfd.readouterr().err


def test_hints_beside_a_photograph_are_not_ignored_silently(photo, classifier, tmp_path, capfd) -> None:
    photo.with_name("photo.png.hints.json").write_text("{}")
    assert colorize(photo, "-o", tmp_path / "out", "--variants", 1, "--checkpoint", classifier) == 0
    assert "photo.png: --variants does not use its hints" in capfd.readouterr().err


def test_of_several_ranks_one_shows_the_uncertainty(photo, classifier, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    for rank in ("1", "0"):
        monkeypatch.setenv("RANK", rank)
        monkeypatch.setattr("gancolor.colorize.command.wait_for_ranks", lambda: None)
        words = ["--uncertainty", tmp_path / "uncertainty.png", "--checkpoint", classifier]
        assert colorize(photo, "-o", tmp_path / "out", *words) == 0
        assert (tmp_path / "uncertainty.png").exists() == (rank == "0")


def test_an_unreadable_photograph_is_listed_and_the_others_are_coloured(photo, classifier, tmp_path, capfd) -> None:
    (photo.parent / "a.png").write_bytes(b"no picture")
    assert colorize(photo.parent, "-o", tmp_path / "out", "--variants", 1, "--checkpoint", classifier) == 1
    assert files(tmp_path / "out") == ["photo.1.png"]
    assert "not coloured:" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--variants", 2], "no distribution of colours"),
        (["--checkpoint", "B"], "several --checkpoint are for --variants"),
        (["--checkpoint", "B", "--variants", 3], "--variants 3: there are 2 --checkpoint"),
        (["--variants", 2, "--hint", "1,1,red"], "neither --in_place"),
        (["--variants", 2, "--side_by_side"], "neither --in_place"),
        (["--uncertainty", "uncertainty.xyz"], "xyz"),
        (["--uncertainty", "uncertainty.png"], "no distribution of colours"),
    ],
)
def test_what_does_not_go_together_is_refused_in_one_line(photo, checkpoint, classifier, tmp_path, words, said) -> None:
    words = [classifier if word == "B" else word for word in words]
    with pytest.raises(InputError, match=said) as caught:
        colorize(photo, "-o", tmp_path / "out", "--checkpoint", checkpoint, *words)
    assert "\n" not in str(caught.value) and files(tmp_path / "out") == []


def test_doubt_is_for_a_single_photograph(photo, classifier, tmp_path) -> None:
    save(photo.with_name("other.png"), scene(60, 90))
    with pytest.raises(InputError, match="--uncertainty is for a single photograph"):
        colorize(photo.parent, "-o", tmp_path / "out", "--uncertainty", tmp_path / "d.png", "--checkpoint", classifier)
