"""Pictures for tests: a smooth coloured scene with edges, in any size and depth."""

import numpy as np
from PIL import Image, ImageCms

SRGB_PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def scene(height: int = 60, width: int = 90, dtype: str = "uint8") -> np.ndarray:
    """(H, W, 3)."""
    y, x = np.mgrid[:height, :width] / max(height, width)
    planes = [0.2 + 0.6 * x, 0.3 + 0.4 * y + 0.1 * np.sin(9 * x), 0.5 + 0.3 * np.cos(7 * (x + y))]
    picture = np.stack(planes, -1)
    picture[height // 3 : height // 2, width // 4 : width // 2] = 0.9, 0.2, 0.1
    if dtype.startswith("float"):
        return picture.astype(dtype)
    return (picture * np.iinfo(dtype).max + 0.5).astype(dtype)


def pil(height: int = 60, width: int = 90, mode: str = "RGB") -> Image.Image:
    return Image.fromarray(scene(height, width)).convert(mode)


def colourfulness(pixels: np.ndarray) -> float:
    """Return the mean spread of the channels, 0 for grey, in levels of 8 bits."""
    pixels = np.asarray(pixels, np.float64) / (np.iinfo(pixels.dtype).max if pixels.dtype.kind == "u" else 1)
    return float(255 * (pixels[..., :3].max(-1) - pixels[..., :3].min(-1)).mean())
