"""classes.yaml: the classes of a folder of one's own, their colours and, where masks hold numbers, those."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from sparse_seg.classes import IGNORE_INDEX, Classes
from sparse_seg.errors import UserError
from sparse_seg.palette import hex_colour, parse_colour, usual_colours

EXAMPLE = '{name: Water, colour: "#E2A929"}'


def read_classes(path: Path) -> Classes:
    """Read classes.yaml: `classes`, a list of name, colour (optional) and index (optional); `unlabelled`, a list of
    colours or numbers (optional).

    Raises UserError for a file that is missing, no such list, of one or more than 255 classes, a name, colour or index
    that comes twice, a colour that is neither "#RRGGBB" nor three numbers, an index out of 0..254 or given for some
    classes only.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(
            f"{path} does not exist: it names the classes\n"
            f"`python -m sparse_seg.data inspect {path.parent}` writes it from the masks or the points"
        ) from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as e:
        raise UserError(f"{path} cannot be read as YAML: {' '.join(str(e).split())}") from e
    entries = content.get("classes") if isinstance(content, dict) else content
    if not isinstance(entries, list) or not entries:
        raise UserError(f"{path}: there must be a list `classes:` with entries such as {EXAMPLE}")
    names, colours, indices = [], [], []
    usual = usual_colours(len(entries))
    for number, entry in enumerate(entries, 1):
        entry = {"name": entry} if isinstance(entry, str) else entry
        where = f"{path}, class {number}"
        if not isinstance(entry, dict) or entry.get("name") in (None, ""):
            raise UserError(f"{where}: {entry!r} has no name; an entry looks like {EXAMPLE}")
        if spare := sorted(map(str, entry.keys() - {"name", "colour", "color", "index"})):
            raise UserError(f"{where}: {spare[0]!r} is unknown; an entry has name, colour and index")
        colour = entry.get("colour", entry.get("color"))
        names.append(str(entry["name"]))
        colours.append(usual[number - 1] if colour is None else parse_colour(colour, where))
        indices.append(entry.get("index"))
    unique: dict[str, list[Any]] = {"name": names, "colour": colours, "index": [i for i in indices if i is not None]}
    for what, values in unique.items():
        if twice := [v for v in values if values.count(v) > 1]:
            raise UserError(f"{path}: the {what} {twice[0]!r} belongs to two classes; each needs its own")
    blank = content.get("unlabelled") or [] if isinstance(content, dict) else []
    if not isinstance(blank, list):
        raise UserError(f"{path}: unlabelled={blank!r} must be a list of colours or numbers")
    numbers = [b for b in blank if isinstance(b, int)]
    unlabelled = [parse_colour(b, f"{path}, unlabelled") for b in blank if not isinstance(b, int)]
    if clash := [c for c in unlabelled if c in colours]:
        raise UserError(f"{path}: {hex_colour(clash[0])} is the colour of a class and unlabelled, too")
    classes = Classes(tuple(names), tuple(colours), tuple(unlabelled), _indices(path, indices), tuple(numbers))
    if len(names) == 1:
        raise UserError(f"{path}: there is one class; a network tells two or more apart, so list what else there is")
    if len(names) > IGNORE_INDEX:
        raise UserError(f"{path}: there are {len(names)} classes; {IGNORE_INDEX} is the most that a mask of bytes has")
    return classes


def _indices(path: Path, indices: Sequence[Any]) -> tuple[int, ...] | None:
    given = [i for i in indices if i is not None]
    if not given:
        return None
    if len(given) < len(indices):
        raise UserError(f"{path}: {len(given)} of {len(indices)} classes have an index; give all of them one, or none")
    if wrong := [i for i in given if isinstance(i, bool) or not isinstance(i, int) or not 0 <= i < IGNORE_INDEX]:
        raise UserError(f"{path}: index {wrong[0]!r} must be a whole number from 0 to {IGNORE_INDEX - 1}")
    return tuple(given)


def write_classes(path: Path, classes: Classes) -> None:
    """Write classes.yaml. Raises FileExistsError rather than replace one, UserError if it cannot be written."""
    lines = [
        "# The classes, in order. Rename them as you like; colours and indices are those of the masks.",
        "classes:",
    ]
    for k, (name, colour) in enumerate(zip(classes.names, classes.colours, strict=True)):
        index = f", index: {classes.indices[k]}" if classes.indices else ""
        text = yaml.safe_dump(name, default_style='"', allow_unicode=True, width=1000).strip()
        lines.append(f'  - {{name: {text}, colour: "{hex_colour(colour)}"{index}}}')
    blank = [f'"{hex_colour(c)}"' for c in classes.unlabelled] + [str(b) for b in classes.blank]
    lines.append(f"unlabelled: [{', '.join(blank)}]    # colours or values of pixels that nobody labelled")
    try:
        with path.open("x", encoding="utf-8") as f:
            f.write("\n".join(lines) + "\n")
    except FileExistsError:
        raise
    except OSError as e:
        raise UserError(f"{path} cannot be written: {e.strerror}") from e
