import resource
import signal
import sys
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
import pytest
from made_files import clip, files, made_video, save
from made_pictures import colourfulness, scene
from skimage.color import rgb2lab

from gancolor.colorize.inputs import ColorizeJob
from gancolor.colorize.video import colour_video
from gancolor.colorize.video_output import rgb
from gancolor.inference.colorizer import Colorizer
from gancolor.inference.image_files.disclosure import statement
from gancolor.utils.errors import InputError


class Watched(NamedTuple):
    """What a player has of a video: `frames` sRGB, `times` [s], `sounds` packets as (bytes, time) by stream."""

    frames: list[np.ndarray]
    times: list[float]
    sounds: list[list[tuple[bytes, float]]]
    stream: dict[str, object]


def watch(path: Path) -> Watched:
    with av.open(str(path)) as video:
        stream = video.streams.video[0]
        decoded = list(video.decode(stream))
        context = stream.codec_context
        about = {
            "codec": context.name, "rotation": decoded[0].rotation, "aspect": stream.sample_aspect_ratio,
            "colour": (context.color_range, context.color_primaries, context.color_trc, context.colorspace),
        }  # fmt: skip
    with av.open(str(path)) as video:
        sounds: dict[int, list[tuple[bytes, float]]] = {stream.index: [] for stream in video.streams.audio}
        for packet in video.demux(*video.streams.audio) if sounds else ():
            if packet.dts is not None:
                sounds[packet.stream_index].append((bytes(packet), float(packet.pts * packet.time_base)))
    return Watched([rgb(frame) for frame in decoded], [frame.time for frame in decoded], list(sounds.values()), about)


def lightness(pixels: np.ndarray) -> np.ndarray:
    return rgb2lab(pixels)[..., 0]


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".webm", ".avi"])
def test_pictures_in_colour_and_all_else_as_it_was(tmp_path: Path, colorizer, suffix: str) -> None:
    source = made_video(tmp_path / f"in{suffix}", clip(20), sounds=1 if suffix == ".avi" else 2)
    target = tmp_path / ("out.mkv" if suffix == ".avi" else f"out{suffix}")
    colour_video(colorizer, ColorizeJob(source, target))
    before, after = watch(source), watch(target)
    assert len(after.frames) == len(before.frames) == 20
    assert after.times == pytest.approx(before.times, abs=0.0006)  # Matroska has milliseconds
    assert [[data for data, _ in sound] for sound in after.sounds] == [[d for d, _ in sound] for sound in before.sounds]
    for one, other in zip(before.sounds, after.sounds, strict=True):
        assert [time for _, time in other] == pytest.approx([time for _, time in one], abs=0.0006)
        assert len(one) > 5
    assert after.stream["codec"] == ("vp9" if suffix == ".webm" else "h264")
    assert after.stream["colour"] == (1, 1, 1, 1)  # limited range, BT.709
    for old, new in zip(before.frames, after.frames, strict=True):
        assert new.shape == old.shape
        error = np.square(lightness(new) - lightness(old)).mean()
        assert 10 * np.log10(100**2 / error) > 34
        assert abs((lightness(new) - lightness(old)).mean()) < 0.5
        assert colourfulness(new) > 5 > 2 > colourfulness(old)
    assert files(tmp_path) == sorted([source.name, target.name])


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".webm"])
def test_the_comment_discloses_once(tmp_path: Path, colorizer, suffix: str) -> None:
    source, target = made_video(tmp_path / f"in{suffix}", clip(2)), tmp_path / f"out{suffix}"
    named = replace(colorizer, name="red")

    def comments(colorizer: Colorizer, given: Path) -> list[str]:
        colour_video(colorizer, ColorizeJob(given, target))
        with av.open(str(target)) as video:
            return [value for key, value in video.metadata.items() if key.lower() == "comment"]

    assert (
        comments(replace(colorizer, disclosure=False), source) == comments(replace(colorizer, strength=0), source) == []
    )
    assert comments(named, source) == [statement("red")]
    noted = made_video(tmp_path / f"noted{suffix}", clip(2), comment="by A. Müller")
    assert comments(named, noted) == [f"by A. Müller; {statement('red')}"]
    target.replace(noted)
    assert comments(named, noted) == [f"by A. Müller; {statement('red')}"]


def test_uneven_times_are_kept(tmp_path: Path, colorizer) -> None:
    times = [100, 140, 150, 300, 301, 500, 1000, 1033]
    source = made_video(tmp_path / "in.mp4", clip(8), times, sounds=1)
    colour_video(colorizer, ColorizeJob(source, tmp_path / "out.mp4"))
    assert watch(tmp_path / "out.mp4").times == pytest.approx(watch(source).times)
    assert np.diff(watch(source).times) == pytest.approx(np.diff(times) / 1000, abs=1e-3)


@pytest.mark.parametrize("rotation", [90, -90, 180])
def test_turned_videos_come_out_upright(tmp_path: Path, colorizer, rotation: int) -> None:
    source = made_video(tmp_path / "in.mp4", clip(3), rotation=rotation)
    colour_video(colorizer, ColorizeJob(source, tmp_path / "out.mp4"))
    after = watch(tmp_path / "out.mp4")
    assert after.stream["rotation"] == 0
    expected = np.rot90(watch(source).frames[0], rotation // 90)
    assert after.frames[0].shape == expected.shape
    assert np.abs(lightness(after.frames[0]) - lightness(expected)).mean() < 1.5


@pytest.mark.parametrize("size", [(49, 65), (48, 65), (18, 34)])
def test_any_size(tmp_path: Path, colorizer, size: tuple[int, int]) -> None:
    height, width = size
    source = made_video(tmp_path / "in.webm", clip(3, height, width))
    colour_video(colorizer, ColorizeJob(source, tmp_path / "out.mp4"))
    assert watch(tmp_path / "out.mp4").frames[0].shape == (height, width, 3)


def test_colours_of_the_source_do_not_matter(tmp_path: Path, colorizer) -> None:
    """Full range and BT.601 are read as what they are; where nothing is said, BT.601 of small pictures alone."""
    for rows, matrix, full, said in ((64, 1, 0, 1), (64, 5, 0, 5), (64, 1, 1, 1), (64, 5, 0, 2), (720, 1, 0, 2)):
        pixels = scene(rows, rows * 3 // 2)
        frame = av.VideoFrame.from_ndarray(pixels, "rgb24").reformat(
            format="yuv444p", dst_colorspace=matrix, src_color_range=2, dst_color_range=2 if full else 1
        )
        frame.colorspace = said
        assert np.abs(rgb(frame).astype(int) - pixels).mean() < 1


class Restless:
    """A network whose colour differs from frame to frame."""

    def __init__(self, inner) -> None:
        self.inner, self.about, self.random = inner, inner.about, np.random.default_rng(0)
        self.takes_hints = False

    def __call__(self, lightness: np.ndarray) -> np.ndarray:
        return self.inner(lightness) + self.random.normal(0, 0.05, (len(lightness), 2, 1, 1)).astype(np.float32)


def test_steadiness(tmp_path: Path, colorizer) -> None:
    source = made_video(tmp_path / "in.mp4", clip(16, noise=2, pan=0))

    def shown(smoothing: float) -> float:
        restless = replace(colorizer, backend=Restless(colorizer.backend))
        flicker = colour_video(restless, ColorizeJob(source, tmp_path / "out.mp4"), smoothing=smoothing)
        assert (flicker.smoothed < 0.6 * flicker.predicted) == (smoothing > 0)
        frames = watch(tmp_path / "out.mp4").frames
        return float(np.mean([np.abs(rgb2lab(b)[..., 1:] - rgb2lab(a)[..., 1:]).mean() for a, b in pairwise(frames)]))

    assert shown(0.9) < 0.6 * shown(0)


def test_side_by_side(tmp_path: Path, colorize) -> None:
    source = made_video(tmp_path / "in.mp4", clip(3))
    assert colorize(source, "-o", tmp_path / "out.mp4", "--side_by_side")[0] == 0
    grey, coloured = np.split(watch(tmp_path / "out.mp4").frames[1], 2, axis=1)
    assert colourfulness(grey[:, :60]) < 2
    assert colourfulness(coloured) > 5


def test_any_file_name(tmp_path: Path, colorize) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    names = ["a:b.mp4", "concat:x.mp4", "shot [1]%03d.mp4"]
    for name in names:
        made_video(tmp_path / "made.mp4", clip(2)).rename(folder / name)
    assert colorize(folder, "-o", tmp_path / "out")[0] == 0
    assert files(tmp_path / "out") == names


def test_the_command_colours_a_folder_of_both(tmp_path: Path, colorize) -> None:
    place, out = tmp_path / "in", tmp_path / "out"
    (place / "x").mkdir(parents=True)
    save(place / "photo.jpg", scene(32, 48))
    made_video(place / "x/good.mp4", clip(30), sounds=1)
    (place / "cut.mp4").write_bytes((place / "x/good.mp4").read_bytes()[:4000])
    (place / "none.mkv").write_text("words")
    with av.open(str(place / "heard.mp4"), "w") as heard:
        stream = heard.add_stream("aac", rate=44100, layout="mono")
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 44100), np.float32), "fltp", "mono")
        silence.sample_rate = 44100
        heard.mux(stream.encode(silence))
        heard.mux(stream.encode(None))
    status, said, errors = colorize(place, "-o", out)
    assert status == 1
    assert "x/good.mp4: flicker " in said, errors
    assert "; 1 scene" in said
    assert [line.rpartition("/in/")[2].split(":")[0] for line in errors.splitlines()] == [
        "cut.mp4", "heard.mp4", "none.mkv"
    ]  # fmt: skip
    assert files(out) == ["photo.jpg", "x/good.mp4"]
    assert "2 there already" in colorize(place, "-o", out)[1]


def test_a_video_that_cannot_be_written_is_named_and_the_rest_is_done(tmp_path: Path, colorize) -> None:
    place, out = tmp_path / "in", tmp_path / "out"
    place.mkdir()
    for name in ("a.mp4", "b.mp4", "c.mp4"):
        made_video(place / name, clip(3))
    (out / "b.mp4").mkdir(parents=True)
    status, said, errors = colorize(place, "-o", out)
    assert status == 1 and said.splitlines()[-1].startswith("2 coloured")
    assert errors == f"not coloured: {place}/b.mp4: Is a directory\n"
    assert files(out) == ["a.mp4", "c.mp4"]


def test_a_damaged_middle_costs_its_own_frames(tmp_path: Path, colorizer) -> None:
    source, target = made_video(tmp_path / "in.mkv", clip(30)), tmp_path / "out.mkv"
    with av.open(str(source)) as video:
        packets = [
            (float(packet.pts * packet.time_base), bytes(packet)) for packet in video.demux(video=0) if packet.size
        ]
    data = source.read_bytes()
    for _, packet in (damaged := [packets[number] for number in (10, 11, 20)]):
        assert data.count(packet) == 1
        data = data.replace(packet, bytes(len(packet)))
    source.write_bytes(data)
    with pytest.raises(InputError, match=r"in\.mkv: coloured, but 3 damaged pieces of it could not be read$"):
        colour_video(colorizer, ColorizeJob(source, target))
    assert files(tmp_path) == ["in.mkv", "out.mkv"]
    left = sorted({time for time, _ in packets} - {time for time, _ in damaged})
    assert len(left) == 27 and watch(target).times == pytest.approx(left, abs=0.0006)


def test_without_pyav(tmp_path: Path, colorize, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path / "photo.jpg", scene(32, 48))
    (tmp_path / "clip.mp4").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "av", None)
    monkeypatch.delitem(sys.modules, "gancolor.colorize.video")
    with pytest.raises(InputError, match=r"pip install 'gancolor\[video\]'"):
        colorize(tmp_path / "clip.mp4", "-o", tmp_path / "out")
    assert colorize(tmp_path / "photo.jpg", "-o", tmp_path / "out")[0] == 0


@pytest.mark.parametrize("limit", [1000, 30_000])
def test_a_full_disk(tmp_path: Path, start, limit: int) -> None:
    made_video(tmp_path / "in.mp4", clip(40, noise=30))
    bound = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))  # noqa: E731
    process = start(tmp_path / "in.mp4", "-o", tmp_path / "out.mp4", preexec_fn=bound)
    _, errors = process.communicate()
    assert process.returncode == 2
    assert len(errors.splitlines()) == 1
    assert "out.mp4: File too large" in errors
    assert files(tmp_path) == ["in.mp4"]


def test_interrupted(tmp_path: Path, start) -> None:
    made_video(tmp_path / "in.mp4", clip(1500, noise=0, pan=0))
    process = start(tmp_path / "in.mp4", "-o", tmp_path / "out.mp4")
    end = time.monotonic() + 60
    while not (tmp_path / ".out.mp4.part").exists():
        assert process.poll() is None
        assert time.monotonic() < end
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate()
    assert process.returncode == 130
    assert errors.splitlines() == ["-c: error: interrupted"]
    assert files(tmp_path) == ["in.mp4"]
