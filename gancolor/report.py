"""What people look at: the table on the terminal, and sample grids."""

from collections.abc import Mapping
from pathlib import Path

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from gancolor.color import to_uint8
from gancolor.evaluation import Mean
from gancolor.files import write_atomically

# Metric -> (heading, digits after the point)
COLUMNS = {
    "psnr": ("PSNR [dB]", 2),
    "gain": ("gain [dB]", 2),
    "ssim": ("SSIM", 4),
    "lpips": ("LPIPS", 4),
    "colorfulness": ("colourfulness", 1),
}
MARGIN = 4  # between pictures [pixels]
HEADING = 24  # height of a system's name [pixels]
LEAST_SIDE = 128  # that a picture is shown at: smaller ones are enlarged [pixels]


def results_table(systems: Mapping[str, Mapping[str, Mean]]) -> str:
    """Systems in rows, metrics in columns: mean ± standard error; - where a metric says nothing of a system."""
    metrics = [name for name in COLUMNS if any(name in row for row in systems.values())]
    rows = [["", *(COLUMNS[name][0] for name in metrics)]]
    rows += [[system, *(_cell(row.get(name), COLUMNS[name][1]) for name in metrics)] for system, row in systems.items()]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]).rstrip() for row in rows]
    return "\n".join([lines[0], "-" * max(map(len, lines)), *lines[1:]])


def _cell(value: Mean | None, digits: int) -> str:
    if value is None:
        return "-"
    if value.stderr != value.stderr:  # a single photograph, or a system without spread
        return f"{value.mean:.{digits}f}"
    return f"{value.mean:.{digits}f} ± {value.stderr:.{digits}f}"


def save_grid(path: Path, rows: Mapping[str, Tensor]) -> None:
    """A PNG with a strip of photographs a system, under the system's name; a column is one photograph.

    Args:
        rows: name -> float32 sRGB (N, 3, H, W) in [0, 1], the same N photographs in each.
    """
    strips = {name: _enlarged(pictures) for name, pictures in rows.items()}
    count, _, height, width = next(iter(strips.values())).shape
    strip_height = HEADING + height
    size = (count * (width + MARGIN) + MARGIN, len(strips) * strip_height + MARGIN)
    canvas = Image.new("RGB", size, "white")
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(14)
    for row, (name, pictures) in enumerate(strips.items()):
        top = row * strip_height
        draw.text((MARGIN, top + HEADING / 2), name, fill="black", font=font, anchor="lm")
        for column, picture in enumerate(pictures.permute(0, 2, 3, 1).numpy()):
            canvas.paste(Image.fromarray(picture), (MARGIN + column * (width + MARGIN), top + HEADING))
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, lambda beside: canvas.save(beside, "PNG"))


def _enlarged(pictures: Tensor) -> Tensor:
    """uint8, small pictures enlarged by a whole number of times without smoothing."""
    times = max(1, -(-LEAST_SIDE // min(pictures.shape[-2:])))
    pictures = to_uint8(pictures.cpu())
    return pictures.repeat_interleave(times, dim=-2).repeat_interleave(times, dim=-1)


def sample_indices(count: int, samples: int) -> Tensor:
    """Up to `samples` of `count` photographs, int64, in order, the same every time.

    Drawn by lot: photographs that lie evenly spaced in a folder may all be of one kind.
    """
    return torch.randperm(count, generator=torch.Generator().manual_seed(0))[:samples].sort().values
