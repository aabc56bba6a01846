"""Benchmarks of the data pipeline (photographs to training batches) and of evaluation (generators to metrics)."""

import itertools
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import reference
import torch
from measure import Contender, Row, Table, attempt, interleave
from PIL import Image
from step_runners import StepSpec, as_torch_ships, forget
from torch import Tensor, nn

from gancolor.config.options import DataConfig
from gancolor.data.cache.photographs import Photographs, load_photographs
from gancolor.data.catalogue import PhotoFile
from gancolor.data.loader import Batches
from gancolor.data.preprocess import Preprocess
from gancolor.data.sources.demo import draw_scene
from gancolor.data.sources.folders import list_photographs
from gancolor.evaluation.scoring import PAIRED, Colorized, Scores, score, score_generator
from gancolor.models.output import GeneratorOutput
from gancolor.utils.errors import InputError
from gancolor.utils.hardware import Hardware, choose_hardware

MOST_PHOTOS = 1024
SCENES, SCENE_SIDE = 256, 400  # drawn if no photographs are given; their side [pixels]
SCORED_PHOTOS, COLOURED_PHOTOS = 540, 64  # for metrics alone; for generators, which are slow
PALENESS = 0.03  # factor on the chroma of generators with random weights

METRICS_ALONE = "metrics alone"


@contextmanager
def photo_folder(folder: str | None) -> Iterator[Path]:
    """Yield the given folder or, without one, a temporary folder of drawn scenes as JPEG files.

    Raises:
        InputError: the folder does not exist.
    """
    if folder:
        if not Path(folder).is_dir():
            raise InputError(f"--photos {folder}: no such folder")
        yield Path(folder)
        return
    with tempfile.TemporaryDirectory() as scratch:

        def draw(index: int) -> None:
            Image.fromarray(draw_scene(0, index, SCENE_SIDE)).save(Path(scratch) / f"{index:04d}.jpg", quality=90)

        with ThreadPoolExecutor() as pool:
            list(pool.map(draw, range(SCENES)))
        yield Path(scratch)


def photo_files(folder: Path, limit: int | None = None) -> list[PhotoFile]:
    """Return the folder's first photographs, MOST_PHOTOS by default.

    Raises:
        InputError: there are none.
    """
    files = list(list_photographs(folder)[: limit or MOST_PHOTOS])
    if not files:
        raise InputError(f"--photos {folder}: no photographs in it")
    return files


# The data pipeline ----------------------------------------------------------------------------------------------------


class Pipeline:
    """Epochs of training batches, from files to Lab on the device, by gancolor and by the reference.

    Args:
        workers: of the reference's loader; by default one per core.
    """

    def __init__(
        self, files: list[PhotoFile], size: int, batch_size: int, hardware: Hardware, scratch: str,
        workers: int | None = None,
    ) -> None:  # fmt: skip
        self.files = files[: len(files) // batch_size * batch_size]
        self.size, self.batch_size, self.hardware, self.scratch = size, batch_size, hardware, scratch
        self.prepare = Preprocess(DataConfig(size=size), hardware)
        paths = [file.path for file in self.files]
        self.loader = reference.make_loader(paths, size, batch_size, hardware.device.type == "cuda", workers)
        self.caches = itertools.count()

    def first_epoch(self) -> None:
        """Decode into a new cache, then stream up to Lab."""
        self.stream(self.load(f"first-{next(self.caches)}", "auto"), 0)

    def first_batches(self) -> None:
        """Decode into a new cache, then stream up to uint8 batches: in gancolor, Lab is part of the step."""
        batches = self.load(f"first-{next(self.caches)}", "auto")
        for _ in batches.stream(0, batches.steps_per_epoch, self.hardware.device):
            pass

    def load(self, cache: str, on_device: str) -> Batches:
        """Return training batches of the decoded photographs.

        Raises:
            ValueError: some photographs can't be decoded; the reference would stop at them.
        """
        photographs = load_photographs(self.files, self.size, Path(self.scratch) / cache)
        if photographs.skipped:
            raise ValueError(f"{next(iter(photographs.skipped))} and maybe others can't be decoded")
        photographs = photographs.to(self.hardware.device, on_device)
        return Batches(photographs, torch.arange(len(photographs)), self.batch_size, seed=0)

    def decoded_every_epoch(self) -> Contender:
        """Return a contender that decodes all photographs again in every epoch."""
        photographs = load_photographs(self.files, self.size, Path(self.scratch) / "again", decode="always")
        batches, epochs = Batches(photographs, torch.arange(len(photographs)), self.batch_size, 0), itertools.count()
        return Contender(lambda: self.stream(batches, next(epochs)))

    def stream(self, batches: Batches, epoch: int) -> None:
        """Process an epoch's batches as the trainer does, up to the networks."""
        first, last = (number * batches.steps_per_epoch for number in (epoch, epoch + 1))
        for _, pictures, labels in batches.stream(first, last, self.hardware.device):
            self.prepare(pictures, labels)

    def later_epochs(self, cache: str, on_device: str) -> Contender:
        batches, epochs = self.load(cache, on_device), itertools.count(1)
        return Contender(lambda: self.stream(batches, next(epochs)))

    def reference_epoch(self) -> None:
        for lightness, chroma in self.loader:
            lightness.to(self.hardware.device)
            chroma.to(self.hardware.device)


def measure_data(files: list[PhotoFile], base: StepSpec) -> list[Row]:
    """Print the table of the data pipeline and return its rows."""
    hardware = choose_hardware(base.device, "fp32")
    with tempfile.TemporaryDirectory() as scratch:
        pipeline = Pipeline(files, base.size, base.batch_size, hardware, scratch)
        count = len(pipeline.files)
        table = Table(
            f"Data pipeline, {base.size} x {base.size}, batch {base.batch_size}",
            f"{count} picture files in the system's file cache, to batches of Lab on the device.",
            ["epoch", "photos/s", "s", "× reference (range)"],
        )
        if not count:
            table.add({"epoch": "all", "error": f"{len(files)} photographs are fewer than a batch"})
            return table.rows
        for name, make in _epochs(pipeline):
            row = attempt(partial(_epoch_row, pipeline, make, base.seconds))
            table.add({"epoch": name} | ({"error": row} if isinstance(row, str) else row))
            forget()
    return table.rows


def _epochs(pipeline: Pipeline) -> Iterator[tuple[str, partial[Contender]]]:
    """Yield the name and the factory of each contender."""
    yield "reference, every", partial(Contender, pipeline.reference_epoch)
    yield "gancolor, first (decodes)", partial(Contender, pipeline.first_epoch)
    if pipeline.hardware.device.type == "cuda":
        yield "gancolor, later, photographs on the device", partial(pipeline.later_epochs, "later", "always")
        yield "gancolor, later, photographs on the host", partial(pipeline.later_epochs, "later", "never")
    else:
        yield "gancolor, later", partial(pipeline.later_epochs, "later", "auto")
    yield "gancolor, --data.decode always", partial(pipeline.decoded_every_epoch)


def _epoch_row(pipeline: Pipeline, make: partial[Contender], seconds: float) -> Row:
    contenders = {"mine": make()}
    is_reference = contenders["mine"].run == pipeline.reference_epoch
    if not is_reference:
        contenders = {"reference": Contender(pipeline.reference_epoch)} | contenders
    timings = interleave(contenders, pipeline.hardware.device, seconds, warm_up=1)
    mine = timings["mine"]
    ratio = 1.0 if is_reference else mine.speedup_over(timings["reference"])
    return {"photos/s": len(pipeline.files) / mine.median, "s": mine.median, "× reference (range)": ratio}


# Evaluation -----------------------------------------------------------------------------------------------------------


def measure_evaluation(files: list[PhotoFile], architectures: list[str], base: StepSpec) -> list[Row]:
    """Print the table of evaluation and return its rows: on the CPU, and on CUDA if requested, against scikit-image one
    photograph at a time."""
    with tempfile.TemporaryDirectory() as scratch:
        scored = load_photographs(files[:SCORED_PHOTOS], base.size, scratch)
        coloured = scored.subset(scored.names[:COLOURED_PHOTOS])
        table = Table(
            f"Evaluation, {base.size} x {base.size}",
            f"{', '.join(PAIRED)} of two systems on {len(scored)} photographs (of one on {len(coloured)} where a "
            "generator colours them), "
            "against scikit-image one by one on the CPU. Difference: the largest of a photograph's PSNR [dB], SSIM and "
            "CIEDE2000. Generators have random weights, and pale colours.",
            ["what", "device", "photos/s", "× reference (range)", "difference"],
        )
        for device in dict.fromkeys(["cpu", base.device]):
            for what in (METRICS_ALONE, *architectures):
                photographs = scored if what == METRICS_ALONE else coloured
                row = attempt(partial(_evaluation_row, what, device, photographs, base))
                table.add({"what": what, "device": device} | ({"error": row} if isinstance(row, str) else row))
                forget()
    return table.rows


def _evaluation_row(what: str, device: str, photographs: Photographs, base: StepSpec) -> Row:
    """Measure `what`: an architecture, or "metrics alone" for existing pictures."""
    hardware = choose_hardware(device, "fp32")
    truths = list(photographs.take(torch.arange(len(photographs))).permute(0, 2, 3, 1).numpy().copy())
    mine: Callable[[], Scores]
    theirs: partial[np.ndarray]
    if what == METRICS_ALONE:
        made = _moved(photographs)
        mine = partial(_score_moved, made, photographs, hardware)
        theirs = partial(_score_moved_by_reference, made, truths)
    else:
        generator, _ = StepSpec(what, base.size, base.batch_size, device, base.seconds).networks()
        own, _ = StepSpec(what, base.size, base.batch_size, "cpu", base.seconds).networks()
        generator = hardware.place_network(generator)
        mine = partial(score_generator, Pale(generator), photographs, hardware)
        theirs = partial(reference.score_generator, Pale(own), truths)
    contenders = {
        "reference": Contender(theirs, as_torch_ships),
        "mine": Contender(mine, lambda: choose_hardware(device, "fp32")),
    }
    timings = interleave(contenders, hardware.device, base.seconds, warm_up=1)
    scores = mine()
    gaps = np.abs(np.stack([scores[metric] for metric in PAIRED], axis=1) - theirs()).max(axis=0)
    return {
        "photos/s": len(photographs) / timings["mine"].median,
        "× reference (range)": timings["mine"].speedup_over(timings["reference"]),
        "difference": f"{gaps[0]:.1e}, {gaps[1]:.1e}, {gaps[3]:.1e}",
    }


class Pale(nn.Module):
    """A generator with pale chroma, within sRGB as most of a trained generator's is. Random weights give colours far
    outside, which gancolor brings back at the same hue, and scikit-image cuts off."""

    def __init__(self, generator: nn.Module) -> None:
        super().__init__()
        self.generator = generator

    def forward(self, lightness: Tensor) -> GeneratorOutput:
        return GeneratorOutput(self.generator(lightness).chroma * PALENESS)


def _moved(photographs: Photographs) -> dict[str, Tensor]:
    """Return pictures of two systems, the least that an evaluation has (grey and a generator): the photographs shifted
    by one pixel, and by two. uint8 (N, 3, S, S) each."""
    pictures = photographs.take(torch.arange(len(photographs)))
    return {"one": pictures.roll(1, dims=-1), "two": pictures.roll(2, dims=-1)}


def _score_moved(made: dict[str, Tensor], photographs: Photographs, hardware: Hardware) -> Scores:
    def system(pictures: Tensor) -> Callable[[Tensor, Tensor], Colorized]:
        return lambda _, indices: Colorized(pictures[indices].to(hardware.device))

    scores, _ = score({name: system(pictures) for name, pictures in made.items()}, photographs, hardware)
    return scores["one"]


def _score_moved_by_reference(made: dict[str, Tensor], truths: list[np.ndarray]) -> np.ndarray:
    one, _ = (
        reference.score_pictures(list(pictures.permute(0, 2, 3, 1).numpy()), truths) for pictures in made.values()
    )
    return one
