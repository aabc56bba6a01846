"""Example photographs: scenes drawn by code, so that one click shows colour."""

from pathlib import Path

from PIL import Image

from gancolor.data.sources.demo import draw_scene

SEED, WIDTH, HEIGHT = 21, 640, 480  # width and height in pixels
SCENES = {"house": 1, "sea": 2, "forest": 0, "sunset": 4}  # indices in the data set


def draw_examples(folder: Path) -> list[Path]:
    """Write the examples as JPEG files to an existing folder."""
    files = []
    for name, index in SCENES.items():
        scene = Image.fromarray(draw_scene(SEED, index, WIDTH))
        top = (WIDTH - HEIGHT) // 2
        files.append(folder / f"{name}.jpg")
        scene.crop((0, top, WIDTH, top + HEIGHT)).save(files[-1], quality=92)
    return files
