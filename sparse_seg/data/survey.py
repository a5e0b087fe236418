"""`python -m sparse_seg.data inspect FOLDER`: what lies in a folder, its classes, and the command to train on it."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from sparse_seg.classes import IGNORE_INDEX, Classes
from sparse_seg.data.classfile import read_classes, write_classes
from sparse_seg.data.command import training_command
from sparse_seg.data.folder import Files, files_of, no_labels, no_points, said_once
from sparse_seg.data.guess import MaskValues, guess_classes, some
from sparse_seg.data.layout import by_name
from sparse_seg.data.numbered import check_numbers
from sparse_seg.data.seen import Kind, foreign_problem, without_pixels
from sparse_seg.errors import UserError
from sparse_seg.palette import hex_colour
from sparse_seg.points.formats import label_names, read_own_points
from sparse_seg.points.records import Bad, Place
from sparse_seg.raster.coding import Value, shown
from sparse_seg.raster.masks import Picture, count_mask, probe
from sparse_seg.raster.readers import reader_of


@dataclass
class Found:
    """What was seen. headers: of the images, also of those whose pixels are damaged. refused: masks that cannot
    be used, with the reason; said: those that the report has. foreign: whether too many pixels of the others
    hold no class. labelled: what training can draw on of each class: points where there is a file of them, else
    pixels of masks.
    """

    pictures: dict[str, Picture] = field(default_factory=dict)
    headers: dict[str, Picture] = field(default_factory=dict)
    damaged: list[str] = field(default_factory=list)
    refused: dict[Path, str] = field(default_factory=dict)
    foreign: bool = False
    labelled: list[int] = field(default_factory=list)
    said: set[Path] = field(default_factory=set)

    def unsaid(self) -> Iterator[str]:
        """Yield a line for each mask that cannot be used, once."""
        for path, why in self.refused.items():
            if path not in self.said:
                self.said.add(path)
                yield f"refused   {why}"


def inspect(root: Path, points_crs: str | None = None, **names: str | None) -> Iterator[str]:
    """Yield the report line by line; write classes.yaml if there is none and the files tell what to write.

    names: images, masks, points_file, classes as for `files_of`. Raises UserError where it cannot go on or decide.
    """
    files = files_of(root, **{k: v for k, v in names.items() if v is not None})
    found = _look(files)
    yield from _images(files, found)
    classes = read_classes(files.classes) if files.classes.exists() else None
    if classes is None:
        values = _values(files, found)
        yield from found.unsaid()
        classes = guess_classes(files, values)
        if len(classes) == 1:
            what = f"{files.root}: the masks hold" if files.masks else f"{files.points} names"
            one = f"one class, {classes.names[0][:100]}"
            raise UserError(f"{what} {one}; a network tells two or more apart: label what else there is")
        write_classes(files.classes, classes)
        yield f"classes   wrote {files.classes}: look through it, and rename the classes as you like"
        for number, n in values.hidden.items() if classes.indices is not None else ():
            if n and 0 <= number < IGNORE_INDEX:
                yield f"note      {n:,} pixels hold {number}, the nodata value of their masks, and are unlabelled"
                yield f"          if they are a class, give it index {number} there, and add the line: ignore: 255"
    else:
        yield f"classes   {len(classes)} in {files.classes}"
    most = 0
    yield from _pixels(classes, files, found)
    if files.points:
        lines, most = _points(files, found, classes, points_crs)
        yield from lines
    if not files.masks and not files.points:
        yield f"refused   {_first(no_labels(files, names.get('masks') or 'masks'))}"
        yield "          add masks, points.csv (image,x,y,class) or points.geojson to train"
        return
    missing = _missing(files, found, classes)
    yield from (f"refused   {line}" for line in missing)
    refused = bool(found.damaged or found.refused or found.foreign or missing)
    yield from training_command(files, found.pictures.values(), refused, most, points_crs, names)


def _missing(files: Files, found: Found, classes: Classes) -> list[str]:
    """What training would say of classes that nothing is labelled with."""
    empty = [k for k, count in enumerate(found.labelled) if not count]
    if not empty or found.damaged or found.refused or found.foreign:
        return []
    if len(empty) < len(classes):
        return [without_pixels(empty, classes, f"any of the {len(found.pictures)} images")]
    return [_first(no_points(files)) if files.points else "no image has a labelled pixel"]


def _look(files: Files) -> Found:
    found = Found()
    for key, path in files.images.items():
        try:
            found.pictures[key] = found.headers[key] = probe(path)
            reader_of(path).verify(path)
        except UserError as error:
            found.damaged.append(_first(error))
            found.pictures.pop(key, None)
    for key, path in files.masks.items():
        try:
            picture = found.pictures.get(key)
            if picture is None:
                probe(path)
            else:
                found.pictures[key] = probe(picture.path, path)
        except UserError as error:
            found.refused[path] = _first(error)
    return found


def _grids(files: Files, found: Found) -> Iterator[tuple[Path, Picture]]:
    """The masks that can be used, each with the image at whose pixels it is read, or else itself."""
    for key, path in files.masks.items():
        if path not in found.refused:
            yield path, found.pictures.get(key) or probe(path)


def _values(files: Files, found: Found) -> MaskValues:
    held = MaskValues()
    for path, grid in _grids(files, found):
        try:
            held.add(path, grid)
        except UserError as error:
            found.refused[path] = _first(error)
    return held


def _first(error: UserError) -> str:
    return str(error).split("\n")[0]


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
        yield f"          {len(without)} images without mask: {some(without)}"
    if files.unpaired:
        yield f"          {len(files.unpaired)} masks without image: {some([str(p) for p in files.unpaired])}"
    for message in found.damaged:
        yield f"damaged   {message}"
    yield from found.unsaid()
    for note in said_once(found.pictures.values()):
        yield f"note      {note}"
    for message in files.unused():
        yield f"not used  {message}"


def _pixels(classes: Classes, files: Files, found: Found) -> Iterator[str]:
    """Pixels per class over all masks, unlabelled and off the palette."""
    foreign, trained = Kind(), np.zeros(len(classes), np.int64)
    pixels, total, off, values = np.zeros(len(classes), np.int64), 0, 0, Counter[Value]()
    for path, grid in _grids(files, found):
        try:
            counted = count_mask(path, classes, grid)
        except UserError as error:
            found.refused[path] = _first(error)
            continue
        pixels += counted.pixels
        if grid.mask is not None:  # others do not train
            trained += counted.pixels
            if counted.off and not counted.blurred:
                foreign.add(path, counted.off)
                foreign.values.update({shown(value): n for value, n in counted.values.items()})
        total += counted.total
        off += counted.off
        values += counted.values
    found.labelled = trained.tolist()
    width = max(len(name) for name in classes.names)
    for k, (name, colour) in enumerate(zip(classes.names, classes.colours, strict=True)):
        index = f"  index {classes.indices[k]}" if classes.indices else ""
        share = f"  {pixels[k]:>12,} pixels  {pixels[k] / total:6.1%}" if total else ""
        yield f"          {name:<{width}}  {hex_colour(colour)}{index}{share}"
    if total:
        unlabelled = total - int(pixels.sum()) - off
        yield f"          {'unlabelled':<{width}}           {unlabelled:>12,} pixels  {unlabelled / total:6.1%}"
    if off:
        most = ", ".join(f"{shown(value)} ({n:,})" for value, n in values.most_common(3))
        yield f"off       {off:,} pixels hold no class and count as unlabelled: {most or 'between the classes'}"
    yield from found.unsaid()
    if problem := foreign_problem(foreign, int(trained.sum())):
        found.foreign = True
        yield f"refused   {problem.splitlines()[0]}"


def _points(files: Files, found: Found, classes: Classes, crs: str | None) -> tuple[list[str], int]:
    """Lines about the points, and the most that an image has of a class."""
    assert files.points is not None
    check_numbers(files.points, (path for path, _ in _grids(files, found)), classes)
    places = dict.fromkeys(files.images, Place(2**31, 2**31))  # of a damaged image nobody knows
    places |= {k: Place(p.height, p.width, p.crs, p.transform, p.path) for k, p in found.headers.items()}
    labels, bad = label_names(classes.names, classes.indices), Bad(skip=True)
    points = read_own_points(files.points, by_name(dict(files.images), files.root), places, labels, bad, crs)
    counts: Counter[int] = Counter()
    most = 0
    for rows in points.values():
        counts.update(rows[:, 2].tolist())
        most = max([most, *np.bincount(rows[:, 2]).tolist()])
    found.labelled = [counts[k] for k in range(len(classes))]
    per_class = ", ".join(f"{name} {counts[k]}" for k, name in enumerate(classes.names))
    lines = [f"points    {counts.total()} on {len(points)} images in {files.points}: {per_class}"]
    note = bad.note(files.points)
    if bad.counts:
        try:
            read_own_points(files.points, by_name(dict(files.images), files.root), places, labels, Bad(), crs)
        except UserError as error:
            note += f"; the first: {_first(error)}"
    lines += [f"          {note}"] if note else []
    return lines, most
