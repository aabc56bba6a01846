"""Embedded demo data set: labelled procedural scenes whose colours can be learned from their lightness.

A scene is composed in unit coordinates (x to the right, y down), so it looks the same at any size: only the
sensor grain draws random numbers by the size, and detail finer than a pixel is left out. Each material is a
ramp from dark to light with a shape or texture of its own, and its hue moves little from scene to scene.
"""

from collections.abc import Iterable, Sequence

import numpy as np
from PIL import Image, ImageDraw

Array = np.ndarray
Points = Sequence[tuple[float, ...]]
Ramp = str | Array  # colours from dark to light: hex triplets, or (n, 3) in 0..1

SATURATION = 0.62  # the ramps are written vivid; this brings them down to the colours of photographs
SKY, CLOUD, WHITE, BLACK = "336ec7 6ba6e8 bddef5", "b2bfd4 fcfaf7", "faf7ed", "1c0f1f"
LEAF, GRASS, PINE = "0f3005 8ab81c", "2b570d 94bd33", "0a3014 529438"
BARK, EARTH, SAND = "261408 8a5c30", "6b4524 c79961", "b89159 f5dba3"
BRICK, SLATE, PLASTER, GLASS = "702b1f bd5c42", "3d4559 788296", "ccb585 faedcc", "385473 8fbadb"
SEA, DUSK_SEA = "084075 2e99b8 cceded", "331c4a 853b61 f28552"
DUSK, DUSK_CLOUD = "2b1f5c 753378 d95959 fa993d ffd67a", "382154 a84266 f78c61 ffd18c"
HULL = ((-0.45, -0.14), (0.5, -0.14), (0.32, 0), (-0.32, 0))
SAILS = (((-0.02, -1.1), (-0.02, -0.2), (-0.42, -0.2)), ((0.04, -1), (0.04, -0.2), (0.45, -0.2)))
TRUNK = ((-0.05, 0), (-0.03, -0.6), (0.03, -0.6), (0.05, 0))
BRANCHES = [p for k in range(1, 7) for p in ((k / 30, 0.155 * k - 0.98), (k / 60, 0.155 * k - 1))]
CONIFER = [(0, -1), *BRANCHES, *((-x, y) for x, y in BRANCHES[::-1])]


class Canvas:
    """A square picture: `rgb` (3, size, size) in 0..1, pixel centres `x` and `y`; masks are (size, size)."""

    def __init__(self, rng: np.random.Generator, size: int) -> None:
        self.rng, self.pick, self.size = rng, rng.uniform, size
        self.x = ((np.arange(size, dtype=np.float32) + 0.5) / size)[None, :]
        self.y = self.x.T
        self.rgb = np.zeros((3, size, size), np.float32)  # planes: numpy is slow along an axis of three

    def some(self, low: int, high: int) -> range:
        """A range to loop over, of a random length in low..high (both included)."""
        return range(int(self.rng.integers(low, high + 1)))

    def tint(self, ramp: Ramp) -> Array:
        """A ramp moved as a whole by a small random amount: the natural spread of a material."""
        return np.clip(_stops(ramp) + self.rng.normal(0, 0.015, 3), 0, 1)

    def noise(self, across: int, down: int, octaves: int = 3, rows: Array | None = None) -> Array:
        """Value noise, about -1..1: (size, size), or (len(rows), size) at the given row positions (0..1)."""
        rows = self.y[:, 0] if rows is None else np.clip(rows, 0, 1)
        total = np.zeros((len(rows), self.size), np.float32)
        for octave in range(octaves):
            cells = down << octave, across << octave
            values = self.rng.uniform(-1.1, 1.1, (cells[0] + 2, cells[1] + 2)).astype(np.float32)
            if max(cells) < self.size * 0.6:  # finer ones would only alias
                values = _resample(values, rows * cells[0]).T
                total += _resample(values, self.x[0] * cells[1]).T * 0.55**octave
        return total

    def ridge(self, base: float, height: float, across: int, octaves: int = 4) -> Array:
        """A (1, size) profile: `base` plus or minus about `height`."""
        return base + height * self.noise(across, 1, octaves, rows=np.zeros(1, np.float32))

    def below(self, line: Array | float) -> Array:
        """Mask of what lies under a height or a profile of heights."""
        return np.clip((self.y - line) * self.size + 0.5, 0, 1) * np.ones_like(self.x)

    def shapes(self, polygons: Iterable[Points] = (), discs: Points = ()) -> Array:
        """Antialiased mask of polygons and of discs (x, y, radius)."""
        factor = max(2, -(-256 // self.size))  # small pictures are all reduced from a 256 px drawing
        scale = self.size * factor
        draw = ImageDraw.Draw(image := Image.new("L", (scale, scale)))
        for points in polygons:
            draw.polygon([(x * scale, y * scale) for x, y in points], fill=255)
        for x, y, r in discs:
            draw.ellipse([(x - r) * scale, (y - r) * scale, (x + r) * scale, (y + r) * scale], fill=255)
        return np.asarray(image.reduce(factor), np.float32) / 255

    def paint(self, ramp: Ramp, mask: Array | None = None, t: Array | float = 0.0) -> None:
        """Cover what `mask` selects with the ramp's colours at `t`, 0 (its first) to 1 (its last)."""
        mask = np.ones(self.rgb.shape[1:]) if mask is None else mask
        rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
        if not len(rows):
            return
        box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)  # most shapes are small
        mask, stops = mask[box].astype(np.float32, copy=False), _stops(ramp)
        t = np.broadcast_to(np.asarray(t, np.float32), self.rgb.shape[1:])[box] * (len(stops) - 1)
        steps = [np.clip(t - k, 0, 1) for k in range(len(stops) - 1)]
        for plane, levels in zip(self.rgb, stops.T, strict=True):
            colour = levels[0] + sum(map(np.multiply, steps, np.diff(levels)))
            plane[box] += (colour - plane[box]) * mask


def _stops(ramp: Ramp) -> Array:
    if isinstance(ramp, str):
        ramp = np.array([list(bytes.fromhex(colour)) for colour in ramp.split()]) / 255
    return ramp.astype(np.float32)


def _resample(values: Array, position: Array) -> Array:
    """Rows of `values` (n, m) at fractional row positions (k,), eased between rows: (k, m)."""
    cell = np.minimum(position.astype(np.intp), len(values) - 2)
    t = _ease(0, 1, position - cell).astype(np.float32)[:, None]
    return values[cell] * (1 - t) + values[cell + 1] * t


def _ease(low: float, high: float, value: Array) -> Array:
    """0 below `low`, 1 above `high`, a smooth cubic between."""
    t = np.clip((value - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def _place(outline: Points, x: float, y: float, scale: float) -> Points:
    return [(x + scale * px, y + scale * py) for px, py in outline]


def _box(left: float, top: float, right: float, bottom: float) -> Points:
    return [(left, top), (right, top), (right, bottom), (left, bottom)]


def _day_sky(c: Canvas, horizon: float, cover: float) -> None:
    c.paint(c.tint(SKY), t=c.y / horizon)
    cloud = c.noise(3, 4, 5, c.y[:, 0] ** 0.8)
    above = cloud[np.maximum(np.arange(c.size) - round(c.size / 28), 0)]  # less cloud above: this side is lit
    mask = _ease(0.0, 0.42, cloud + cover - 0.25) * np.clip((horizon - c.y) * 5, 0, 1)
    c.paint(CLOUD, mask * 0.96, 0.75 + cloud * 0.8 - above * 1.2)


def _water(c: Canvas, horizon: float, ramp: Ramp, sun_x: float, glitter: str) -> None:
    """Waves that shrink towards the horizon, and the broken reflection of the sun."""
    depth = np.clip((c.y - horizon) / (1 - horizon), 0, 1)
    rows = depth[:, 0] ** 0.55
    near, far, sea = c.noise(5, 22, 3, rows), c.noise(10, 32, 2, rows), c.below(horizon)
    wave = far + (near - far) * depth
    c.paint(ramp, sea, 0.5 - 0.2 * depth + wave * (0.22 + 0.25 * depth))
    column = np.exp(-(((c.x - sun_x) / (0.05 + 0.13 * depth)) ** 2))
    c.paint(glitter, _ease(0.05, 0.45, wave + 0.5 * column - 0.3) * column * sea * 0.95)


def _trees(c: Canvas, spots: Points, leaf: Array) -> None:
    """Round trees at spots (x, base, height): a trunk, a crown of discs and its sunlit side."""
    crown, ramp = [], c.tint(LEAF)
    for x, base, height in spots:
        discs = c.rng.uniform((-0.2, -0.9, 0.1), (0.2, -0.5, 0.19), (10, 3)) * height
        crown += [(x + dx, base + dy, r) for dx, dy, r in discs.tolist()]
    c.paint(BARK, c.shapes([_place(TRUNK, *spot) for spot in spots]), 0.4 + leaf * 0.4)
    c.paint(ramp, c.shapes(discs=crown), 0.32 + leaf * 0.5)
    sunny = [(x - r * 0.25, y - r * 0.3, r * 0.65) for x, y, r in crown]
    c.paint(ramp, c.shapes(discs=sunny) * 0.75, 0.62 + leaf * 0.5)


def _conifers(c: Canvas, line: Array, count: int, low: float, high: float) -> Array:
    """Mask of conifers of heights low..high that stand along a profile (1, size)."""
    spots = [(x, np.interp(x, c.x[0], line[0]) + 0.03) for x in c.rng.uniform(-0.05, 1.05, count)]
    return c.shapes([_place(CONIFER, *spot, c.pick(low, high)) for spot in spots])


def _forest(c: Canvas) -> None:
    ground, leaf, bark = c.pick(0.5, 0.75), c.noise(16, 16, 4), c.noise(36, 5, 2)
    c.paint("9cc4b8 dcebb4 f2f5bd", t=c.y / ground)
    c.paint("8ab0a4 c4dcc0", c.below(c.ridge(ground - 0.25, 0.12, 3, 5)), (c.y - ground + 0.4) * 3)
    pine, needles = c.tint(PINE), c.noise(24, 30)
    for near in np.linspace(0, 1, len(c.some(2, 3))):  # rows of conifers come out of the mist
        base = c.ridge(ground - 0.16 * (1 - near), 0.06, 2, 3)
        trees = _conifers(c, base, int(22 - 10 * near), 0.1 + 0.15 * near, 0.2 + 0.35 * near)
        ramp = pine + (_stops("bcdcb4") - pine) * 0.65 * (1 - near)
        light = 0.35 + 0.45 * needles + 0.8 * np.clip(c.y - base + 0.02, 0, 0.5)
        c.paint(ramp, np.maximum(trees, c.below(base)), light)
    c.paint(c.tint(LEAF), c.below(c.ridge(ground, 0.05, 5, 5)), 0.65 - 0.4 * (c.y - ground) + 0.45 * leaf)
    depth = np.clip((c.y - ground - 0.02) / (1 - ground), 0, 1)
    centre = c.pick(0.3, 0.7) + c.pick(-0.4, 0.4) * depth**1.5 + c.pick(-0.07, 0.07) * np.sin(depth * 7)
    edge = 0.015 + c.pick(0.1, 0.2) * depth + 0.03 * leaf * depth - abs(c.x - centre)
    c.paint(c.tint(EARTH), np.clip(edge * c.size, 0, 1) * (depth > 0), 0.55 + 0.4 * c.noise(12, 30))
    for group in np.array_split(np.linspace(0, 1, len(c.some(3, 13))), 2):
        trunks, lit, wood = [], [], _stops(BARK)
        for near in group.tolist():
            x, foot, w = c.pick(0, 1), ground + 0.02 + near * c.pick(0.12, 0.3), 0.012 + 0.03 * near**1.5
            top = x + c.pick(-0.05, 0.05)
            trunks.append([(top - w * 0.7, 0), (top + w * 0.7, 0), (x + w * 1.2, foot), (x - w * 1.2, foot)])
            lit.append([(top - w * 0.6, 0), (top, 0), (x, foot - 0.01), (x - w, foot - 0.01)])
        wood = wood + (_stops("c7c280") - wood) * 0.5 * (1 - group.mean())
        c.paint(wood, c.shapes(trunks), 0.25 + 0.4 * bark)
        c.paint(wood, c.shapes(lit), 0.65 + 0.4 * bark)
    inside = c.ridge(c.pick(0.05, 0.32), 0.14, 4) - c.y
    c.paint(c.tint(LEAF), _ease(-0.08, 0.1, inside + 0.12 * leaf), 0.5 + 0.6 * c.noise(18, 18) - inside)


def _courses(c: Canvas, top: float, height: float) -> Array:
    """Mask of the joints between courses of bricks or tiles, faint where they are as fine as the pixels."""
    rows, across = (c.y - top) / height, c.x / height / 1.9
    level, upright = np.cos(2 * np.pi * rows), np.cos(2 * np.pi * (across + np.floor(rows) / 2))
    return np.maximum(_ease(0.6, 1, level), _ease(0.8, 1, upright)) * np.clip(c.size * height - 1, 0, 1)


def _house_at(c: Canvas, x: float, base: float, w: float, h: float) -> None:
    """A house, brick under slate or plaster under red tiles, so that texture tells colour."""
    brick, top, peak = c.pick(0, 1) < 0.5, base - h, base - h * c.pick(1.55, 1.85)
    gable, flue = c.pick(0.05, 0.35) * w, x + w * c.pick(0.2, 0.75)
    roof = [(x - w * 0.1, top + 0.01), (x + gable, peak), (x + w - gable, peak), (x + w * 1.1, top + 0.01)]
    grain, wall, cover = c.noise(24, 24, 2), c.shapes([_box(x, top, x + w, base)]), c.shapes([roof])
    c.paint(BRICK, c.shapes([_box(flue, peak - 0.05, flue + w * 0.1, top)]), 0.35 + 0.4 * grain)
    shade = 0.6 - (c.x - x) / w * 0.35 + (0.4 if brick else 0.15) * grain
    c.paint(c.tint(BRICK if brick else PLASTER), wall, shade)
    c.paint("cc9e85", _courses(c, top, 0.034) * wall * 0.6 * brick)
    c.paint(c.tint(SLATE if brick else BRICK), cover, 0.6 + 0.4 * grain - (c.y - peak))
    c.paint(BLACK, _courses(c, peak, 0.028) * cover * 0.5)
    c.paint("5c301a", c.shapes([_box(x + w * 0.42, base - h * 0.6, x + w * 0.58, base)]))
    for ramp, d in ((WHITE, 0.006), (GLASS, -0.005)):  # the frames, then the panes in them
        sides = [(x + w * at - d, x + w * (at + 0.12) + d) for at in (0.08, 0.2, 0.68, 0.8)]
        panes = [_box(left, top + h * 0.2 - d, right, top + h * 0.6 + d) for left, right in sides]
        c.paint(ramp, c.shapes(panes), (c.y - top) / h)


def _house(c: Canvas) -> None:
    ground, leaf = c.pick(0.55, 0.72), c.noise(20, 20)
    _day_sky(c, ground, c.pick(-0.05, 0.3))
    c.paint(c.tint(LEAF), c.below(c.ridge(ground - c.pick(0.04, 0.18), 0.07, 6)), 0.42 + 0.5 * leaf)
    c.paint(c.tint(GRASS), c.below(ground), 0.78 - (c.y - ground) + 0.4 * c.noise(16, 36, 2))
    c.paint(WHITE, c.shapes(discs=[(c.pick(0, 1), c.pick(ground + 0.1, 1), 0.008) for _ in c.some(0, 20)]))
    w, h, base = c.pick(0.34, 0.5), c.pick(0.19, 0.27), ground + c.pick(0.03, 0.08)
    x = c.pick(0.08, 0.9 - w)
    _trees(c, [(c.pick(0, 1), base - 0.01, c.pick(0.25, 0.5)) for _ in c.some(1, 5)], leaf)
    if c.pick(0, 1) < 0.4:
        _house_at(c, x + w + 0.08 if x < 0.3 else x - 0.36, base - 0.03, w * 0.6, h * 0.75)
    _house_at(c, x, base, w, h)
    door, foot = x + w * 0.5, x + w * 0.5 + c.pick(-0.25, 0.25)
    path = c.shapes([[(door - 0.04, base), (door + 0.04, base), (foot + 0.16, 1.01), (foot - 0.16, 1.01)]])
    c.paint("a38f73 e6d4b2", path, 0.55 + 0.5 * c.noise(14, 36, 2))
    _trees(c, [(c.pick(0.85, 1.15), base + 0.12, c.pick(0.5, 0.75)) for _ in c.some(0, 1)], leaf)


def _sea(c: Canvas) -> None:
    horizon = c.pick(0.3, 0.55)
    _day_sky(c, horizon, c.pick(-0.15, 0.35))
    if c.pick(0, 1) < 0.6:
        beyond = np.clip((c.x if c.pick(0, 1) < 0.5 else 1 - c.x) - c.pick(0.3, 0.7), 0, 1)
        c.paint("386657 80a685", c.below(horizon - beyond * c.ridge(0.3, 0.2, 5)), 0.5 + c.noise(12, 16))
    _water(c, horizon, c.tint(SEA), c.pick(0.15, 0.85), "fffae0")
    if c.pick(0, 1) < 0.55:
        shore = c.ridge(c.pick(0.76, 0.9), 0.05, 2, 3) + c.pick(-0.2, 0.2) * (c.x - 0.5)
        c.paint("6bccc7", _ease(-0.16, 0.0, c.y - shore) * 0.55)
        c.paint(c.tint(SAND), c.below(shore), 0.3 + (c.y - shore) * 3 + 0.2 * c.noise(16, 36, 2))
        c.paint(WHITE, np.exp(-(((c.y - shore + 0.01) / 0.016) ** 2)) * 0.85)
    for y in sorted(c.pick(horizon + 0.02, 0.67) for _ in c.some(0, 4)):
        x, scale = c.pick(0.08, 0.92), 0.06 + (y - horizon) * 0.7
        c.paint("6b2b1c", c.shapes([_place(HULL, x, y, scale)]))
        c.paint(WHITE, c.shapes([_place(sail, x, y, scale) for sail in SAILS]))


def _sky(c: Canvas) -> None:
    horizon = c.pick(0.66, 0.88)
    _day_sky(c, horizon, c.pick(-0.05, 0.4))
    leaf, grass = c.noise(20, 24), c.tint(GRASS)
    c.paint("578099 85adb8", c.below(c.ridge(horizon - 0.03, 0.06, 3, 5)), leaf * 0.3 + 0.5)
    for k in range(2):
        hill = c.ridge(horizon + 0.05 + 0.07 * k, 0.06, 2, 2)
        c.paint(grass, c.below(hill), 0.8 - 0.2 * k + 0.3 * leaf + (hill - c.y) * 2)
    _trees(c, [(c.pick(0, 1), c.pick(horizon + 0.07, 1.0), c.pick(0.05, 0.12)) for _ in c.some(1, 9)], leaf)


def _sunset(c: Canvas) -> None:
    horizon, sun_x, radius = c.pick(0.52, 0.74), c.pick(0.15, 0.85), c.pick(0.03, 0.06)
    sun_y, dusk, water = horizon - c.pick(-0.01, 0.16), c.tint(DUSK), c.pick(0, 1) < 0.6
    c.paint(dusk, t=c.y / horizon)
    c.paint("ebe0f2", c.shapes(discs=[(c.pick(0, 1), c.pick(0, 0.25), 0.004) for _ in c.some(0, 24)]) * 0.8)
    away = np.hypot(c.x - sun_x, (c.y - sun_y) * 1.2)
    c.paint(dusk[3:4], np.exp(-((away / 0.34) ** 2)) * 0.6)
    streaks = c.noise(2, 9, 5)
    clouds = _ease(0.05, 0.5, streaks + c.pick(-0.1, 0.25)) * 0.75
    c.paint(DUSK_CLOUD, clouds, 0.25 + c.y / horizon * 0.6 - 0.5 * away + 0.5 * streaks)
    c.paint("ffdb85", np.exp(-((away / (radius * 2.2)) ** 2)) * 0.9)
    c.paint("fff7d1", c.shapes(discs=[(sun_x, sun_y, radius)]))
    far = c.ridge(horizon - 0.02, 0.05, 3, 5)
    c.paint("6b335c 9e4a5c", c.below(far), 1 - (c.y - far) * 6)
    if water:
        _water(c, horizon, DUSK_SEA, sun_x, "ffcc73")
    near = c.ridge(c.pick(0.9, 1.0) if water else c.pick(0.74, 0.84), 0.06, 2, 5)
    c.paint(BLACK + " 3d1f2e", c.below(near), 0.3 + c.noise(18, 18, 2) * 0.6)
    c.paint(BLACK, _conifers(c, near, len(c.some(0, 9)), 0.1, 0.4))


SCENES = {"forest": _forest, "house": _house, "sea": _sea, "sky": _sky, "sunset": _sunset}
CLASSES: tuple[str, ...] = tuple(SCENES)


def scene_label(index: int) -> int:
    """Label of scene `index`: an index into CLASSES. Consecutive scenes cycle through the classes, so that any stretch
    of scenes is balanced."""
    return index % len(CLASSES)


def draw_scene(seed: int, index: int, size: int) -> np.ndarray:
    """Scene `index` (>= 0) of data set `seed` (>= 0): (size, size, 3) uint8 sRGB, made for 16..512 px."""
    c = Canvas(np.random.default_rng([seed, index]), size)
    SCENES[CLASSES[scene_label(index)]](c)
    light = c.pick(0.94, 1.05) + c.pick(-0.08, 0.08) * (c.x - 0.5)
    light = light + c.rng.normal(0, 0.01, (size, size)).astype(np.float32)  # sensor grain, without hue
    grey = 0.299 * c.rgb[0] + 0.587 * c.rgb[1] + 0.114 * c.rgb[2]
    rgb = (grey + (c.rgb - grey) * SATURATION) * light
    return np.ascontiguousarray((np.clip(rgb, 0, 1) * 255 + 0.5).astype(np.uint8).transpose(1, 2, 0))
