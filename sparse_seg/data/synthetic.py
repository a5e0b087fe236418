"""Aerial-like scenes made in code, for trying everything without a download.

Each scene (group) has a look of its own: palette, road grid, picture size. Colours overlap between classes on purpose
(sandy roofs, grey plots, murky water), so that a network has to use texture, shape and surroundings.
Lengths below are in pixels of a 320-pixel image and scale with `size`.
"""

import hashlib
from dataclasses import dataclass
from functools import partial

import cv2
import numpy as np
from numpy.typing import NDArray

from sparse_seg.classes import IGNORE_INDEX, LAND_COVER, Image, Mask
from sparse_seg.data.sample import ImageSet, Sample

VERSION = 1
"""Of the pixels: raise it with every change of them, since caches and runs know the scenes by it."""
WATER, LAND, ROAD, BUILDING, VEGETATION = range(len(LAND_COVER))
Field = NDArray[np.float32]
"""(H, W) of one quantity or (H, W, 3) RGB, 0..255."""
Rng = np.random.Generator


def synthetic_samples(images: int = 40, size: int = 320, seed: int = 0, groups: int = 4) -> list[Sample]:
    """Scenes with the classes of LAND_COVER; image i belongs to scene i % groups + 1.

    size: height in pixels; the width is 2 to 20 % larger and belongs to the scene. An image depends on seed, size, its
    scene and its number in it alone, so a longer list with as many groups begins with the shorter one.

    Raises: ValueError for images or groups below 1, size below 64, or a negative seed.
    """
    for name, value, least in (("images", images, 1), ("size", size, 64), ("seed", seed, 0), ("groups", groups, 1)):
        if value < least:
            raise ValueError(f"{name} must be at least {least}, got {value!r}")
    samples = []
    for index in range(images):
        scene, number = index % groups + 1, index // groups + 1
        digest = hashlib.sha256(f"synthetic {VERSION} {seed} {size} {scene} {number}".encode()).hexdigest()
        read = partial(_paint, seed, size, scene, number)  # a partial, unlike a lambda, can be sent to worker processes
        samples.append(Sample(f"scene {scene:02d}/image_{number:03d}", str(scene), digest, read))
    return samples


@dataclass(frozen=True)
class _Look:
    """What the images of one scene share. Colours: (3,) RGB. angle: of the streets, radians."""

    ratio: float
    angle: float
    spacing: tuple[float, float]
    sand: Field
    soil: Field
    asphalt: Field
    leaf: Field
    water: Field
    roofs: Field

    @classmethod
    def draw(cls, rng: Rng) -> "_Look":
        tint = rng.normal(0, 7, 3)

        def colour(r: float, g: float, b: float, spread: float) -> Field:
            drift = rng.normal(0, spread) + rng.normal(0, spread / 3, 3)
            return np.asarray(np.add([r, g, b], tint) + drift, np.float32)

        sand, soil = colour(188, 167, 138, 10), colour(134, 122, 104, 12)
        asphalt, leaf, water = colour(142, 136, 128, 14), colour(88, 96, 70, 8), colour(78, 99, 96, 14)
        roofs = np.stack([sand + 6, sand - 22, soil + 4, asphalt, asphalt - 20, colour(212, 206, 196, 8), leaf + 12])
        spacing = (rng.uniform(62, 88), rng.uniform(105, 150))
        return cls(rng.uniform(1.02, 1.2), rng.uniform(0, np.pi), spacing, sand, soil, asphalt, leaf, water, roofs)


class _Canvas:
    """A picture in the making. colour: (H, W, 3); mask: (H, W); shade: (H, W), 1 in full cast shadow."""

    def __init__(self, look: _Look, size: int, rng: Rng) -> None:
        self.look, self.rng, self.scale = look, rng, size / 320
        self.shape = (size, round(size * look.ratio))
        self.mask: Mask = np.full(self.shape, LAND, np.uint8)
        self.shade: Field = np.zeros(self.shape, np.float32)
        self.colour: Field = np.empty((*self.shape, 3), np.float32)
        c, s = np.cos(look.angle), np.sin(look.angle)
        self.turn, self.middle = np.array([[c, s], [-s, c]]) * self.scale, np.array(self.shape[::-1]) / 2
        self.sun = rng.uniform(0, 2 * np.pi)

    def noise(self, *cells: float) -> Field:
        """(H, W), mean about 0, deviation about 1: smooth noise, one octave per cell width, weighted by its root."""
        height, width = self.shape
        total = np.zeros(self.shape, np.float32)
        for cell in cells:
            step = max(cell * self.scale, 1)
            grid = self.rng.standard_normal((int(height / step) + 3, int(width / step) + 3), dtype=np.float32)
            total += cell**0.5 * cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC)
        return np.asarray(total / (0.75 * np.sqrt(sum(cells))), np.float32)

    def fill(self, region: NDArray[np.bool_], label: int, colour: Field) -> None:
        """Label the region and give it the colours that the (H, W, 3) array has there."""
        where = region.astype(np.uint8)
        cv2.copyTo(np.full_like(self.mask, label), where, self.mask)
        cv2.copyTo(colour, where, self.colour)

    def pixels(self, points: NDArray[np.float64]) -> NDArray[np.int32]:
        """(N, 2) street coordinates, origin in the middle, u across and v along the avenues -> (N, 2) pixel x, y."""
        return np.asarray(np.rint(points @ self.turn + self.middle), np.int32)

    def width(self, pixels: float) -> int:
        return max(round(pixels * self.scale), 1)


def _blend(a: Field, b: Field, weight: Field, texture: Field) -> Field:
    """Colours a, b (3,), mixed by weight (H, W), clipped to 0..1, times 1 + texture (H, W) -> (H, W, 3)."""
    weight, texture = weight.clip(0, 1), 1 + texture
    return np.asarray(cv2.merge([(a[k] + (b[k] - a[k]) * weight) * texture for k in range(3)]))  # faster than (…, None)


def _paint_ground(canvas: _Canvas) -> None:
    """Sand with darker soil, green patches, and water where low-frequency noise is lowest."""
    look, rng = canvas.look, canvas.rng
    canvas.colour = _blend(look.sand, look.soil, 0.35 + 0.35 * canvas.noise(90, 30, 10), 0.055 * canvas.noise(1.5, 4))
    green = canvas.noise(50, 16, 5)
    clumps, dry = canvas.noise(2, 4), look.leaf * 0.5 + look.soil * 0.5
    region = green > np.quantile(green, 1 - rng.uniform(0.10, 0.24))
    leaves = _blend(look.leaf - 14, dry, 0.35 + 0.3 * canvas.noise(12, 4), 0.17 * clumps)
    canvas.fill(region, VEGETATION, leaves)
    depth = canvas.noise(130, 45, 14)
    depth -= np.quantile(depth, rng.uniform(0.07, 0.24))
    shallow = look.water * 0.6 + look.sand * 0.4
    sea = _blend(look.water - 18, shallow, 1 + 0.9 * depth + 0.12 * canvas.noise(20), 0.012 * canvas.noise(2))
    canvas.fill(depth < 0, WATER, sea)


def _paint_plots(canvas: _Canvas) -> None:
    """Bare lots in roof and road colours that are Land: without shadow, edge or roof line."""
    for _ in range(canvas.rng.integers(5, 10)):
        centre, half = canvas.rng.uniform(-190, 190, 2), canvas.rng.uniform(8, 26, 2)
        lot = np.zeros(canvas.shape, np.uint8)
        cv2.fillConvexPoly(lot, canvas.pixels(_rectangle(centre, half)), 1)
        region = (lot > 0) & (canvas.mask == LAND)
        texture = canvas.colour[region].mean(axis=1, keepdims=True) / 150 if region.any() else 1
        canvas.colour[region] = canvas.rng.choice(canvas.look.roofs[:6]) * (0.3 + 0.7 * texture)


def _rectangle(centre: NDArray[np.float64], half: NDArray[np.float64]) -> NDArray[np.float64]:
    """(2,), (2,) -> (4, 2) corners."""
    return np.asarray(centre + half * [[-1, -1], [1, -1], [1, 1], [-1, 1]])


def _paint_roads(canvas: _Canvas) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Streets on the scene's grid, a track and a motorway in curves. Returns the grid's (K,) u and (L,) v."""
    look, rng = canvas.look, canvas.rng
    street, bridge = np.zeros(canvas.shape, np.uint8), np.zeros(canvas.shape, np.uint8)
    lines = [np.arange(-280, 250, step) + rng.uniform(0, step) for step in look.spacing]
    for axis, places in enumerate(lines):
        for place in places:
            ends = np.array([[place, -400.0], [place, 400.0]])[:, :: 1 - 2 * axis]
            cv2.polylines(street, [canvas.pixels(ends)], False, 1, canvas.width(rng.choice([4, 5, 7, 9])))
    t = np.linspace(-1, 1, 24)
    for target, wide in ((street, 4), (bridge, rng.uniform(11, 16))):
        path = np.stack([rng.uniform(-90, 90) + rng.uniform(-80, 80) * t**2 + 40 * np.sin(3 * t), 260 * t], axis=1)
        curve = canvas.pixels(path[:, :: rng.choice([-1, 1])])
        cv2.polylines(target, [curve], False, 1, canvas.width(wide))
    dust = 0.3 + 0.3 * canvas.noise(60, 20)
    tarmac = _blend(look.asphalt, look.sand * 0.9 + 6, dust, 0.02 * canvas.noise(1.5, 5))
    canvas.fill((street > 0) & (canvas.mask != WATER) | (bridge > 0), ROAD, tarmac)
    cv2.polylines(canvas.colour, [curve], False, (look.sand + 20).tolist(), canvas.width(1.5))
    return lines[0], lines[1]


def _paint_buildings(canvas: _Canvas, across: NDArray[np.float64], along: NDArray[np.float64]) -> None:
    """Two rows of buildings in each block, facing the avenues at u = across; fewer where the town thins out."""
    rng, step = canvas.rng, canvas.look.spacing[1]
    town = canvas.noise(110)
    for u in across:
        for start in along:
            for side in (-1, 1):
                v = start + rng.uniform(9, 14)
                while v < start + step - 16:
                    half = np.array([rng.uniform(6, 12), rng.uniform(5, 15)])
                    centre = np.array([u + side * (8 + rng.uniform(0, 3) + half[0]), v + half[1]])
                    if np.hypot(*centre) < 250:  # the corners of the picture
                        _paint_building(canvas, centre, half, town)
                    v += 2 * half[1] + rng.uniform(3, 10)


def _paint_building(canvas: _Canvas, centre: NDArray[np.float64], half: NDArray[np.float64], town: Field) -> None:
    """A roof of two slopes with a unit on it, and its shadow, unless water, a road or another roof is in the way."""
    rng, corners = canvas.rng, canvas.pixels(_rectangle(centre, half))
    if (corners < 0).any() or (corners >= canvas.shape[::-1]).any():
        return
    spots = np.concatenate([corners, corners[:2] // 2 + corners[2:] // 2])  # the last two: the middle
    under = canvas.mask[spots[:, 1], spots[:, 0]]
    if not ((under == LAND) | (under == VEGETATION)).all() or town[spots[-1, 1], spots[-1, 0]] < -0.7:
        return
    length = rng.uniform(4, 10) * canvas.scale
    shadow = corners + np.round(length * np.array([np.cos(canvas.sun), np.sin(canvas.sun)])).astype(np.int32)
    cv2.fillConvexPoly(canvas.shade, cv2.convexHull(np.concatenate([corners, shadow])), 1.0)
    roof, slope = rng.choice(canvas.look.roofs) + rng.normal(0, 7), rng.choice([0, 0.05, 0.12])
    ridge = _rectangle(np.add(centre, [half[0] / 2, 0]), half * [0.5, 1])
    unit = _rectangle(centre + half * rng.uniform(-0.5, 0.5, 2), half * rng.uniform(0.15, 0.3, 2))
    cv2.fillConvexPoly(canvas.mask, corners, BUILDING)
    for shape, tone in ((corners, 1 + slope), (canvas.pixels(ridge), 1 - slope), (canvas.pixels(unit), 0.85)):
        cv2.fillConvexPoly(canvas.colour, shape, (roof * tone).tolist())


def _paint_trees(canvas: _Canvas) -> None:
    """Single crowns in the open, each with a dark side and a shadow."""
    rng, (height, width) = canvas.rng, canvas.shape
    away = np.array([np.cos(canvas.sun), np.sin(canvas.sun)])
    for x, y in rng.uniform(0, 1, (150, 2)) * (width - 1, height - 1):
        if canvas.mask[int(y), int(x)] != LAND:
            continue
        radius, leaf = rng.uniform(1.8, 4.5) * canvas.scale, canvas.look.leaf + rng.normal(-6, 7)
        for array, value, shift, size in (
            (canvas.shade, 1.0, 0.9, 1.0), (canvas.mask, VEGETATION, 0, 1.0),
            (canvas.colour, (leaf * 0.8).tolist(), 0, 1.0), (canvas.colour, (leaf * 1.15).tolist(), -0.4, 0.6),
        ):  # fmt: skip
            spot = np.round(np.array([x, y]) + shift * radius * away).astype(int).tolist()
            cv2.circle(array, spot, max(round(size * radius), 1), value, -1)


def _photograph(canvas: _Canvas) -> Image:
    """Shadows, light, haze, blur and sensor noise of one exposure. Returns (H, W, 3)."""
    rng = canvas.rng
    canvas.shade[(canvas.mask == BUILDING) | (canvas.mask == WATER)] = 0
    shade = cv2.GaussianBlur(canvas.shade, (0, 0), 0.6)
    light = rng.uniform(0.8, 1.2) * (1 - 0.5 * shade) * (1 + 0.04 * canvas.noise(150))
    haze, balance = rng.uniform(-8, 12), rng.normal(1, 0.03, 3)
    picture = cv2.merge([canvas.colour[..., k] * light * float(balance[k]) + haze for k in range(3)])
    picture = cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.5, 0.9))
    grain = rng.standard_normal(picture.shape, dtype=np.float32)
    return np.asarray((picture + rng.uniform(3, 6) * grain).clip(0, 255), np.uint8)


def _paint(seed: int, size: int, scene: int, number: int) -> tuple[Image, Mask]:
    """The image (H, W, 3) and mask (H, W) with this number, from 1, in the scene."""
    look = _Look.draw(np.random.default_rng([seed, scene]))
    canvas = _Canvas(look, size, np.random.default_rng([seed, scene, number]))
    _paint_ground(canvas)
    _paint_plots(canvas)
    across, along = _paint_roads(canvas)
    _paint_buildings(canvas, across, along)
    _paint_trees(canvas)
    image = _photograph(canvas)
    gap = canvas.pixels(_rectangle(canvas.rng.uniform(-140, 140, 2), canvas.rng.uniform(4, 20, 2)))
    cv2.fillConvexPoly(canvas.mask, gap, IGNORE_INDEX)
    return image, canvas.mask


def synthetic(images: int = 40, size: int = 320, seed: int = 0, groups: int = 4) -> ImageSet:
    """Aerial-like scenes made in code; image i belongs to scene i % groups + 1, which is its group.

    Args:
        images: how many.
        size: height in pixels; the width is 2 to 20 % larger and belongs to the scene.
        seed: of all that is drawn.
        groups: scenes, each with a look of its own.

    Returns:
        A data set with the classes of LAND_COVER. A longer one with as many groups begins with the shorter one.

    Raises:
        ValueError: images or groups below 1, size below 64, or a negative seed.

    Example:
        >>> data = synthetic(images=2, size=64)
        >>> data.samples[1].image_id, data.samples[1].read()[0].shape[0]
        ('scene 02/image_001', 64)
    """
    return ImageSet(LAND_COVER, synthetic_samples(images, size, seed, groups))
