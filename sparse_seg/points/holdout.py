"""Points that a user gave: which of them validate where there are no masks, and which ones train."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np

from sparse_seg.points.draw import Points, generator
from sparse_seg.points.records import Pointed

NUMBER = 3
"""Column of `Sample.points` that counts the points of a class in the whole image."""
EMPTY = np.empty((0, 4), np.int64)


def divide_points(samples: Sequence[Pointed], fraction: float, split_seed: int) -> dict[int, Points]:
    """Hold out a share of the points of every image and class.

    Drawn from (split_seed, image, class) alone. The share is rounded at random, so that over many images it is
    `fraction` also where an image has one or two points of a class. Returns index of the sample → its held-out points.
    """
    held: dict[tuple[str, int], set[int]] = {}
    for (whole, label), numbers in _numbers(samples).items():
        rng = generator(split_seed, whole, label)
        count = int(len(numbers) * fraction + rng.random())
        held[whole, label] = {numbers[k] for k in rng.permutation(len(numbers))[:count].tolist()}
    return {
        i: p[[n in held[s.whole, label] for label, n in p[:, 2:].tolist()]] if len(p) else p
        for i, s in enumerate(samples)
        for p in [EMPTY if s.points is None else s.points]
    }


def rest(samples: Sequence[Pointed], held_out: Mapping[int, Points], count: int | None) -> dict[int, Points]:
    """The points that are not held out, and of them the first `count` of every image and class; None: all of them.

    Returns index of the sample → its points.
    """
    gone = {(samples[i].whole, label, n) for i, points in held_out.items() for label, n in points[:, 2:].tolist()}
    kept: set[tuple[str, int, int]] = set()
    for (whole, label), numbers in _numbers(samples).items():
        left = [n for n in numbers if (whole, label, n) not in gone]
        kept |= {(whole, label, n) for n in left[:count]}
    return {
        i: p[[(s.whole, label, n) in kept for label, n in p[:, 2:].tolist()]] if len(p) else p
        for i, s in enumerate(samples)
        for p in [EMPTY if s.points is None else s.points]
    }


def _numbers(samples: Sequence[Pointed]) -> dict[tuple[str, int], list[int]]:
    """(whole image, class) → the numbers of its points, sorted."""
    found = defaultdict(list)
    for sample in samples:
        for label, number in (EMPTY if sample.points is None else sample.points)[:, 2:].tolist():
            found[sample.whole, label].append(number)
    return {key: sorted(numbers) for key, numbers in found.items()}
