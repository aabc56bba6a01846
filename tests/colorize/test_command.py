import os
import re
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tifffile
from made_files import files, save
from made_pictures import colourfulness, scene
from PIL import Image

from gancolor.colorize.command import is_worth_compiling
from gancolor.colorize.inputs import ColorizeJob
from gancolor.inference.image_files import Picture, read_picture
from gancolor.utils.errors import InputError


def test_a_folder(folder: Path, tmp_path: Path, colorize, colorizer) -> None:
    status, said, errors = colorize(folder, "-o", tmp_path / "out")
    assert (status, errors) == (0, "")
    assert said.startswith(f"3 coloured in {tmp_path}/out/ in ")
    assert "ignored" not in said  # notes
    assert files(tmp_path / "out") == ["a.jpg", "b.PNG", "deep/er/c.jpg"]
    expected = colorizer(str(folder / "b.PNG")).pixels
    found = np.asarray(Image.open(tmp_path / "out/b.PNG"))
    assert np.abs(found.astype(int) - expected).max() <= 1  # batches differ in their rounding
    assert colourfulness(np.asarray(Image.open(tmp_path / "out/a.jpg"))) > 10


def test_what_is_there_is_left_alone(folder: Path, tmp_path: Path, colorize) -> None:
    out = tmp_path / "out"
    colorize(folder, "-o", out)
    (out / "a.jpg").write_bytes(b"mine")
    (out / "b.PNG").unlink()
    status, said, _ = colorize(folder, "-o", out)
    assert status == 0
    assert said.startswith("1 coloured")
    assert "2 there already" in said
    assert (out / "a.jpg").read_bytes() == b"mine"
    status, said, _ = colorize(folder, "-o", out, "--overwrite")
    assert said.startswith("3 coloured")
    assert read_picture(out / "a.jpg").size == (40, 60)


def test_options_reach_the_colorizer(tmp_path: Path, colorize, colorizer) -> None:
    photo = save(tmp_path / "a.png", scene(64, 96))
    plain = colorizer(str(photo)).pixels

    def made(*words: object) -> np.ndarray:
        assert colorize(photo, "-o", tmp_path / "o.png", "--overwrite", *words)[0] == 0
        return read_picture(tmp_path / "o.png").pixels.astype(int)

    assert np.abs(made() - plain).max() <= 1
    assert colourfulness(made("--strength", 0).astype(np.uint8)) < 1
    for words in (["--size", 16], ["--flips"], ["--upsampling", "bilinear"]):
        assert np.abs(made(*words) - plain).max() > 3
    assert (tmp_path / "o.png").stat().st_mode & 0o777 == 0o666 & ~_umask()


def test_formats_and_quality(tmp_path: Path, colorize) -> None:
    photo = save(tmp_path / "a.png", scene(80, 120))
    kinds = {"jpg": "JPEG", "webp": "WEBP", "tiff": "TIFF", "avif": "AVIF", "png": "PNG"}
    for name, kind in kinds.items():
        assert colorize(photo, "-o", tmp_path / "out", "--format", name)[0] == 0
        with Image.open(tmp_path / "out" / f"a.{name}") as image:
            assert (image.format, image.size) == (kind, (120, 80))
    colorize(photo, "-o", tmp_path / "low", "--format", "jpg", "--quality", 10)
    assert (tmp_path / "low/a.jpg").stat().st_size < (tmp_path / "out/a.jpg").stat().st_size / 2


def test_disclosure(tmp_path: Path, colorize) -> None:
    photo = save(tmp_path / "a.png", scene(40, 60))
    for words in ([], ["--side_by_side"], ["--no_disclosure"]):
        assert colorize(photo, "-o", tmp_path / "o.jpg", "--overwrite", *words)[0] == 0
        xmp = Image.open(tmp_path / "o.jpg").info.get("xmp", b"")
        assert (b"compositeWithTrainedAlgorithmicMedia" in xmp) == (words != ["--no_disclosure"])


def test_side_by_side(tmp_path: Path, colorize) -> None:
    colour, grey = scene(40, 60), scene(40, 60).mean(-1).astype(np.uint8)
    save(tmp_path / "in.png", colour)
    save(tmp_path / "grey.png", grey)
    assert colorize(tmp_path / "in.png", tmp_path / "grey.png", "-o", tmp_path / "out", "--side_by_side")[0] == 0
    panels = np.split(np.asarray(Image.open(tmp_path / "out/in.png")), 3, axis=1)
    assert colourfulness(panels[0]) < 1
    assert colourfulness(panels[1]) > 10
    assert (panels[2] == colour).all()
    panels = np.split(np.asarray(Image.open(tmp_path / "out/grey.png")), 2, axis=1)
    assert np.abs(panels[0].astype(int) - grey[..., None]).max() <= 1
    assert colourfulness(panels[1]) > 10


def test_bad_files_are_named_and_the_rest_is_done(folder: Path, tmp_path: Path, colorize) -> None:
    data = (folder / "a.jpg").read_bytes()
    (folder / "cut.jpg").write_bytes(data[: len(data) // 2])
    (folder / "empty.png").write_bytes(b"")
    (folder / "no\nphoto.jpg").write_text("words")
    status, said, errors = colorize(folder, tmp_path / "gone.jpg", folder / "notes.txt", "-o", tmp_path / "out")
    assert status == 1
    assert "5 not coloured" in said
    assert said.startswith("3 coloured")
    lines = errors.splitlines()
    assert len(lines) == 5
    for line, name in zip(lines, ("gone.jpg", "cut.jpg", "empty.png", r"no\nphoto.jpg", "notes.txt"), strict=True):
        assert line.startswith("not coloured: ")
        assert f"{name}: " in line
        assert ("if it is a video, give it a video's suffix" in line) == (name == "notes.txt")
    assert files(tmp_path / "out") == ["a.jpg", "b.PNG", "deep/er/c.jpg"]


def test_nothing_at_all_to_colour(tmp_path: Path, colorize) -> None:
    with pytest.raises(InputError, match="nothing to colour"):
        colorize("-o", tmp_path)
    with pytest.raises(InputError, match="nothing to colour"):
        colorize("-o", tmp_path / "out.jpg")
    with pytest.raises(InputError, match=r"nope\.jpg: no such file or folder \(and 1 more\)"):
        colorize(tmp_path / "nope.jpg", tmp_path / "neither.jpg")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--quality", "101"], "--quality 101 is outside"),
        (["--smoothing", "1.1"], "--smoothing 1.1 is outside"),
        (["--strength", "-1"], "strength of -1.0 is outside"),
        (["--upsampling", "guidde"], "did you mean guided"),
        (["--chekpoint=x"], "unknown option --chekpoint=x"),
        (["-o", "/proc/nowhere"], "can't be made"),
        (["--checkpoint", "nope.safetensors"], "no such checkpoint"),
    ],
)
def test_mistakes_end_before_the_work(folder: Path, tmp_path: Path, colorize, words: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        colorize(folder, "-o", tmp_path / "out", *words)
    assert not (tmp_path / "out").exists() or files(tmp_path / "out") == []


def test_in_place(folder: Path, colorize) -> None:
    for suffix, kind in ((".tiff", "TIFF"), (".webp", "WEBP"), (".avif", "AVIF"), (".jpeg", "MPO")):
        Image.fromarray(scene()).save(folder / f"d{suffix}", kind)
    before = (folder / "a.jpg").read_bytes()
    with pytest.raises(InputError, match="--in_place if that is meant"):
        colorize(folder, "-o", folder)
    assert (folder / "a.jpg").read_bytes() == before
    assert colorize(folder, "--in_place")[0] == 0
    assert files(folder) == [
        "a.jpg", "b.PNG", "d.avif", "d.jpeg", "d.tiff", "d.webp", "deep/er/c.jpg", "notes.txt"
    ]  # fmt: skip
    assert (folder / "a.jpg").read_bytes() != before


def test_a_read_only_folder_is_named_with_its_option(folder: Path, tmp_path: Path, colorize, monkeypatch) -> None:
    monkeypatch.setattr("os.access", lambda *_: False)
    for words, named in ((["--in_place"], f"--in_place {folder}"), (["-o", tmp_path], f"-o {tmp_path}")):
        with pytest.raises(InputError, match=f"^{re.escape(named)}: the folder is read-only$"):
            colorize(folder / "a.jpg", *words)


def test_names_that_are_no_text(tmp_path: Path, start) -> None:
    place = tmp_path / "in"
    place.mkdir()
    for name in (b"-o.jpg", b"new\nline.jpg", b"caf\xe9.jpg"):  # the last is Latin-1
        save(place / os.fsdecode(name), scene(32, 48))
    process = start(place, "-o", tmp_path / "out")
    _, errors = process.communicate()
    assert process.returncode == 0, errors
    assert len(files(tmp_path / "out")) == 3
    process = start("-o", "dashes", "--", "-o.jpg", cwd=place)
    assert process.wait() == 0
    assert files(place / "dashes") == ["-o.jpg"]


def test_a_full_disk_ends_it_in_one_line(tmp_path: Path, start) -> None:
    """Files may not grow over 20 kB: small results are written, larger ones are not."""
    place = tmp_path / "in"
    place.mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (200, 200, 3), np.uint8)
    for index in range(40):
        save(place / f"{index:02d}.png", noise if index == 20 else scene(16, 16))
    limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))  # noqa: E731
    process = start(place, "-o", tmp_path / "out", preexec_fn=limit)
    _, errors = process.communicate()
    assert process.returncode == 2
    assert len(errors.splitlines()) == 1
    assert f"{tmp_path}/out/20.png: File too large; files already saved are intact" in errors
    done = files(tmp_path / "out")
    assert "20.png" not in done
    assert all(name.endswith(".png") for name in done)
    for name in done:
        assert read_picture(tmp_path / "out" / name).size == (16, 16)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGKILL, -9)])
def test_stopped_and_started_again(tmp_path: Path, start, colorize, number: int, status: int) -> None:
    place, out = tmp_path / "in", tmp_path / "out"
    place.mkdir()
    save(place / "000.jpg", scene(100, 150))
    for index in range(1, 200):
        os.link(place / "000.jpg", place / f"{index:03d}.jpg")
    process = start(place, "-o", out)
    _wait_for(lambda: out.is_dir() and sum(path.suffix == ".jpg" for path in out.iterdir()) >= 10, process)
    process.send_signal(number)
    _, errors = process.communicate()
    assert process.returncode == status
    done = [path for path in out.iterdir() if path.suffix == ".jpg"]
    assert 10 <= len(done) < 200
    for path in done:
        assert read_picture(path).size == (100, 150)
    if status == 130:
        assert errors.splitlines() == ["-c: error: interrupted"]
        assert len(files(out)) == len(done)
    for path in place.iterdir():
        if int(path.stem) >= 150:
            path.unlink()
    assert colorize(place, "-o", out)[0] == 0
    left = files(out)
    assert [name for name in left if name < "150"] == [f"{index:03d}.jpg" for index in range(150)]


def test_the_command_itself_needs_no_torch() -> None:
    modules = "gancolor.cli, gancolor.colorize.command, gancolor.colorize.video"
    check = f"import sys, {modules}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check]).returncode == 0


def test_colouring_loads_nothing_that_takes_long(tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    Picture(scene(40, 60)).save(path)
    words = ["gancolor", "colorize", str(path), "--out", str(tmp_path / "out")]
    slow = {"torch", "scipy", "numba", "numpy.f2py", "tqdm"}
    lines = ("import atexit, sys", "from gancolor.cli import main", f"sys.argv = {words}",
             f"atexit.register(lambda: print({slow} & sys.modules.keys()))", "main()")  # fmt: skip
    run = subprocess.run([sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True)
    assert (run.stdout.splitlines()[-1], run.returncode) == ("set()", 0), run.stderr


def _wait_for(fact, process: subprocess.Popen, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not fact():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.01)


def _umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def test_channels_besides_colour_and_transparency_are_left_out_but_not_in_place(tmp_path: Path, colorize) -> None:
    infrared = np.full((40, 60, 1), 80, np.uint8)
    path = tmp_path / "scan.tif"
    tifffile.imwrite(path, np.concatenate([scene(40, 60), infrared], -1), photometric="rgb", extrasamples=[0])
    before = path.read_bytes()
    status, _, said = colorize(path, "-o", tmp_path / "out", "--strength", 0, "--format", "jpg")
    assert (status, "1 channel left out: neither colour nor transparency" in said) == (0, True)
    grey = scene(40, 60) @ [0.2126, 0.7152, 0.0722]
    assert abs(read_picture(tmp_path / "out" / "scan.jpg").pixels.mean() - grey.mean()) < 15  # white would show through
    status, _, said = colorize(path, "--in_place")
    assert status == 1
    assert "has channels besides colour and transparency, which would be lost" in said
    assert path.read_bytes() == before


def test_of_several_pages_the_first_is_coloured_but_not_in_place(tmp_path: Path, colorize) -> None:
    pages = [Image.fromarray(scene(40, 60 + page)) for page in range(3)]
    path = tmp_path / "x.tif"
    pages[0].save(path, save_all=True, append_images=pages[1:])
    status, _, said = colorize(path, "-o", tmp_path / "out")
    assert status == 0
    assert "the first of its 3 pages is coloured" in said
    before = path.read_bytes()
    status, _, said = colorize(path, "--in_place")
    assert status == 1
    assert "has 3 pages, and only the first would be left; colour it without --in_place" in said
    assert path.read_bytes() == before


UNWRITABLE = "its contents can't be written as what they are, but only as .png; colour it without --in_place"


@pytest.mark.parametrize(
    ("name", "kind", "said"),
    [
        ("x.jpg", "PNG", "its contents are .png, and would become .jpg; rename it to .png"),
        ("x.TIF", "JPEG", "its contents are .jpg, and would become .TIF; rename it to .jpg"),
        ("x.png", "GIF", UNWRITABLE),
        ("x.png", "BMP", UNWRITABLE),
    ],
)
def test_contents_of_another_format_than_the_name_says_are_not_replaced(
    tmp_path: Path, colorize, name: str, kind: str, said: str
) -> None:
    path = tmp_path / name
    Image.fromarray(scene()).save(path, kind)
    before = path.read_bytes()
    status, _, errors = colorize(path, "--in_place")
    assert (status, errors) == (1, f"not coloured: {path}: {said}\n")
    assert path.read_bytes() == before
    assert colorize(path, "-o", tmp_path / "out")[0] == 0


def test_nothing_is_written_through_a_link_and_modes_stay(tmp_path: Path, colorize) -> None:
    path, other, out = tmp_path / "a.jpg", tmp_path / "other", tmp_path / "out"
    save(path, scene())
    other.write_text("mine")
    out.mkdir()
    (out / ".a.jpg.part").symlink_to(other)
    assert colorize(path, "-o", out)[0] == 0
    assert other.read_text() == "mine"
    assert not (out / "a.jpg").is_symlink()
    path.chmod(0o600)
    assert colorize(path, "--in_place")[0] == 0
    assert path.stat().st_mode & 0o777 == 0o600


def test_the_longest_names(tmp_path: Path, colorize) -> None:
    path = tmp_path / f"{'n' * 251}.jpg"
    path.write_bytes(Picture(scene()).encode(".jpg"))
    assert colorize(path, "-o", tmp_path / "out")[0] == 0
    assert (tmp_path / "out" / path.name).is_file()


def test_the_kernel_is_compiled_only_for_much_work(tmp_path: Path, monkeypatch) -> None:
    pytest.importorskip("numba")
    monkeypatch.setattr("gancolor.colorize.command.MUCH", 100)
    jobs = [ColorizeJob(tmp_path / name, tmp_path / "out" / name) for name in ("a.jpg", "b.jpg", "gone.jpg")]
    for job in jobs[:2]:
        job.source.write_bytes(bytes(60))
    assert is_worth_compiling(jobs)
    assert not is_worth_compiling(jobs[1:])
    assert is_worth_compiling([ColorizeJob(tmp_path / "film.mp4", tmp_path / "coloured.mp4")])
    monkeypatch.setattr("gancolor.colorize.command.can_compile", lambda: False)
    assert not is_worth_compiling(jobs)
