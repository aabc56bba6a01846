"""The rows of the README's picture match its caption."""

import runpy
from pathlib import Path

import numpy as np

EXAMPLE = runpy.run_path(str(Path(__file__).parents[2] / "examples" / "photographs.py"))
SIDE, GAP = EXAMPLE["SIDE"], EXAMPLE["GAP"]


def row(sheet: np.ndarray, number: int) -> np.ndarray:
    top = number * (SIDE + GAP)
    return sheet[top : top + SIDE].astype(float)


def test_rows_are_grey_coloured_hinted_and_true():
    """This colorizer paints everything red-brown, and blue if it is given hints."""

    def redden(photograph, hints=()):
        grey = np.asarray(photograph, dtype=float)
        planes = [grey * 0.9 + 25, grey * 0.9, grey * 0.9]
        assert len(hints) in (0, 2)
        return np.stack(planes[::-1] if hints else planes, axis=2).astype(np.uint8)

    sheet = np.asarray(EXAMPLE["draw"](redden))
    assert sheet.shape == (4 * SIDE + 3 * GAP, 4 * SIDE + 3 * GAP, 3)
    grey, coloured, hinted, true = (row(sheet, number) for number in range(4))
    assert np.ptp(grey, axis=2).max() == 0
    assert (coloured[..., 0] - coloured[..., 1]).mean() > 20
    assert (hinted[..., 2] - hinted[..., 1]).mean() > 20
    assert np.ptp(true, axis=2).mean() > 20
    assert abs(true.mean(axis=2)[:, :SIDE] - grey.mean(axis=2)[:, :SIDE]).mean() < 20  # the same photograph
