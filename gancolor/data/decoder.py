"""Photographs that are decoded in every epoch anew, by threads or by a GPU."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from gancolor.cores import cores
from gancolor.data.catalogue import Item, Stored
from gancolor.data.decode import Fit, UndecodableError, decode_jpegs, fit_square, plain_jpeg
from gancolor.errors import InputError


@dataclass
class Decoder:
    """Pictures that are decoded whenever they are asked for, by a thread a core.

    Args:
        items: the photographs.
        numbers: int64 (M,), which of them the index's rows are; None: each its own.
        size: of the squares [pixels].
        gpu: decodes JPEG files in the threads' place, all of a batch at once (nvJPEG).
    """

    items: Sequence[Item]
    numbers: np.ndarray | None
    size: int
    fit: Fit
    gpu: torch.device | None = None

    @cached_property
    def _pool(self) -> ThreadPoolExecutor:
        ranks = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))  # of this machine, which share its cores
        return ThreadPoolExecutor(max(len(cores()) // ranks, 1))

    def take(self, rows: Tensor) -> Tensor:
        """uint8 (len(rows), 3, S, S), on the GPU if one decodes.

        Raises:
            InputError: a photograph can no longer be decoded.
        """
        items = [self.items[row if self.numbers is None else int(self.numbers[row])] for row in rows.tolist()]
        pictures = torch.empty(len(items), 3, self.size, self.size, dtype=torch.uint8, device=self.gpu)

        def load(place: int) -> None:
            pictures[place] = self._load(items[place])

        made = self._decoded_by_gpu(items)
        for place, picture in made.items():
            pictures[place] = fit_square(picture, self.size, self.fit)
        list(self._pool.map(load, [place for place in range(len(items)) if place not in made]))
        return pictures

    def _load(self, item: Item) -> Tensor:
        try:
            return item.load(self.size, self.fit)
        except UndecodableError as error:
            raise InputError(
                f"{item.name} can't be decoded any more ({error}), and could when the photographs were indexed; "
                "put it back, or start again without it"
            ) from None

    def _decoded_by_gpu(self, items: Sequence[Item]) -> dict[int, Tensor]:
        """Pictures by their place among the items; those of other formats, or that it can't decode, are not in it."""
        if self.gpu is None:
            return {}
        files = {place: file for place, file in enumerate(self._pool.map(_read_jpeg, items)) if file is not None}
        try:
            return dict(zip(files, decode_jpegs(list(files.values()), self.gpu), strict=True))
        except RuntimeError:  # of one of them, it does not say which
            return {}


def _read_jpeg(item: Item) -> Tensor | None:
    try:
        return plain_jpeg(item.read()) if isinstance(item, Stored) else None
    except OSError:  # said when it is loaded
        return None
