"""Colours scikit-image's photographs, which are in the public domain or CC0, into one picture.

    python examples/photographs.py -o docs/colorized.png [--checkpoint PATH]

Rows: grey, coloured, coloured with two hints, true. It made docs/colorized.png.
"""

import argparse
from pathlib import Path

import numpy as np
import skimage.data
from PIL import Image, ImageOps

from gancolor import Colorizer, Hint

SIDE = 240  # of each in the picture [pixels]
GAP = 4
# Each photograph, and two clicks on its middle square of 480 x 480 pixels.
PHOTOGRAPHS = {
    skimage.data.astronaut: (Hint(120, 300, "#e8643c"), Hint(240, 50, "#8f7550")),  # suit, hair
    skimage.data.cat: (Hint(300, 170, "#c08a5a"), Hint(460, 440, "#b09a94")),  # fur, background
    skimage.data.coffee: (Hint(50, 330, "#a03018"), Hint(210, 165, "#d98a45")),  # saucer, coffee
    skimage.data.rocket: (Hint(120, 120, "#2f456f"), Hint(240, 300, "#cdbfa8")),  # sky, rocket
}


def draw(colorizer: Colorizer) -> Image.Image:
    """Four rows of squares, the photographs' middles."""
    true = [ImageOps.fit(Image.fromarray(photograph()), (2 * SIDE, 2 * SIDE)) for photograph in PHOTOGRAPHS]
    grey = [photograph.convert("L") for photograph in true]
    coloured = [Image.fromarray(np.asarray(colorizer(photograph))) for photograph in grey]
    hinted = [
        Image.fromarray(np.asarray(colorizer(photograph, hints=hints)))
        for photograph, hints in zip(grey, PHOTOGRAPHS.values(), strict=True)
    ]
    step = SIDE + GAP
    rows = (grey, coloured, hinted, true)
    sheet = Image.new("RGB", (len(true) * step - GAP, len(rows) * step - GAP), "white")
    for row, pictures in enumerate(rows):
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
