"""Scores against the number of colour hints (`evaluate.py --hints`), as in Zhang 2017, figure 5."""

from collections.abc import Mapping, Sequence

from torch import nn

from gancolor.data.cache.photographs import Photographs
from gancolor.evaluation.scoring import Scores, View, as_system, random_hints, score, with_gain
from gancolor.evaluation.tables import figure, text_table
from gancolor.metrics.bootstrap import Mean, difference, summarize
from gancolor.metrics.image import PictureDistance
from gancolor.metrics.table import METRICS
from gancolor.utils.errors import InputError
from gancolor.utils.hardware import Hardware

HintMeans = dict[int, dict[str, Mean]]  # number of hints -> metric -> mean over photographs
MOST = 1000  # maximum number of hints per photograph
COLUMNS = ("psnr", "gain", "over_automatic", "lpips", "colorfulness")
OVER_AUTOMATIC = "PSNR over automatic [dB]"


def parse_numbers(text: str) -> list[int]:
    """Parse numbers of hints, such as "0,1,10", to ascending numbers that include 0.

    Raises:
        InputError: another form, or more than MOST hints.
    """
    words = [word.strip() for word in text.split(",")]
    if not all(word.isdecimal() and int(word) <= MOST for word in words):
        raise InputError(f"--hints {text}: give numbers of hints from 0 to {MOST}, such as 0,1,2,5,10,20,50,100")
    return sorted({0, *map(int, words)})


def score_hints(
    generators: Mapping[str, nn.Module], automatic: Mapping[str, Scores], grey: Scores, numbers: Sequence[int],
    photographs: Photographs, hardware: Hardware, batch_size: int, networks: Mapping[str, PictureDistance], view: View,
    sizes: Mapping[str, int], strength: float = 1.0,
) -> dict[str, HintMeans]:  # fmt: skip
    """Score generators with random hints: patches of 6 x 6 pixels that show their mean true colour.

    Args:
        automatic: the generators' scores without hints.
        grey: the grey baseline's scores.
        numbers: of hints; 0 is `automatic`.
        sizes: of the generators' inputs.
        strength: as the sizes, see `colorize`.

    Returns:
        For each generator and number, the means of all metrics, and under "over_automatic" the PSNR minus that without
        hints, paired by photograph.
    """
    found: dict[str, HintMeans] = {name: {} for name in generators}
    for number in numbers:
        draw = random_hints(photographs, number, hardware.device)
        systems = {
            name: as_system(generator, view, draw, sizes[name], strength) for name, generator in generators.items()
        }
        scored = score(systems, photographs, hardware, batch_size, networks)[0] if number else dict(automatic)
        for name in generators:
            scores = with_gain(scored[name], grey)
            over = difference(scores["psnr"], automatic[name]["psnr"])
            found[name][number] = summarize(scores) | {"over_automatic": over}
    return found


def hint_table(means: HintMeans) -> str:
    """Format a table of numbers of hints (rows) and metrics (columns)."""
    columns = [name for name in COLUMNS if any(name in row for row in means.values())]
    headings = [METRICS[name].heading if name in METRICS else OVER_AUTOMATIC for name in columns]
    rows = [["hints", *headings]]
    for number, row in means.items():
        rows.append([str(number), *(figure(row.get(name), name if name in METRICS else "gain") for name in columns)])
    return text_table(rows)
