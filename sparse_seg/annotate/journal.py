"""The journal of a folder's points: what was done, line by line, and what of it the tables hold."""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from sparse_seg.classes import RGB
from sparse_seg.errors import UserError


class Label(NamedTuple):
    """What a person said of a pixel. A check point also has the class that the map had there, and its weight: pixels
    of that class ÷ the probability of the class being asked for.
    """

    label: int
    predicted: int | None = None
    weight: float | None = None


class Change(NamedTuple):
    """layer: "points" or "checks". before, after: None where there is no point."""

    layer: str
    image: str
    row: int
    col: int
    before: Label | None
    after: Label | None

    @property
    def inverse(self) -> "Change":
        return self._replace(before=self.after, after=self.before)


class ClassRow(NamedTuple):
    """A class in the page. number: its index in masks, where they have one."""

    name: str
    colour: RGB
    number: int | None = None


@dataclass(frozen=True)
class Step:
    """What one act of a person changes. classes: before and after, where they change."""

    changes: tuple[Change, ...] = ()
    classes: tuple[tuple[ClassRow, ...], tuple[ClassRow, ...]] | None = None

    @property
    def inverse(self) -> "Step":
        classes = None if self.classes is None else (self.classes[1], self.classes[0])
        return Step(tuple(change.inverse for change in reversed(self.changes)), classes)


Pixels = dict[str, dict[tuple[int, int], Label]]
"""Image id → (row, column) → label, in the order in which they came."""


@dataclass
class Contents:
    """Points, check points and classes, with what can be undone and done again."""

    points: Pixels = field(default_factory=dict)
    checks: Pixels = field(default_factory=dict)
    classes: tuple[ClassRow, ...] = ()
    done: list[Step] = field(default_factory=list)
    undone: list[Step] = field(default_factory=list)

    def layer(self, name: str) -> Pixels:
        return {"points": self.points, "checks": self.checks}[name]

    def apply(self, step: Step, kind: str) -> None:
        """kind: "do", "undo", "redo", or "outside" for what other programs did, which cannot be undone here."""
        for change in step.changes:
            pixels = self.layer(change.layer).setdefault(change.image, {})
            pixels.pop((change.row, change.col), None)
            if change.after is not None:
                pixels[change.row, change.col] = change.after
        if step.classes is not None:
            self.classes = step.classes[1]
        if kind == "do":
            self.done.append(step)
            self.undone.clear()
        elif kind == "undo":
            self.undone.append(self.done.pop())
        elif kind == "redo":
            self.done.append(self.undone.pop())
        else:
            touched = {change[:4] for change in step.changes}
            for steps in (self.done, self.undone):
                kept = [s for s in steps if not touched & {c[:4] for c in s.changes}]
                if step.classes is not None:
                    # Where the numbers of classes are others now, no earlier step means the same.
                    before, after = ([row.name for row in rows] for rows in step.classes)
                    kept = [s for s in kept if s.classes is None] if after[: len(before)] == before else []
                steps[:] = kept


def digest(data: bytes | None) -> str:
    """Of a table's content; "" where there is no file."""
    return "" if data is None else hashlib.sha256(data).hexdigest()


class Journal:
    """An append-only file of JSON lines, each on the disk before `write` returns.

    A line is a step with its kind, or the digests of the tables that are about to be written, now and then. A last line
    that is not whole, as a loss of power leaves it, does not count and is closed by the next one.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._torn = False

    def read(self) -> Iterator[dict[str, Any]]:
        """The lines in order. Raises UserError if one before the last cannot be understood."""
        try:
            data = self.path.read_bytes()
        except FileNotFoundError:
            return
        except OSError as error:
            raise UserError(f"{self.path} cannot be read: {error.strerror}") from error
        self._torn = bool(data) and not data.endswith(b"\n")
        lines = data.split(b"\n")[:-1]
        for number, line in enumerate(lines, 1):
            try:
                yield json.loads(line)
            except ValueError as error:
                if line.endswith(TORN):
                    continue
                raise UserError(
                    f"{self.path}, line {number} is damaged\nmove the file away: points.csv and checks.csv stay"
                ) from error

    def write(self, line: Mapping[str, Any]) -> None:
        """Add a line. Raises UserError if the disk does not take it; then it does not count."""
        text = json.dumps(line, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"
        try:
            self.path.parent.mkdir(exist_ok=True)
            with self.path.open("ab") as file:
                if self._torn:
                    text = TORN + b"\n" + text
                self._torn = True
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
                self._torn = False
        except OSError as error:
            raise UserError(f"the change is not kept: {self.path} cannot be written: {error.strerror}") from error

    def step(self, step: Step, kind: str) -> None:
        """Add what was done."""
        self.write({"kind": kind, "changes": step.changes, "classes": step.classes})


TORN = b"\x1e torn"
"""What closes a line that is not whole."""


def as_step(line: Mapping[str, Any]) -> Step:
    """The step of a line. Raises KeyError, TypeError or ValueError for any other line."""
    changes = tuple(
        Change(layer, image, int(row), int(col), before and Label(*before), after and Label(*after))
        for layer, image, row, col, before, after in line["changes"]
    )
    if line["classes"] is None:
        return Step(changes)
    before, after = (tuple(ClassRow(n, (c[0], c[1], c[2]), k) for n, c, k in rows) for rows in line["classes"])
    return Step(changes, (before, after))


def replayed(
    lines: Sequence[Mapping[str, Any]], tables: Mapping[str, str]
) -> tuple[Contents, dict[str, tuple[Contents, bool]]]:
    """What a journal says there is, and what of it the tables hold.

    Args:
        lines: of the journal.
        tables: name of a table → digest of its content now.

    Returns:
        the contents after the last line; and per table that was ever written those that it has, and True; or those
        that it had last, and False, where another program wrote it since.

    Raises:
        KeyError, TypeError, ValueError, IndexError: a line means nothing.
    """
    written: dict[str, tuple[int, bool]] = {}
    for name, now in tables.items():
        marks = [(k, line) for k, line in enumerate(lines) if name in line.get("saved", {})]
        if not marks:
            continue
        k, last = marks[-1]
        if last["saved"][name] == now:
            written[name] = k, True
        elif last["before"][name] == now:  # it was about to be written, and was not
            written[name] = next((k for k, line in reversed(marks) if line["saved"][name] == now), 0), True
        else:
            written[name] = k, False

    def until(end: int) -> Contents:
        contents = Contents()
        for line in lines[:end]:
            if "saved" not in line:
                contents.apply(as_step(line), line["kind"])
        return contents

    return until(len(lines)), {name: (until(k), same) for name, (k, same) in written.items()}
