"""Scoring of systems on photographs, beside the grey baseline and the ground truth."""

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, interpolate

from gancolor.choices import ChromaUpsampling
from gancolor.color.colorfulness import both_colorfulnesses
from gancolor.color.lab import AB_RANGE, L_HALF_RANGE
from gancolor.color.torch_lab import exact, lab_to_rgb, rgb_to_lab, to_float, uint8_to_lab
from gancolor.config.options import LpipsConfig
from gancolor.data.cache.photographs import Photographs
from gancolor.data.hints import Patches, patches_of_names, reveal
from gancolor.inference.recombine import recombine_batch
from gancolor.inference.upsampling import Enlarged
from gancolor.inference.working_size import working_size
from gancolor.metrics.image import PictureDistance, ciede2000, mse, psnr_of, raw_accuracy, ssim, within_gamut
from gancolor.metrics.lpips import Trunk, lpips
from gancolor.metrics.table import METRICS
from gancolor.models import takes_hints
from gancolor.utils import distributed
from gancolor.utils.errors import InputError
from gancolor.utils.hardware import Hardware

Scores = dict[str, Tensor]  # metric -> one value per photograph, float32 (N,) on the CPU
# Maps uint8 sRGB photographs (B, 3, S, S) and their indices (B,) to the same photographs in colour. Generators see only
# the lightness; another tool's pictures are looked up by index.
System = Callable[[Tensor, Tensor], "Colorized"]
# Maps photographs and indices, as above, to the lightness (B, 1, S, S) in [-1, 1] that generators are given; None: they
# are given the photographs' own.
View = Callable[[Tensor, Tensor], Tensor | None]

OWN = ("colorfulness", "colorfulness_ddcolor")  # no-reference metrics: computed without the ground truth
# What `_judge` computes for each system's picture.
PAIRED = ("psnr", "ssim", "mse", "ciede2000", "auc", "colorfulness_difference", *OWN)


@dataclass(frozen=True)
class Colorized:
    """Pictures as they would be saved.

    Attributes:
        pictures: uint8 sRGB (B, 3, H, W).
        in_gamut: share of the pixels of the generator's input [%], (B,), whose predicted colour lies within sRGB, so
            that its chroma is not reduced; None if no colour is predicted.
    """

    pictures: Tensor
    in_gamut: Tensor | None = None


def colorize(
    generator: nn.Module,
    pictures: Tensor,
    seen: Tensor | None = None,
    patches: Patches | None = None,
    size: int | None = None,
    strength: float = 1.0,
) -> Colorized:
    """Colour uint8 sRGB pictures (B, 3, H, W) with a generator, which sees only their lightness, as `Colorizer` does.

    Args:
        seen: lightness (B, 1, H, W) in [-1, 1] that the generator sees instead of the pictures' own. The predicted
            colours are still joined with the pictures' own lightness.
        patches: of the pictures, whose true colours the generator is given as hints.
        size: shorter side of the generator's input [pixels]; its colours are resized to the pictures. None: the
            pictures' own.
        strength: factor on the predicted chroma.
    """
    rgb = to_float(pictures)
    own, true = rgb_to_lab(rgb)
    hints = None if patches is None else reveal(true, patches)
    resized = size is not None and size != min(pictures.shape[-2:])
    if resized:
        shape = working_size((pictures.shape[-2], pictures.shape[-1]), size, size)  # type: ignore[arg-type]
        own, _ = rgb_to_lab(_resized(rgb, shape))
        seen = None if seen is None else _resized(seen, shape)
        hints = None if hints is None else resize_hints(hints, shape)
    chroma = strength * _predicted(generator, own if seen is None else seen, hints)
    coloured = _recombined(pictures, own, chroma, "guided" if resized else "bilinear")
    return Colorized(coloured, within_gamut(lab_to_rgb(own, chroma, clip=False)))


def _resized(planes: Tensor, shape: tuple[int, int]) -> Tensor:
    return interpolate(planes, shape, mode="bilinear", antialias=True)


def resize_hints(hints: Tensor, shape: tuple[int, int]) -> Tensor:
    """Resize hints' ab and mask (B, 3, H, W); a pixel has the mean of the hints in it."""
    share = adaptive_avg_pool2d(hints[:, 2:], shape)
    ab = adaptive_avg_pool2d(hints[:, :2] * hints[:, 2:], shape) / share.clamp(min=1e-6)
    return torch.cat([ab, (share > 0).to(hints.dtype)], dim=1)


def _predicted(generator: nn.Module, lightness: Tensor, hints: Tensor | None) -> Tensor:
    """Return predicted chroma (B, 2, H, W), with hints as `Colorizer` uses them."""
    if hints is None:
        return generator(lightness).chroma.detach().float()
    from gancolor.inference.spreading import FAR, NEAR, spread_hints  # imports scipy

    takes = takes_hints(generator)
    given = (lightness, hints) if takes else (lightness,)
    return spread_hints(lightness, generator(*given).chroma.detach().float(), hints, NEAR if takes else FAR)


def _recombined(
    pictures: Tensor, lightness: Tensor, chroma: Tensor, upsampling: ChromaUpsampling = "bilinear"
) -> Tensor:
    """Join uint8 sRGB pictures' lightness with chroma (B, 2, h, w) in [-1, 1], as `Colorizer` does.

    Args:
        lightness: the pictures' own, at the size of `chroma`.
        upsampling: at the same size, "guided" would change nothing, except where the generator sees another lightness.
    """
    height, width = pictures.shape[-2:]
    with exact(pictures.device):
        ab = Enlarged(chroma * AB_RANGE, (lightness + 1) * L_HALF_RANGE, height, width, upsampling)
        return recombine_batch(pictures, ab)


def as_system(
    generator: nn.Module,
    view: View = lambda *_: None,
    hints: Callable[[Tensor], Patches | None] = lambda _: None,
    size: int | None = None,
    strength: float = 1.0,
) -> System:
    """Return the system that colours pictures by a generator.

    Args:
        hints: maps photographs' indices (B,) to the patches whose true colours the generator is given.
        size, strength: see `colorize`.
    """
    return lambda pictures, indices: colorize(
        generator, pictures, view(pictures, indices), hints(indices), size, strength
    )


def random_hints(photographs: Photographs, number: int, device: torch.device) -> Callable[[Tensor], Patches | None]:
    """Return the function that draws `number` evaluation patches for photographs' indices (B,)."""
    names, size = photographs.names, photographs.size

    def draw(indices: Tensor) -> Patches | None:
        if not number:
            return None
        return Patches(*(t.to(device) for t in patches_of_names([names[i] for i in indices.tolist()], size, number)))

    return draw


def greyed(pictures: Tensor) -> Tensor:
    """Make uint8 sRGB pictures (B, 3, H, W) grey (a = b = 0), uint8."""
    lightness, _ = rgb_to_lab(to_float(pictures))
    return _recombined(pictures, lightness, torch.zeros_like(lightness).repeat_interleave(2, dim=1))


GREY: System = lambda pictures, _: Colorized(greyed(pictures))  # noqa: E731 - a system like others


def load_networks(
    config: LpipsConfig, device: torch.device, size: int, download: bool = True
) -> tuple[dict[str, PictureDistance], dict[str, str]]:
    """Load the metrics that are computed by networks. Return those whose weights are available, and why others are not.

    Args:
        size: side of the pictures [pixels].
        download: False: use only torchvision's cache.
    """
    networks, problems = {}, {}
    options: list[tuple[str, str, str, Trunk]] = [
        ("lpips", config.weights, "--lpips.weights", "alex"),
        ("lpips_vgg", config.vgg_weights, "--lpips.vgg_weights", "vgg"),
    ]
    for name, weights, option, trunk in options:
        if weights == "off":
            continue
        try:
            networks[name] = lpips(weights, device, download, size, option, trunk)
        except InputError as error:
            problems[METRICS[name].heading] = str(error)
    return networks, problems


@torch.inference_mode()
def score(
    systems: Mapping[str, System],
    photographs: Photographs,
    hardware: Hardware,
    batch_size: int = 32,
    networks: Mapping[str, PictureDistance] | None = None,
    embed: Callable[[Tensor], Tensor] | None = None,
) -> tuple[dict[str, Scores], dict[str, Tensor]]:
    """Compute all metrics for each photograph and system and, under "truth", the no-reference metrics (OWN) of the
    ground truth. The ranks share the work.

    Args:
        networks: metrics that are computed by networks, a batch at a time (LPIPS).
        embed: maps uint8 pictures (B, 3, H, W) to features (B, F).

    Returns:
        The scores by system; with `embed`, also each system's features (N, F) on the CPU.
    """
    networks = networks or {}
    mine = torch.arange(len(photographs))[distributed.rank() :: distributed.world_size()]
    rows: dict[str, list[Tensor]] = {name: [] for name in [*systems, "truth"]}
    features: dict[str, list[Tensor]] = {name: [] for name in rows}
    with _single_threads() as pool:
        for indices in mine.split(batch_size) if len(mine) else ():  # an empty tensor splits into one empty tensor
            truth = photographs.take(indices).to(hardware.device)
            made = {name: system(truth, indices) for name, system in systems.items()}
            # A CPU's caches hold one photograph's intermediate values, not a batch's: one photograph per thread.
            parts = truth.split(1 if hardware.device.type == "cpu" else batch_size)
            pictures = [made[name].pictures.split(len(parts[0])) for name in systems]
            judged = list(pool.map(_judge, parts, zip(*pictures, strict=True) if systems else [()] * len(parts)))
            for number, name in enumerate(systems):
                table = torch.cat([part[number] for part in judged])
                extra = [metric(to_float(made[name].pictures), to_float(truth)) for metric in networks.values()]
                inside = made[name].in_gamut
                extra.append(torch.full_like(table[:, 0], torch.nan) if inside is None else inside)
                rows[name].append(torch.cat([table, torch.stack(extra, dim=1)], dim=1))
            rows["truth"].append(torch.cat([part[-1] for part in judged]))
            if embed:
                for name in systems:
                    features[name].append(embed(made[name].pictures))
                features["truth"].append(embed(truth))
    if embed and not len(mine):  # a rank without photographs gathers too, and its features need the others' width
        nothing = embed(photographs.take(torch.tensor([0])).to(hardware.device))[:0]
        features = {name: [nothing] for name in rows}
    names = {name: [*PAIRED, *networks, "in_gamut"] for name in systems} | {"truth": [*OWN]}
    scores = {name: _gather(rows[name], columns, len(photographs), hardware) for name, columns in names.items()}
    gathered = {
        name: distributed.gather_shares(torch.cat(found), len(photographs)).cpu()
        for name, found in features.items() if found
    }  # fmt: skip
    return scores, gathered


@contextmanager
def _single_threads() -> Iterator[ThreadPoolExecutor]:
    """Create a pool with one thread per core, each limited to torch operations on a single core."""
    threads = torch.get_num_threads()
    try:
        with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            yield pool
    finally:
        torch.set_num_threads(threads)  # also for threads that start later


def _judge(truth: Tensor, made: tuple[Tensor, ...]) -> list[Tensor]:
    """Score pictures of several systems against the ground truth, all uint8 (B, 3, H, W). Return (B, metrics) for each,
    in the order of PAIRED, and the ground truth's own (B, 2). What depends on the ground truth alone is computed once.
    """
    with torch.inference_mode():
        true, true_lab = to_float(truth), uint8_to_lab(truth)
        own = both_colorfulnesses(true)
        tables = []
        for pictures in made:
            picture, lab = to_float(pictures), uint8_to_lab(pictures)
            error, colours = mse(picture, true), both_colorfulnesses(picture)
            values = [psnr_of(error), ssim(picture, true), error, ciede2000(lab, true_lab), raw_accuracy(lab, true_lab)]
            values += [colours[:, 0] - own[:, 0], *colours.unbind(dim=1)]
            tables.append(torch.stack(values, dim=1))
        return [*tables, own]


def _gather(rows: list[Tensor], names: list[str], count: int, hardware: Hardware) -> Scores:
    share = torch.cat(rows) if rows else torch.empty(0, len(names), device=hardware.device)
    table = distributed.gather_shares(share, count).cpu()
    scores = dict(zip(names, table.unbind(dim=1), strict=True))
    return {name: values for name, values in scores.items() if not values.isnan().all()}


def score_generator(
    generator: nn.Module,
    photographs: Photographs,
    hardware: Hardware,
    batch_size: int = 32,
    networks: Mapping[str, PictureDistance] | None = None,
    hints: int = 0,
) -> Scores:
    """Score a generator with `hints` random hints per photograph, in float32 (TF32 if the hardware's precision allows
    it); see `score`."""
    training = generator.training
    generator.eval()
    system = as_system(generator, hints=random_hints(photographs, hints, hardware.device))
    scores, _ = score({"generator": system}, photographs, hardware, batch_size, networks)
    generator.train(training)
    return scores["generator"]


def with_gain(scores: Scores, baseline: Scores) -> Scores:
    """Return the scores with "gain", each photograph's PSNR minus the grey baseline's [dB]."""
    return {**scores, "gain": scores["psnr"] - baseline["psnr"]}
