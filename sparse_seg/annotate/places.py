"""Where a person is led to: the next place to click, and random check points."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from sparse_seg.annotate.journal import Pixels
from sparse_seg.annotate.maps import WINDOW, Key, Maps
from sparse_seg.classes import IGNORE_INDEX

SURE = 0.8
"""Probability from which the map's class alone is named."""


@dataclass(frozen=True)
class Suggested:
    """Where a click is worth most. reason: in words, for a person. check: whether it is a check point; then predicted
    and weight are as `Annotation.check` takes them.
    """

    image: str
    row: int
    col: int
    reason: str
    check: bool = False
    predicted: int = 0
    weight: float = 0.0


def suggest(
    maps: Maps,
    points: Pixels,
    names: Sequence[str],
    skipped: Iterable[tuple[str, int, int]],
    draw: np.random.Generator,
) -> Suggested | None:
    """A place for the next click; None if nothing is mapped.

    Of the windows with the fewest points one at random; in it a random pixel of the class that the map has there and a
    person clicked least. So points are spread over the ground and over classes. The least certain place had the lowest
    mean scores of five ways to choose (docs/results/loop.md).

    Args:
        maps: what is mapped.
        points: that there are.
        names: of the classes.
        skipped: places that were offered and passed by.
        draw: of random windows and pixels.
    """
    with maps.lock:
        away = {(image, *at) for image, those in points.items() for at in those} | set(skipped)
        found = _spread(maps, points, away, draw)
        if found is None or maps.fit is None:
            return None
        key, row, col = found
        (first, p), (second, q), *_ = maps.posterior(key[0], row, col)
        reason = f"{names[first]} or {names[second]}? {100 * p:.0f} to {100 * q:.0f} %"
        if p > SURE:
            reason = f"{names[first]}, says the map: {100 * p:.0f} %"
        return Suggested(key[0], row, col, reason)


def check_point(maps: Maps, taken: Sequence[Pixels], draw: np.random.Generator) -> Suggested | None:
    """A random pixel of a random class of the map, none of those taken; None if nothing is mapped.

    Every class is asked for equally often, every pixel of it is equally likely.
    """
    with maps.lock:
        keys = sorted(maps.painted)
        counts = np.array([maps.painted[key].counts for key in keys]).reshape(-1, 256)
        counts[:, IGNORE_INDEX] = 0
        total = counts.sum(0)
        there = np.flatnonzero(total)
        for _ in range(100 if len(there) else 0):
            label = int(draw.choice(there))
            number = int(draw.integers(total[label]))
            key = keys[int(np.searchsorted(counts[:, label].cumsum(), number, side="right"))]
            map_ = maps.painted[key].label
            row, col = _pixel(key, int(draw.choice(np.flatnonzero(map_.ravel() == label))), map_.shape[1])
            if not any((row, col) in pixels.get(key[0], {}) for pixels in taken):
                weight = float(total[label] * len(there))
                return Suggested(key[0], row, col, "check point: what is here?", True, label, weight)
        return None


def _spread(
    maps: Maps, points: Pixels, away: set[tuple[str, int, int]], draw: np.random.Generator
) -> tuple[Key, int, int] | None:
    """Window, row and column of a pixel that is not away, as `suggest` says."""
    keys = sorted(maps.painted)
    placed = Counter((image, row // WINDOW, col // WINDOW) for image, row, col in away)
    clicked = Counter(said.label for those in points.values() for said in those.values())
    for k in sorted(draw.permutation(len(keys)).tolist(), key=lambda k: placed[keys[k]]):
        there = maps.painted[keys[k]]
        for label in sorted(np.flatnonzero(there.counts[:IGNORE_INDEX]).tolist(), key=lambda c: clicked[c]):
            for at in draw.permutation(np.flatnonzero(there.label.ravel() == label)).tolist():
                row, col = _pixel(keys[k], at, there.label.shape[1])
                if (keys[k][0], row, col) not in away:
                    return keys[k], row, col
    return None


def _pixel(key: Key, at: int, width: int) -> tuple[int, int]:
    """Row and column in the image of pixel number `at` of a window."""
    row, col = divmod(at, width)
    return key[1] * WINDOW + row, key[2] * WINDOW + col
