"""The node `Colorize (gancolor)`, in ComfyUI's first interface for nodes (V1), which all its versions load.

https://docs.comfy.org/custom-nodes/backend/server_overview describes the interface.
"""

from functools import lru_cache
from pathlib import Path
from typing import Any

import folder_paths  # ComfyUI's
import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from gancolor import Colorizer, Hint

BUNDLED = "bundled"
MODELS = "gancolor"  # the folder in ComfyUI's models, and its key in extra_model_paths.yaml
SUFFIXES = {".safetensors", ".onnx"}
MOST_SIZE = 4096
MOST_STRENGTH = 2.0
CELLS = 64  # of the shorter side: a hint is given to each cell that the mask covers

_paths, _ = folder_paths.folder_names_and_paths.get(MODELS, ([], set()))
_own = str(Path(folder_paths.models_dir) / MODELS)
folder_paths.folder_names_and_paths[MODELS] = ([*_paths, *([] if _own in _paths else [_own])], SUFFIXES)


class ColorizeNode:
    """Colours a batch of photographs. Their own colours are ignored, and their lightness stays."""

    CATEGORY = "image"
    DESCRIPTION = __doc__
    RETURN_TYPES = ("IMAGE",)
    FUNCTION = "colorize"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802
        return {
            "required": {
                "image": ("IMAGE",),
                "generator": (
                    [BUNDLED, *folder_paths.get_filename_list(MODELS)],
                    {"tooltip": f"The bundled generator, or a file that gancolor export has put in models/{MODELS}."},
                ),
                "strength": (
                    "FLOAT",
                    {
                        "default": 1.0, "min": 0.0, "max": MOST_STRENGTH, "step": 0.05,
                        "tooltip": "Factor on the predicted colours; 0 is grey.",
                    },
                ),
                "size": (
                    "INT",
                    {
                        "default": 0, "min": 0, "max": MOST_SIZE, "step": 16,
                        "tooltip": "Shorter side of the network's input; 0: as in training, which is usually best.",
                    },
                ),
            },
            "optional": {
                "hint_image": ("IMAGE", {"tooltip": "Colours for the places that hint_mask covers."}),
                "hint_mask": ("MASK",),
            },
        }  # fmt: skip

    @classmethod
    def IS_CHANGED(cls, generator: str, **_: Any) -> float:  # noqa: N802
        """Return what changes with the generator's file, so that the node runs again."""
        return 0.0 if generator == BUNDLED else _path(generator).stat().st_mtime

    @classmethod
    def VALIDATE_INPUTS(cls, size: int | None = None) -> bool | str:  # noqa: N802
        """Return True, or what is wrong. A value that comes from another node is None here."""
        return True if not size or size >= 16 else f"size: {size} is less than 16; 0 is the size of training"

    def colorize(
        self,
        image: Tensor,
        generator: str,
        strength: float,
        size: int,
        hint_image: Tensor | None = None,
        hint_mask: Tensor | None = None,
    ) -> tuple[Tensor]:
        """Colour pictures (B, H, W, C) in 0 to 1; hints (1 or B, h, w, C) and their masks may have another size."""
        colorizer = _loaded(generator, self.IS_CHANGED(generator), size, strength)
        pictures = image.clamp(0, 1).movedim(-1, 1)
        if (hint_image is None) != (hint_mask is None):
            raise ValueError("hint_image and hint_mask go together: connect both, or neither")
        if hint_image is None or hint_mask is None:
            return (colorizer(pictures).movedim(1, -1),)
        hints = [_hints(*pair, picture.shape[-2:]) for *pair, picture in _matched(hint_image, hint_mask, pictures)]
        coloured = [colorizer(picture, given) for picture, given in zip(pictures, hints, strict=True)]
        return (torch.stack(coloured).movedim(1, -1),)


def _matched(colours: Tensor, masks: Tensor, pictures: Tensor) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Return the colours, the mask and the picture of each picture; a single hint is for all."""
    count = len(pictures)
    if not {len(colours), len(masks)} <= {1, count}:
        raise ValueError(
            f"{len(colours)} hint_image and {len(masks)} hint_mask for {count} pictures: give 1 or {count}"
        )
    return list(zip(colours.expand(count, -1, -1, -1), masks.expand(count, -1, -1), pictures, strict=True))


def _hints(colours: Tensor, mask: Tensor, size: torch.Size) -> list[Hint]:
    """Return a hint for each cell of a grid of which the mask covers at least half, with the mean colour under the
    mask."""
    height, width = size
    cell = max(1.0, min(size) / CELLS)
    grid = round(height / cell), round(width / cell)
    rgb = colours[..., :3].clamp(0, 1).movedim(-1, 0)
    weight = adaptive_avg_pool2d(mask.clamp(0, 1)[None], rgb.shape[-2:])
    covered = adaptive_avg_pool2d(mask[None], grid)[0] >= 0.5
    mean = adaptive_avg_pool2d(rgb * weight, grid) / adaptive_avg_pool2d(weight, grid)  # NaN only where the mask is 0
    rgb = mean.expand(3, -1, -1).nan_to_num().mul(255).round().int()
    step_y, step_x = height / grid[0], width / grid[1]
    return [
        Hint((x + 0.5) * step_x, (y + 0.5) * step_y, "#{:02x}{:02x}{:02x}".format(*rgb[:, y, x].tolist()), cell / 2)
        for y, x in covered.nonzero().tolist()
    ]


@lru_cache(1)
def _loaded(generator: str, changed: float, size: int, strength: float) -> Colorizer:
    """Load a generator. `changed` is only a part of the cache's key."""
    path = None if generator == BUNDLED else _path(generator)
    return Colorizer.load(path, size=size or None, strength=strength)


def _path(generator: str) -> Path:
    path = folder_paths.get_full_path(MODELS, generator)
    if path is None:
        raise FileNotFoundError(f"{generator} is not in models/{MODELS}; choose another generator")
    return Path(path)


NODE_CLASS_MAPPINGS = {"GancolorColorize": ColorizeNode}
NODE_DISPLAY_NAME_MAPPINGS = {"GancolorColorize": "Colorize (gancolor)"}
