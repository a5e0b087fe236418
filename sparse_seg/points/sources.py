"""Where a run's points come from: drawn from masks, a file for the run, the data set itself, or full masks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from sparse_seg.classes import Classes, Mask
from sparse_seg.errors import UserError
from sparse_seg.points.draw import Points, sample_windows
from sparse_seg.points.formats import label_names, read_own_points
from sparse_seg.points.holdout import rest
from sparse_seg.points.records import Bad, Place, Pointed

ALL = "all"
"""Instead of a number of points: train on full masks, or on all points where there are none."""


class Labels(Protocol):
    """The masks of a data set at native resolution. shapes: (H, W) of each sample."""

    @property
    def shapes(self) -> Sequence[tuple[int, int]]: ...
    def native_mask(self, index: int) -> Mask: ...


class PointSource(Protocol):
    """What of an image a run may see."""

    def of(self, whole: str, windows: Sequence[int]) -> dict[int, Points]:
        """The points of one whole image.

        Args:
            whole: its id.
            windows: the indices of all its training samples: one, or one per window.

        Returns:
            Index → (N, 3 or more) int64 of row, column, class in that window's pixels, in order of precedence. A
            window that is left out shows its full mask.
        """


@dataclass(frozen=True)
class Drawn:
    """`count` pixels per class and whole image, drawn from its mask; see `sample_windows`."""

    labels: Labels
    count: int
    seed: int

    def of(self, whole: str, windows: Sequence[int]) -> dict[int, Points]:
        drawn = sample_windows([self.labels.native_mask(i) for i in windows], self.count, self.seed, whole)
        return dict(zip(windows, drawn, strict=True))


@dataclass(frozen=True)
class FromFile:
    """All points of a file that a run names. points: id of the whole image → its points."""

    samples: Sequence[Pointed]
    labels: Labels
    points: Mapping[str, Points]

    def of(self, whole: str, windows: Sequence[int]) -> dict[int, Points]:
        points = self.points.get(whole, np.empty((0, 3), np.int64))[:, :3]
        return {i: within(points, self.samples[i].offset, self.labels.shapes[i]) for i in windows}


@dataclass(frozen=True)
class Given:
    """The points that the data set brings; of images for which it has none they are drawn."""

    samples: Sequence[Pointed]
    points: Mapping[int, Points]
    otherwise: Drawn

    def of(self, whole: str, windows: Sequence[int]) -> dict[int, Points]:
        if self.samples[windows[0]].points is None:
            return self.otherwise.of(whole, windows)
        return {i: self.points[i] for i in windows}


@dataclass(frozen=True)
class FullMasks:
    """No points but of images without a mask."""

    samples: Sequence[Pointed]
    points: Mapping[int, Points]

    def of(self, whole: str, windows: Sequence[int]) -> dict[int, Points]:
        return {i: self.points[i] for i in windows if not self.samples[i].has_mask}


def point_source(
    samples: Sequence[Pointed],
    labels: Labels,
    points: int | str,
    seed: int,
    held_out: Mapping[int, Points],
    from_file: Mapping[str, Points] | None = None,
) -> PointSource:
    """The source that a run wants.

    Args:
        samples: the data set.
        labels: its masks.
        points: per class and whole image, or "all".
        seed: of the run.
        held_out: index → points that validate, and so never train.
        from_file: what `read_for_run` read, to use instead of all others.
    """
    if points == ALL:
        return FullMasks(samples, rest(samples, held_out, None))
    drawn = Drawn(labels, int(points), seed)
    if from_file is not None:
        return FromFile(samples, labels, from_file)
    if all(s.points is None for s in samples):
        return drawn
    return Given(samples, rest(samples, held_out, int(points)), drawn)


def read_for_run(
    path: Path, samples: Sequence[Pointed], labels: Labels, classes: Classes, bad: Bad, crs: str | None = None
) -> dict[str, Points]:
    """Read a file of points for images that need not be files, so that only their ids name them.

    Returns id of the whole image → (N, 4), as `read_own_points` says, which also says what is raised.
    """
    places: dict[str, Place] = {}
    for sample, (height, width) in zip(samples, labels.shapes, strict=True):
        row, col = sample.offset
        other = places.get(sample.whole, Place(0, 0))
        places[sample.whole] = Place(max(other.height, row + height), max(other.width, col + width))
    names = {name: name for name in places}
    points = read_own_points(path, names, places, label_names(classes.names, classes.indices), bad, crs)
    if not any(len(p) for p in points.values()):
        raise UserError(f"{path} holds no point that can be used")
    return points


def within(points: Points, offset: tuple[int, int], size: tuple[int, int]) -> Points:
    """The points in a window of (H, W) pixels whose upper left pixel is `offset`, counted from there."""
    moved = points - np.array([*offset, *[0] * (points.shape[1] - 2)], np.int64)
    return moved[((moved[:, :2] >= 0) & (moved[:, :2] < size)).all(1)]
