"""Videos whose clock starts late, whose file is cut off, or whose frames are interlaced."""

import re
import struct
import warnings
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest
from av.format import Flags
from made_files import clip, files, made_video
from made_pictures import scene

from gancolor.colorize.inputs import ColorizeJob
from gancolor.colorize.video import colour_video
from gancolor.colorize.video_clock import Clock
from gancolor.colorize.video_files import ends_within_box, ends_within_packet
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


def clock_times(packets: list[tuple[int, int, int]]) -> list[float]:
    """Return the times [s] of packets of a transport stream: (stream, position, time [ms])."""
    clock = Clock(SimpleNamespace(start_time=0, duration=None, format=SimpleNamespace(flags=Flags.ts_discont.value)))
    found = []
    for index, pos, at in packets:
        packet = SimpleNamespace(
            pts=at, dts=at, duration=40, time_base=Fraction(1, 1000), stream=SimpleNamespace(type="video"),
            stream_index=index, pos=pos,
        )  # fmt: skip
        clock.set(packet)
        found.append(packet.pts / 1000)
    return found


def test_a_stream_that_lies_later_in_the_file_is_no_jump() -> None:
    late = [(0, at, 40 * at) for at in range(21)]
    assert clock_times([*late, (1, 30, 0), (0, 31, 840), (1, 32, 40)])[-3:] == [0, 0.84, 0.04]


def test_packets_that_were_held_back_keep_their_recording() -> None:
    """The reader gives the first stream's last packet only after the second stream has jumped."""
    before = [(index, 10 * at + index, 40 * at) for at in range(50) for index in (0, 1)]
    held, after = (0, 500, 2000), [(1, 600, 0), (0, 700, 0), (1, 800, 40)]
    assert clock_times([*before, after[0], held, *after[1:]])[-4:] == [2.0, 2.0, 2.0, 2.04]


def test_one_frame_of_a_programme_stream(tmp_path: Path, colorizer) -> None:
    late = {"output_ts_offset": "43210"}
    source = made_video(tmp_path / "in.vob", clip(1), coders=("mpeg2video", "mp2"), muxing=late)
    with av.open(str(source)) as video:
        assert video.start_time is None
    colour_video(colorizer, ColorizeJob(source, tmp_path / "out.mkv"))
    assert times(tmp_path / "out.mkv")[0] == [0]


def test_a_damaged_time_is_left_out() -> None:
    video = SimpleNamespace(start_time=500_000, duration=60_000_000, format=SimpleNamespace(flags=0))
    clock, stream, found = Clock(video), SimpleNamespace(type="video"), []
    for at in (500, 540, 2**31, 620, 61_000):
        packet = SimpleNamespace(
            pts=at, dts=at, duration=40, time_base=Fraction(1, 1000), stream=stream, stream_index=0, pos=0
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


@pytest.mark.parametrize(("coder", "options"), [("libx264", {}), ("libx264", {"bf": "0"}), ("mpeg4", {"bf": "2"})])
def test_wmv_whose_clock_starts_late_is_all_there(tmp_path: Path, colorizer, coder: str, options) -> None:
    """With B-frames the first is shown later than 0, and FFmpeg tells no start."""
    source, target = tmp_path / "in.wmv", tmp_path / "out.mkv"
    made_video(source, clip(30), coders=(coder, "wmav2"), options=options)
    colour_video(colorizer, ColorizeJob(source, target))
    assert files(tmp_path) == ["in.wmv", "out.mkv"] and len(times(target)[0]) == 30
    source.write_bytes(source.read_bytes()[: source.stat().st_size * 8 // 10])
    with pytest.raises(InputError, match=r"2\d of about (29|30|31) frames"):
        colour_video(colorizer, ColorizeJob(source, target))


@pytest.mark.parametrize(
    ("name", "coders", "muxing"),
    [
        ("in.mp4", ("libx264", "aac"), {"movflags": "dash"}),
        ("in.mp4", ("libx264", "aac"), {"movflags": "frag_keyframe+empty_moov"}),
        ("in.mxf", ("mpeg2video", "pcm_s16le"), {}),
        ("in.ts", ("mpeg2video", "mp2"), {}),
    ],
)
def test_formats_without_a_header_of_their_length(tmp_path: Path, colorizer, name: str, coders, muxing) -> None:
    parts = tmp_path / "parts.mkv"
    source = tmp_path / name
    with av.open(str(source), "w", container_options=muxing) as video:
        pictures = video.add_stream(coders[0], rate=25, width=64, height=48, options={"g": "6"})
        sound = video.add_stream(coders[1], rate=48000, layout="mono")
        for number, pixels in enumerate(clip(24)):
            video.mux(pictures.encode(av.VideoFrame.from_ndarray(pixels, "rgb24")))
            wave = av.AudioFrame.from_ndarray(np.zeros((1, 1920), np.int16), "s16", "mono")
            wave.sample_rate, wave.pts, wave.time_base = 48000, 1920 * number, Fraction(1, 48000)
            video.mux(sound.encode(wave))
        for stream in (pictures, sound):
            video.mux(stream.encode(None))
    whole = source.read_bytes()
    colour_video(colorizer, ColorizeJob(source, parts))
    assert len(times(parts)[0]) == 24
    parts.unlink()
    middle = len(whole) * 6 // 10 // 188 * 188 + 60  # within a packet of a transport stream
    fragment = whole.find(b"moof", middle)  # FFmpeg gives up where such a box is cut off
    for size in (middle, fragment + 60) if fragment > 0 else (middle, middle + 97):
        source.write_bytes(whole[:size])
        with pytest.raises(InputError, match=r"\d+ (of about 2\d )?frames.*parts\.mkv\.partial"):
            colour_video(colorizer, ColorizeJob(source, parts))
        assert files(tmp_path) == sorted([name, "parts.mkv.partial"])


@pytest.mark.parametrize(("distance", "lead", "parity"), [(188, 0, 0), (192, 4, 0), (204, 0, 16)])
def test_ends_of_transport_streams(tmp_path: Path, distance: int, lead: int, parity: int) -> None:
    packet = bytes(lead) + b"\x47" + b"\xff" * 187 + bytes(parity)
    path = tmp_path / "in.ts"
    for cut in (0, 1, 100, distance - lead - 1):
        path.write_bytes((packet * 12)[: 12 * distance - cut])
        assert ends_within_packet(path) == (cut > 0)
    path.write_bytes(packet * 12 + bytes(5000))  # a recorder's padding
    assert not ends_within_packet(path)


def test_ends_of_fragments(tmp_path: Path) -> None:
    path = tmp_path / "in.mp4"
    box = lambda name, size: struct.pack(">I4s", size, name) + bytes(size - 8)  # noqa: E731
    whole = box(b"ftyp", 20) + box(b"moof", 40) + struct.pack(">I4sQ", 1, b"mdat", 64) + bytes(48)
    lost = (whole[:-1], whole[:50], whole + bytes(4))
    for data, cut in (*((data, True) for data in lost), (whole, False), (whole + b"junk of a card", False)):
        path.write_bytes(data)
        assert ends_within_box(path) == cut


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


@pytest.mark.parametrize(("order", "first"), [(2, 0), (3, 1), (1, None)])
def test_the_containers_field_order(tmp_path: Path, colorizer, order: int, first: int | None) -> None:
    """Frames of such codecs aren't marked. In the wrong order, a moving picture would go back and forth."""
    fields = clip(12, noise=0, pan=4)
    source = tmp_path / "in.mov"
    with av.open(str(source), "w") as video:
        stream = video.add_stream("magicyuv", rate=25, width=64, height=48, pix_fmt="yuv444p")
        stream.codec_context.field_order = order
        for earlier, later in zip(fields[::2], fields[1::2], strict=True):
            woven = earlier.copy()
            woven[1 - (first or 0) :: 2] = later[1 - (first or 0) :: 2]
            video.mux(stream.encode(av.VideoFrame.from_ndarray(woven, "rgb24")))
        video.mux(stream.encode(None))
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        colour_video(replace(colorizer, strength=0.0), ColorizeJob(source, tmp_path / "out.mkv"))
    assert any("interlaced" in str(one.message) for one in said) == (first is not None)
    with av.open(str(tmp_path / "out.mkv")) as video:
        now = [frame.to_ndarray(format="gray").astype(float) for frame in video.decode(video=0)]
    shown = zip(now, fields[::2], fields[1::2], strict=True)
    errors = np.mean([[np.abs(one - field[..., 0]).mean() for field in pair] for one, *pair in shown], axis=0)
    assert (errors[0] < errors[1] / 2) == (first is not None), errors


def test_raw_dv_keeps_its_frame_rate(tmp_path: Path, colorizer) -> None:
    source = tmp_path / "in.dv"
    with av.open(str(source), "w") as video:
        stream = video.add_stream("dvvideo", rate=25, width=720, height=576, pix_fmt="yuv420p")
        sound = video.add_stream("pcm_s16le", rate=48000, layout="stereo")
        wave = av.AudioFrame.from_ndarray(np.zeros((1, 2 * 3840), np.int16), "s16", "stereo")
        wave.sample_rate = 48000
        video.mux(sound.encode(wave))
        for _ in range(2):
            video.mux(stream.encode(av.VideoFrame.from_ndarray(scene(576, 720), "rgb24")))
    with pytest.warns(UserWarning, match="interlaced"):
        colour_video(colorizer, ColorizeJob(source, tmp_path / "out.mov"))
    with av.open(str(tmp_path / "out.mov")) as video:
        assert video.streams.video[0].average_rate == 25
        assert video.streams.data[0].metadata["timecode"] == "00:00:00:00"


def test_a_read_error_keeps_what_is_there(tmp_path: Path, colorizer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Input errors end the video, not the command: FFmpeg's code for them is the one for broken disks."""
    from gancolor.colorize import video_input

    source = made_video(tmp_path / "in.mkv", clip(24))
    read = video_input.Extent.read

    def fail(self, packet) -> None:
        read(self, packet)
        if self.packets.total() == 12:
            raise av.OSError(5, "Input/output error")

    monkeypatch.setattr(video_input.Extent, "read", fail)
    with pytest.raises(InputError, match=r"1\d of about 24 frames, .*out\.mkv\.partial"):
        colour_video(colorizer, ColorizeJob(source, tmp_path / "out.mkv"))
    assert files(tmp_path) == ["in.mkv", "out.mkv.partial"]
