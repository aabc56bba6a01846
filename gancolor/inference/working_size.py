"""The size of a generator's input: a small version of the photograph, or an enlarged version of a smaller one."""

import warnings

from gancolor.color.arrays import Array

LEAST_SIZE, MOST_SIZE = 16, 4096  # limits of the working size [pixels]
STEP = 16  # the longer side is a multiple of this [pixels], so that photographs of similar shape share a batch
LONGEST = 8  # maximum aspect ratio of the generator's input; longer panoramas are squeezed


def working_size(photograph: tuple[int, int], size: int, trained: int) -> tuple[int, int]:
    """Return height and width of the generator's input for a photograph of this height and width.

    Its shorter side is `size`. Smaller photographs are enlarged, at most to the size that the generator was trained on,
    `trained`: it recognizes things best at the size that they had there.
    """
    short, long = sorted(photograph)
    small = max(LEAST_SIZE, min(size, max(short, trained)))
    large = max(small, round(min(small * long / short, small * LONGEST) / STEP) * STEP)
    return (small, large) if photograph[0] <= photograph[1] else (large, small)


def halved(seen: Array) -> Array:
    """Return inputs (B, 1 or 4, h, w) at half the working size, with a warning.

    Raises:
        MemoryError: half the size would be below the minimum.
    """
    height, width = seen.shape[-2] // 2, seen.shape[-1] // 2
    if min(height, width) < LEAST_SIZE:
        raise MemoryError("the memory is full even at the smallest working size")
    warnings.warn(f"the memory is full: predicting colour at {width} x {height}, half the working size", stacklevel=4)
    even = seen[..., : 2 * height, : 2 * width]
    small = (even[..., ::2, ::2] + even[..., 1::2, ::2] + even[..., ::2, 1::2] + even[..., 1::2, 1::2]) / 4
    if small.shape[1] > 1:  # where only a part of the four pixels has a hint, the whole has its mean colour
        given = small[:, 3:] > 0
        share = small[:, 3:] + ~given
        small[:, 1:] = small[:, 1:] / share
    return small
