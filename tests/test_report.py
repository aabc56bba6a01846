import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from gancolor.color import to_uint8
from gancolor.evaluation import Mean
from gancolor.report import HEADING, LEAST_SIDE, MARGIN, results_table, sample_indices, save_grid

SYSTEMS = {
    "grey": {"psnr": Mean(22.4444, 0.314), "ssim": Mean(0.91666, 0.0049), "colorfulness": Mean(0.04, 0.001)},
    "attention_ugan": {
        "psnr": Mean(23.5, 0.25), "gain": Mean(1.0556, 0.1), "ssim": Mean(0.92, 0.004),
        "colorfulness": Mean(21.26, 1.04), "lpips": Mean(0.15, 0.00512),
    },
    "truth": {"colorfulness": Mean(33.0, math.nan)},
}  # fmt: skip


def test_table_is_as_people_read_it():
    """Systems in rows, metrics in columns and always in the same order, decimal points under one another."""
    assert results_table(SYSTEMS).splitlines() == [
        "                   PSNR [dB]    gain [dB]             SSIM            LPIPS  colourfulness",
        "------------------------------------------------------------------------------------------",
        "grey            22.44 ± 0.31            -  0.9167 ± 0.0049                -      0.0 ± 0.0",
        "attention_ugan  23.50 ± 0.25  1.06 ± 0.10  0.9200 ± 0.0040  0.1500 ± 0.0051     21.3 ± 1.0",
        "truth                      -            -                -                -           33.0",
    ]


def test_metrics_that_no_system_has_have_no_column():
    table = results_table({"a": {"psnr": Mean(1.0, 0.1)}, "b": {"ssim": Mean(0.5, 0.1)}})
    assert "PSNR" in table and "SSIM" in table and "LPIPS" not in table and "gain" not in table


@given(
    st.dictionaries(
        st.text("abc_", min_size=1, max_size=20),
        st.dictionaries(
            st.sampled_from(["psnr", "gain", "ssim", "lpips", "colorfulness"]),
            st.builds(Mean, st.floats(-1e4, 1e4), st.floats(0, 1e3) | st.just(math.nan)),
        ),
        min_size=1,
    )
)
def test_table_has_a_line_a_system_and_no_wider_one_than_its_rule(systems):
    heading, rule, *rows = results_table(systems).splitlines()
    assert len(rows) == len(systems)
    assert len(rule) == max(map(len, [heading, *rows]))
    for row, (name, metrics) in zip(rows, systems.items(), strict=True):
        assert row.startswith(name)
        assert row.count("±") == sum(not math.isnan(mean.stderr) for mean in metrics.values())


# The grid ---------------------------------------------------------------------------------------------------------


def cell(grid: np.ndarray, row: int, column: int, height: int, width: int) -> np.ndarray:
    top, left = row * (HEADING + height) + HEADING, MARGIN + column * (width + MARGIN)
    return grid[top : top + height, left : left + width]


def read(path) -> np.ndarray:
    with Image.open(path) as image:
        assert (image.format, image.mode) == ("PNG", "RGB")
        return np.asarray(image)


@pytest.mark.parametrize(("height", "width"), [(128, 160), (200, 128)])
def test_grid_holds_each_picture_pixel_by_pixel(tmp_path, height, width):
    rows = {name: torch.rand(3, 3, height, width) for name in ("grey", "ugan", "truth")}
    save_grid(tmp_path / "grid.png", rows)
    grid = read(tmp_path / "grid.png")
    assert grid.shape == (3 * (HEADING + height) + MARGIN, 3 * (width + MARGIN) + MARGIN, 3)
    for row, pictures in enumerate(rows.values()):
        for column, picture in enumerate(pictures):
            expected = to_uint8(picture).permute(1, 2, 0).numpy()
            assert np.array_equal(cell(grid, row, column, height, width), expected)


@pytest.mark.parametrize(("size", "times"), [(16, 8), (50, 3), (64, 2), (127, 2), (128, 1), (300, 1)])
def test_small_pictures_are_enlarged_by_whole_pixels(tmp_path, size, times):
    picture = torch.rand(1, 3, size, size)
    save_grid(tmp_path / "grid.png", {"truth": picture})
    side = size * times
    assert side >= LEAST_SIDE
    expected = to_uint8(picture[0]).permute(1, 2, 0).numpy().repeat(times, 0).repeat(times, 1)
    assert np.array_equal(cell(read(tmp_path / "grid.png"), 0, 0, side, side), expected)


def test_every_strip_has_its_name_over_it(tmp_path):
    save_grid(tmp_path / "grid.png", {"grey": torch.zeros(2, 3, 128, 128), "truth": torch.zeros(2, 3, 128, 128)})
    grid = read(tmp_path / "grid.png")
    headings = [grid[row * (HEADING + 128) : row * (HEADING + 128) + HEADING] for row in range(2)]
    assert all((heading == 255).any() and (heading < 100).any() for heading in headings)
    assert not np.array_equal(*headings)
    assert (grid[:, :MARGIN] == 255).all() and (grid[-MARGIN:] == 255).all()


def test_grid_replaces_the_old_one_and_makes_its_folder(tmp_path):
    path = tmp_path / "runs" / "samples" / "step.png"
    for value in (0.0, 1.0):
        save_grid(path, {"truth": torch.full((1, 3, 128, 128), value)})
    assert (cell(read(path), 0, 0, 128, 128) == 255).all()
    assert [file.name for file in path.parent.iterdir()] == ["step.png"]


@given(st.integers(1, 500), st.integers(1, 40))
def test_samples_are_different_photographs_and_always_the_same(count, samples):
    chosen = sample_indices(count, samples).tolist()
    assert len(chosen) == min(count, samples)
    assert chosen == sorted(set(chosen)) and set(chosen) <= set(range(count))
    assert chosen == sample_indices(count, samples).tolist()


def test_samples_are_from_all_over():
    chosen = sample_indices(1000, 20)
    assert chosen.max() > 700 and chosen.min() < 300 and len(set(chosen.diff().tolist())) > 5
