"""`python -m sparse_seg.data inspect FOLDER`: what lies in a folder, its classes, and the command to train on it."""

import shlex
import string
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from sparse_seg.classes import IGNORE_INDEX, LAND_COVER, Classes
from sparse_seg.data.classfile import read_classes, write_classes
from sparse_seg.data.folder import Files, files_of
from sparse_seg.data.layout import by_name
from sparse_seg.errors import UserError
from sparse_seg.palette import hex_colour, usual_colours
from sparse_seg.points.formats import label_names, read_own_points, used_labels
from sparse_seg.points.records import Bad, Place
from sparse_seg.raster.images import open_image
from sparse_seg.raster.masks import Picture, probe
from sparse_seg.raster.readers import GEO_SUFFIXES, colour_table, open_geotiff, reader_of

MOST = 40
"""More colours or values than this are no classes but a photograph, or the work of JPEG."""
LEAST = 1e-4
"""Share of the pixels that a colour needs to be taken for a class."""
PLAIN = set(string.ascii_letters + string.digits + "/._-+%@:=,[]")
"""Characters that stand in a command without quotes."""
Value = int | tuple[int, int, int]


@dataclass
class Found:
    """What was seen. values: a mask's colour (R, G, B), or number where it holds numbers → pixels over all masks.
    nodata: those that masks themselves call no data.
    """

    pictures: dict[str, Picture] = field(default_factory=dict)
    damaged: list[str] = field(default_factory=list)
    values: Counter[Value] = field(default_factory=Counter)
    nodata: int = 0


def inspect(root: Path, points_crs: str | None = None, **names: str | None) -> Iterator[str]:
    """Yield the report line by line; write classes.yaml if there is none and the files tell what to write.

    names: images, masks, points_file, classes as for `files_of`. Raises UserError where it cannot go on or decide.
    """
    files = files_of(root, **{k: v for k, v in names.items() if v is not None})
    found = _look(files)
    yield from _images(files, found)
    classes = read_classes(files.classes) if files.classes.exists() else None
    if classes is None:
        classes = _guess(files, found)
        if len(classes) == 1:
            what = "the masks hold" if files.masks else f"{files.points} names"
            one = f"one class, {classes.names[0]}"
            raise UserError(f"{what} {one}; a network tells two or more apart: label what else there is")
        write_classes(files.classes, classes)
        yield f"classes   wrote {files.classes}: look through it, and rename the classes as you like"
    else:
        yield f"classes   {len(classes)} in {files.classes}"
    most = 0
    yield from _pixels(classes, found)
    if files.points:
        lines, most = _points(files, found, classes, points_crs)
        yield from lines
    if not files.masks and not files.points:
        yield "points    none, and no masks either: add masks, points.csv (image,x,y,class) or points.geojson to train"
        return
    yield from _command(files, found, most, points_crs, names)


def _look(files: Files) -> Found:
    found = Found()
    for key, path in files.images.items():
        try:
            found.pictures[key] = probe(path)
            reader_of(path).verify(path)
        except UserError as error:
            found.damaged.append(_first(error))
            found.pictures.pop(key, None)
    for key, path in files.masks.items():
        try:
            values, nodata = _values(path)
            found.values.update(values)
            found.nodata += nodata
            if key in found.pictures:
                probe(files.images[key], path)
        except UserError as error:
            found.damaged.append(_first(error))
    return found


def _first(error: UserError) -> str:
    return str(error).split("\n")[0]


def _values(path: Path) -> tuple[Counter[Value], int]:
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


def _images(files: Files, found: Found) -> Iterator[str]:
    yield f"images    {len(files.images)} in {files.root}"
    kinds = Counter((p.path.suffix.lower(), p.kind) for p in found.pictures.values())
    for (suffix, kind), n in kinds.most_common():
        yield f"          {n} × {suffix} {kind}"
    sizes = Counter((p.width, p.height) for p in found.pictures.values())
    shown = ", ".join(f"{w}×{h} ({n})" for (w, h), n in sizes.most_common(4))
    yield f"sizes     {shown}{f' and {len(sizes) - 4} others' if len(sizes) > 4 else ''} (width × height)"
    crs = Counter(str(p.crs) for p in found.pictures.values() if p.crs is not None)
    if crs:
        yield f"maps      {', '.join(f'{name} ({n})' for name, n in crs.items())}"
    paired = [key for key in files.images if key in files.masks]
    yield f"masks     {len(files.masks)}, of which {len(paired)} belong to an image by name"
    without = [str(path) for key, path in files.images.items() if key not in files.masks]
    if files.masks and without:
        yield f"          {len(without)} images without mask: {_some(without)}"
    if files.unpaired:
        yield f"          {len(files.unpaired)} masks without image: {_some([str(p) for p in files.unpaired])}"
    for message in found.damaged:
        yield f"damaged   {message}"


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (" …" if len(names) > 3 else "")


def _guess(files: Files, found: Found) -> Classes:
    """Classes from the values in the masks, or from the names in the file of points.

    Raises UserError where neither tells.
    """
    names = used_labels(files.points) if files.points else []
    total = found.values.total()
    frequent = [v for v, n in found.values.items() if n >= LEAST * total]
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
            f"cannot tell the classes: some masks hold colours ({_some([hex_colour(c) for c in colours])}), others "
            f"numbers ({_some([str(n) for n in numbers])})\ngive each class both in {files.classes}: "
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


def _pixels(classes: Classes, found: Found) -> Iterator[str]:
    """Pixels per class over all masks, unlabelled and off the palette."""
    left, total = Counter(found.values), max(found.values.total() + found.nodata, 1)
    width = max(len(name) for name in classes.names)
    for k, (name, colour) in enumerate(zip(classes.names, classes.colours, strict=True)):
        mine: list[Value] = [colour]
        if classes.indices:
            mine.append(classes.indices[k])
        if colour[0] == colour[1] == colour[2] and not classes.indices:
            mine.append(colour[0])  # a grey mask of grey colours
        pixels = sum(left.pop(value, 0) for value in mine)
        index = f"  index {classes.indices[k]}" if classes.indices else ""
        share = f"  {pixels:>12,} pixels  {pixels / total:6.1%}" if found.values else ""
        yield f"          {name:<{width}}  {hex_colour(colour)}{index}{share}"
    if found.values:
        blank: list[Value] = [IGNORE_INDEX, *classes.blank, *classes.unlabelled]
        unlabelled = found.nodata + sum(left.pop(v, 0) for v in blank)
        yield f"          {'unlabelled':<{width}}           {unlabelled:>12,} pixels  {unlabelled / total:6.1%}"
    if left:
        shown = ", ".join(f"{_name(value)} ({n:,})" for value, n in left.most_common(3))
        yield f"off       {left.total():,} pixels hold no class and count as unlabelled: {shown}"


def _name(value: Value) -> str:
    return str(value) if isinstance(value, int) else hex_colour(value)


def _points(files: Files, found: Found, classes: Classes, crs: str | None) -> tuple[list[str], int]:
    """Lines about the points, and the most that an image has of a class."""
    assert files.points is not None
    places = dict.fromkeys(files.images, Place(2**31, 2**31))  # of a damaged image nobody knows
    places |= {k: Place(p.height, p.width, p.crs, p.transform, p.path) for k, p in found.pictures.items()}
    labels, bad = label_names(classes.names, classes.indices), Bad(skip=True)
    points = read_own_points(files.points, by_name(dict(files.images), files.root), places, labels, bad, crs)
    counts: Counter[int] = Counter()
    most = 0
    for rows in points.values():
        counts.update(rows[:, 2].tolist())
        most = max([most, *np.bincount(rows[:, 2]).tolist()])
    per_class = ", ".join(f"{name} {counts[k]}" for k, name in enumerate(classes.names))
    lines = [f"points    {counts.total()} on {len(points)} images in {files.points}: {per_class}"]
    if bad.counts:
        try:
            read_own_points(files.points, by_name(dict(files.images), files.root), places, labels, Bad(), crs)
        except UserError as error:
            lines.append(f"          {bad.note(files.points)}; the first: {_first(error)}")
    return lines, most


def _command(files: Files, found: Found, most: int, crs: str | None, names: dict[str, str | None]) -> Iterator[str]:
    words = ["data=folder", f"data.root={_quoted(str(files.root))}"]
    words += [f"data.{key}={_quoted(value)}" for key, value in names.items() if value is not None]
    words += [f"data.points_crs={crs}"] if crs else []
    kinds = {p.kind for p in found.pictures.values() if p.is_geotiff}
    deep = [k for k in kinds if not k.startswith("uint8 ")] + [
        p.kind for p in found.pictures.values() if p.kind.startswith(("I", "F"))
    ]
    if deep:
        words.append("data.scale=[LOW,HIGH]")
    if any(p.bands == 2 and not p.has_alpha for p in found.pictures.values()):
        words.append("data.bands=[1,2]")
    if any(max(p.width, p.height) > 2048 for p in found.pictures.values()):
        words.append("data.tile=256")
    if most:
        words.append(f"points={most}")
    yield ""
    if not files.masks:
        yield "There are no masks: a share of the points is held out, and the score is point accuracy, not mIoU."
    if deep:
        yield f"Pixels are {deep[0].split(' ')[0]}: put the values that shall be black and white for LOW and HIGH."
    if (most_bands := max((p.bands for p in found.pictures.values()), default=3)) > 3:
        every = ",".join(map(str, range(1, most_bands + 1)))
        clear = any(p.has_alpha for p in found.pictures.values())
        rest = "; one is marked as transparency, name it only if it is a band such as near infrared" if clear else ""
        yield f"Of {most_bands} bands the first three are used unless you name others: data.bands=[{every}]{rest}"
    if found.damaged:
        yield "Replace the damaged files first, or move them away."
    yield "To train:"
    yield f"    python train.py {' '.join(shlex.quote(w) if set(w) - PLAIN else w for w in words)}"


def _quoted(value: str) -> str:
    """A name for Hydra's command line: in quotes where its grammar would take it for a number, a list or nothing."""
    try:
        if OverridesParser.create().parse_override(f"key={value}").value() == value:
            return value
    except HydraException:
        pass
    return "'" + value.replace("'", "\\'") + "'"
