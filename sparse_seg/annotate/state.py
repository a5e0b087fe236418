"""The state of a page: images, classes, points and check points of a folder, kept on the disk. No torch, no browser."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from sparse_seg.annotate.disk import CHECKS, LAYERS, POINTS, Disk, pixels_of
from sparse_seg.annotate.imagery import Imagery
from sparse_seg.annotate.journal import Change, ClassRow, Contents, Label, Pixels, Step
from sparse_seg.annotate.outside import Outside, Question
from sparse_seg.classes import IGNORE_INDEX, RGB, Classes
from sparse_seg.data.folder import Files, files_of
from sparse_seg.errors import UserError
from sparse_seg.palette import usual_colours
from sparse_seg.points.text import nfc
from sparse_seg.raster.formats import Scale
from sparse_seg.raster.readers import SUFFIXES


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
        self._disk = Disk(self.root, self.files, self.imagery, read_only)
        self._outside = Outside(self._disk)
        self._lock = self._disk.lock
        try:
            known = self._disk.recover()
            self._outside.refresh()
            if not known and (question := self.questions.get(POINTS) or self.questions.get(CHECKS)):
                raise UserError(question.text)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let go of the folder and its images. What is in the journal stays; `save` first for the tables."""
        self.imagery.close()
        self._disk.close()

    # What there is

    @property
    def contents(self) -> Contents:
        return self._disk.contents

    @property
    def version(self) -> int:
        """Grows with every change, so that others see that there is one."""
        return self._disk.version

    @property
    def questions(self) -> Mapping[str, Question]:
        """Table → what a person must decide before it is written again."""
        return self._outside.questions

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
        return self._disk.known

    def pixels(self, layer: str) -> Pixels:
        """A copy of the points or the check points, which stays as it is."""
        with self._lock:
            return pixels_of(self.contents.layer(layer))

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
            self._disk.do(Step((Change("points", image, row, col, before, Label(label)),)))

    def check(self, image: str, row: int, col: int, label: int, predicted: int, weight: float) -> None:
        """Keep what a person says of a check point. predicted, weight: as `Label`'s. Raises UserError as `add` does."""
        with self._changing():
            self._check_pixel(image, row, col)
            self._check_class(label)
            self._check_class(predicted)
            if (row, col) in self.points.get(image, {}):
                raise UserError("a point is here, which is trained on")
            before = self.checks.get(image, {}).get((row, col))
            self._disk.do(Step((Change("checks", image, row, col, before, Label(label, predicted, weight)),)))

    def remove(self, image: str, row: int, col: int, layer: str = "points") -> None:
        """Remove a point. Raises UserError if there is none."""
        with self._changing():
            self._disk.do(Step((Change(layer, image, row, col, self._existing(layer, image, row, col), None),)))

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
            self._disk.do(Step((gone, come)))

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
            if step.classes is not None and any(label >= len(step.classes[1]) for label in self._disk.used()):
                raise UserError("the class has points of another program: remove them first")
            self._disk.do(step, "undo")

    def redo(self) -> None:
        """Make the change again that was taken back last. Raises UserError if there is none."""
        with self._changing():
            if not self.contents.undone:
                raise UserError("there is nothing to do again")
            self._disk.do(self.contents.undone[-1], "redo")

    # The disk

    def save(self) -> bool:
        """Write the tables that changed, each beside and renamed, unless all is read only. Returns whether one was.

        A table that another program changed meanwhile is taken in first, and stays as it is while a question about it
        is open.

        Raises:
            UserError: it cannot be written.
        """
        with self._lock:
            self._outside.refresh()
            return not self.read_only and self._disk.save(self.questions)

    def refresh(self) -> bool:
        """Take in what other programs wrote since. Returns whether there was something.

        What they changed where nothing was changed here is made here, too. Where both changed the same point, or a file
        is gone or cannot be understood, a question is there to be answered.
        """
        with self._lock:
            return self._outside.refresh()

    def answer(self, table: str, theirs: bool) -> None:
        """Decide a question. Raises UserError if the file cannot count, or there is no such question."""
        with self._changing():
            self._outside.answer(table, theirs)

    # One change

    def _changing(self) -> AbstractContextManager[bool]:
        if self.read_only:
            raise UserError("the page is read-only")
        return self._lock

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
        if self._disk.own_classes and any(colour in self._disk.own_classes.unlabelled for colour in colours):
            raise UserError("this colour means unlabelled in the masks")
        self._disk.do(Step(classes=(self.classes, rows)))


def _pattern(root: Path) -> str:
    """Where a folder's images lie, as `data.images` says it: in images/, or in the folder itself."""
    if not root.is_dir() or (root / "images").exists():
        return "images"
    suffixes = {p.suffix for p in root.iterdir() if p.suffix.lower() in SUFFIXES and not p.name.startswith(".")}
    return "images" if not suffixes else f"*{suffixes.pop()}" if len(suffixes) == 1 else "*"
