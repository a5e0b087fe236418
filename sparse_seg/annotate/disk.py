"""What a folder has on the disk of points, check points and classes: tables, a journal, and a lock. No torch."""

import threading
from collections.abc import Callable, Container, Mapping
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

from sparse_seg.annotate.imagery import Imagery
from sparse_seg.annotate.journal import ClassRow, Contents, Journal, Pixels, Step, digest, replayed
from sparse_seg.annotate.tables import (
    CHECK_COLUMNS,
    COLUMNS,
    checks_text,
    points_text,
    read_checks,
    read_points,
)
from sparse_seg.classes import Classes
from sparse_seg.data.classfile import classes_text, read_classes
from sparse_seg.data.folder import Files
from sparse_seg.data.layout import by_name
from sparse_seg.errors import UserError
from sparse_seg.files import replacing, write_text
from sparse_seg.palette import usual_colours
from sparse_seg.points.formats import used_labels
from sparse_seg.points.records import Place

OWN = ".annotate"
"""Folder within the data's, for the journal and what is kept of other programs' files."""
POINTS, CHECKS, CLASSES = "points.csv", "checks.csv", "classes.yaml"
TABLES = (CLASSES, POINTS, CHECKS)
LAYERS = {POINTS: "points", CHECKS: "checks"}
FAR = 2**31 - 1
"""Size of an image that cannot be opened, whose points stay."""


class Disk:
    """What a folder says there is, on the disk and in memory. `recover` reads it; then every step is made by `do`.

    Args:
        root: the folder.
        files: what lies in it.
        imagery: its images.
        read_only: write nothing.

    Attributes:
        contents: points, check points and classes.
        version: grows with every change.
        own_classes: what classes.yaml says.
        found: table → the digest of what is on the disk; "?" where that is to be read, or written, again.
        base: table → the points in it.

    Raises:
        UserError: no folder, or it is open elsewhere.
    """

    def __init__(self, root: Path, files: Files, imagery: Imagery, read_only: bool) -> None:
        self.root, self.imagery, self.read_only = root, imagery, read_only
        self.contents = Contents()
        self.version = 0
        self.lock = threading.RLock()
        self.own_classes: Classes | None = None
        self.found: dict[str, str] = {}
        self.base: dict[str, Pixels] = {}
        self._names_there: dict[str, tuple[str, ...]] = {}
        self._names = by_name(dict(files.images), files.root)
        self._journal = Journal(root / OWN / "journal.jsonl")
        self._folder = FileLock(str(root / OWN / "lock"))
        if not read_only:
            self._take_lock()

    def close(self) -> None:
        """Let go of the folder."""
        self._folder.release()

    # What counts

    @property
    def known(self) -> Classes:
        """The classes as training has them."""
        rows = self.contents.classes
        numbered = bool(rows) and all(row.number is not None for row in rows)
        own = self.own_classes
        return Classes(
            tuple(row.name for row in rows),
            tuple(row.colour for row in rows),
            own.unlabelled if own else (),
            tuple(int(row.number or 0) for row in rows) if numbered else None,
            own.blank if own else (),
        )

    def used(self) -> set[int]:
        """The classes that points and check points have."""
        layers = self.contents.points, self.contents.checks
        every = [said for layer in layers for those in layer.values() for said in those.values()]
        return {said.label for said in every} | {said.predicted for said in every if said.predicted is not None}

    def do(self, step: Step, kind: str = "do") -> None:
        """Have a step count, once it is in the journal.

        Args:
            step: what to do.
            kind: as `Contents.apply` has it.

        Raises:
            UserError: it cannot be kept.
        """
        if not self.read_only:
            self._journal.step(step, kind)
        self.contents.apply(step, kind)
        self.version += 1

    # Tables

    def digest(self, name: str) -> str:
        """Of a table as it is now; "" if there is none. Raises UserError if it cannot be read."""
        return digest(_bytes(self.root / name))

    def read(self, name: str) -> Pixels:
        """The points of a table. Raises UserError if it cannot be understood."""
        places = {key: Place(p.height, p.width, p.crs, p.transform, p.path) for key, p in self.imagery.pictures.items()}
        places |= {key: Place(FAR, FAR) for key in self.imagery.damaged}
        read: Callable[..., Pixels] = read_points if name == POINTS else read_checks
        return read(self.root / name, self._names, places, self.known)

    def save(self, but: Container[str]) -> bool:
        """Write the tables that changed, each beside and renamed. Returns whether one was written.

        Args:
            but: tables that stay as they are.

        Raises:
            UserError: it cannot be written.
        """
        texts = {name: text for name, text in self._texts().items() if name not in but}
        digests = {name: digest(text.encode()) for name, text in texts.items()}
        new = [name for name in texts if digests[name] != self.found[name]]
        if new:
            self.mark({name: digests[name] for name in new})
        for name in new:
            write_text(self.root / name, texts[name])
        for name in texts:
            self.says(name, digests[name], self._copy(name))
        return bool(new)

    def write_anew(self, table: str) -> None:
        """Have `save` write a table, whatever it holds."""
        self._names_there[table] = ("?",)
        self.own_classes = None if table == CLASSES else self.own_classes

    def _texts(self) -> dict[str, str]:
        names = [row.name for row in self.contents.classes]
        texts = {}
        if len(names) > 1:  # of one class a file would be refused
            texts[CLASSES] = classes_text(self.known)
        if any(self.contents.points.values()) or self.found[POINTS]:
            texts[POINTS] = points_text(self.contents.points, names)
        if any(self.contents.checks.values()) or self.found[CHECKS]:
            texts[CHECKS] = checks_text(self.contents.checks, names)
        # What says the same as what is there stays as it was written.
        same = [n for n in LAYERS if self._names_there[n] == tuple(names) and self.base[n] == self._copy(n)]
        same += [CLASSES] if self.own_classes == self.known else []
        return {name: text for name, text in texts.items() if name not in same or not self.found[name]}

    def _copy(self, name: str) -> Pixels:
        """The points that a table should hold."""
        return pixels_of(self.contents.layer(LAYERS[name])) if name in LAYERS else {}

    def says(self, name: str, now: str, pixels: Pixels) -> None:
        """Remember what a table holds: the digest of its content, and its points."""
        self.found[name] = now
        if name in LAYERS:
            self.base[name] = pixels
            self._names_there[name] = tuple(row.name for row in self.contents.classes)
        else:
            self.own_classes = self.known

    def mark(self, digests: Mapping[str, str]) -> None:
        """Note in the journal that tables are about to have these contents."""
        if not self.read_only:
            self._journal.write({"saved": dict(digests), "before": {n: self.found[n] for n in digests}, "at": _now()})

    def keep_copy(self, name: str) -> None:
        """Keep a table of another program that has more than the page writes again."""
        data = _bytes(self.root / name)
        own = {POINTS: COLUMNS, CHECKS: CHECK_COLUMNS}.get(name)
        if self.read_only or data is None or own is None or data.splitlines()[:1] == [",".join(own).encode()]:
            return
        kept = self.root / OWN / f"{Path(name).stem}-{digest(data)[:12]}{Path(name).suffix}"
        with replacing(kept) as beside:
            beside.write_bytes(data)

    # At the beginning

    def recover(self) -> bool:
        """Read the journal, and what the tables had when it was written. Returns False for a folder without one.

        Raises:
            UserError: the journal is damaged, or a table cannot be understood.
        """
        lines = list(self._journal.read())
        now = {name: self.digest(name) for name in TABLES}
        self.own_classes = read_classes(self.root / CLASSES) if now[CLASSES] else None
        try:
            self.contents, written = replayed(lines, now)
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise UserError(f"{self._journal.path} has a line that means nothing: move it away ({error!r})") from error
        if not lines:
            rows = class_rows(self.own_classes) if self.own_classes else self._first_classes()
            if rows:
                self.do(Step(classes=((), rows)), "outside")
            written = {}
        for name in now:
            # A table that was never written here is one of other programs, if it is there.
            base, same = written.get(name, (Contents(), not now[name]))
            if name in LAYERS:
                self.base[name] = base.layer(LAYERS[name])
                self._names_there[name] = tuple(row.name for row in base.classes)
            self.found[name] = now[name] if same else "?"
        if not lines:
            self.found[CLASSES] = now[CLASSES]
        return bool(lines)

    def _first_classes(self) -> tuple[ClassRow, ...]:
        """What the points of a folder without classes.yaml are called."""
        path = self.root / POINTS
        names = used_labels(path) if path.is_file() else []
        return tuple(ClassRow(n, c) for n, c in zip(names, usual_colours(len(names)), strict=True))

    def _take_lock(self) -> None:
        if not self.root.is_dir():
            raise UserError(f"{self.root} is no folder")
        try:
            (self.root / OWN).mkdir(exist_ok=True)
            self._folder.acquire(timeout=0)
        except Timeout:
            raise UserError(f"{self.root} is open in another page: use that one, or end it") from None
        except OSError as error:
            raise UserError(
                f"{self.root / OWN} cannot be written: {error.strerror}; --read-only looks without changing"
            ) from error


def pixels_of(layer: Pixels) -> Pixels:
    """A copy of points, which stays as it is."""
    return {image: dict(those) for image, those in layer.items() if those}


def class_rows(classes: Classes) -> tuple[ClassRow, ...]:
    """Classes as the page has them."""
    indices = classes.indices or [None] * len(classes)
    return tuple(ClassRow(n, c, k) for n, c, k in zip(classes.names, classes.colours, indices, strict=True))


def _bytes(path: Path) -> bytes | None:
    """The content of a file; None if there is none. Raises UserError if it cannot be read."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
