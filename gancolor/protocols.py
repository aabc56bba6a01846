"""Named ways to score: which photographs, at which size, resized how. Figures of different protocols do not compare."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from gancolor.config import ProtocolName
from gancolor.data.catalogue import Item, names_of, select, shuffled
from gancolor.data.decode import Fit

ROUNDING = "predicted colours clipped to sRGB and rounded to 8 bits, the truth as decoded"


@dataclass(frozen=True)
class Protocol:
    """Which photographs of the validation set are scored, and as what.

    Attributes:
        size: side of the square [pixels]; None: the size that the (first) generator was trained at.
        fit: "crop": the centre square is resized; "squash": all of the photograph is, whatever its aspect.
        limit: this many photographs; None: all.
        order: that the limit takes the first of: the files' names, or a shuffle.
    """

    size: int | None = None
    fit: Fit = "crop"
    limit: int | None = None
    order: Literal["names", "shuffle"] = "names"

    def choose(self, items: Sequence[Item]) -> Sequence[Item]:
        """The photographs that are scored."""
        if self.limit is None:
            return items
        if self.order == "shuffle":
            return shuffled(items, 0)[: self.limit]
        names = list(names_of(items))
        order = sorted(range(len(names)), key=lambda number: (names[number].rsplit("/", 1)[-1], names[number]))
        return select(items, np.array(order[: self.limit], np.int64))

    def describe(self, size: int, limit: int | None = None, seed: int = 0) -> dict[str, Any]:
        """What a result says of it.

        Args:
            limit: --data.val_limit: so many of the photographs, of a shuffle with this seed.
        """
        files = "all" if self.limit is None else f"the first {self.limit} by {self.order}"
        if limit is not None:
            files += f", of them {limit} by a shuffle with seed {seed}"
        part = "centre square" if self.fit == "crop" else "whole photograph, squashed to a square"
        return {
            "size": size,
            "photographs": files,
            "resizing": f"{part}, bilinear with antialiasing",
            "rounding": ROUNDING,
        }


PROTOCOLS: dict[ProtocolName, Protocol] = {
    "native": Protocol(),
    "val5k-crop256": Protocol(256, limit=5000),  # ImageNet's val5k (DDColor and before): names number its photographs
    "squash256": Protocol(256, "squash"),  # COCO-Stuff and ADE20K in the same papers
    "scenes128": Protocol(128),
    "tiny64": Protocol(64, limit=200, order="shuffle"),
}
