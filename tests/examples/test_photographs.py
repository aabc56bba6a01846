"""The rows of the README's picture match its caption."""

import runpy
from pathlib import Path

import numpy as np

EXAMPLE = runpy.run_path(str(Path(__file__).parents[2] / "examples" / "photographs.py"))
SIDE, GAP = EXAMPLE["SIDE"], EXAMPLE["GAP"]


def row(sheet: np.ndarray, number: int) -> np.ndarray:
    top = number * (SIDE + GAP)
    return sheet[top : top + SIDE].astype(float)


def test_rows_are_grey_coloured_and_true():
    """This colorizer paints everything red-brown, so the middle row is red-brown and the others are not."""

    def redden(photograph):
        grey = np.asarray(photograph, dtype=float)
        return np.stack([grey * 0.9 + 25, grey * 0.9, grey * 0.9], axis=2).astype(np.uint8)

    sheet = np.asarray(EXAMPLE["draw"](redden))
    assert sheet.shape == (3 * SIDE + 2 * GAP, 4 * SIDE + 3 * GAP, 3)
    grey, coloured, true = (row(sheet, number) for number in range(3))
    assert np.ptp(grey, axis=2).max() == 0
    assert (coloured[..., 0] - coloured[..., 1]).mean() > 20
    assert np.ptp(true, axis=2).mean() > 20
    assert abs(true.mean(axis=2)[:, :SIDE] - grey.mean(axis=2)[:, :SIDE]).mean() < 20  # the same photograph
