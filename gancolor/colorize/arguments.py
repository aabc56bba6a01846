"""Command-line arguments of `gancolor colorize`. Nothing else is imported, so that `--help` is fast."""

import argparse
from pathlib import Path
from typing import Any

from gancolor.choices import PICTURE_FORMATS
from gancolor.utils.arguments import count


def add_colorize(commands: Any) -> argparse.ArgumentParser:
    """Add the parser of `gancolor colorize` to the commands' parsers, and return it."""
    colorize = commands.add_parser(
        "colorize",
        help="colour photographs and videos: files, folders, patterns",
        usage="gancolor colorize IN... [-o OUT] [--checkpoint PATH] [--size N] [--strength X] [--format NAME] [...]",
        description="Colours photographs and videos. OUT gets the same subfolders as the input. Existing results are "
        "skipped, so the same command resumes an interrupted one. Files that can't be read are listed at the end, and "
        "make the exit status 1. More in docs/colorizing.md.",
        allow_abbrev=False,
        argument_default=argparse.SUPPRESS,
    )
    colorize.add_argument(
        "inputs", metavar="IN", nargs="*", default=[], help="files, folders, or quoted patterns ('scans/**/*.tif')"
    )
    add = colorize.add_argument_group("output").add_argument
    add("-o", "--out", metavar="OUT", help="output folder; for a single input, an output file too (default: colorized)")
    add("--format", metavar="NAME", dest="picture_format", type=str.lower,
        help=f"{', '.join(PICTURE_FORMATS)}, or keep: the photograph's own format (default: keep)")  # fmt: skip
    add("--quality", metavar="N", type=count, help="quality of jpg, webp, avif and videos, 1 to 100 (default: 95)")
    add("--side_by_side", action="store_true",
        help="write one picture of the grey, the coloured and (if it had colour) the original photograph")  # fmt: skip
    add("--no_disclosure", dest="disclosure", action="store_false",
        help="don't say in the files' metadata that a machine made the colours (docs/colorizing.md)")  # fmt: skip
    add("--overwrite", action="store_true", help="overwrite existing results")
    add("--in_place", action="store_true", help="overwrite the input files")
    add = colorize.add_argument_group("colouring").add_argument
    add("--checkpoint", metavar="PATH", type=Path, action="append",
        help="run folder, .safetensors or .onnx file (default: the bundled generator); several for --variants"
        )  # fmt: skip
    add("--size", metavar="N", type=count,
        help="shorter side of the network's input in pixels (default: as in training, which is usually best)"
        )  # fmt: skip
    add("--strength", metavar="X", type=float, help="strength of the colour, 0 (grey) to 2 (default: 1)")
    add("--upsampling", metavar="NAME",
        help="how colour is upsampled: guided (follows the photograph's edges) or bilinear (default: guided)"
        )  # fmt: skip
    add("--flips", action="store_true",
        help="average the predictions of the photograph and its mirror image (half the speed)")  # fmt: skip
    add("--hint", metavar="X,Y,COLOR[,R]", action="append",
        help="colour of the place X, Y of a single photograph, within R pixels; may be repeated (docs/hints.md)"
        )  # fmt: skip
    add("--hints", metavar="FILE", type=Path,
        help="JSON file of hints for a single photograph (default: PHOTO.hints.json beside each)")  # fmt: skip
    add("--variants", metavar="N", type=count,
        help="write up to N colourings of each photograph: PHOTO.1.jpg, PHOTO.2.jpg, ...; by the distribution of "
        "siggraph17 or eccv16, or one for each --checkpoint (docs/hints.md)")  # fmt: skip
    add("--uncertainty", metavar="FILE", type=Path,
        help="for a single photograph, also write a map of siggraph17's or eccv16's uncertainty")  # fmt: skip
    add("--smoothing", metavar="X", type=float,
        help="smoothing of a video's colour from frame to frame, 0 (none) to 1 (default: 0.8)")  # fmt: skip
    add("--device", metavar="NAME", help="auto, cpu, cuda, cuda:1, mps (default: auto)")
    return colorize
