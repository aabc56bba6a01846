"""Sound, subtitles and the rest of a video: copied, or encoded again, or left out with a word."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from made_files import clip, made_video
from made_pictures import scene

from gancolor.colorize.inputs import ColorizeJob
from gancolor.colorize.video import colour_video

WORD = "ignore:.*(encoded again|left out):UserWarning"


def heard(path: Path) -> tuple[str, float, np.ndarray]:
    """Return the first sound's codec, when it starts after the pictures [s], and its samples at 8 kHz."""
    with av.open(str(path)) as video:
        pictures = next(video.decode(video.streams.video[0]))
    with av.open(str(path)) as video:
        frames = list(video.decode(audio=0))
        resampler = av.AudioResampler("flt", "mono", 8000)
        parts = [part for frame in [*frames, None] for part in resampler.resample(frame)]
        samples = np.concatenate([part.to_ndarray()[0] for part in parts])
        return video.streams.audio[0].codec_context.name, frames[0].time - pictures.time, samples


def similarity(one: np.ndarray, other: np.ndarray) -> float:
    """Return the correlation of two sounds, at the delay of an encoder that suits them best."""
    length = min(len(one), len(other)) - 800
    return max(float(np.corrcoef(one[:length], other[late : late + length])[0, 1]) for late in range(800))


@pytest.mark.parametrize(
    ("name", "coders", "target", "codec"),
    [
        ("in.wmv", ("wmv2", "wmav2"), "out.mkv", "wmav2"),
        ("in.avi", ("mpeg4", "adpcm_ms"), "out.mkv", "adpcm_ms"),
        ("in.flv", ("flv1", "adpcm_swf"), "out.mkv", "flac"),
        ("in.flv", ("flv1", "nellymoser"), "out.mp4", "aac"),
        ("in.mp4", ("libx264", "aac"), "out.webm", "opus"),
    ],
)
def test_sound_is_copied_if_the_container_holds_it(
    tmp_path: Path, colorizer, recwarn, name: str, coders: tuple[str, str], target: str, codec: str
) -> None:
    source = made_video(tmp_path / name, clip(20), sounds=1, coders=coders)
    colour_video(colorizer, ColorizeJob(source, tmp_path / target))
    was, offset, samples = heard(source)
    found, new_offset, new = heard(tmp_path / target)
    assert found == codec
    said = [str(warning.message) for warning in recwarn if "encoded again" in str(warning.message)]
    assert len(said) == (found != was)
    assert all(f"{name}: encoded again, for {Path(target).suffix}: sound ({was}) as " in line for line in said)
    assert new_offset == pytest.approx(offset, abs=0.03)
    assert abs(len(new) - len(samples)) < 800
    assert similarity(samples, new) > 0.9


@pytest.mark.filterwarnings(WORD)
@pytest.mark.parametrize(("layout", "kept"), [("5.1(side)", 6), ("2.1", 3), ("hexagonal", 6), ("9.1.4", 2)])
def test_any_layout_of_channels(tmp_path: Path, colorizer, layout: str, kept: int) -> None:
    source = tmp_path / "in.mkv"
    channels = av.AudioLayout(layout).nb_channels
    with av.open(str(source), "w") as video:
        pictures = video.add_stream("libx264", rate=25, width=64, height=48)
        sound = video.add_stream("pcm_s16le", rate=96000, layout=layout)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 9600 * channels), np.int16), "s16", layout)
        frame.sample_rate = 96000
        for packets in (pictures.encode(av.VideoFrame.from_ndarray(scene(48, 64), "rgb24")), pictures.encode(None)):
            video.mux(packets)
        video.mux(sound.encode(frame))
    colour_video(colorizer, ColorizeJob(source, tmp_path / "out.webm"))
    with av.open(str(tmp_path / "out.webm")) as video:
        context = video.streams.audio[0].codec_context
        assert (context.sample_rate, context.layout.nb_channels) == (48000, kept)


@pytest.mark.parametrize(("channels", "codec"), [(2, "pcm_s16le"), (6, "pcm_s16le")])
@pytest.mark.parametrize("suffix", [".mp4", ".mov"])
def test_channels_without_names(tmp_path: Path, colorizer, suffix: str, channels: int, codec: str) -> None:
    source, target = tmp_path / "in.avi", tmp_path / f"out{suffix}"
    with av.open(str(source), "w") as video:
        pictures = video.add_stream("mjpeg", rate=25, width=64, height=48, pix_fmt="yuvj420p")
        sound = video.add_stream(codec, rate=48000, layout={2: "stereo", 6: "5.1"}[channels])
        wave = np.tile(np.arange(channels, dtype=np.int16) * 1000, 1920)[None]
        frame = av.AudioFrame.from_ndarray(wave, "s16", sound.layout.name)
        frame.sample_rate = 48000
        for packets in (pictures.encode(av.VideoFrame.from_ndarray(scene(48, 64), "rgb24")), pictures.encode(None)):
            video.mux(packets)
        video.mux(sound.encode(frame))
    colour_video(colorizer, ColorizeJob(source, target))
    with av.open(str(target)) as video:
        stream = video.streams.audio[0]
        assert (stream.codec_context.name, stream.layout.nb_channels) == (codec, channels)
        assert (next(video.decode(stream)).to_ndarray() == wave[:, : 1024 * channels]).all()


def with_everything(path: Path) -> Path:
    """Write a video with subtitles, a font and a chapter."""
    words = path.with_name("words.srt")
    words.write_text("1\n00:00:00,080 --> 00:00:00,200\nGuten <i>Tag</i>\n")
    pictures = made_video(path.with_name("plain.mkv"), clip(10))
    with av.open(str(pictures)) as plain, av.open(str(words)) as text, av.open(str(path), "w") as video:
        streams = [video.add_stream_from_template(one.streams[0]) for one in (plain, text)]
        streams[1].metadata["language"] = "ger"
        video.add_attachment("letters.ttf", "font/ttf", b"letters")
        video.set_chapters(
            [{"id": 1, "start": 0, "end": 200, "time_base": Fraction(1, 1000), "metadata": {"title": "One"}}]
        )
        for one, stream in zip((plain, text), streams, strict=True):
            for packet in one.demux():
                if packet.size:
                    packet.stream = stream
                    video.mux(packet)
    return path


@pytest.mark.parametrize(
    ("suffix", "codec", "said"),
    [
        (".mkv", "srt", []),
        (".mp4", "mov_text", ["again, for .mp4: subtitles (srt) as mov_text", ".mp4: attached files (letters.ttf)"]),
        (".webm", "webvtt", ["again, for .webm: subtitles (srt) as webvtt", ".webm: attached files (letters.ttf)"]),
    ],
)
def test_subtitles_fonts_and_chapters(tmp_path: Path, colorizer, recwarn, suffix: str, codec: str, said) -> None:
    source, target = with_everything(tmp_path / "in.mkv"), tmp_path / f"out{suffix}"
    colour_video(colorizer, ColorizeJob(source, target))
    with av.open(str(target)) as video:
        assert [chapter["metadata"]["title"] for chapter in video.chapters()] == ["One"]
        assert [one.data for one in video.streams.attachments] == ([b"letters"] if suffix == ".mkv" else [])
        words = video.streams.subtitles[0]
        assert (words.codec_context.name, words.metadata["language"]) == (codec, "ger")
        packets = [packet for packet in video.demux(words) if packet.size > 2]
        shown = [
            (float(packet.pts * packet.time_base), float(packet.duration * packet.time_base)) for packet in packets
        ]
        assert shown == [(pytest.approx(0.08), pytest.approx(0.12))]
        assert b"Tag" in bytes(packets[0])
    messages = [str(warning.message) for warning in recwarn if str(source) in str(warning.message)]
    assert [message.rpartition("in.mkv: ")[2].partition(" ")[2] for message in messages] == [
        line if line.startswith("again") else f"out of {line}" for line in said
    ]


@pytest.mark.parametrize(
    ("name", "codec", "pixels", "said"),
    [
        ("in.mov", "qtrle", "argb", True),
        ("in.webm", "libvpx-vp9", "yuva420p", True),
        ("in.mov", "qtrle", "rgb24", False),
    ],
)
def test_transparency_is_left_out_with_a_word(
    tmp_path: Path, colorizer, recwarn, name: str, codec: str, pixels: str, said: bool
) -> None:
    source = tmp_path / name
    with av.open(str(source), "w") as video:
        stream = video.add_stream(codec, rate=25, width=64, height=48, pix_fmt=pixels)
        for _ in range(2):
            video.mux(stream.encode(av.VideoFrame.from_ndarray(scene(48, 64), "rgb24").reformat(format=pixels)))
        video.mux(stream.encode(None))
    colour_video(colorizer, ColorizeJob(source, tmp_path / f"out{source.suffix}"))
    lines = [str(warning.message) for warning in recwarn if "left out" in str(warning.message)]
    assert lines == [f"{source}: left out of {source.suffix}: transparency"] * said
    with av.open(str(tmp_path / f"out{source.suffix}")) as video:
        assert "alpha_mode" not in video.streams.video[0].metadata


def test_a_cover_stays(tmp_path: Path, colorizer) -> None:
    source = tmp_path / "in.mp4"
    with av.open(str(made_video(tmp_path / "plain.mp4", clip(5)))) as plain, av.open(str(source), "w") as video:
        pictures, cover = video.add_stream_from_template(plain.streams.video[0]), video.add_stream("png")
        cover.width, cover.height, cover.pix_fmt = 32, 16, "rgb24"
        cover.disposition = av.stream.Disposition.attached_pic
        video.mux(cover.encode(av.VideoFrame.from_ndarray(scene(16, 32), "rgb24")))
        for packet in plain.demux(video=0):
            if packet.size:
                packet.stream = pictures
                video.mux(packet)
    colour_video(colorizer, ColorizeJob(source, tmp_path / "out.mkv"))
    with av.open(str(tmp_path / "out.mkv")) as video:
        assert [(one.codec_context.name, one.width) for one in video.streams.video] == [("h264", 64), ("png", 32)]
