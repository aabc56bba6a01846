"""Evaluation protocols: which photographs, at which size, resized how.

Scores of different protocols are not comparable.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from torch import Tensor

from gancolor.choices import ProtocolName
from gancolor.color.torch_lab import exact, rgb_to_lab, to_float, to_linear
from gancolor.data.catalogue import Item, names_of, select, shuffled
from gancolor.data.decode import Fit
from gancolor.data.tone import Damage, damage_of_names, damaged_lightness

ROUNDING = (
    "predicted colours outside sRGB reduced in chroma, with lightness and hue kept, and all rounded to 8 bits, "
    "the truth as decoded"
)
DAMAGE = (
    "lightness with simulated damage, drawn with each photograph's name as the seed (film insensitive to red, blur, "
    "tone curve, grain, contrast; strength {:g}); the predicted colours are combined with the undamaged lightness"
)


@dataclass(frozen=True)
class Protocol:
    """Selection and preparation of the validation photographs to score.

    Attributes:
        size: side of the square [pixels]; None: the training size of the (first) generator.
        fit: "crop": resize the centre square; "squash": resize the whole photograph, ignoring its aspect ratio.
        limit: number of photographs; None: all.
        order: which photographs `limit` keeps: "names": the first by file name; "shuffle": a random sample.
        tone: strength, in [0, 1], of the simulated damage to the lightness that systems are given (`data.tone`).
    """

    size: int | None = None
    fit: Fit = "crop"
    limit: int | None = None
    order: Literal["names", "shuffle"] = "names"
    tone: float = 0.0

    def choose(self, items: Sequence[Item]) -> Sequence[Item]:
        """Return the photographs to score."""
        if self.limit is None:
            return items
        if self.order == "shuffle":
            return shuffled(items, 0)[: self.limit]
        names = list(names_of(items))
        order = sorted(range(len(names)), key=lambda index: (names[index].rsplit("/", 1)[-1], names[index]))
        return select(items, np.array(order[: self.limit], np.int64))

    def seen(self, pictures: Tensor, names: Sequence[str]) -> Tensor | None:
        """Return the lightness that systems see of these photographs; None: the photographs' own.

        Args:
            pictures: uint8 sRGB (B, 3, S, S).
            names: of the photographs (B); they alone determine the damage, whatever the batch.

        Returns:
            (B, 1, S, S) in [-1, 1].
        """
        if not self.tone:
            return None
        damage = damage_of_names(names, pictures.shape[-1], self.tone)
        lightness, _ = rgb_to_lab(to_float(pictures))
        with exact(pictures.device):
            on_device = Damage(*(part.to(pictures.device) for part in damage))
            return damaged_lightness(lightness, to_linear(pictures), on_device)

    def describe(self, size: int, limit: int | None = None, seed: int = 0) -> dict[str, Any]:
        """Describe the protocol for a result.

        Args:
            size: side of the square photographs [pixels].
            limit: number of the protocol's photographs that are drawn at random (--data.val_limit); None: all are used.
            seed: seed of that draw.
        """
        files = "all" if self.limit is None else f"the first {self.limit} by {self.order}"
        if limit is not None:
            files += f", of them {limit} by a shuffle with seed {seed}"
        part = "centre square" if self.fit == "crop" else "whole photograph, squashed to a square"
        said = {
            "size": size,
            "photographs": files,
            "resizing": f"{part}, bilinear with antialiasing",
            "rounding": ROUNDING,
        }
        return said | ({"seen": DAMAGE.format(self.tone)} if self.tone else {})


PROTOCOLS: dict[ProtocolName, Protocol] = {
    "native": Protocol(),
    "val5k-crop256": Protocol(256, limit=5000),  # ImageNet val5k (DDColor and earlier); file names are numbered
    "squash256": Protocol(256, "squash"),  # COCO-Stuff and ADE20K in the same papers
    "scenes128": Protocol(128),
    "tiny64": Protocol(64, limit=200, order="shuffle"),
    "old128": Protocol(128, tone=1.0),  # same photographs as scenes128, to measure the loss of colour
}
