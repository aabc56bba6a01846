"""Videos whose clock starts late, whose file is cut off, or whose frames are interlaced."""

import re
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest
from made_files import clip, files, made_video
from made_pictures import scene

from gancolor.colorize.inputs import ColorizeJob
from gancolor.colorize.video import colour_video
from gancolor.colorize.video_input import Clock
from gancolor.utils.errors import InputError


def times(path: Path) -> tuple[list[float], list[float]]:
    """Return the times of frames and of sound packets [s]."""
    found: dict[str, list[float]] = {"video": [], "audio": []}
    with av.open(str(path)) as video:
        for packet in video.demux():
            if packet.pts is not None:
                found[packet.stream.type].append(float(packet.pts * packet.time_base))
    return sorted(found["video"]), found["audio"]


@pytest.mark.parametrize(
    ("name", "late", "target"),
    [
        ("in.ts", 43210, "out.mkv"),
        ("in.ts", 95442.0, "out.mp4"),  # the clock of 33 bits starts again in the middle
        ("in.mkv", 43210, "out.mkv"),
        ("in.mp4", 43210, "out.mov"),
    ],
)
def test_the_clock_starts_at_zero(tmp_path: Path, colorizer, name: str, late: float, target: str) -> None:
    source = made_video(tmp_path / name, clip(20), sounds=1, muxing={"output_ts_offset": str(late)})
    colour_video(colorizer, ColorizeJob(source, tmp_path / target))
    before, after = times(source), times(tmp_path / target)
    start = min(before[0][0], before[1][0])
    assert abs(start) > 0.1
    assert min(after[0][0], after[1][0]) == pytest.approx(0, abs=0.025)
    for old, new in zip(before, after, strict=True):
        assert np.subtract(new, old) == pytest.approx(np.full(len(old), after[0][0] - before[0][0]), abs=0.002)


@pytest.mark.parametrize("first", [50000, 0])
def test_joined_recordings_have_one_clock(tmp_path: Path, colorizer, first: int) -> None:
    parts = [
        made_video(tmp_path / "part.ts", clip(20), sounds=1, muxing={"output_ts_offset": str(at)}).read_bytes()
        for at in (first, 0)
    ]
    source = tmp_path / "in.ts"
    source.write_bytes(b"".join(parts))
    colour_video(colorizer, ColorizeJob(source, tmp_path / "out.mkv"))
    frames, sound = times(tmp_path / "out.mkv")
    assert len(frames) == 40
    assert frames[0] + 1.5 < frames[-1] < 1.8
    assert max(np.diff(frames)) < 0.2
    assert max(np.diff(sound)) < 0.2


def test_a_damaged_time_is_left_out() -> None:
    video = SimpleNamespace(start_time=500_000, duration=60_000_000, format=SimpleNamespace(flags=0))
    clock, stream, found = Clock(video), SimpleNamespace(type="video"), []
    for at in (500, 540, 2**31, 620, 61_000):
        packet = SimpleNamespace(
            pts=at, dts=at, duration=40, time_base=Fraction(1, 1000), stream=stream, stream_index=0
        )
        clock.set(packet)
        found.append(packet.pts)
    assert found == [0, 40, None, 120, 60_500]


@pytest.mark.parametrize("suffix", [".mp4", ".avi", ".mkv", ".webm", ".flv", ".wmv"])
def test_a_file_that_is_cut_off(tmp_path: Path, colorize, suffix: str) -> None:
    coders = {".flv": ("flv1", "libmp3lame"), ".wmv": ("wmv2", "wmav2")}.get(suffix)
    faststart = {"movflags": "faststart"} if suffix == ".mp4" else {}
    source = made_video(tmp_path / f"in{suffix}", clip(24), sounds=1, coders=coders, muxing=faststart)
    whole, out = source.read_bytes(), tmp_path / "out"
    name = f"in{suffix if suffix in ('.mp4', '.mkv', '.webm') else '.mkv'}"
    source.write_bytes(whole[: len(whole) * 6 // 10])
    for _ in range(2):  # it is coloured again the next time
        status, said, errors = colorize(source, "-o", out)
        assert status == 1
        assert "there already" not in said
        assert files(out) == [f"{name}.partial"]
        with av.open(str(out / f"{name}.partial")) as video:
            count = len(list(video.decode(video.streams.video[0])))
        assert 3 < count < 22
        assert re.search(rf"in{suffix}: {count} of (24|about 2[345]) frames", errors)
    source.write_bytes(whole)
    assert colorize(source, "-o", out)[0] == 0
    assert files(out) == [name]


def test_in_place_a_cut_file_stays(tmp_path: Path, colorize) -> None:
    source = made_video(tmp_path / "in.mkv", clip(24))
    cut = source.read_bytes()[: source.stat().st_size // 2]
    source.write_bytes(cut)
    assert colorize(source, "--in_place")[0] == 1
    assert source.read_bytes() == cut
    assert files(tmp_path) == ["in.mkv", "in.mkv.partial"]


def test_in_place_a_damaged_file_stays(tmp_path: Path, colorize) -> None:
    source = made_video(tmp_path / "in.mp4", clip(24))
    data = bytearray(source.read_bytes())
    data[len(data) // 3 : 2 * len(data) // 3] = bytes(2 * len(data) // 3 - len(data) // 3)
    source.write_bytes(data)
    status, _, errors = colorize(source, "--in_place")
    assert (status, source.read_bytes()) == (1, bytes(data))
    assert "damaged piece" in errors
    assert files(tmp_path) == ["in.mp4", "in.mp4.partial"]


@pytest.mark.parametrize("suffix", [".mp4", ".webm"])
def test_the_last_frame_lasts_as_long(tmp_path: Path, colorizer, suffix: str) -> None:
    with av.open(str(tmp_path / "in.mp4"), "w") as video:
        stream = video.add_stream("libx264", rate=25, width=64, height=48)
        stream.codec_context.time_base = Fraction(1, 1000)
        stream.codec_context.flags |= av.codec.context.Flags.frame_duration.value
        for at, duration in ((0, 40), (40, 1960)):
            frame = av.VideoFrame.from_ndarray(scene(48, 64), "rgb24")
            frame.pts, frame.duration, frame.time_base = at, duration, Fraction(1, 1000)
            video.mux(stream.encode(frame))
        video.mux(stream.encode(None))
    colour_video(colorizer, ColorizeJob(tmp_path / "in.mp4", tmp_path / f"out{suffix}"))
    with av.open(str(tmp_path / f"out{suffix}")) as video:
        assert video.duration / av.time_base == pytest.approx(2, abs=0.01)


@pytest.mark.parametrize("longer", [0.3, 3])
def test_sound_may_be_longer_or_shorter_than_pictures(tmp_path: Path, colorizer, longer: float) -> None:
    for suffix in (".mkv", ".mp4", ".avi"):
        source = tmp_path / f"in{suffix}"
        with av.open(str(source), "w") as video:
            pictures = video.add_stream("mpeg4", rate=25, width=64, height=48)
            sound = video.add_stream("libmp3lame", rate=44100, layout="mono")
            for _ in range(12):
                video.mux(pictures.encode(av.VideoFrame.from_ndarray(scene(48, 64), "rgb24")))
            video.mux(pictures.encode(None))
            wave = av.AudioFrame.from_ndarray(np.zeros((1, int(0.48 * longer * 44100)), np.float32), "fltp", "mono")
            wave.sample_rate = 44100
            video.mux(sound.encode(wave))
            video.mux(sound.encode(None))
        colour_video(colorizer, ColorizeJob(source, tmp_path / "out.mkv"))
        assert len(times(tmp_path / "out.mkv")[0]) == 12


def combing(frame: np.ndarray) -> float:
    """Return how much lines differ from both of their neighbours."""
    lines = frame.mean(-1)
    return float(np.abs(lines[1:-1] - (lines[:-2] + lines[2:]) / 2).mean())


def test_interlaced_frames_become_progressive(tmp_path: Path, colorizer) -> None:
    fields = clip(24, noise=0, pan=4)
    woven = [one.copy() for one in fields[::2]]
    for frame, later in zip(woven, fields[1::2], strict=True):
        frame[1::2] = later[1::2]
    interlaced = {"flags": "+ildct", "x264-params": "tff=1"}
    source = made_video(tmp_path / "in.mp4", woven, options=interlaced)
    with pytest.warns(UserWarning, match=r"in\.mp4: interlaced; the result is deinterlaced"):
        colour_video(replace(colorizer, strength=0.0), ColorizeJob(source, tmp_path / "out.mp4"))
    with av.open(str(tmp_path / "out.mp4")) as video:
        frames = list(video.decode(video.streams.video[0]))
    assert not any(frame.interlaced_frame for frame in frames)
    assert times(tmp_path / "out.mp4") == times(source)
    now = [frame.to_ndarray(format="gray")[..., None] for frame in frames]
    smooth, before, after = (np.mean([combing(pixels) for pixels in some]) for some in (fields, woven, now))
    assert before > 4 * smooth
    assert after < 1.5 * smooth


def test_a_read_error_keeps_what_is_there(tmp_path: Path, colorizer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Input errors end the video, not the command: FFmpeg's code for them is the one for broken disks."""
    from gancolor.colorize import video_input

    source = made_video(tmp_path / "in.mkv", clip(24))
    read = video_input.Extent.read

    def fail(self, packet) -> None:
        read(self, packet)
        if self.packets == 12:
            raise av.OSError(5, "Input/output error")

    monkeypatch.setattr(video_input.Extent, "read", fail)
    with pytest.raises(InputError, match=r"1\d of about 24 frames, .*out\.mkv\.partial"):
        colour_video(colorizer, ColorizeJob(source, tmp_path / "out.mkv"))
    assert files(tmp_path) == ["in.mkv", "out.mkv.partial"]
