"""Points in a table: CSV with a header, in pixels or, where the user says in which CRS, on the map."""

import csv
import io
import math
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from sparse_seg.errors import UserError
from sparse_seg.points.onmap import Record, on_images
from sparse_seg.points.records import ALIASES, PIXEL, Bad, Images, Point
from sparse_seg.points.text import nfc, read_text

DELIMITERS = ",;\t"
LONGEST, MOST_LINES = 2**20, 2**20
"""Characters of a line, and lines. What has more is no table of points, and would take minutes."""
MAP_ALIASES = {"row": ("lat", "latitude", "northing"), "col": ("lon", "long", "lng", "longitude", "easting")}
"""Columns of a table on the map, beside row, y, col, x."""
NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
COMMA = re.compile(r"[+-]?[0-9]+,[0-9]+|[+-]?[0-9]{1,3}([., '’\u00a0\u202f_][0-9]{3})+([.,][0-9]+)?")
DEGREES = re.compile(r"[0-9.,]+ ?°.*|[NSEWO]? ?[0-9.]+ ?[NSEWO]?")


def read_csv(path: Path, images: Images, bad: Bad) -> Iterator[Point]:
    """The points of a table with the columns image, row, col, class, or their aliases; see `read_own_points`.

    Columns are separated by comma, semicolon or tab; a first line `sep=;` is understood. With a CRS, x and y are map
    coordinates, and the column image may be left out.
    """
    try:
        text = read_text(path, "table")
    except FileNotFoundError:
        raise UserError(f"the file of points {path} does not exist") from None
    source = images.source()
    pixels = source in (None, PIXEL)
    # Without images only classes are asked for.
    records = _records(path, text, not (pixels and images.places), images, bad)
    if pixels:
        yield from (Point(r.where, r.image, r.x, r.y, r.label) for r in records)
    else:
        yield from on_images(path, str(source), list(records), images, bad)


def _records(path: Path, text: str, on_map: bool, images: Images, bad: Bad) -> Iterator[Record]:
    _check_size(path, text)
    lines = io.StringIO(text, newline="")
    before, header, separator = 0, "", ""
    for line in lines:
        stated = re.fullmatch(r'"?sep=(.)"?\s*', line, re.IGNORECASE)
        if stated and not separator:
            separator = stated[1]
        elif line.strip():
            header = line
            break
        before += 1
    first = f"{path}, line {before + 1 if header else 1}"
    delimiter = _delimiter(first, header, separator)
    # Blanks before a quote would make the quote a part of the name.
    blanks = bool(re.search(rf"(^|{re.escape(delimiter)}) +\"", text, re.MULTILINE))
    try:
        names = next(csv.reader([header], delimiter=delimiter, skipinitialspace=blanks), [])
    except csv.Error as error:
        raise UserError(f"{first}: cannot be read as the header of a table: {error}") from error
    columns = _columns(first, names, on_map)
    at = {key: names.index(name) for key, name in columns.items()}
    heading = [name.strip().lower() for name in names]
    thousands, longer = _Thousands(path), 0
    reader = csv.reader(lines, delimiter=delimiter, skipinitialspace=blanks)
    try:
        for cells in reader:
            where = f"{path}, line {before + 1 + reader.line_num}"
            if not any(cell.strip() for cell in cells):
                continue
            if any(len(cell.splitlines()) > 1 and cell.count(delimiter) > 1 for cell in cells):
                raise UserError(f"{where}: a quote that is opened before this line is not closed on its own line")
            if [cell.strip().lower() for cell in cells] == heading:
                bad.found("that repeat the header", f"{where}: the header comes again")
                continue
            if any(cell.strip() for cell in cells[len(names) :]):
                _check_long(where, cells, names, delimiter)
                longer += 1
            values = {key: cells[k] if k < len(cells) else "" for key, k in at.items()}
            image: str | None = values.get("image", "")
            if not str(image).strip():
                image = None
                if not on_map:
                    bad.found("of unknown images", f"{where}: no image")
                    continue
            thousands.see(values["col"], values["row"])
            x, y = (_number(where, columns[key], values[key]) for key in ("col", "row"))
            if x is None or y is None:
                pair = f"{columns['col']} {values['col'].strip()!r}, {columns['row']} {values['row'].strip()!r}"
                bad.found("without a position", f"{where}: {pair} must be numbers")
                continue
            yield Record(where, image, x, y, values["class"])
    except csv.Error as error:
        raise UserError(f"{path}, line {before + 1 + reader.line_num}: cannot be read as a table: {error}") from error
    if longer:  # such as what `suggest` adds, below the points of a run
        bad.said.append(f"{longer} lines have more cells than the header, which are not read")
    if not images.source():
        thousands.check(max((max(p.width, p.height) for p in images.places.values()), default=0))


def _check_size(path: Path, text: str) -> None:
    """Raise UserError if a table has a line, or lines, beyond what tables of points have."""
    if (count := max(text.count("\n"), text.count("\r"))) > MOST_LINES:
        raise UserError(f"{path} has {count:,} lines, more than {MOST_LINES:,}: leave out those that are no points")
    start = 0
    while len(text) - start > LONGEST:
        end = start + LONGEST + 1
        last = max(text.rfind(mark, start, end) for mark in "\n\r")
        if last < 0:
            line = len(re.findall(r"\r\n|\r|\n", text[:start])) + 1
            raise UserError(
                f"{path}, line {line}: it has more than {LONGEST:,} characters, which no line of points has"
            )
        start = last + 1


def _delimiter(where: str, header: str, stated: str) -> str:
    """What separates the columns. Raises UserError if it is something else than comma, semicolon and tab."""
    known = {a for group in (ALIASES, MAP_ALIASES) for aliases in group.values() for a in aliases}

    def found(cells: Sequence[str]) -> int:
        return len({cell.strip().strip('"').lower() for cell in cells} & known)

    header = header[: csv.field_size_limit() - 1]  # a longer one is no header, which is told where it is read
    counts = {d: found(next(csv.reader([header], delimiter=d), [])) for d in DELIMITERS}
    best = max(DELIMITERS, key=lambda d: (counts[d], header.count(d)))
    other = stated if stated and stated not in DELIMITERS else ""
    if counts[best] < 3:
        others = {d: found(header.split(d)) for d in "|:"} | {" ": found(header.split())}
        other = next((d for d, n in others.items() if n >= 3), other)
    if other:
        name = "blanks" if other == " " else repr(other)
        raise UserError(f"{where}: the columns are separated by {name}; save the table with commas, semicolons or tabs")
    return stated or best


def _columns(where: str, header: Sequence[str], on_map: bool) -> dict[str, str]:
    """Which column holds what. Raises UserError if one is missing or comes in two styles."""
    lower: dict[str, str] = {}
    columns = {}
    for name in header:
        if nfc(name).strip().lower() in lower and name.strip().lower() in sum(ALIASES.values(), ()):
            raise UserError(f"{where}: the column {name.strip()} is there twice; leave one out")
        lower[nfc(name).strip().lower()] = name
    for key, aliases in ALIASES.items():
        more = MAP_ALIASES.get(key, ()) if on_map else ()
        given = [lower[a] for a in (*aliases, *more) if a in lower]
        if len(given) > 1 and key in ("row", "col"):
            raise UserError(f"{where}: the columns {given[0]} and {given[1]} mean the same; leave one out")
        if given:
            columns[key] = given[0]
    if missing := [key for key in ALIASES if key not in columns and not (on_map and key == "image")]:
        has = ", ".join(header)[:200] or "nothing"
        way = "a header is image,x,y,class or image,row,col,class, in pixels"
        if any(a in lower for aliases in MAP_ALIASES.values() for a in aliases):
            way = "data.points_crs=EPSG:4326 reads longitude and latitude, where images have a map position; " + way
        elif {"wkt", "geometry", "geom"} & lower.keys():
            way = "export the layer as GeoJSON, or with its geometry as x and y; " + way
        raise UserError(
            f"{where}: no column {' and no '.join('/'.join(ALIASES[m][:2]) for m in missing)}; it has {has}\n{way}"
        )
    return columns


def _number(where: str, column: str, cell: str) -> float | None:
    """The number in a cell, None if there is none. Raises UserError for what a spreadsheet writes elsewhere."""
    said = cell.strip().replace("\u2212", "-")
    if NUMBER.fullmatch(said) and math.isfinite(float(said)):
        return float(said)
    if COMMA.fullmatch(said):
        raise UserError(
            f"{where}: {column} {said!r} has a decimal comma or a thousands separator\n"
            "save the table with a point for decimals and nothing between thousands"
        )
    if said.endswith("%"):
        raise UserError(
            f"{where}: {column} {said!r} is a percentage; x and y are pixels, so multiply by the image's size"
        )
    if said and DEGREES.fullmatch(said):
        raise UserError(
            f"{where}: {column} {said!r} is in degrees; x and y are pixels\n"
            "save the points as GeoJSON, or as decimal degrees with data.points_crs=EPSG:4326"
        )
    return None


def _check_long(where: str, cells: Sequence[str], names: Sequence[str], delimiter: str) -> None:
    """Raise UserError if a line has more cells than the header because commas are within its numbers."""
    digits = sum(cell.strip().lstrip("+-").isdecimal() for cell in cells)
    if delimiter == "," and digits >= 2 + len(cells) - len(names):
        raise UserError(
            f"{where}: {len(cells)} cells, but the header has {len(names)}: are there decimal commas?\n"
            "write decimals with a point, or separate columns by semicolons"
        )


class _Thousands:
    """Whether a point seems to separate thousands: 1.234 beside 567, and no number with other decimals."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.pointed: list[str] = []
        self.whole = self.other = 0

    def see(self, *cells: str) -> None:
        for cell in map(str.strip, cells):
            if re.fullmatch(r"[1-9][0-9]{0,2}\.[0-9]{3}", cell):
                self.pointed.append(cell)
            elif re.fullmatch(r"[0-9]{1,3}", cell):
                self.whole += 1
            else:
                self.other += 1

    def check(self, side: int) -> None:
        """side: of the largest image."""
        if len(self.pointed) >= 3 and self.whole >= 3 and not self.other and side > 1000:
            raise UserError(
                f"{self.path}: {self.pointed[0]!r} beside whole numbers below 1000 looks like a thousands separator\n"
                f"save the table with nothing between thousands; if these are decimals, say data.points_crs={PIXEL}"
            )
