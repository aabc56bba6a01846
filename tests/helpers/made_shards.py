"""Shards for tests: tar files as WebDataset writes them."""

import io
import tarfile
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from PIL import Image

from gancolor.data.sources.demo import draw_scene


@cache
def jpeg(number: int, size: int = 40) -> bytes:
    """Encode a scene, a different one for each number."""
    file = io.BytesIO()
    Image.fromarray(draw_scene(5, number, size)).save(file, "JPEG", quality=90)
    return file.getvalue()


def tar(files: Mapping[str, bytes]) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as file:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            file.addfile(info, io.BytesIO(data))
    return made.getvalue()


def shard(numbers: Sequence[int], classes: int = 0) -> bytes:
    """The scenes of these numbers, with .cls beside where there are classes."""
    files = {}
    for number in numbers:
        files[f"{number:04d}.jpg"] = jpeg(number)
        if classes:
            files[f"{number:04d}.cls"] = str(number % classes).encode()
    return tar(files)


def write_shards(folder: Path, shards: int, photographs: int, classes: int = 0, name: str = "train") -> Path:
    """Write `count` shards with the given number of photographs each."""
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(shards):
        numbers = range(index * photographs, (index + 1) * photographs)
        (folder / f"{name}-{index:03d}.tar").write_bytes(shard(numbers, classes))
    return folder
