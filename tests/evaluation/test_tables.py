import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from gancolor.color.bins import REACH, bin_centres, nearest_bin, smoothed
from gancolor.color.torch_lab import rgb_to_lab
from gancolor.evaluation.grids import HEADING, LEAST_SIDE, MARGIN, PRIOR_CELL, sample_indices, save_grid, save_prior
from gancolor.evaluation.tables import markdown_table, results_table
from gancolor.metrics.bootstrap import Mean
from gancolor.metrics.table import METRICS


def mean(value: float, half_width: float = math.nan) -> Mean:
    return Mean(value, value - half_width, value + half_width)


SYSTEMS = {
    "grey": {"psnr": mean(22.4444, 0.314), "ssim": mean(0.91666, 0.0049), "colorfulness": mean(0.04, 0.001)},
    "attention_ugan": {
        "psnr": mean(23.5, 0.25), "gain": Mean(1.0556, 0.9, 1.1), "ssim": mean(0.92, 0.004), "fid": mean(12.345),
        "colorfulness": mean(21.26, 1.04), "lpips": mean(0.15, 0.00512), "mse": mean(300.0, 5.0),
    },
    "truth": {"colorfulness": mean(33.0)},
}  # fmt: skip


def test_table_has_systems_in_rows_and_metrics_in_columns():
    """Systems in rows, metrics in columns and always in the same order, decimal points under one another; half of the
    interval, however it lies, and none for a figure of the set as a whole; what is not brief is left out."""
    assert results_table(SYSTEMS).splitlines() == [
        "                   PSNR [dB]    gain [dB]             SSIM            LPIPS    FID  colourfulness",
        "-------------------------------------------------------------------------------------------------",
        "grey            22.44 ± 0.31            -  0.9167 ± 0.0049                -      -      0.0 ± 0.0",
        "attention_ugan  23.50 ± 0.25  1.06 ± 0.10  0.9200 ± 0.0040  0.1500 ± 0.0051  12.35     21.3 ± 1.0",
        "truth                      -            -                -                -      -           33.0",
    ]


def test_metrics_that_no_system_has_have_no_column():
    table = results_table({"a": {"psnr": mean(1.0, 0.1)}, "b": {"ssim": mean(0.5, 0.1)}})
    assert "PSNR" in table and "SSIM" in table and "LPIPS" not in table and "gain" not in table


@given(
    st.dictionaries(
        st.text("abc_", min_size=1, max_size=20),
        st.dictionaries(
            st.sampled_from([name for name, kind in METRICS.items() if kind.brief]),
            st.builds(mean, st.floats(-1e4, 1e4), st.floats(0, 1e3) | st.just(math.nan)),
        ),
        min_size=1,
    )
)
def test_table_has_one_line_per_system_within_the_rule(systems):
    heading, rule, *rows = results_table(systems).splitlines()
    assert len(rows) == len(systems)
    assert len(rule) == max(map(len, [heading, *rows]))
    for row, (name, metrics) in zip(rows, systems.items(), strict=True):
        assert row.startswith(name)
        assert row.count("±") == sum(not math.isnan(mean.half_width) for mean in metrics.values())


def test_markdown_table_has_its_columns_under_one_another():
    """The first to the left, the others to the right, as Markdown's rule says too."""
    rows = [["system", "PSNR", "s"], ["attention_ugan", "23.50 ± 0.25", "7"], ["ugan", "9.1", "12.5"]]
    assert markdown_table(rows).splitlines() == [
        "| system         |         PSNR |    s |",
        "| -------------- | -----------: | ---: |",
        "| attention_ugan | 23.50 ± 0.25 |    7 |",
        "| ugan           |          9.1 | 12.5 |",
    ]


# The grid ---------------------------------------------------------------------------------------------------------


def cell(grid: np.ndarray, row: int, column: int, height: int, width: int) -> np.ndarray:
    top, left = row * (HEADING + height) + HEADING, MARGIN + column * (width + MARGIN)
    return grid[top : top + height, left : left + width]


def noise(*shape: int) -> torch.Tensor:
    return torch.randint(256, shape, dtype=torch.uint8)


def read(path) -> np.ndarray:
    with Image.open(path) as image:
        assert (image.format, image.mode) == ("PNG", "RGB")
        return np.asarray(image)


@pytest.mark.parametrize(("height", "width"), [(128, 160), (200, 128)])
def test_grid_holds_each_picture_pixel_by_pixel(tmp_path, height, width):
    rows = {name: noise(3, 3, height, width) for name in ("grey", "ugan", "truth")}
    save_grid(tmp_path / "grid.png", rows)
    grid = read(tmp_path / "grid.png")
    assert grid.shape == (3 * (HEADING + height) + MARGIN, 3 * (width + MARGIN) + MARGIN, 3)
    for row, pictures in enumerate(rows.values()):
        for column, picture in enumerate(pictures):
            assert np.array_equal(cell(grid, row, column, height, width), picture.permute(1, 2, 0).numpy())


@pytest.mark.parametrize(("size", "times"), [(16, 8), (50, 3), (64, 2), (127, 2), (128, 1), (300, 1)])
def test_small_pictures_are_enlarged_by_whole_pixels(tmp_path, size, times):
    picture = noise(1, 3, size, size)
    save_grid(tmp_path / "grid.png", {"truth": picture})
    side = size * times
    assert side >= LEAST_SIDE
    expected = picture[0].permute(1, 2, 0).numpy().repeat(times, 0).repeat(times, 1)
    assert np.array_equal(cell(read(tmp_path / "grid.png"), 0, 0, side, side), expected)


def test_every_strip_has_its_name_over_it(tmp_path):
    save_grid(tmp_path / "grid.png", {"grey": noise(2, 3, 128, 128), "truth": noise(2, 3, 128, 128)})
    grid = read(tmp_path / "grid.png")
    headings = [grid[row * (HEADING + 128) : row * (HEADING + 128) + HEADING] for row in range(2)]
    assert all((heading == 255).any() and (heading < 100).any() for heading in headings)
    assert not np.array_equal(*headings)
    assert (grid[:, :MARGIN] == 255).all() and (grid[-MARGIN:] == 255).all()


def test_grid_replaces_the_old_one_and_makes_its_folder(tmp_path):
    path = tmp_path / "runs" / "samples" / "step.png"
    for value in (0, 255):
        save_grid(path, {"truth": torch.full((1, 3, 128, 128), value, dtype=torch.uint8)})
    assert (cell(read(path), 0, 0, 128, 128) == 255).all()
    assert [file.name for file in path.parent.iterdir()] == ["step.png"]


@given(st.integers(1, 500), st.integers(1, 40))
def test_samples_are_different_photographs_and_always_the_same(count, samples):
    chosen = sample_indices(count, samples).tolist()
    assert len(chosen) == min(count, samples)
    assert chosen == sorted(set(chosen)) and set(chosen) <= set(range(count))
    assert chosen == sample_indices(count, samples).tolist()


def test_samples_are_spread_over_the_photographs():
    chosen = sample_indices(1000, 20)
    assert chosen.max() > 700 and chosen.min() < 300 and len(set(chosen.diff().tolist())) > 5


# The prior --------------------------------------------------------------------------------------------------------

BINS, COUNT = 313, 2 * REACH + 1
BACKGROUND = 51


def planes(path) -> list[np.ndarray]:
    """The three panels, one pixel a bin: (rows, columns, 3), b upwards and a to the right."""
    side = COUNT * PRIOR_CELL
    grid = read(path)
    assert grid.shape == (3 * (HEADING + side) + MARGIN, side + 2 * MARGIN, 3)
    whole = [cell(grid, row, 0, side, side).reshape(COUNT, PRIOR_CELL, COUNT, PRIOR_CELL, 3) for row in range(3)]
    for panel in whole:
        assert (panel == panel[:, :1, :, :1]).all()
    return [panel[:, 0, :, 0] for panel in whole]


def place(number: int) -> tuple[int, int]:
    """Row and column of a bin."""
    a, b = (bin_centres()[number] * 11).round().int().tolist()
    return REACH - b, REACH + a


@pytest.fixture
def prior():
    """Most pixels grey, a tenth of them pure blue."""
    pure = torch.tensor([0.0, 0.0, 1.0]).reshape(1, 3, 1, 1)
    blue, grey = (nearest_bin(rgb_to_lab(picture)[1]).item() for picture in (pure, torch.full((1, 3, 1, 1), 0.5)))
    shares = torch.zeros(BINS)
    shares[grey], shares[blue] = 0.9, 0.1
    return grey, blue, smoothed(shares)


def test_prior_is_drawn_over_the_plane_of_a_and_b(tmp_path, prior):
    grey, blue, shares = prior
    save_prior(tmp_path / "prior.png", shares, 1 / shares.clamp(min=1e-9))
    colours, share, weight = planes(tmp_path / "prior.png")
    for panel in (colours, share, weight):
        assert ((panel != BACKGROUND).any(axis=-1)).sum() in range(
            BINS - 12, BINS + 1
        )  # a few bins may be equally dark
    assert np.ptp(colours[place(grey)].astype(int)) <= 1  # in its own colour
    assert colours[place(blue)].argmax() == 2 and colours[place(blue)][2] > colours[place(blue)][:2].max() + 60
    assert place(blue)[0] > REACH  # b under 0 is below
    assert (share[place(grey)] == 255).all() and (weight[place(grey)] == 0).all()
    assert 0 < share[place(blue)][0] < 255 and 0 < weight[place(blue)][0] < 255
    rarest = place(int(shares.argmin()))
    assert (share[rarest] == 0).all()
    assert np.array_equal(np.ptp(share, axis=-1), np.zeros((COUNT, COUNT)))  # greys


def test_equal_weights_can_be_drawn(tmp_path):
    save_prior(tmp_path / "prior.png", torch.full((BINS,), 1 / BINS), torch.ones(BINS))
    assert all(panel.shape == (COUNT, COUNT, 3) for panel in planes(tmp_path / "prior.png"))
