"""points.csv and checks.csv: what stands in them, and how two versions become one. No torch."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from sparse_seg.annotate.journal import Change, Label, Pixels
from sparse_seg.classes import Classes
from sparse_seg.errors import UserError, brief
from sparse_seg.points.formats import label_names, read_own_points
from sparse_seg.points.naming import Names, find_label
from sparse_seg.points.records import Bad, Place
from sparse_seg.points.text import read_text

COLUMNS = ("image", "row", "col", "class")
CHECK_COLUMNS = (*COLUMNS, "predicted", "weight")


def points_text(pixels: Pixels, names: Sequence[str]) -> str:
    """The text of points.csv. names: of the classes."""
    rows = [(image, *at, names[said.label]) for image, those in pixels.items() for at, said in those.items()]
    return _text(COLUMNS, rows)


def checks_text(pixels: Pixels, names: Sequence[str]) -> str:
    """The text of checks.csv: the columns of points.csv, what the map said, and the weight of the point."""
    rows = [
        (image, *at, names[said.label], names[said.predicted or 0], repr(said.weight or 0.0))
        for image, those in pixels.items()
        for at, said in those.items()
    ]
    return _text(CHECK_COLUMNS, rows)


def _text(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([columns, *rows])
    return text.getvalue()


def read_points(path: Path, names: Mapping[str, str], places: Mapping[str, Place], known: Classes) -> Pixels:
    """The points of a file that others may have written. Raises UserError as `read_own_points` does."""
    found = read_own_points(path, names, places, label_names(known.names, known.indices), Bad())
    return {
        image: {(row, col): Label(label) for row, col, label, _ in points.tolist()}
        for image, points in found.items()
        if len(points)
    }


def read_checks(path: Path, names: Mapping[str, str], places: Mapping[str, Place], known: Classes) -> Pixels:
    """The check points of a file. Raises UserError that names the line which cannot be used."""
    table = csv.DictReader(io.StringIO(read_text(path, "table"), newline=""))
    images, labels = Names(names), label_names(known.names, known.indices)
    found: Pixels = {}
    try:
        for line in table:
            where = f"{path}, line {table.line_num}"
            image = images.find(line["image"])
            said, predicted = (find_label(labels, line[key]) for key in ("class", "predicted"))
            row, col, weight = int(line["row"]), int(line["col"]), float(line["weight"])
            if image is None or said is None or predicted is None or not 0 < weight < float("inf"):
                raise UserError(f"{where}: {brief(dict(line))} names an image or a class that is not there")
            if not (0 <= row < places[image].height and 0 <= col < places[image].width):
                raise UserError(f"{where}: row {row}, column {col} lies outside image {image!r}")
            found.setdefault(image, {})[row, col] = Label(said, predicted, weight)
    except (KeyError, TypeError, ValueError, csv.Error) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(
            f"{path}, line {table.line_num}: no line of check points ({', '.join(CHECK_COLUMNS)}): {error}"
        ) from error
    return found


def merged(layer: str, base: Pixels, ours: Pixels, theirs: Pixels) -> tuple[list[Change], list[Change]]:
    """What to change of ours so that it has what another program did, too.

    Args:
        layer: of the changes.
        base: what both began with.
        ours, theirs: what became of it.

    Returns:
        the changes; and those where both changed a pixel, each in its own way, to be asked about.

    Example:
        >>> water, road = Label(0), Label(1)
        >>> base = {"a": {(0, 0): water}}
        >>> (gone,), asked = merged("points", base, {"a": {(0, 0): water, (5, 5): road}}, {"a": {}})
        >>> gone.row, gone.after, asked
        (0, None, [])
    """
    sure: list[Change] = []
    asked: list[Change] = []
    for image in dict.fromkeys([*ours, *theirs, *base]):
        began, mine, other = (side.get(image, {}) for side in (base, ours, theirs))
        for at in dict.fromkeys([*mine, *other, *began]):
            was, we, they = began.get(at), mine.get(at), other.get(at)
            if they in (was, we):
                continue
            (sure if we == was else asked).append(Change(layer, image, *at, we, they))
    return sure, asked
