"""Colouring of videos by FFmpeg (PyAV). Frames keep their timestamps, and sound and subtitles stay with them."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import av
import numpy as np

from gancolor.colorize.inputs import VIDEOS, ColorizeJob, shown
from gancolor.colorize.photographs import FATAL
from gancolor.colorize.pipeline import Pipeline
from gancolor.colorize.smoothing import SMOOTHING, Flicker, TemporalSmoother
from gancolor.colorize.video_files import open_video
from gancolor.colorize.video_input import Clip
from gancolor.colorize.video_output import VideoResult, rgb, upright
from gancolor.inference.colorizer import ChromaPrediction, Colorizer
from gancolor.inference.image_files import QUALITY, Picture
from gancolor.inference.image_files.disclosure import statement
from gancolor.utils.errors import InputError
from gancolor.utils.files import sync, write_atomically

PARTIAL = ".partial"  # added to the names of results whose source is not all there; no input has such a suffix


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
    smoothing: float = SMOOTHING,
    side_by_side: bool = False,
    tick: Callable[[int | None], object] = lambda _: None,
) -> Flicker:
    """Colour a video: H.264, or VP9 in WebM, 8 bits, BT.709, progressive, upright.

    The result is complete or absent. If the source's file ends too early, or is damaged and would be replaced, the
    result's name gets `.partial` added. Warnings say what is changed or left out.

    Args:
        quality: 1 to 100; 95 is x264's crf 17.
        smoothing: of colour from frame to frame, 0 to 1.
        side_by_side: write grey and coloured next to each other.
        tick: called after each frame with the number of frames in the video; None if unknown.

    Returns:
        how much the colour flickers, with and without smoothing.

    Raises:
        InputError: the video can't be read, or parts of it are damaged or missing (raised after the rest has been
            coloured).
        OSError: the disk is full.
    """
    if job.target.suffix.lower() not in VIDEOS:
        raise InputError(f"{job.target}: videos are written as {', '.join(VIDEOS)}")
    smoother = TemporalSmoother(smoothing)
    job.target.parent.mkdir(parents=True, exist_ok=True)
    with open_video(job.source) as video:
        clip = Clip(video, job)
        make = partial(colour_clip, clip, colorizer, smoother, quality=quality, panels=side_by_side, tick=tick)
        try:
            write_atomically(job.target, make)
        except av.FFmpegError as error:
            if error.errno in FATAL:
                raise OSError(error.errno, error.strerror, str(job.target)) from None
            raise InputError(f"{job.source}: {job.target.suffix} can't be written ({error.strerror})") from None
        except MemoryError:
            raise InputError(f"{job.source}: its pictures are too large for this machine's memory") from None
    partial_name(job).unlink(missing_ok=True)  # of an earlier time, when the source was not all there
    if clip.lost:
        raise InputError(f"{job.source}: coloured, but {clip.damage}")
    return smoother.flicker


def partial_name(job: ColorizeJob) -> Path:
    return job.target.with_name(f"{job.target.name}{PARTIAL}")


def colour_clip(
    clip: Clip,
    colorizer: Colorizer,
    smoother: TemporalSmoother,
    part: Path,
    *,
    quality: int,
    panels: bool,
    tick: Callable[[int | None], object],
) -> None:
    """Write the coloured video to `part`; see `colour_video`."""
    items = clip.items()
    head: list[Any] = []
    for item in items:  # everything up to the first frame, which sets the result's size
        head.append(item)
        if isinstance(item[0], av.VideoFrame):
            break
    else:
        raise InputError(f"{clip.job.source}: no picture in it that can be read")
    first = head[-1][0]
    height, width, _ = upright(rgb(first), first.rotation).shape
    turned = abs(first.rotation) % 180 == 90
    grey = replace(colorizer, strength=0.0)
    told = "" if colorizer.disclosed is None else statement(colorizer.disclosed)

    def preprocess(item: Any) -> Any:
        if not isinstance(item, av.VideoFrame):
            return item
        picture = Picture(upright(rgb(item), item.rotation))
        return Frame((item.pts, item.duration), picture, colorizer.see(picture))

    def infer(batch: Sequence[Any]) -> list[ChromaPrediction | None]:
        predictions = iter(colorizer.predict([one.lightness for one in batch if isinstance(one, Frame)]))
        return [smoother(next(predictions)) if isinstance(one, Frame) else None for one in batch]

    with VideoResult(part, clip, (height, width * (2 if panels else 1)), turned, quality, told) as result:

        def postprocess(item: Any, prediction: ChromaPrediction | None) -> Any:
            if prediction is None:
                return item
            pixels = colorizer.colour(item.picture, prediction).pixels
            if panels:
                pixels = np.concatenate([grey.colour(item.picture, prediction).pixels, pixels], axis=1)
            return result.encodable(pixels, *item.at)

        def write(item: Any) -> None:
            result.write(item)
            if isinstance(item, av.VideoFrame):
                tick(clip.frames)

        Pipeline(preprocess, infer, postprocess, write).run(chain(head, items))
        result.finish()
    clip.lost += result.lost
    clip.extent.broken |= result.broken
    if clip.interlaced:
        warnings.warn(f"{shown(clip.job.source)}: interlaced; the result is deinterlaced", stacklevel=2)
    in_place = clip.job.target.resolve() == clip.job.source.resolve()
    if problem := clip.missing or (clip.lost and in_place and clip.damage):
        kept = partial_name(clip.job)
        sync(part)
        part.replace(kept)
        raise InputError(
            f"{clip.job.source}: {problem}, as the file is cut off or damaged; the result is {shown(kept)}"
        )
