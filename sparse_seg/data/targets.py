"""Images and targets that are read when asked for, since all of a large data set do not fit into memory."""

from collections.abc import Mapping, Sequence
from typing import overload

import numpy as np
from numpy.typing import NDArray

from sparse_seg.classes import IGNORE_INDEX, Mask
from sparse_seg.points.draw import Cells

Pixels = NDArray[np.uint8]


class Rows(Sequence[Pixels]):
    """Some rows of an array, a memory map as a rule, in an order of their own. array: (M, ...). rows: of the N."""

    def __init__(self, array: Pixels, rows: Sequence[int]) -> None:
        self.array, self.rows = array, np.asarray(rows, np.int64)

    def __reduce__(self) -> tuple[object, ...]:
        """A memory map goes to another process as the name of its file, not as all that it holds."""
        if isinstance(self.array, np.memmap) and self.array.filename is not None:
            return _opened, (str(self.array.filename), self.rows)
        return Rows, (self.array, self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, index: int) -> Pixels: ...
    @overload
    def __getitem__(self, index: slice) -> "Rows": ...
    def __getitem__(self, index: int | slice) -> "Pixels | Rows":
        if isinstance(index, slice):
            return Rows(self.array, self.rows[index].tolist())
        return np.asarray(self.array[self.rows[index]])


def _opened(path: str, rows: NDArray[np.int64]) -> Rows:
    return Rows(np.load(path, mmap_mode="r"), rows.tolist())


class Targets(Sequence[Mask]):
    """What a network is given of N images: the full mask, or the points alone.

    masks: N full masks of (size, size), not read but where there are no points. points: index → the cells of its
    points and their classes, by `points_to_cells`.
    """

    def __init__(self, masks: Rows, points: Mapping[int, Cells]) -> None:
        self.masks, self.points = masks, points
        self.shape = masks.array.shape[1:]

    def __len__(self) -> int:
        return len(self.masks)

    @overload
    def __getitem__(self, index: int) -> Mask: ...
    @overload
    def __getitem__(self, index: slice) -> list[Mask]: ...
    def __getitem__(self, index: int | slice) -> Mask | list[Mask]:
        if isinstance(index, slice):
            return [self[k] for k in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        found = self.points.get(index % len(self))
        if found is None:
            return self.masks[index]
        target = np.full(self.shape, IGNORE_INDEX, np.uint8)
        target.flat[found[0]] = found[1]
        return target

    def counts(self, index: int) -> NDArray[np.int64]:
        """(256,) pixels of each class, and of 255, those of points alone without 255."""
        found = self.points.get(index)
        labels = self.masks[index].ravel() if found is None else found[1]
        return np.bincount(labels, minlength=256)

    def keep(self, indices: Sequence[int]) -> "Targets":
        """Those of these images alone."""
        moved = {k: self.points[i] for k, i in enumerate(indices) if i in self.points}
        return Targets(Rows(self.masks.array, self.masks.rows[list(indices)].tolist()), moved)
