"""A run's photographs: training set, validation set, and the order of training batches."""

from typing import Any

import torch

from gancolor.config.options import GREY_BELOW, DataConfig
from gancolor.data.cache.photographs import load_source
from gancolor.data.loader import Batches
from gancolor.data.sources.find import find_source, open_source
from gancolor.utils.errors import InputError


class Dataset:
    """Training and validation photographs, decoded, and the training batches.

    Attributes:
        train: all photographs that could be decoded; `batches.kept` are those used for training.
        val: the validation photographs in colour; `val_grey` names the others that could be decoded.
        digest: changes when any photograph does, and is the same for copies of a folder.
        names_digest: also changes with the photographs' order.

    Raises:
        InputError: no photographs, none that can be decoded, or fewer than a batch.
    """

    def __init__(self, config: DataConfig, seed: int, device: torch.device) -> None:
        self.config = config
        if (config.decode, config.on_device) == ("always", "always"):
            raise InputError("--data.decode always and --data.on_device always: what is decoded each time is not kept")
        found = find_source(
            config.source, seed, config.val_fraction, config.limit, config.val_limit, config.demo_photos
        )
        self.source = open_source(found, config.size, config.cache, decode=config.decode)
        train, val = load_source(self.source, config.size, config.cache, config.decode)
        for part, photographs in (("training", train), ("validation", val)):
            if not len(photographs):
                name, reason = next(iter(photographs.skipped.items()))
                raise InputError(
                    f"--data.source {config.source}: none of its {part} photographs can be decoded ({name}: {reason})"
                )
        self.train = train.to(device, config.on_device)
        self.digest = f"{self.train.contents_digest} {val.contents_digest}"
        self.names_digest = (self.train.order_digest + val.order_digest).hex()
        # Not all that training leaves out: a choice of vivid photographs must not change what runs are compared on.
        self.val, self.val_grey = val.without_grey(min(config.min_colorfulness, GREY_BELOW))
        if not len(self.val):
            raise InputError(
                f"--data.source {config.source}: its validation photographs ({len(val)}) are all grey, so colours "
                "can't be judged on them; put photographs in colour among them, or give --data.min_colorfulness 0"
            )
        kept = self.train.colourful(config.min_colorfulness)
        self.batches = Batches(self.train, kept, config.batch_size, seed)
        if not self.batches.steps_per_epoch:
            raise InputError(self._too_few())

    def _too_few(self) -> str:
        kept, left_out = len(self.batches.kept), len(self.train) - len(self.batches.kept)
        grey = f", {left_out} more left out as grey" if left_out else ""
        advice = f"lower --data.batch_size{' or --data.min_colorfulness' if left_out else ''}"
        if self.batches.store:
            return (
                f"the batch ({self.batches.batch_size}) is larger than what is in the shards of a process ({kept} "
                f"photographs in {len(self.batches.store.names)} shards{grey}); {advice}, or start fewer processes"
            )
        return (
            f"the batch ({self.batches.effective_batch}) is larger than the training set ({kept} photographs{grey}); "
            f"{advice}"
        )

    @property
    def left_out(self) -> int:
        """Number of photographs left out of training and validation, grey or undecodable."""
        grey = len(self.train) - len(self.batches.kept) + len(self.val_grey)
        return grey + len(self.train.skipped) + len(self.val.skipped)

    def summary(self) -> dict[str, Any]:
        """Return the data's metadata for a checkpoint."""
        return {
            "source": self.config.source,
            "train": len(self.batches.kept),
            "val": len(self.val),
            "size": self.config.size,
            "classes": self.source.classes,
            "held_out": self.source.held_out,
            "digest": self.digest,
        }

    def listing(self) -> dict[str, Any]:
        """Return the content of photographs.json: counts, the photographs left out and why, and if we chose the
        validation photographs, their names (training uses all others)."""
        grey = torch.ones(len(self.train), dtype=torch.bool)
        grey[self.batches.kept] = False
        listing: dict[str, Any] = {
            "source": self.source.name,
            "classes": self.source.classes,
            "train": {
                "used": len(self.batches.kept),
                "left_out_as_grey": list(self.train.names.select(grey.nonzero().flatten().numpy())),
                "left_out_as_undecodable": self.train.skipped,
            },
            "val": {
                "used": len(self.val),
                "left_out_as_grey": self.val_grey,
                "left_out_as_undecodable": self.val.skipped,
            },
        }
        if self.source.held_out:
            listing["split"] = {"val": [*self.val.names, *self.val_grey]}
        return listing

    def __str__(self) -> str:
        yours = " (yours: --data.source DIR)" if self.config.source == "demo" else ""
        size = self.config.size
        return (
            f"{len(self.batches.kept)} photographs of {self.source.name}, validating on {len(self.val)}, "
            f"{size} x {size}{yours}"
        )
