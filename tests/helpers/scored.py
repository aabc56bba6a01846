"""Helpers for scores: a generator, photographs, and parsing of printed tables."""

import re

import torch
from torch import Tensor, nn

from gancolor.color.colorfulness import colorfulness
from gancolor.color.torch_lab import to_float
from gancolor.data.cache.index import Columns
from gancolor.data.cache.photographs import Photographs
from gancolor.models.output import GeneratorOutput


class Colorist(nn.Module):
    """Generator that predicts one chroma everywhere, in proportion to the lightness above black."""

    def __init__(self, a: float = 0.0, b: float = 0.0) -> None:
        super().__init__()
        self.chroma = nn.Parameter(torch.tensor([a, b]))

    def forward(self, lightness: Tensor) -> GeneratorOutput:
        return GeneratorOutput(self.chroma.view(1, 2, 1, 1) * (lightness + 1) / 2)


def photographs_of(pictures: Tensor, names: list[str] | None = None, labels: list[int] | None = None) -> Photographs:
    """uint8 (N, 3, S, S) as though they had been decoded; the contents' digests are those of the pixels."""
    count = len(pictures)
    names = names or [f"{number}.png" for number in range(count)]
    contents = [str(hash(picture.numpy().tobytes())) for picture in pictures]
    colours = colorfulness(to_float(pictures))
    return Photographs(pictures, Columns.of(names, labels or [-1] * count, colours, contents))


def rows_of(printed: str) -> list[list[str]]:
    """Return the cells of all rows of tables whose first row is grey."""
    lines = [re.split(r"  +", line) for line in printed.splitlines()]
    starts = [number for number, line in enumerate(lines) if line[0] == "grey"]
    ends = [next(number for number in range(start, len(lines)) if lines[number][0] == "truth") for start in starts]
    return [line for start, end in zip(starts, ends, strict=True) for line in lines[start : end + 1]]
