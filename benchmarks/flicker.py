"""Measure the flicker of coloured videos: a part of colorize.py."""

import argparse
import time
from pathlib import Path
from statistics import fmean

import av
import numpy as np
from measure import Table
from PIL import Image, ImageOps
from skimage.color import rgb2lab

from gancolor import Colorizer
from gancolor.colorize.inputs import ColorizeJob
from gancolor.colorize.smoothing import TemporalSmoother
from gancolor.colorize.video import colour_video
from gancolor.colorize.video_output import rgb
from gancolor.inference.colorizer import ChromaPrediction
from gancolor.inference.working_size import working_size

AMOUNTS = (0.0, 0.5, 0.8, 0.95)
CLIPS, FRAMES, NOISE = 5, 40, 4.0  # videos, frames per video, standard deviation of the noise [levels of 255]


def measure_video(folder: Path, checkpoint: Path, options: argparse.Namespace) -> list[dict[str, object]]:
    """Measure how much the colour flickers in slow pans over photographs, with noise."""
    colorizer = Colorizer.load(checkpoint, device=options.device)
    clips = [
        pan(path, folder.parent / f"{path.stem}.mp4")
        for path in sorted(folder.iterdir())[:: max(1, options.count // CLIPS)][:CLIPS]
    ]
    table = Table(
        f"{len(clips)} videos, 640 x 360, {FRAMES} frames each",
        "Flicker in ab units per frame: of the predictions, of what is written, and in the decoded file.",
        ["smoothing", "predicted", "written", "in the file", "frames/s"],
    )
    for smoothing in AMOUNTS:
        start = time.perf_counter()
        jobs = [ColorizeJob(clip, clip.with_suffix(".coloured.mp4")) for clip in clips]
        found = [colour_video(colorizer, job, smoothing=smoothing) for job in jobs]
        seconds = time.perf_counter() - start
        table.add({"smoothing": smoothing, "predicted": fmean(one.predicted for one in found),
                   "written": fmean(one.smoothed for one in found),
                   "in the file": fmean(shown_flicker(job.target, colorizer.size) for job in jobs),
                   "frames/s": len(clips) * FRAMES / seconds})  # fmt: skip
    return table.rows


def pan(photograph: Path, path: Path) -> Path:
    """Create a grey video that pans over a photograph by 0.7 pixels per frame."""
    random = np.random.default_rng(0)
    picture = ImageOps.fit(Image.open(photograph).convert("L"), (680, 380), Image.Resampling.LANCZOS)
    smooth = Image.Resampling.BICUBIC
    with av.open(str(path), "w") as video:
        stream = video.add_stream("libx264", rate=24, options={"crf": "12"})
        stream.width, stream.height, stream.pix_fmt = 640, 360, "yuv420p"
        for number in range(FRAMES):
            moved = picture.transform((640, 360), Image.Transform.AFFINE, (1, 0, 0.7 * number, 0, 1, 5), smooth)
            noisy = np.asarray(moved) + random.normal(0, NOISE, (360, 640))
            frame = av.VideoFrame.from_ndarray(noisy.clip(0, 255).round().astype(np.uint8), "gray")
            video.mux(stream.encode(frame))
        video.mux(stream.encode())
    return path


def shown_flicker(path: Path, size: int) -> float:
    """Return the flicker of a video file as it is played, at the size that the network sees."""
    smoother = TemporalSmoother(0)
    with av.open(str(path)) as video:
        for frame in video.decode(video=0):
            height, width = working_size((frame.height, frame.width), size, size)
            small = Image.fromarray(rgb(frame)).resize((width, height), Image.Resampling.BOX)
            lab = rgb2lab(np.asarray(small)).astype(np.float32).transpose(2, 0, 1)
            smoother(ChromaPrediction(lab[:1] / 50 - 1, lab[1:] / 110))
    return smoother.flicker.predicted
