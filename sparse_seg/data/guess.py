"""Which classes there are, told from the values in the masks or the names in a file of points."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sparse_seg.classes import IGNORE_INDEX, LAND_COVER, Classes
from sparse_seg.data.folder import Files
from sparse_seg.errors import UserError
from sparse_seg.palette import hex_colour, usual_colours
from sparse_seg.points.formats import used_labels
from sparse_seg.raster.images import open_image
from sparse_seg.raster.readers import GEO_SUFFIXES, colour_table, open_geotiff

MOST = 40
"""More colours or values than this are no classes but a photograph, or the work of JPEG."""
LEAST = 1e-4
"""Share of the pixels that a colour needs to be taken for a class."""
Value = int | tuple[int, int, int]


def mask_values(path: Path) -> tuple[Counter[Value], int]:
    """Colours or numbers of a mask → pixels, and how many pixels of it are no data."""
    counts: Counter[Value] = Counter()
    if path.suffix.lower() not in GEO_SUFFIXES:
        file = open_image(path, any_depth=True)
        if file.mode == "P":
            palette = np.zeros((256, 3), np.int64)
            given = np.asarray(file.getpalette("RGB")).reshape(-1, 3)
            palette[: len(given)] = given
            for value, n in enumerate(np.bincount(np.asarray(file).ravel(), minlength=256).tolist()):
                counts[_rgb(palette[value])] += n
            return +counts, 0
        array = np.asarray(file.convert("L") if file.mode == "1" else file)
        _count(counts, np.asarray(file.convert("RGB")) if array.ndim == 3 else array)
        return counts, 0
    nodata = 0
    with open_geotiff(path) as file:
        table = colour_table(file) if file.count == 1 else None
        bands = [1, 2, 3] if file.count >= 3 else [1]
        step = max(1, 2**24 // max(file.width, 1))
        for row in range(0, file.height, step):
            window = ((row, min(row + step, file.height)), (0, file.width))
            valid = file.read_masks(bands, window=window).any(0)
            part = file.read(bands, window=window)[:, valid]
            nodata += int((~valid).sum())
            _count(counts, part.T[None] if len(bands) == 3 else part[0])
            if len(counts) > 2**16:
                break
    if table is None:
        return counts, nodata
    colours: Counter[Value] = Counter()
    for held, n in counts.items():
        colours[_rgb(table[held])] += n
    return colours, nodata


def _count(counts: Counter[Value], array: np.ndarray) -> None:
    if array.ndim == 3:
        r, g, b = (array[..., k].astype(np.int64) for k in range(3))
        packed, n = np.unique(r << 16 | g << 8 | b, return_counts=True)
        found: list[Value] = [(v >> 16, v >> 8 & 255, v & 255) for v in packed.tolist()]
    elif array.dtype.kind == "f":
        raise UserError("a mask holds fractions, no class numbers or colours")
    else:
        values, n = np.unique(array, return_counts=True)
        found = values.tolist()
    counts.update(dict(zip(found, n.tolist(), strict=True)))


def _rgb(values: Sequence[int] | np.ndarray) -> tuple[int, int, int]:
    return int(values[0]), int(values[1]), int(values[2])


def guess_classes(files: Files, values: Counter[Value]) -> Classes:
    """Classes from the values in the masks, or from the names in the file of points.

    Raises UserError where neither tells.
    """
    names = used_labels(files.points) if files.points else []
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
    if not frequent or len(frequent) > MOST:
        raise UserError(
            f"cannot tell the classes: the masks hold {len(frequent)} frequent colours or values, not 1 to {MOST}\n"
            f"JPEG and smoothing invent colours; list the true ones in {files.classes}: "
            'classes: [{name: Water, colour: "#E2A929"}]'
        )
    if set(frequent) == {0, 255}:  # written as black and white, which are colours as good as any
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
        raise UserError(
            f"cannot tell which is which: {files.points} names {', '.join(named)}, the masks hold "
            f"{', '.join([hex_colour(c) for c in colours] or [str(n) for n in numbers])}\n"
            f"write {files.classes}: classes: [{{name: {named[0]}, colour or index: …}}, …], as docs/data.md says"
        )
    if numbers and (wrong := [v for v in numbers if not 0 <= v < IGNORE_INDEX]):
        raise UserError(f"cannot tell the classes: the masks hold the value {wrong[0]}; classes are 0 to 254")
    if numbers or not colours:
        numbers = numbers or [0]
        names, colours = [f"class_{n}" for n in numbers], usual_colours(len(numbers))
        return Classes(tuple(names), tuple(colours), indices=tuple(numbers))
    if set(colours) <= set(LAND_COVER.colours + LAND_COVER.unlabelled):
        kept = [k for k, c in enumerate(LAND_COVER.colours) if c in colours]
        blank = tuple(c for c in LAND_COVER.unlabelled if c in colours)
        return Classes(tuple(LAND_COVER.names[k] for k in kept), tuple(LAND_COVER.colours[k] for k in kept), blank)
    return Classes(tuple(f"class_{k}" for k in range(len(colours))), tuple(colours))


def _is_index(label: str) -> bool:
    """Whether a label is a number that masks may hold, too; others, as the codes of CORINE, are names."""
    return label.isdigit() and str(int(label)) == label and int(label) < IGNORE_INDEX


def some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (" …" if len(names) > 3 else "")
