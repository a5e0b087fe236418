"""Points in a table: CSV with a header, in pixels."""

import csv
import math
from collections.abc import Iterator, Sequence
from pathlib import Path

from sparse_seg.errors import UserError
from sparse_seg.points.records import ALIASES, Bad, Images, Point


def read_csv(path: Path, images: Images, bad: Bad) -> Iterator[Point]:
    """The points of a table with the columns image, row, col, class, or their aliases; see `read_own_points`."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as f:
            header = f.readline()
            f.seek(0)
            reader = csv.DictReader(f, delimiter=max(",;\t", key=header.count))
            columns = _columns(path, reader.fieldnames or ())
            for record in reader:
                where = f"{path}, line {reader.line_num}"
                values = {key: record[name] or "" for key, name in columns.items()}
                if not values["image"].strip():
                    bad.found("of unknown images", f"{where}: no image")
                    continue
                try:
                    x, y = float(values["col"]), float(values["row"])
                    if not (math.isfinite(x) and math.isfinite(y)):
                        raise ValueError
                except ValueError:
                    pair = f"{columns['col']} {values['col'].strip()!r}, {columns['row']} {values['row'].strip()!r}"
                    bad.found("without a position", f"{where}: {pair} must be numbers")
                    continue
                yield Point(where, values["image"], x, y, values["class"])
    except FileNotFoundError:
        raise UserError(f"the file of points {path} does not exist") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path} cannot be read as a UTF-8 table: {error}") from error


def _columns(path: Path, header: Sequence[str]) -> dict[str, str]:
    """Which column holds what. Raises UserError if one is missing or comes in two styles."""
    lower = {name.strip().lower(): name for name in header if name}
    columns = {}
    for key, aliases in ALIASES.items():
        given = [lower[a] for a in aliases if a in lower]
        if len(given) > 1 and key in ("row", "col"):
            raise UserError(f"{path}, line 1: the columns {given[0]} and {given[1]} mean the same; leave one out")
        if given:
            columns[key] = given[0]
    if missing := [key for key in ALIASES if key not in columns]:
        has = ", ".join(header) or "nothing"
        raise UserError(
            f"{path}, line 1: no column {' and no '.join('/'.join(ALIASES[m][:2]) for m in missing)}; it has {has}\n"
            "a header is image,x,y,class or image,row,col,class, in pixels"
        )
    return columns
