"""A training's log for TensorBoard, in RUN/tensorboard. Only this file imports it, and only where it is used."""

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image

from gancolor.utils.errors import InputError

FOLDER = "tensorboard"


def check_tensorboard() -> None:
    """Raise InputError if TensorBoard is not installed."""
    spec = importlib.util.find_spec("tensorboard")
    if spec is None or spec.origin is None:  # a plain folder of that name has no origin
        raise InputError("--tracking.tensorboard needs TensorBoard: pip install 'gancolor[tensorboard]'")


class TensorBoard:
    """Writer of a training's numbers, sample grids and options, which continues from `step` (0: fresh).

    A fresh start removes the log in the folder; a resumed training continues it, and TensorBoard hides the later steps
    of the interrupted one.
    """

    def __init__(self, run: Path, options: Mapping[str, Any], step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        folder = run / FOLDER
        if not step:
            for old in folder.glob("events.out.tfevents.*"):
                old.unlink()
        self._writer = SummaryWriter(str(folder), purge_step=step + 1 if step else None)
        if not step:
            text = yaml.safe_dump(dict(options), sort_keys=False)
            self._writer.add_text("options", "".join(f"    {line}\n" for line in text.splitlines()), 0)

    def log(self, step: int, values: Mapping[str, float | str]) -> None:
        """Write the numbers among the values."""
        for name, value in values.items():
            if not isinstance(value, str):
                self._writer.add_scalar(name, value, step)
        self._writer.flush()  # so that a resumed training misses nothing

    def picture(self, step: int, name: str, path: Path) -> None:
        with Image.open(path) as image:
            self._writer.add_image(name, np.asarray(image.convert("RGB")), step, dataformats="HWC")
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()
