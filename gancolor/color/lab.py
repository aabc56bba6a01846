"""sRGB and CIELAB (D65) conversion for photographs at full resolution, in float32.

The colour space is that of `torch_lab`, but these functions take arrays of any library (NumPy, PyTorch on any device),
so that colouring a photograph does not need PyTorch. f is the function in CIELAB's definition (CIE 15): the cube root
of X, Y or Z relative to white, and a straight line near black.
"""

import numpy as np

from gancolor.color.arrays import Array, array_namespace, device

L_HALF_RANGE = 50.0  # L runs from 0 to 100
AB_RANGE = 110.0  # upper bound of |a| and |b| of sRGB colours: the largest is b = -107.86, of pure blue
KNEE = 0.008856  # XYZ relative to white, below which f is a straight line
SLOPE = 7.787  # of that line
# L = LIGHTNESS f(Y) - OFFSET, a = A (f(X) - f(Y)), b = B (f(Y) - f(Z))
LIGHTNESS, OFFSET, A, B = 116.0, 16.0, 500.0, 200.0
F_KNEE = SLOPE * KNEE + OFFSET / LIGHTNESS
# Linear sRGB to XYZ relative to white (D65), with kornia's and scikit-image's digits.
RGB_TO_XYZ = np.array([[0.412453, 0.357580, 0.180423], [0.212671, 0.715160, 0.072169], [0.019334, 0.119193, 0.950227]])
RGB_TO_XYZ /= np.array([[0.95047], [1.0], [1.08883]])
XYZ_TO_RGB = np.linalg.inv(RGB_TO_XYZ)
SPILL = 1e-4  # tolerance for linear sRGB outside 0..1: invisible in 8 bits, and greys exceed 0..1 by rounding errors
STEPS = 6  # iterations towards the gamut's boundary: then 999 of 1000 pixels are within half a unit of its chroma


def decode(rgb: Array) -> Array:
    """Convert sRGB values in [0, 1] to linear light (IEC 61966-2-1)."""
    xp = array_namespace(rgb)
    return xp.where(rgb > 0.04045, ((rgb + 0.055) / 1.055) ** 2.4, rgb / 12.92)


def encode(linear: Array) -> Array:
    """Convert linear light to sRGB values, clipped to [0, 1]."""
    xp = array_namespace(linear)
    linear = linear.clip(0.0, 1.0)
    return xp.where(linear > 0.0031308, 1.055 * linear ** (1 / 2.4) - 0.055, 12.92 * linear)


def f(ratio: Array) -> Array:
    """Apply Lab's f to XYZ relative to white."""
    # Power and line meet at the knee, so each is clipped there and both are added; a mask takes ten times as long.
    above = ratio.clip(KNEE, None)
    root = np.cbrt(above) if isinstance(above, np.ndarray) else above ** (1 / 3)
    return root + SLOPE * (ratio - KNEE).clip(None, 0.0)


def inverse_f(value: Array) -> Array:
    """Apply the inverse of `f`; returns XYZ relative to white."""
    above = value if value.min() >= F_KNEE else value.clip(F_KNEE, None)  # most arrays have no value this dark
    cube = above * above
    cube *= above
    if above is not value:
        cube += (1 / SLOPE) * (value - F_KNEE).clip(None, 0.0)
    return cube


def luminance(linear: Array) -> Array:
    """Return Y, (..., H, W), of linear sRGB (..., 3, H, W)."""
    red, green, blue = RGB_TO_XYZ[1].tolist()
    return red * linear[..., 0, :, :] + green * linear[..., 1, :, :] + blue * linear[..., 2, :, :]


def lightness(f_of_y: Array) -> Array:
    """Convert f(Y) to L in 0..100."""
    return LIGHTNESS * f_of_y - OFFSET


def to_linear(roots: Array) -> Array:
    """Convert f of X, Y and Z (3, N) to linear sRGB (3, N), in 0..1 within SPILL.

    For colours outside the sRGB gamut, it keeps lightness and hue, and reduces chroma to the largest possible value.
    """
    xp = array_namespace(roots)
    rgb = _to_linear(roots)
    if rgb.min() >= -SPILL and rgb.max() <= 1 + SPILL:
        return rgb
    outside = xp.nonzero(_excess(rgb) > SPILL)[0]
    if not len(outside):  # the values are not numbers
        return rgb
    grey = xp.take(roots[1], outside)
    chroma = xp.take(roots, outside, axis=1) - grey
    # Find the largest share of the chroma within the gamut by false position between 0 and 1. The value at an end
    # that stays is halved (the Illinois algorithm, Dowell and Jarratt 1971).
    low, high = xp.zeros_like(grey), xp.ones_like(grey)
    inside, beyond = _excess(_to_linear(grey + 0 * chroma)).clip(None, 0.0), _excess(xp.take(rgb, outside, axis=1))
    for _ in range(STEPS):
        share = low + (high - low) * inside / (inside - beyond)
        excess = _excess(_to_linear(grey + share * chroma))
        fits = excess <= 0
        low, high = xp.where(fits, share, low), xp.where(fits, high, share)
        inside, beyond = xp.where(fits, excess, inside / 2), xp.where(fits, beyond / 2, excess)
    share = low + (high - low) * inside / (inside - beyond)
    rgb[:, outside] = _to_linear(grey + share * chroma).clip(0.0, 1.0)
    return rgb


def _to_linear(roots: Array) -> Array:
    xp = array_namespace(roots)
    return xp.asarray(XYZ_TO_RGB, dtype=xp.float32, device=device(roots)) @ inverse_f(roots)


def _excess(rgb: Array) -> Array:
    """Return how far a pixel's worst channel lies outside 0..1, negative if inside: (N,) for linear sRGB (3, N)."""
    red, green, blue = abs(rgb - 0.5)
    xp = array_namespace(rgb)
    return xp.maximum(xp.maximum(red, green), blue) - 0.5
