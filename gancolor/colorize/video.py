"""Colouring of videos by FFmpeg (PyAV). Frames keep their timestamps; sound and subtitles are copied unchanged."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from gancolor.colorize.inputs import VIDEOS, ColorizeJob
from gancolor.colorize.photographs import FATAL
from gancolor.colorize.pipeline import Pipeline
from gancolor.colorize.smoothing import STEADINESS, Flicker, Steady
from gancolor.inference.colorizer import ChromaPrediction, Colorizer
from gancolor.inference.image_files import QUALITY, Picture
from gancolor.utils.errors import InputError
from gancolor.utils.files import write_atomically

try:
    import av
    from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc, Interpolation
except ImportError:
    raise InputError("videos need PyAV: pip install 'gancolor[video]'") from None

EXACT = Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT | Interpolation.FULL_CHR_H_INP
UNSPECIFIED = 2  # H.273's code point for an unspecified matrix
HD = 720  # height [rows] from which players assume BT.709 if the file does not specify a colour matrix
COPIED = ("audio", "subtitle")
COPIES = 8  # bytes per pixel in flight: the frame, its RGB before and after


class Frame(NamedTuple):
    """A frame: `at` is its time and duration in units of `time_base`, `lightness` (1, h, w) the network's input."""

    at: tuple[int, int]
    picture: Picture
    lightness: np.ndarray


def colour_video(
    colorizer: Colorizer,
    job: ColorizeJob,
    *,
    quality: int = QUALITY,
    steadiness: float = STEADINESS,
    side_by_side: bool = False,
    tick: Callable[[int | None], object] = lambda _: None,
) -> Flicker:
    """Colour a video: H.264, or VP9 in WebM, 8 bits, BT.709, upright. The result is complete or absent.

    Args:
        quality: 1 to 100; 95 is x264's crf 17.
        steadiness: of colour from frame to frame, 0 to 1.
        side_by_side: write grey and coloured next to each other.
        tick: called after each frame with the number of frames in the video; None if unknown.

    Returns:
        how much the colour flickers, with and without smoothing.

    Raises:
        InputError: the video can't be read, the result's container can't hold its sound or subtitles, or parts of it
            were damaged (raised after the rest has been coloured).
        OSError: the disk is full.
    """
    if job.target.suffix.lower() not in VIDEOS:
        raise InputError(f"{job.target}: videos are written as {', '.join(VIDEOS)}")
    steady = Steady(steadiness)
    job.target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with av.open(str(job.source)) as video:
            clip = Clip(video, job)
            write_atomically(
                job.target,
                lambda part: clip.colour(part, colorizer, steady, quality=quality, panels=side_by_side, tick=tick),
            )
    except av.FFmpegError as error:
        if error.errno in FATAL:
            raise OSError(error.errno, error.strerror, str(job.target)) from None
        raise InputError(f"{job.source}: no video that can be read ({error.strerror})") from None
    if clip.lost:
        raise InputError(f"{job.source}: coloured, but {clip.lost} damaged pieces of it could not be read")
    return steady.flicker


class Clip:
    """An input video file."""

    def __init__(self, video: Any, job: ColorizeJob) -> None:
        pictures = [s for s in video.streams.video if not s.disposition & av.stream.Disposition.attached_pic]
        if not pictures:
            raise InputError(f"{job.source}: no pictures in it")
        self.video, self.job, self.stream = video, job, pictures[0]
        self.stream.thread_type = "AUTO"
        self.copied = [stream for stream in video.streams if stream.type in COPIED]
        self.rate = self.stream.average_rate or 25
        self.time_base = self.stream.time_base
        self.frames = self.stream.frames or int((video.duration or 0) / av.time_base * self.rate) or None
        self.last: int | None = None
        self.lost = 0  # damaged packets

    def colour(
        self,
        part: Path,
        colorizer: Colorizer,
        steady: Steady,
        *,
        quality: int,
        panels: bool,
        tick: Callable[[int | None], object],
    ) -> None:
        """Write the coloured video to `part`; see `colour_video`."""
        items = self._items()
        head: list[Any] = []
        for item in items:  # everything up to the first frame, which sets the result's size
            head.append(item)
            if isinstance(item[0], av.VideoFrame):
                break
        else:
            raise InputError(f"{self.job.source}: no picture in it that can be read")
        first = upright(rgb(head[-1][0]), head[-1][0].rotation)
        size = first.shape[0], first.shape[1] * (2 if panels else 1)
        grey = replace(colorizer, strength=0.0)
        turned = abs(head[-1][0].rotation) % 180 == 90

        def preprocess(item: Any) -> Any:
            if not isinstance(item, av.VideoFrame):
                return item
            picture = Picture(upright(rgb(item), item.rotation))
            return Frame((item.pts, item.duration), picture, colorizer.see(picture))

        def infer(batch: Sequence[Any]) -> list[ChromaPrediction | None]:
            predictions = iter(colorizer.predict([one.lightness for one in batch if isinstance(one, Frame)]))
            return [steady(next(predictions)) if isinstance(one, Frame) else None for one in batch]

        with av.open(str(part), "w", format=VIDEOS[self.job.target.suffix.lower()]) as result:
            out = VideoResult(result, self, size, turned, quality)

            def postprocess(item: Any, prediction: ChromaPrediction | None) -> Any:
                if prediction is None:
                    return item
                pixels = colorizer.colour(item.picture, prediction).pixels
                if panels:
                    pixels = np.concatenate([grey.colour(item.picture, prediction).pixels, pixels], axis=1)
                return out.encodable(pixels, *item.at)

            def write(item: Any) -> None:
                out.write(item)
                if isinstance(item, av.VideoFrame):
                    tick(self.frames)

            Pipeline(preprocess, infer, postprocess, write).run(chain(head, items))
            out.close()

    def _items(self) -> Iterator[tuple[Any, int]]:
        """Yield frames, and packets to copy, in file order, each with the memory it takes [bytes]."""
        for packet in self.video.demux([self.stream, *self.copied]):
            if packet.stream_index != self.stream.index:
                if packet.dts is not None:  # without dts, a packet only marks the end of its stream
                    yield packet, packet.size
                continue
            try:
                frames = packet.decode()
            except av.error.InvalidDataError:  # a damaged packet loses only its own frames
                self.lost += 1
                continue
            for frame in frames:
                self._keep_order(frame)
                yield frame, COPIES * frame.width * frame.height

    def _keep_order(self, frame: Any) -> None:
        """Give a frame a time if its file has none for it, or one that does not increase."""
        step = max(1, round(1 / (self.rate * self.time_base)))
        if frame.pts is None:
            frame.pts = 0 if self.last is None else self.last + step
        elif self.last is not None and frame.pts <= self.last:
            frame.pts = self.last + 1
        frame.duration = frame.duration or step
        self.last = frame.pts


class VideoResult:
    """An output video file."""

    def __init__(self, container: Any, clip: Clip, size: tuple[int, int], turned: bool, quality: int) -> None:
        self.container, self.time_base = container, clip.time_base
        self.height, self.width = size
        webm = container.format.name == "webm"
        # Quality 1 to 100 maps linearly to CRF, from the codec's worst: 63 to 21 for VP9, 51 to 15 for x264.
        options = {"crf": str(round(63 - 0.42 * quality)), "row-mt": "1", "cpu-used": "4"} if webm else {}
        options = options or {"crf": str(round(51 - 0.36 * quality))}
        self.stream = container.add_stream("libvpx-vp9" if webm else "libx264", rate=clip.rate, options=options)
        context = self.stream.codec_context
        context.width, context.height, context.time_base = self.width, self.height, clip.time_base
        # H.264 has no odd sizes with subsampled chroma (4:2:0).
        self.format = context.pix_fmt = "yuv444p" if not webm and (self.width % 2 or self.height % 2) else "yuv420p"
        context.bit_rate = 0
        context.color_range, context.colorspace = ColorRange.MPEG, Colorspace.ITU709
        context.color_primaries, context.color_trc = ColorPrimaries.BT709, ColorTrc.BT709
        if aspect := clip.stream.sample_aspect_ratio:
            context.sample_aspect_ratio = 1 / aspect if turned else aspect
        self.stream.time_base = clip.time_base
        container.metadata.update(clip.video.metadata)
        self.streams = {stream.index: self._copied(stream, clip.job) for stream in clip.copied}

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
        """Write a frame or a copied packet."""
        if isinstance(item, av.VideoFrame):
            self.container.mux(self.stream.encode(item))
        else:
            item.stream = self.streams[item.stream_index]
            self.container.mux(item)

    def close(self) -> None:
        self.container.mux(self.stream.encode())

    def _copied(self, stream: Any, job: ColorizeJob) -> Any:
        try:
            copy = self.container.add_stream_from_template(stream)
        except (av.FFmpegError, ValueError):
            raise InputError(
                f"{job.source}: {job.target.suffix} can't hold its {stream.type} ({stream.codec_context.name}); "
                "name a result .mkv, with -o"
            ) from None
        copy.metadata.update(stream.metadata)
        copy.disposition = stream.disposition
        return copy


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
