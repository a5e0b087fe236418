"""The state of a page: images, classes, points and check points of a folder, kept on the disk. No torch, no browser."""

import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

from sparse_seg.annotate.imagery import Imagery
from sparse_seg.annotate.journal import Change, ClassRow, Contents, Journal, Label, Pixels, Step, digest, replayed
from sparse_seg.annotate.tables import (
    CHECK_COLUMNS,
    COLUMNS,
    checks_text,
    merged,
    points_text,
    read_checks,
    read_points,
)
from sparse_seg.classes import IGNORE_INDEX, RGB, Classes
from sparse_seg.data.classfile import classes_text, read_classes
from sparse_seg.data.folder import Files, files_of
from sparse_seg.data.layout import by_name
from sparse_seg.errors import UserError
from sparse_seg.files import replacing, write_text
from sparse_seg.palette import usual_colours
from sparse_seg.points.formats import used_labels
from sparse_seg.points.records import Place
from sparse_seg.points.text import nfc
from sparse_seg.raster.formats import Scale
from sparse_seg.raster.readers import SUFFIXES

OWN = ".annotate"
"""Folder within the data's, for the journal and what is kept of other programs' files."""
POINTS, CHECKS, CLASSES = "points.csv", "checks.csv", "classes.yaml"
LAYERS = {POINTS: "points", CHECKS: "checks"}
FAR = 2**31 - 1
"""Size of an image that cannot be opened, whose points stay."""


@dataclass(frozen=True)
class Question:
    """What a person must decide before a file is written again.

    table: the file. text: what is the matter. theirs: what to change if the file counts; None: it cannot.
    """

    table: str
    text: str
    theirs: tuple[Change, ...] | None


class Annotation:
    """Everything that a page shows of a folder and changes in it.

    Each change is in the journal, on the disk, when its method returns. `save` writes the tables; `refresh` takes in
    what other programs wrote. All methods may be called from several threads.

    Args:
        root: the folder, as `data=folder` has it; images may lie in `images/` or in the folder itself.
        images: a folder or pattern within it; None: as said.
        bands, scale: as `Imagery`'s.
        read_only: refuse every change, and write nothing.

    Raises:
        UserError: no folder, no image, a file that cannot be understood, or the folder is open elsewhere.
    """

    def __init__(
        self,
        root: str | Path,
        images: str | None = None,
        bands: Sequence[int] | None = None,
        scale: Scale | None = None,
        read_only: bool = False,
    ) -> None:
        self.root, self.read_only = Path(root).expanduser(), read_only
        self.pattern = images or _pattern(self.root)
        self.files: Files = files_of(self.root, self.pattern)
        if self.files.points is not None and self.files.points.name != POINTS:
            raise UserError(
                f"{self.files.points} is there, and the page writes {POINTS}\n"
                "save it as a table with the columns image, row, col, class, and move it away"
            )
        self.imagery = Imagery(self.files.images, bands, scale)
        self.version = 0
        """Grows with every change, so that others see that there is one."""
        self.questions: dict[str, Question] = {}
        self.contents = Contents()
        self._names = by_name(dict(self.files.images), self.files.root)
        self._lock = threading.RLock()
        self._folder = FileLock(str(self.root / OWN / "lock"))
        self._journal = Journal(self.root / OWN / "journal.jsonl")
        self._own_classes: Classes | None = None
        # Of each table: the digest of what is on the disk, the points in it, the names of its classes, and what was
        # looked at last while a question about it is open.
        self._disk: dict[str, str] = {}
        self._base: dict[str, Pixels] = {}
        self._names_there: dict[str, tuple[str, ...]] = {}
        self._asked: dict[str, tuple[str, int]] = {}
        if not read_only:
            self._take_lock()
        try:
            self._recover()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let go of the folder and its images. What is in the journal stays; `save` first for the tables."""
        self.imagery.close()
        self._folder.release()

    # What there is

    @property
    def classes(self) -> tuple[ClassRow, ...]:
        return self.contents.classes

    @property
    def points(self) -> Pixels:
        return self.contents.points

    @property
    def checks(self) -> Pixels:
        return self.contents.checks

    @property
    def images(self) -> list[str]:
        """Ids of all images, those that cannot be opened, too."""
        return sorted(self.files.images)

    @property
    def known(self) -> Classes:
        """The classes as training has them."""
        rows = self.classes
        numbered = bool(rows) and all(row.number is not None for row in rows)
        own = self._own_classes
        return Classes(
            tuple(row.name for row in rows),
            tuple(row.colour for row in rows),
            own.unlabelled if own else (),
            tuple(int(row.number or 0) for row in rows) if numbered else None,
            own.blank if own else (),
        )

    def pixels(self, layer: str) -> Pixels:
        """A copy of the points or the check points, which stays as it is."""
        with self._lock:
            return {image: dict(those) for image, those in self.contents.layer(layer).items() if those}

    def counts(self, image: str | None = None) -> list[int]:
        """Points of each class, of one image or of all."""
        with self._lock:
            total = [0] * len(self.classes)
            for key, those in self.points.items():
                for said in those.values() if image in (None, key) else ():
                    total[said.label] += 1
            return total

    @property
    def rarest(self) -> int | None:
        """The class with the fewest points; None where there are fewer than two, or all have the same."""
        counts = self.counts()
        return counts.index(min(counts)) if len(counts) > 1 and min(counts) < max(counts) else None

    # What a person does

    def add(self, image: str, row: int, col: int, label: int) -> None:
        """Place a point, or give the one at this pixel another class.

        Raises:
            UserError: no such class, the pixel lies outside the image or holds nothing, or a check point is there.
        """
        with self._changing():
            self._check_pixel(image, row, col)
            self._check_class(label)
            if (row, col) in self.checks.get(image, {}):
                raise UserError("a check point is here, which is not trained on: click beside it")
            before = self.points.get(image, {}).get((row, col))
            if before == Label(label):
                raise UserError(f"this pixel is {self.classes[label].name} already")
            self._do(Step((Change("points", image, row, col, before, Label(label)),)))

    def check(self, image: str, row: int, col: int, label: int, predicted: int, weight: float) -> None:
        """Keep what a person says of a check point. predicted, weight: as `Label`'s. Raises UserError as `add` does."""
        with self._changing():
            self._check_pixel(image, row, col)
            self._check_class(label)
            self._check_class(predicted)
            if (row, col) in self.points.get(image, {}):
                raise UserError("a point is here, which is trained on")
            before = self.checks.get(image, {}).get((row, col))
            self._do(Step((Change("checks", image, row, col, before, Label(label, predicted, weight)),)))

    def remove(self, image: str, row: int, col: int, layer: str = "points") -> None:
        """Remove a point. Raises UserError if there is none."""
        with self._changing():
            self._do(Step((Change(layer, image, row, col, self._existing(layer, image, row, col), None),)))

    def move(self, image: str, row: int, col: int, to: tuple[int, int]) -> None:
        """Move a point to another pixel. Raises UserError if there is none, or as `add` does."""
        with self._changing():
            said = self._existing("points", image, row, col)
            if to == (row, col):
                return
            self._check_pixel(image, *to)
            if to in self.points.get(image, {}) or to in self.checks.get(image, {}):
                raise UserError("there is a point at this pixel already")
            gone, come = (
                Change("points", image, row, col, said, None),
                Change("points", image, *to, None, said),
            )
            self._do(Step((gone, come)))

    def add_class(self, name: str, colour: RGB | None = None) -> None:
        """Add a class, in a colour of its own unless one is given. Raises UserError as `edit_class` does."""
        with self._changing():
            rows = self.classes
            if len(rows) >= IGNORE_INDEX:
                raise UserError(f"there are {IGNORE_INDEX} classes, the most that a mask of bytes has")
            taken = {row.colour for row in rows}
            own = colour or next(c for c in usual_colours(len(rows) + 300) if c not in taken)
            numbers = [row.number for row in rows if row.number is not None]
            free = next(k for k in range(IGNORE_INDEX) if k not in numbers) if numbers else None
            self._classes((*rows, ClassRow(name, own, free)))

    def edit_class(self, label: int, name: str | None = None, colour: RGB | None = None) -> None:
        """Give a class another name or colour.

        Raises:
            UserError: the name is empty or taken, the colour is taken, or masks have these colours.
        """
        with self._changing():
            self._check_class(label)
            row = self.classes[label]
            if colour not in (None, row.colour) and self.files.masks and row.number is None:
                raise UserError("the masks of this folder are in these colours: they stay")
            new = ClassRow(row.name if name is None else name, colour or row.colour, row.number)
            self._classes((*self.classes[:label], new, *self.classes[label + 1 :]))

    def undo(self) -> None:
        """Take back the last change. Raises UserError if there is none."""
        with self._changing():
            if not self.contents.done:
                raise UserError("there is nothing to undo")
            step = self.contents.done[-1].inverse
            if step.classes is not None and any(label >= len(step.classes[1]) for label in self._used()):
                raise UserError("the class has points of another program: remove them first")
            self._do(step, "undo")

    def redo(self) -> None:
        """Make the change again that was taken back last. Raises UserError if there is none."""
        with self._changing():
            if not self.contents.undone:
                raise UserError("there is nothing to do again")
            self._do(self.contents.undone[-1], "redo")

    # The disk

    def save(self) -> bool:
        """Write the tables that changed, each beside and renamed. Returns whether one was written.

        A table that another program changed meanwhile is taken in first, and stays as it is while a question about it
        is open.

        Raises:
            UserError: it cannot be written.
        """
        with self._lock:
            if self.read_only:
                return False
            self.refresh()
            texts = {name: text for name, text in self._texts().items() if name not in self.questions}
            digests = {name: digest(text.encode()) for name, text in texts.items()}
            new = [name for name in texts if digests[name] != self._disk[name]]
            if new:
                self._mark({name: digests[name] for name in new})
            for name in new:
                write_text(self.root / name, texts[name])
            for name in texts:
                self._says(name, digests[name], self._copy(name))
            return bool(new)

    def refresh(self) -> bool:
        """Take in what other programs wrote since. Returns whether there was something.

        What they changed where nothing was changed here is made here, too. Where both changed the same point, or a file
        is gone or cannot be understood, a question is there to be answered.
        """
        with self._lock:
            found = False
            for name in (CLASSES, POINTS, CHECKS):
                now = digest(_bytes(self.root / name))
                if now != self._disk[name]:
                    found |= self._take_in(name, now)
            return found

    def answer(self, table: str, theirs: bool) -> None:
        """Decide a question. Raises UserError if the file cannot count, or there is no such question."""
        with self._changing():
            question = self.questions.get(table)
            if question is None:
                raise UserError(f"there is no question about {table}")
            if theirs and question.theirs is None:
                raise UserError(f"{table} cannot be taken as it is: mend it")
            now = digest(_bytes(self.root / table))
            other: Pixels = {}
            if theirs:
                other = self._read(table) if now else {}
                layer = LAYERS[table]
                _, asked = merged(layer, self._base[table], self.contents.layer(layer), other)
                self._do(Step(tuple(asked) if now else question.theirs or ()), "outside")
            self._mark({table: now})
            del self.questions[table]
            self._says(table, now, other)
            if not theirs:  # it is written again, whatever it holds
                self._names_there[table] = ("?",)
                self._own_classes = None if table == CLASSES else self._own_classes

    def _take_in(self, name: str, now: str) -> bool:
        before = self.questions.get(name)
        if before is not None and self._asked.get(name) == (now, self.version):
            return False
        theirs: Pixels = {}
        try:
            if not now:
                raise UserError(f"{name} is gone")
            if name == CLASSES:
                self._take_in_classes()
            else:
                theirs = self._read(name)
                self._merge(name, theirs)
        except UserError as error:
            self.questions[name] = Question(name, str(error), None if now else self._all_gone(name))
        if digest(_bytes(self.root / name)) != now:
            return True  # it was written while it was read: the next look sees it
        if name in self.questions:
            new = self.questions[name] != before
            self.version += new
            self._asked[name] = now, self.version
            return new
        self._keep_copy(name)
        self._mark({name: now})
        self._says(name, now, theirs)
        self.version += 1
        return True

    def _merge(self, name: str, theirs: Pixels) -> None:
        layer = LAYERS[name]
        sure, asked = merged(layer, self._base[name], self.contents.layer(layer), theirs)
        if sure:
            self._do(Step(tuple(sure)), "outside")
        if asked:
            first = asked[0]
            text = (
                f"{name} was changed by another program, and {len(asked)} of its points were changed here, too, such "
                f"as row {first.row}, column {first.col} of {first.image}"
            )
            self.questions[name] = Question(name, text, tuple(asked))
        else:
            self.questions.pop(name, None)

    def _all_gone(self, name: str) -> tuple[Change, ...] | None:
        if name == CLASSES:
            return None
        layer = LAYERS[name]
        return tuple(
            Change(layer, image, *at, said, None)
            for image, those in self.contents.layer(layer).items()
            for at, said in those.items()
        )

    def _take_in_classes(self) -> None:
        rows = _rows(read_classes(self.root / CLASSES))
        self._own_classes = read_classes(self.root / CLASSES)
        new = {row.name: k for k, row in enumerate(rows)}
        old = [row.name for row in self.classes]
        if lost := [old[k] for k in sorted(self._used()) if old[k] not in new]:
            raise UserError(f"{CLASSES} no longer has {lost[0]}, which has points: write it again, or mend the file")
        if rows != self.classes:
            place = [new.get(name, 0) for name in old]
            changes = [
                Change(layer, image, *at, said, _renumbered(said, place))
                for layer in LAYERS.values()
                for image, those in self.contents.layer(layer).items()
                for at, said in those.items()
                if place != list(range(len(old)))
            ]
            self._do(Step(tuple(changes), (self.classes, rows)), "outside")
            for base in self._base.values():
                for those in base.values():
                    those.update({at: _renumbered(said, place) for at, said in those.items()})
        self.questions.pop(CLASSES, None)

    def _recover(self) -> None:
        lines = list(self._journal.read())
        now = {name: digest(_bytes(self.root / name)) for name in (CLASSES, POINTS, CHECKS)}
        self._own_classes = read_classes(self.root / CLASSES) if now[CLASSES] else None
        try:
            self.contents, written = replayed(lines, now)
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise UserError(f"{self._journal.path} has a line that means nothing: move it away ({error!r})") from error
        if not lines:
            rows = _rows(self._own_classes) if self._own_classes else self._first_classes()
            if rows:
                self._do(Step(classes=((), rows)), "outside")
            written = {}
        for name in now:
            # A table that was never written here is one of other programs, if it is there.
            base, same = written.get(name, (Contents(), not now[name]))
            if name in LAYERS:
                self._base[name] = base.layer(LAYERS[name])
                self._names_there[name] = tuple(row.name for row in base.classes)
            self._disk[name] = now[name] if same else "?"
        if not lines:
            self._disk[CLASSES] = now[CLASSES]
        self.refresh()
        if not lines and (question := self.questions.get(POINTS) or self.questions.get(CHECKS)):
            raise UserError(question.text)

    def _first_classes(self) -> tuple[ClassRow, ...]:
        """What the points of a folder without classes.yaml are called."""
        path = self.root / POINTS
        names = used_labels(path) if path.is_file() else []
        return tuple(ClassRow(n, c) for n, c in zip(names, usual_colours(len(names)), strict=True))

    def _texts(self) -> dict[str, str]:
        names = [row.name for row in self.classes]
        texts = {}
        if len(names) > 1:  # of one class a file would be refused
            texts[CLASSES] = classes_text(self.known)
        if any(self.points.values()) or self._disk[POINTS]:
            texts[POINTS] = points_text(self.points, names)
        if any(self.checks.values()) or self._disk[CHECKS]:
            texts[CHECKS] = checks_text(self.checks, names)
        # What says the same as what is there stays as it was written.
        same = [n for n in LAYERS if self._names_there[n] == tuple(names) and self._base[n] == self._copy(n)]
        same += [CLASSES] if self._own_classes == self.known else []
        return {name: text for name, text in texts.items() if name not in same or not self._disk[name]}

    def _copy(self, name: str) -> Pixels:
        """The points that a table should hold."""
        return self.pixels(LAYERS[name]) if name in LAYERS else {}

    def _says(self, name: str, now: str, pixels: Pixels) -> None:
        """Remember what a table holds: the digest of its content, and its points."""
        self._disk[name] = now
        if name in LAYERS:
            self._base[name] = pixels
            self._names_there[name] = tuple(row.name for row in self.classes)
        else:
            self._own_classes = self.known

    def _mark(self, digests: dict[str, str]) -> None:
        if not self.read_only:
            self._journal.write({"saved": digests, "before": {n: self._disk[n] for n in digests}, "at": _now()})

    def _used(self) -> set[int]:
        """The classes that points and check points have."""
        every = [said for p in (self.points, self.checks) for those in p.values() for said in those.values()]
        return {said.label for said in every} | {said.predicted for said in every if said.predicted is not None}

    def _read(self, name: str) -> Pixels:
        places = {key: Place(p.height, p.width, p.crs, p.transform, p.path) for key, p in self.imagery.pictures.items()}
        places |= {key: Place(FAR, FAR) for key in self.imagery.damaged}
        read: Callable[..., Pixels] = read_points if name == POINTS else read_checks
        return read(self.root / name, self._names, places, self.known)

    def _keep_copy(self, name: str) -> None:
        """Keep a table of another program that has more than the page writes again."""
        data = _bytes(self.root / name)
        own = {POINTS: COLUMNS, CHECKS: CHECK_COLUMNS}.get(name)
        if self.read_only or data is None or own is None or data.splitlines()[:1] == [",".join(own).encode()]:
            return
        kept = self.root / OWN / f"{Path(name).stem}-{digest(data)[:12]}{Path(name).suffix}"
        with replacing(kept) as beside:
            beside.write_bytes(data)

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

    # One change

    def _changing(self) -> AbstractContextManager[bool]:
        if self.read_only:
            raise UserError("the page is read-only")
        return self._lock

    def _do(self, step: Step, kind: str = "do") -> None:
        if not self.read_only:
            self._journal.step(step, kind)
        self.contents.apply(step, kind)
        self.version += 1

    def _existing(self, layer: str, image: str, row: int, col: int) -> Label:
        said = self.contents.layer(layer).get(image, {}).get((row, col)) if layer in LAYERS.values() else None
        if said is None:
            raise UserError("there is no point at this pixel")
        return said

    def _check_pixel(self, image: str, row: int, col: int) -> None:
        if not self.imagery.inside(image, row, col):
            raise UserError("this lies outside the image")
        if not self.imagery.valid(image, row, col):
            raise UserError("the image holds nothing here (nodata)")

    def _check_class(self, label: int) -> None:
        if not 0 <= label < len(self.classes):
            raise UserError(f"there is no class {label + 1}: add one first")

    def _classes(self, rows: tuple[ClassRow, ...]) -> None:
        rows = tuple(row._replace(name=nfc(row.name).strip()) for row in rows)
        names, colours = [row.name for row in rows], [row.colour for row in rows]
        if any(not name or len(name) > 100 or not name.isprintable() for name in names):
            raise UserError("a class needs a name, of up to 100 letters on one line")
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise UserError(f"there is a class {twice} already")
        if any(colours.count(colour) > 1 for colour in colours):
            raise UserError("another class has this colour")
        if self._own_classes and any(colour in self._own_classes.unlabelled for colour in colours):
            raise UserError("this colour means unlabelled in the masks")
        self._do(Step(classes=(self.classes, rows)))


def _pattern(root: Path) -> str:
    """Where a folder's images lie, as `data.images` says it: in images/, or in the folder itself."""
    if not root.is_dir() or (root / "images").exists():
        return "images"
    suffixes = {p.suffix for p in root.iterdir() if p.suffix.lower() in SUFFIXES and not p.name.startswith(".")}
    return "images" if not suffixes else f"*{suffixes.pop()}" if len(suffixes) == 1 else "*"


def _rows(classes: Classes) -> tuple[ClassRow, ...]:
    indices = classes.indices or [None] * len(classes)
    return tuple(ClassRow(n, c, k) for n, c, k in zip(classes.names, classes.colours, indices, strict=True))


def _renumbered(said: Label, place: Sequence[int]) -> Label:
    predicted = None if said.predicted is None else place[said.predicted]
    return Label(place[said.label], predicted, said.weight)


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
