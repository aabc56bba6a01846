"""Simulated tonal damage: the lightness of photographs as on old film and in old prints.

Generators are trained on modern photographs but used on old ones, whose greys differ: film that was insensitive to red,
soft lenses, other exposure and development, grain, faded prints. Here x is lightness as a share of white, L / 100 in
[0, 1]. A strength scales every kind of damage: 0 is none, 1 the most that old photographs commonly show.
"""

import math
from collections.abc import Iterable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from gancolor.color.lab import RGB_TO_XYZ
from gancolor.color.torch_lab import L_HALF_RANGE, lightness_of
from gancolor.data.chance import generator_of_name

EYE: list[float] = RGB_TO_XYZ[1].tolist()  # weights of linear R, G and B in luminance
DAMAGED = 0.75  # share of the training photographs that are damaged; the others stay unchanged
EACH = 0.7  # probability of each kind of damage in a damaged photograph
# Maximum of each kind, at strength 1.
GREEN = (0.2, 0.7)  # share of green in early film's sensitivity, from blue-sensitive plates to orthochromatic film
BLUR = 0.008  # standard deviation of the blur, as a share of the photograph's side
STOPS = 0.7  # exponents of the tone curve lie between 2 ** -STOPS and 2 ** STOPS
BLACK, WHITE = (-0.08, 0.22), (0.72, 1.08)  # new values of black and white: faded, or out of range and clipped
GRAIN = 0.045  # standard deviation of the grain in a middle grey
REACH = 2.5  # radius of the blur's kernel [standard deviations of the strongest blur]


class Damage(NamedTuple):
    """Damage to each of B photographs.

    Attributes:
        any: bool (B, 1, 1, 1): whether the photograph is damaged at all.
        film: (B, 1, 1, 1) in [0, 1]: how much of its grey comes from film that is insensitive to red.
        green: (B, 1, 1, 1) in [0, 1]: the share of green in that film's sensitivity; the rest is blue.
        blur: (B, 1, 1, 1): standard deviation of the blur, as a share of the side.
        exponent: (B, 1, 1, 1), > 0: of the tone curve.
        grain: (B, 1, 1, 1): standard deviation of the grain in a middle grey.
        noise: (B, 1, H, W): the grain's pattern, standard normal.
        black, white: (B, 1, 1, 1): new values of x = 0 and x = 1.
    """

    any: Tensor
    film: Tensor
    green: Tensor
    blur: Tensor
    exponent: Tensor
    grain: Tensor
    noise: Tensor
    black: Tensor
    white: Tensor


def draw_damage(
    count: int, size: int, strength: float, device: torch.device, generator: torch.Generator | None = None,
    damaged: float = DAMAGED, each: float = EACH,
) -> Damage:  # fmt: skip
    """Draw random damage for each photograph. With the same random numbers, a higher strength gives more damage.

    Args:
        count: number of photographs.
        size: side of the square photographs [pixels].
        strength: 0 to 1.
        generator: source of random numbers, on `device`; None: the device's default generator.
        damaged: share of the photographs that are damaged at all.
        each: probability of each kind of damage in those.
    """

    def uniform(kinds: int) -> Tensor:
        return torch.rand(kinds, count, 1, 1, 1, device=device, generator=generator)

    film, blur, curve, grain, fade = (strength * (uniform(5) < each)).unbind()
    film_share, green, blur_share, bend, grain_share, black, white = uniform(7).unbind()
    return Damage(
        any=uniform(1)[0] < damaged,
        film=film * film_share,
        green=_between(GREEN, green),
        blur=blur * BLUR * blur_share,
        exponent=torch.exp2(curve * STOPS * (2 * bend - 1)),
        grain=grain * GRAIN * grain_share,
        noise=torch.randn(count, 1, size, size, device=device, generator=generator),
        black=fade * _between(BLACK, black),
        white=1 + fade * (_between(WHITE, white) - 1),
    )


def _between(ends: tuple[float, float], share: Tensor) -> Tensor:
    return ends[0] + (ends[1] - ends[0]) * share


def damage_of_names(names: Iterable[str], size: int, strength: float) -> Damage:
    """Draw every kind of damage for each of these photographs, on the CPU. Each photograph's name is its random seed,
    so the damage is the same on every machine, whichever other photographs there are."""
    each = []
    for name in names:
        each.append(draw_damage(1, size, strength, torch.device("cpu"), generator_of_name(name), damaged=1.0, each=1.0))
    return Damage(*(torch.cat(parts) for parts in zip(*each, strict=True)))


def damaged_lightness(lightness: Tensor, light: Tensor, damage: Damage) -> Tensor:
    """Apply damage to the photographs' lightness. Undamaged photographs stay the same bit for bit.

    Args:
        lightness: (B, 1, H, W) in [-1, 1].
        light: the photographs themselves, linear sRGB (B, 3, H, W) in [0, 1].

    Returns:
        float32 (B, 1, H, W) in [-1, 1].
    """
    x = lightness_of(exposed(light, damage.film, damage.green)) / (2 * L_HALF_RANGE)
    x = blurred(x, damage.blur)
    x = developed(x, damage.exponent)
    x = grained(x, damage.grain, damage.noise)
    x = faded(x, damage.black, damage.white)
    return torch.where(damage.any, 2 * x - 1, lightness)


def exposed(light: Tensor, amount: Tensor, green: Tensor) -> Tensor:
    """Compute luminance as recorded by film that is partly insensitive to red: reds darken, blues lighten, greys stay.

    Plates from before the 1880s are sensitive to blue and violet only; orthochromatic film, common into the 1930s, also
    to green. Neither is sensitive to wavelengths above about 590 nm, which is nearly all of sRGB's red (Mees 1942, The
    Theory of the Photographic Process; https://en.wikipedia.org/wiki/Orthochromasia).

    Args:
        light: linear sRGB (B, 3, H, W) in [0, 1].
        amount: (B, 1, 1, 1); 0: as the eye sees it, 1: as the film does.
        green: (B, 1, 1, 1), share of green in the film's sensitivity; the rest is blue.

    Returns:
        (B, 1, H, W) in [0, 1].
    """
    weights = [share * (1 - amount) for share in EYE]
    weights[1] += amount * green
    weights[2] += amount * (1 - green)
    return sum(weight * channel for weight, channel in zip(weights, light.split(1, dim=1), strict=True))


def blurred(x: Tensor, deviation: Tensor) -> Tensor:
    """Apply Gaussian blur, as from soft lenses and missed focus.

    Args:
        x: (B, 1, H, W).
        deviation: (B, 1, 1, 1), standard deviation as a share of the side, up to BLUR.
    """
    side = x.shape[-1]
    reach = math.ceil(REACH * BLUR * side)
    offsets = torch.arange(-reach, reach + 1, device=x.device)
    kernels = torch.exp(-0.5 * (offsets / (deviation * side).clamp(min=0.1)) ** 2)  # (B, 1, 1, taps)
    kernels = kernels / kernels.sum(dim=-1, keepdim=True)
    padded = F.pad(x, [reach] * 4, mode="replicate").transpose(0, 1)  # one channel and one kernel per photograph
    across = F.conv2d(padded, kernels, groups=len(x))
    return F.conv2d(across, kernels.transpose(2, 3), groups=len(x)).transpose(0, 1)


def developed(x: Tensor, exponent: Tensor) -> Tensor:
    """Apply a tone curve, as from exposure and development: x to the power of `exponent`, (B, 1, 1, 1)."""
    return x.clamp(0, 1) ** exponent


def grained(x: Tensor, deviation: Tensor, noise: Tensor) -> Tensor:
    """Add film grain: most in middle greys, none in black and white. If grains cover a share x of the area at random,
    the variance is proportional to x (1 - x) (Newson 2017, https://doi.org/10.5201/ipol.2017.192).

    Args:
        x: (B, 1, H, W) in [0, 1].
        deviation: (B, 1, 1, 1), the standard deviation at x = 1/2.
        noise: (B, 1, H, W), standard normal.
    """
    return x + deviation * 2 * (x * (1 - x)).sqrt() * noise


def faded(x: Tensor, black: Tensor, white: Tensor) -> Tensor:
    """Change the contrast: x = 0 and x = 1 become `black` and `white`, (B, 1, 1, 1) each. In faded prints, black
    lightens and white turns yellow or grey. Copies and prints of high contrast are clipped at both ends."""
    return (black + (white - black) * x).clamp(0, 1)
