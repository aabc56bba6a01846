"""Colours scikit-image's photographs, which are in the public domain or CC0, into one picture: grey, coloured, true.

    python examples/photographs.py -o docs/colorized.png [--checkpoint PATH]

It made docs/colorized.png.
"""

import argparse
from pathlib import Path

import numpy as np
import skimage.data
from PIL import Image, ImageOps

from gancolor import Colorizer

SIDE = 240  # of each in the picture [pixels]
GAP = 4
PHOTOGRAPHS = (skimage.data.astronaut, skimage.data.cat, skimage.data.coffee, skimage.data.rocket)


def draw(colorizer: Colorizer) -> Image.Image:
    """Three rows (grey, coloured, true) of four squares, the photographs' centres."""
    true = [ImageOps.fit(Image.fromarray(photograph()), (2 * SIDE, 2 * SIDE)) for photograph in PHOTOGRAPHS]
    grey = [photograph.convert("L") for photograph in true]
    coloured = [Image.fromarray(np.asarray(colorizer(photograph))) for photograph in grey]
    step = SIDE + GAP
    sheet = Image.new("RGB", (len(true) * step - GAP, 3 * step - GAP), "white")
    for row, pictures in enumerate((grey, coloured, true)):
        for column, picture in enumerate(pictures):
            sheet.paste(picture.resize((SIDE, SIDE), Image.Resampling.LANCZOS), (column * step, row * step))
    return sheet


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--checkpoint", help="a run's folder or an exported generator; the bundled one if not given")
    chosen = parser.parse_args()
    draw(Colorizer.load(chosen.checkpoint)).save(chosen.output, optimize=True)


if __name__ == "__main__":
    main()
