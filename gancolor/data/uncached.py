"""Photographs that are decoded again in every epoch."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from gancolor.data.catalogue import Item
from gancolor.data.decode import Fit, UndecodableError
from gancolor.utils.cores import cores
from gancolor.utils.environment import environment_number
from gancolor.utils.errors import InputError


@dataclass(frozen=True, eq=False)
class Decoder:
    """Pictures that are decoded on every access, with one thread per core.

    Args:
        items: the photographs, one for each row of the index on the disk.
        size: side of the squares [pixels].
    """

    items: Sequence[Item]
    size: int
    fit: Fit

    @cached_property
    def _pool(self) -> ThreadPoolExecutor:
        # The ranks on this machine share its cores, unless each is bound to some of them: then `cores` has only those.
        ranks = max(environment_number("LOCAL_WORLD_SIZE", 1), 1)
        return ThreadPoolExecutor(max(min(len(cores()), (os.cpu_count() or 1) // ranks), 1))

    def take(self, rows: Tensor) -> Tensor:
        """Decode the pictures of these rows: uint8 (len(rows), 3, S, S).

        Raises:
            InputError: a photograph can no longer be decoded.
        """
        pictures = torch.empty(len(rows), 3, self.size, self.size, dtype=torch.uint8)

        def load(place: int, row: int) -> None:
            item = self.items[row]
            try:
                pictures[place] = item.load(self.size, self.fit)
            except UndecodableError as error:
                raise InputError(
                    f"{item.name} can't be decoded any more ({error}), although it could when the photographs were "
                    "indexed; put it back, or start again without it"
                ) from None

        list(self._pool.map(load, range(len(rows)), rows.tolist()))
        return pictures
