"""Writing of videos: H.264 or VP9, with the tracks of the source."""

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.rational import AVRational
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc, Interpolation

from gancolor.colorize.inputs import VIDEOS, shown
from gancolor.colorize.photographs import FATAL
from gancolor.colorize.video_files import file_url
from gancolor.colorize.video_input import Clip, note_damage
from gancolor.colorize.video_tracks import NOUNS, Copy, Track, describe, kind_of_track

EXACT = Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT | Interpolation.FULL_CHR_H_INP
UNSPECIFIED = 2  # H.273's code point for an unspecified matrix
HD = 720  # height [rows] from which players assume BT.709 if the file does not specify a colour matrix


class VideoResult:
    """An output video file.

    Attributes:
        lost: number of packets of sound or subtitles that could not be written, because they are damaged.
        broken: indices of the source's streams whose last piece is damaged.

    Args:
        part: the file to write.
        size: height and width [pixels].
        turned: whether the source is turned by 90 degrees.
        quality: 1 to 100.
        statement: for the file's comment; empty: none.
    """

    def __init__(
        self, part: Path, clip: Clip, size: tuple[int, int], turned: bool, quality: int, statement: str
    ) -> None:
        self.container = av.open(file_url(part), "w", format=VIDEOS[clip.job.target.suffix.lower()])
        self.time_base, self.lost = clip.time_base, 0
        self.broken: set[int] = set()
        self.height, self.width = size
        webm = self.container.format.name == "webm"
        # Quality 1 to 100 maps linearly to CRF, from the codec's worst: 63 to 21 for VP9, 51 to 15 for x264.
        options = {"crf": str(round(63 - 0.42 * quality)), "row-mt": "1", "cpu-used": "4"} if webm else {}
        options = options or {"crf": str(round(51 - 0.36 * quality))}
        self.stream = self.container.add_stream("libvpx-vp9" if webm else "libx264", rate=clip.rate, options=options)
        context = self.stream.codec_context
        context.width, context.height, context.time_base = self.width, self.height, clip.time_base
        # H.264 has no odd sizes with subsampled chroma (4:2:0).
        self.format = context.pix_fmt = "yuv444p" if not webm and (self.width % 2 or self.height % 2) else "yuv420p"
        context.flags |= av.codec.context.Flags.frame_duration.value  # the last frame's too
        context.bit_rate = 0
        context.color_range, context.colorspace = ColorRange.MPEG, Colorspace.ITU709
        context.color_primaries, context.color_trc = ColorPrimaries.BT709, ColorTrc.BT709
        if aspect := clip.stream.sample_aspect_ratio:
            context.sample_aspect_ratio = 1 / aspect if turned else aspect
        self.stream.time_base = clip.time_base
        describe(self.stream, clip.stream).metadata.pop("alpha_mode", None)
        self.container.metadata.update(with_comment(clip.video.metadata, statement))
        self._add_chapters(clip)
        self.tracks = self._add_tracks(clip)
        self.last: dict[int, int] = {}  # decoding times of the tracks' last packets
        self.container.start_encoding()

    def __enter__(self) -> "VideoResult":
        return self

    def __exit__(self, *_: object) -> None:
        self.container.close()

    def encodable(self, pixels: np.ndarray, pts: int, duration: int) -> Any:
        """Convert RGB (H, W, 3) uint8 to a frame for the encoder."""
        frame = av.VideoFrame.from_ndarray(pixels, "rgb24").reformat(
            self.width, self.height, self.format, dst_colorspace=Colorspace.ITU709, src_color_range=ColorRange.JPEG,
            dst_color_range=ColorRange.MPEG, dst_color_trc=ColorTrc.BT709, dst_color_primaries=ColorPrimaries.BT709,
            interpolation=EXACT, threads=1,
        )  # fmt: skip
        frame.pts, frame.duration, frame.time_base = pts, duration, self.time_base
        return frame

    def write(self, item: Any) -> None:
        """Write a frame, or a packet of another stream."""
        if isinstance(item, av.VideoFrame):
            self.container.mux(self.stream.encode(item))
        elif track := self.tracks.get(item.stream_index):
            note_damage(self.broken, item, not self._write_track(track, item))

    def finish(self) -> None:
        """Write what the encoders still hold."""
        self.container.mux(self.stream.encode())
        for index, track in self.tracks.items():
            if not self._write_track(track, None):
                self.broken.add(index)

    def _write_track(self, track: Track, packet: Any | None) -> bool:
        """Write a packet, or what a track still holds; return whether that was possible."""
        try:
            for part in track.flush() if packet is None else track.encode(packet):
                self._mux(part, track.stream)
        except av.FFmpegError as error:  # a damaged packet; it costs no others
            if error.errno in FATAL:
                raise
            self.lost += 1
            return False
        return True

    def _mux(self, packet: Any, stream: Any) -> None:
        """Write a packet. Muxers refuse times that do not increase."""
        packet.stream = stream
        packet.rescale_ts(AVRational(stream.time_base))
        last = self.last.get(stream.index)
        if packet.dts is None:
            packet.dts = packet.pts if packet.pts is not None or last is None else last + 1
        if packet.dts is not None:
            packet.dts = packet.dts if last is None else max(packet.dts, last + 1)
            packet.pts = packet.dts if packet.pts is None else max(packet.pts, packet.dts)
            self.last[stream.index] = packet.dts
        self.container.mux(packet)

    def _add_chapters(self, clip: Clip) -> None:
        chapters = clip.video.chapters()
        for chapter in chapters:
            shift = round(clip.clock.shift / chapter["time_base"])
            chapter["start"], chapter["end"] = (max(0, chapter[edge] + shift) for edge in ("start", "end"))
        self.container.set_chapters(chapters)

    def _add_tracks(self, clip: Clip) -> dict[int, Track]:
        """Add the streams that the container can hold, and say which change or are left out."""
        tracks: dict[int, Track] = {}
        again, left = [], [*(["transparency"] if is_transparent(clip.stream) else []), *map(named, clip.left)]
        for stream in clip.carried:
            kind = kind_of_track(self.container.format.name, stream)
            if kind is None:
                left.append(named(stream))
                continue
            track = tracks[stream.index] = kind(self.container, stream)
            if kind is not Copy:
                again.append(f"{named(stream)} as {track.stream.codec_context.name}")
        name, suffix = shown(clip.job.source), clip.job.target.suffix
        if again:
            warnings.warn(f"{name}: encoded again, for {suffix}: {', '.join(again)}", stacklevel=2)
        if left:
            warnings.warn(f"{name}: left out of {suffix}: {', '.join(left)}", stacklevel=2)
        return tracks


def with_comment(metadata: Mapping[str, str], statement: str) -> dict[str, str]:
    """Return a file's metadata with a statement in its comment, once."""
    key = next((key for key in metadata if key.lower() == "comment"), "comment")  # Matroska's are in capitals
    comment = metadata.get(key, "")
    parts = [part for part in (comment, statement) if part]
    return {**metadata, **({key: comment if statement in comment else "; ".join(parts)} if statement else {})}


def is_transparent(stream: Any) -> bool:
    """Return whether a stream of pictures has an alpha channel. WebM's is apart from the pictures that are decoded."""
    pixels = stream.codec_context.format
    alpha = pixels is not None and any(component.is_alpha for component in pixels.components)
    return alpha or stream.metadata.get("alpha_mode") == "1"


def named(stream: Any) -> str:
    """Return a stream's kind and codec or file name, in words."""
    name = stream.codec_context.name if stream.codec_context else getattr(stream, "name", None)
    return f"{NOUNS.get(stream.type, stream.type)} ({shown(name) if name else 'unknown'})"


def rgb(frame: Any) -> np.ndarray:
    """Convert a frame to sRGB (H, W, 3) uint8, by the colour matrix and range that it specifies, or else by those that
    players assume."""
    matrix = frame.colorspace
    if matrix == UNSPECIFIED:
        matrix = Colorspace.ITU709 if frame.height >= HD else Colorspace.ITU601
    full = frame.color_range == ColorRange.JPEG or frame.format.name.startswith(("yuvj", "gray"))
    pixels: np.ndarray = frame.reformat(
        format="rgb24", src_colorspace=matrix, src_color_range=ColorRange.JPEG if full else ColorRange.MPEG,
        dst_color_range=ColorRange.JPEG, interpolation=EXACT, threads=1,
    ).to_ndarray()  # fmt: skip
    return pixels


def upright(pixels: np.ndarray, rotation: int) -> np.ndarray:
    """Rotate counterclockwise by a frame's rotation [degrees], in steps of 90."""
    return np.ascontiguousarray(np.rot90(pixels, round(rotation / 90)))
