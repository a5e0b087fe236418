"""Which classes there are, told from the values in the masks or the names in a file of points."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from sparse_seg.classes import IGNORE_INDEX, LAND_COVER, RGB, Classes
from sparse_seg.data.folder import Files
from sparse_seg.errors import UserError
from sparse_seg.palette import hex_colour, unpacked, usual_colours
from sparse_seg.points.formats import used_labels
from sparse_seg.raster.aligned import open_held
from sparse_seg.raster.coding import NEAR, Value, shown
from sparse_seg.raster.placed import Grid

MOST = 40
"""More colours or values than this are no classes but a photograph."""
LEAST = 1e-4
"""Share of the pixels that a colour needs to be taken for a class."""
BLACK_AND_WHITE: set[Value] = {0, 255, (0, 0, 0), (255, 255, 255)}


@dataclass
class MaskValues:
    """What masks hold. values: colour, or number where they have neither colours nor a palette → pixels. palette: the
    colours of numbers that are used, where all masks have one palette; None where they do not. by_number: pixels of
    each. hidden: of each number that its mask calls no data. lossy: whether some are compressed with loss.
    """

    values: Counter[Value] = field(default_factory=Counter)
    palette: dict[int, RGB] | None = field(default_factory=dict)
    by_number: Counter[Value] = field(default_factory=Counter)
    hidden: Counter[int] = field(default_factory=Counter)
    lossy: bool = False

    def add(self, path: Path, grid: Grid | None) -> None:
        """Add those of a mask, at the pixels of its image. Raises UserError if it cannot be read."""
        with open_held(path, grid) as held:
            counts, _ = held.count()
            if held.nodata is not None:
                self.hidden[held.nodata] += counts.pop(held.nodata, 0)
            self.lossy |= held.lossy
            if held.table is None or held.is_ramp:
                self.palette = None
                self.values.update({unpacked(v) if held.coloured else v: n for v, n in counts.items()})
                return
            own = {v: unpacked(max(int(held.table[v]), 0)) for v in counts}
        self.by_number.update(counts)
        for v, n in counts.items():
            self.values[own[v]] += n
        if self.palette is not None:
            self.palette = None if any(self.palette.get(v, c) != c for v, c in own.items()) else self.palette | own

    @property
    def numbers(self) -> dict[RGB, int]:
        """The number of each colour in the one palette of all masks; empty where there is none."""
        inverse = {colour: v for v, colour in (self.palette or {}).items()}
        return inverse if len(inverse) == len(self.palette or {}) else {}

    @property
    def counts(self) -> Counter[Value]:
        """The values: numbers where a palette has no colours of use."""
        if self.palette and not self.numbers:  # a palette of colours that are no use
            return self.by_number
        return self.values

    def around(self) -> list[tuple[Value, float]]:
        """The colours or numbers around which most pixels lie, and their shares."""
        centres: Counter[Value] = Counter()
        for value, n in self.values.most_common(2000):
            near = next((c for c in centres if _distance(c, value) <= NEAR), value)
            centres[near] += n
        return [(value, n / centres.total()) for value, n in centres.most_common(5)]


def _distance(one: Value, other: Value) -> float:
    (a, b) = (np.array([v] * 3 if isinstance(v, int) else v) for v in (one, other))
    return float(np.linalg.norm(a - b)) if isinstance(one, int) == isinstance(other, int) else math.inf


def guess_classes(files: Files, held: MaskValues) -> Classes:
    """Classes from the values in the masks, or from the names in the file of points.

    Raises UserError where neither tells.
    """
    names = used_labels(files.points) if files.points else []
    values = held.counts
    total = values.total()
    frequent = [v for v, n in values.items() if n >= LEAST * total]
    if not files.masks:
        if not names:
            raise UserError(
                f"cannot tell the classes: {files.root} has no masks and no file of points with a column class\n"
                f"list them in {files.classes}: classes: [{{name: Water}}, {{name: Land}}]"
            )
        names = sorted(names, key=lambda n: (n.isdigit(), int(n) if n.isdigit() else 0))
        indices = None
        if all(_is_index(name) for name in names):
            indices = tuple(int(name) for name in names)
            names = [f"class_{k}" for k in indices]
        return Classes(tuple(names), tuple(usual_colours(len(names))), indices=indices)
    if held.lossy:
        most = ", ".join(f"{shown(value)} ({share:.0%})" for value, share in held.around() if share >= 0.01)
        raise UserError(
            "cannot tell the classes: masks that are compressed with loss, such as JPEG, have other colours along "
            f"every edge; most pixels are like {most}\n"
            f'list the true ones in {files.classes}: classes: [{{name: Water, colour: "#E2A929"}}]'
        )
    if not frequent or len(frequent) > MOST:
        raise UserError(
            f"cannot tell the classes: the masks hold {len(frequent)} frequent colours or values, not 1 to {MOST}\n"
            f"JPEG and smoothing invent colours; list the true ones in {files.classes}: "
            'classes: [{name: Water, colour: "#E2A929"}]'
        )
    if len(frequent) > 1 and set(frequent) <= BLACK_AND_WHITE:  # of 1 or 8 bits; both are colours as good as any
        return Classes(("class_0", "class_255"), ((0, 0, 0), (255, 255, 255)))
    numbers = sorted(v for v in frequent if isinstance(v, int) and v != IGNORE_INDEX)
    colours = sorted(v for v in frequent if not isinstance(v, int))
    if numbers and colours:
        raise UserError(
            f"cannot tell the classes: some masks hold colours ({some([hex_colour(c) for c in colours])}), others "
            f"numbers ({some([str(n) for n in numbers])})\ngive each class both in {files.classes}: "
            'classes: [{name: Water, colour: "#E2A929", index: 0}]'
        )
    named = [name for name in names if not name.isdigit()]
    if named:
        raise _which(files, named, colours, numbers)
    if numbers and (wrong := [v for v in numbers if not 0 <= v < IGNORE_INDEX]):
        raise UserError(f"cannot tell the classes: the masks hold the value {wrong[0]}; classes are 0 to 254")
    if numbers or not colours:
        numbers = numbers or [0]
        names, colours = [f"class_{n}" for n in numbers], usual_colours(len(numbers))
        return Classes(tuple(names), tuple(colours), indices=tuple(numbers))
    if names and not held.numbers and not set(colours) <= set(LAND_COVER.colours + LAND_COVER.unlabelled):
        raise _which(files, names, colours, numbers)
    return _of_colours(colours, held.numbers, bool(names))


def _which(files: Files, said: Sequence[str], colours: Sequence[RGB], numbers: Sequence[int]) -> UserError:
    return UserError(
        f"cannot tell which is which: {files.points} names {', '.join(said)}, the masks hold "
        f"{', '.join([hex_colour(c) for c in colours] or [str(n) for n in numbers])}\n"
        f"write {files.classes}: classes: [{{name: {said[0]}, colour or index: …}}, …], as docs/data.md says"
    )


def _of_colours(colours: Sequence[RGB], numbers: Mapping[RGB, int], by_number: bool) -> Classes:
    """Classes of colours. numbers: of each in the masks' palette, if they have one. by_number: whether these order the
    classes, as points name them.
    """
    blank = tuple(c for c in colours if numbers.get(c) == IGNORE_INDEX)  # as VOC's void
    kept = [c for c in colours if c not in blank]
    if set(colours) <= set(LAND_COVER.colours + LAND_COVER.unlabelled):
        blank = tuple(c for c in LAND_COVER.unlabelled if c in colours)
        kept = [c for c in LAND_COVER.colours if c in colours]
    indices = tuple(numbers[c] for c in kept) if numbers else None
    if indices and by_number:
        kept, indices = [c for _, c in sorted(zip(indices, kept, strict=True))], tuple(sorted(indices))
    if set(kept) <= set(LAND_COVER.colours):
        names = [LAND_COVER.names[LAND_COVER.colours.index(c)] for c in kept]
    else:
        names = [f"class_{k}" for k in indices or range(len(kept))]
    return Classes(tuple(names), tuple(kept), blank, indices)


def _is_index(label: str) -> bool:
    """Whether a label is a number that masks may hold, too; others, as the codes of CORINE, are names."""
    return label.isdigit() and str(int(label)) == label and int(label) < IGNORE_INDEX


def some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (" …" if len(names) > 3 else "")
