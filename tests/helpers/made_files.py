"""Photographs and videos for tests of the command."""

import io
import sys
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from made_pictures import scene
from PIL import Image

COMMAND = (sys.executable, "-c", "from gancolor.cli import main; main()", "colorize")


def save(path: Path, pixels: np.ndarray) -> Path:
    with io.BytesIO() as data:
        Image.fromarray(pixels).save(data, "PNG" if path.suffix.lower() == ".png" else "JPEG", quality=95)
        path.write_bytes(data.getvalue())
    return path


def files(place: Path) -> list[str]:
    """All files below a folder, hidden and half-written ones too."""
    return sorted(str(path.relative_to(place)) for path in place.rglob("*") if not path.is_dir())


def clip(count: int, height: int = 48, width: int = 64, noise: float = 3.0, pan: int = 1) -> list[np.ndarray]:
    """Grey frames, (H, W, 3) uint8, of a scene that moves to the left, with noise."""
    random = np.random.default_rng(0)
    wide = scene(height, width + pan * count) @ np.array([0.21, 0.72, 0.07])
    frames = [wide[:, pan * at : pan * at + width] + random.normal(0, noise, (height, width)) for at in range(count)]
    return [np.repeat(frame.clip(0, 255).round().astype(np.uint8)[..., None], 3, -1) for frame in frames]


def made_video(
    path: Path,
    frames: Sequence[np.ndarray],
    times: Sequence[int] | None = None,
    *,
    sounds: int = 0,
    rotation: int = 0,
    coders: tuple[str, str] | None = None,
    options: dict[str, str] | None = None,
    muxing: dict[str, str] | None = None,
    comment: str = "",
) -> Path:
    """Write a video at 25 frames per second, or with frames at these times [ms].

    Args:
        sounds: number of audio streams.
        rotation: rotation that video players should apply [degrees, counterclockwise].
        coders: encoders of pictures and sound.
        options: more options of the encoder of pictures.
        muxing: options of the container.
    """
    usual = {".webm": ("libvpx-vp9", "libopus"), ".avi": ("mpeg4", "libmp3lame")}
    pictures, sound = coders or usual.get(path.suffix, ("libx264", "aac"))
    with av.open(str(path), "w", container_options=muxing or {}) as video:
        if comment:
            video.metadata["comment"] = comment
        stream = video.add_stream(pictures, rate=25, options={"crf": "4", "b:v": "0"} | (options or {}))
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000 if pictures.startswith("lib") else 25)
        stream.bit_rate = 10**7
        if rotation:
            stream.set_display_rotation(rotation)
        rate = 48000 if sound == "libopus" else 44100
        streams = [video.add_stream(sound, rate=rate, layout="mono", bit_rate=64000) for _ in range(sounds)]
        for number, pixels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), "rgb24")
            frame.pts, frame.time_base = times[number] if times else 40 * number, Fraction(1, 1000)
            video.mux(stream.encode(frame))
        video.mux(stream.encode())
        for pitch, one in enumerate(streams, 1):
            wave = np.sin(np.arange(len(frames) * rate // 25) * 0.05 * pitch).astype(np.float32)[None]
            heard = av.AudioFrame.from_ndarray(wave, "flt", "mono")
            heard.sample_rate = rate
            video.mux(one.encode(heard))
            video.mux(one.encode())
    return path
