"""classes.yaml: the classes of a folder of one's own, their colours and, where masks hold numbers, those."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from sparse_seg.classes import IGNORE_INDEX, RGB, Classes
from sparse_seg.data.plain_yaml import Quoted, Value, read_plain_yaml
from sparse_seg.errors import UserError, brief
from sparse_seg.palette import hex_colour, parse_colour, usual_colours
from sparse_seg.points.text import nfc

EXAMPLE = '{name: Water, colour: "#E2A929"}'
KEYS = {"color": "colour", "unlabeled": "unlabelled"}
"""Other spellings."""


def read_classes(path: Path) -> Classes:
    """Read classes.yaml: `classes`, a list of name, colour (optional) and index (optional); `unlabelled`, a list of
    colours or numbers (optional); `ignore`, a number that means unlabelled instead of 255 (optional).

    Every value is text: a class may be called No, 1.10 or null.

    Raises:
        UserError: a file that is missing or no such list; one or more than 255 classes; a name, colour, index or key
            that comes twice; a colour that is neither "#RRGGBB" nor three numbers; an index out of 0..254, or of 0..255
            with `ignore`, or given for some classes only, or the number to ignore.
    """
    try:
        content = read_plain_yaml(path)
    except FileNotFoundError:
        raise UserError(
            f"{path} does not exist: it names the classes\n"
            f"`python -m sparse_seg.data inspect {path.parent}` writes it from the masks or the points"
        ) from None
    entries = content.get("classes") if isinstance(content, dict) else content
    if not isinstance(entries, list) or not entries:
        raise UserError(f"{path}: there must be a list `classes:` with entries such as {EXAMPLE}")
    if len(entries) > IGNORE_INDEX:
        raise UserError(
            f"{path}: there are {len(entries)} classes; {IGNORE_INDEX} is the most that a mask of bytes has"
        )
    top = _keys(content, str(path), ("classes", "unlabelled", "ignore")) if isinstance(content, dict) else {}
    names, colours, given = [], [], []
    usual = usual_colours(len(entries))
    for number, entry in enumerate(entries, 1):
        where = f"{path}, class {number}"
        said: Value = {"name": entry} if isinstance(entry, str) else entry
        own = _keys(said, where, ("name", "colour", "index")) if isinstance(said, dict) else {}
        name = own.get("name")
        if not isinstance(name, str) or not name.strip():
            raise UserError(f"{where}: {str(said)[:100]} has no name; an entry looks like {EXAMPLE}")
        names.append(nfc(name).strip())
        colour = own.get("colour", "null")
        if colour is None:
            raise UserError(f'{where}: its colour is empty; leave it out, or put quotes around it: "#E2A929"')
        colours.append(usual[number - 1] if _is_none(colour) else _colour(colour, where))
        given.append(None if _is_none(own.get("index")) else own["index"])
    ignore = _number(top["ignore"], f"{path}: ignore") if "ignore" in top else None
    indices = _indices(path, given, IGNORE_INDEX - (ignore is None))
    unique: dict[str, Sequence[Any]] = {"name": names, "colour": colours, "index": indices or ()}
    for what, values in unique.items():
        if twice := [v for v in values if values.count(v) > 1]:
            shown = hex_colour(twice[0]) if what == "colour" else repr(twice[0])
            raise UserError(f"{path}: the {what} {shown} belongs to two classes; each needs its own")
    unlabelled, blank = _unlabelled(path, top.get("unlabelled", []))
    blank = [*blank, *([] if ignore is None or ignore in blank else [ignore])]
    if clash := [c for c in unlabelled if c in colours]:
        raise UserError(f"{path}: {hex_colour(clash[0])} is the colour of a class and unlabelled, too")
    if clash_index := [i for i in indices or () if i in blank]:
        raise UserError(f"{path}: {clash_index[0]} is the index of a class and unlabelled or to ignore, too")
    if len(names) == 1:
        raise UserError(f"{path}: there is one class; a network tells two or more apart, so list what else there is")
    return Classes(tuple(names), tuple(colours), tuple(unlabelled), indices, tuple(blank))


def _keys(entry: dict[str, Value], where: str, known: Sequence[str]) -> dict[str, Value]:
    """An entry with its keys in one spelling. Raises UserError for others."""
    found: dict[str, Value] = {}
    for key, value in entry.items():
        name = KEYS.get(key, key)
        if name not in known:
            raise UserError(f"{where}: {key!r} is unknown; there are {', '.join(known[:-1])} and {known[-1]}")
        if name in found:
            raise UserError(f"{where}: {name} is given twice, as {key}, too; leave one out")
        found[name] = value
    return found


def _is_none(value: Value) -> bool:
    """Whether a colour or an index is left open: YAML's words for nothing, without quotes."""
    return value is None or (not isinstance(value, Quoted) and value in ("null", "Null", "NULL", "~"))


def _colour(value: Value, where: str) -> RGB:
    if isinstance(value, list):
        return parse_colour([int(v) if isinstance(v, str) and v.isdecimal() else v for v in value], where)
    return parse_colour(value if isinstance(value, dict) else str(value), where)


def _number(value: Value, where: str, most: int | None = None) -> int:
    """A whole number, in quotes or not; 1.0 is 1, and 010 might be 8."""
    if not isinstance(value, str) or not re.fullmatch(r"-?(0|[1-9][0-9]{0,17})(\.0*)?", value):
        end = "" if most is None else f" from 0 to {most}"
        raise UserError(f"{where} {brief(value)} must be a whole number{end}")
    return int(value.partition(".")[0])


def _unlabelled(path: Path, given: Value) -> tuple[list[RGB], list[int]]:
    """Colours and numbers of pixels that nobody labelled."""
    if _is_none(given):
        return [], []
    if not isinstance(given, list):
        raise UserError(f"{path}: unlabelled={given!r} must be a list of colours or numbers")
    colours, numbers = [], []
    for value in given:
        digits = isinstance(value, str) and re.fullmatch(r"-?[0-9]+(\.0*)?", value)
        if digits and not (isinstance(value, Quoted) and len(str(value)) == 6):
            numbers.append(_number(value, f"{path}, unlabelled:"))
        else:
            colours.append(_colour(value, f"{path}, unlabelled"))
    return colours, numbers


def _indices(path: Path, indices: Sequence[Value], most: int) -> tuple[int, ...] | None:
    given = [i for i in indices if i is not None]
    if not given:
        return None
    if len(given) < len(indices):
        raise UserError(f"{path}: {len(given)} of {len(indices)} classes have an index; give all of them one, or none")
    numbers = [_number(i, f"{path}: index", most) for i in given]
    for number in numbers:
        if number == IGNORE_INDEX > most:
            raise UserError(
                f"{path}: index {number} must be a whole number from 0 to {most}, since {number} means unlabelled\n"
                "if another number does in these masks, or none, say so on a line of its own: ignore: 254"
            )
        if not 0 <= number <= most:
            raise UserError(f"{path}: index {number} must be a whole number from 0 to {most}")
    return tuple(numbers)


def classes_text(classes: Classes) -> str:
    """What stands in classes.yaml for these classes."""
    lines = [
        "# The classes, in order. Rename them as you like; colours and indices are those of the masks.",
        "classes:",
    ]
    for k, (name, colour) in enumerate(zip(classes.names, classes.colours, strict=True)):
        index = f", index: {classes.indices[k]}" if classes.indices else ""
        text = yaml.safe_dump(name, default_style='"', allow_unicode=True, width=1000).strip()
        lines.append(f'  - {{name: {text}, colour: "{hex_colour(colour)}"{index}}}')
    ignores = IGNORE_INDEX in (classes.indices or ()) and classes.blank
    numbers = classes.blank[:-1] if ignores else classes.blank
    blank = [f'"{hex_colour(c)}"' for c in classes.unlabelled] + [str(b) for b in numbers]
    lines.append(f"unlabelled: [{', '.join(blank)}]    # colours or values of pixels that nobody labelled")
    lines += [f"ignore: {classes.blank[-1]}    # means unlabelled instead of {IGNORE_INDEX}"] if ignores else []
    return "\n".join(lines) + "\n"


def write_classes(path: Path, classes: Classes) -> None:
    """Write classes.yaml. Raises FileExistsError rather than replace one, UserError if it cannot be written."""
    try:
        with path.open("x", encoding="utf-8") as f:
            f.write(classes_text(classes))
    except FileExistsError:
        raise
    except OSError as e:
        raise UserError(f"{path} cannot be written: {e.strerror}") from e
