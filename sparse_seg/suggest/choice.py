"""The choice among candidates: spread out over images, classes and space. No torch."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sparse_seg.classes import IGNORE_INDEX
from sparse_seg.suggest.records import Seen, Suggestion
from sparse_seg.suggest.tables import position


def suggested(seen: Sequence[Seen], n: int, names: Sequence[str]) -> list[Suggestion]:
    """The choice among the candidates of all images, numbered from 1. names: of the classes."""
    chosen = choose([s.candidates for s in seen], n, [s.apart for s in seen])
    return [
        Suggestion(
            number=number,
            seen=seen[image],
            place=position(seen[image], int(pixel["row"]), int(pixel["col"])),
            row=int(pixel["row"]),
            col=int(pixel["col"]),
            label="" if pixel["truth"] == IGNORE_INDEX else names[int(pixel["truth"])],
            predicted=int(pixel["predicted"]),
            entropy=float(pixel["entropy"]),
            confidence=float(pixel["confidence"]),
        )
        for number, (image, pixel) in enumerate(chosen, 1)
    ]


def choose(
    candidates: Sequence[NDArray[np.void]], n: int, apart: Sequence[float]
) -> list[tuple[int, NDArray[np.void]]]:
    """Choose up to n candidates with high scores, spread out over images, classes and space.

    candidates: per image (N,) of PIXEL, best first. apart: per image, the distance in pixels between two choices.
    One after the other: the image with the fewest choices (of several, the one with the best candidate left), in it the
    predicted class with the fewest choices over all images (likewise), of it the best candidate that is far enough from
    the image's other choices. When none is left anywhere, the distances are halved.

    Returns (image, PIXEL record) in the order of choice; fewer than n if there are no more candidates.
    """
    chosen: list[tuple[int, NDArray[np.void]]] = []
    per_image, per_class = np.zeros(len(candidates), int), np.zeros(256, int)
    taken = [np.zeros(len(c), bool) for c in candidates]
    distance = np.asarray(apart, float)
    while len(chosen) < n and not all(t.all() for t in taken):
        free = [~t for t in taken]
        for image, record in chosen:
            free[image] &= ~_within(candidates[image], record, distance[image])
        while len(chosen) < n and any(f.any() for f in free):
            firsts = {i: int(np.argmax(f)) for i, f in enumerate(free) if f.any()}
            image = min(firsts, key=lambda i: (per_image[i], -float(candidates[i]["score"][firsts[i]]), i))
            mine, open_ = candidates[image], np.flatnonzero(free[image])
            classes, first = np.unique(mine["predicted"][open_], return_index=True)
            _, k = min(zip(per_class[classes].tolist(), open_[first].tolist(), strict=True))
            chosen.append((image, mine[k]))
            per_image[image] += 1
            per_class[mine["predicted"][k]] += 1
            taken[image][k] = True
            free[image] &= ~_within(mine, mine[k], distance[image]) & ~taken[image]
        distance = distance / 2
    return chosen


def _within(candidates: NDArray[np.void], record: NDArray[np.void], distance: float) -> NDArray[np.bool_]:
    away = np.hypot(candidates["row"] - record["row"], candidates["col"] - record["col"])
    return np.asarray(away < distance)
