"""What other programs write into a folder's tables is taken in, or asked about. No torch."""

from collections.abc import Sequence
from dataclasses import dataclass

from sparse_seg.annotate.disk import CLASSES, LAYERS, TABLES, Disk, class_rows
from sparse_seg.annotate.journal import Change, Label, Pixels, Step
from sparse_seg.annotate.tables import merged
from sparse_seg.data.classfile import read_classes
from sparse_seg.errors import UserError


@dataclass(frozen=True)
class Question:
    """What a person must decide before a file is written again.

    table: the file. text: what is the matter. theirs: what to change if the file counts; None: it cannot.
    """

    table: str
    text: str
    theirs: tuple[Change, ...] | None


class Outside:
    """Looks at a folder's tables for changes of other programs.

    Attributes:
        questions: table → what a person must decide.
    """

    def __init__(self, disk: Disk) -> None:
        self.questions: dict[str, Question] = {}
        self._disk = disk
        self._asked: dict[str, tuple[str, int]] = {}
        """Digest and version that were looked at last while a question was open."""

    def refresh(self) -> bool:
        """Take in what is new. Returns whether there was something."""
        found = False
        for name in TABLES:
            now = self._disk.digest(name)
            if now != self._disk.found[name]:
                found |= self._take_in(name, now)
        return found

    def answer(self, table: str, theirs: bool) -> None:
        """Decide a question. Raises UserError if the file cannot count, or there is no such question."""
        question = self.questions.get(table)
        if question is None:
            raise UserError(f"there is no question about {table}")
        if theirs and question.theirs is None:
            raise UserError(f"{table} cannot be taken as it is: mend it")
        now = self._disk.digest(table)
        other: Pixels = {}
        if theirs:
            other = self._disk.read(table) if now else {}
            layer = LAYERS[table]
            _, asked = merged(layer, self._disk.base[table], self._disk.contents.layer(layer), other)
            self._disk.do(Step(tuple(asked) if now else question.theirs or ()), "outside")
        self._disk.mark({table: now})
        del self.questions[table]
        self._disk.says(table, now, other)
        if not theirs:
            self._disk.write_anew(table)

    def _take_in(self, name: str, now: str) -> bool:
        before = self.questions.get(name)
        if before is not None and self._asked.get(name) == (now, self._disk.version):
            return False
        theirs: Pixels = {}
        try:
            if not now:
                raise UserError(f"{name} is gone")
            if name == CLASSES:
                self._take_in_classes()
            else:
                theirs = self._disk.read(name)
                self._merge(name, theirs)
        except UserError as error:
            self.questions[name] = Question(name, str(error), None if now else self._all_gone(name))
        if self._disk.digest(name) != now:
            return True  # it was written while it was read: the next look sees it
        if name in self.questions:
            new = self.questions[name] != before
            self._disk.version += new
            self._asked[name] = now, self._disk.version
            return new
        self._disk.keep_copy(name)
        self._disk.mark({name: now})
        self._disk.says(name, now, theirs)
        self._disk.version += 1
        return True

    def _merge(self, name: str, theirs: Pixels) -> None:
        layer = LAYERS[name]
        sure, asked = merged(layer, self._disk.base[name], self._disk.contents.layer(layer), theirs)
        if sure:
            self._disk.do(Step(tuple(sure)), "outside")
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
            for image, those in self._disk.contents.layer(layer).items()
            for at, said in those.items()
        )

    def _take_in_classes(self) -> None:
        disk = self._disk
        disk.own_classes = read_classes(disk.root / CLASSES)
        rows = class_rows(disk.own_classes)
        new = {row.name: k for k, row in enumerate(rows)}
        old = [row.name for row in disk.contents.classes]
        if lost := [old[k] for k in sorted(disk.used()) if old[k] not in new]:
            raise UserError(f"{CLASSES} no longer has {lost[0]}, which has points: write it again, or mend the file")
        if rows != disk.contents.classes:
            place = [new.get(name, 0) for name in old]
            changes = [
                Change(layer, image, *at, said, _renumbered(said, place))
                for layer in LAYERS.values()
                for image, those in self._disk.contents.layer(layer).items()
                for at, said in those.items()
                if place != list(range(len(old)))
            ]
            self._disk.do(Step(tuple(changes), (disk.contents.classes, rows)), "outside")
            for base in disk.base.values():
                for those in base.values():
                    those.update({at: _renumbered(said, place) for at, said in those.items()})
        self.questions.pop(CLASSES, None)


def _renumbered(said: Label, place: Sequence[int]) -> Label:
    predicted = None if said.predicted is None else place[said.predicted]
    return Label(place[said.label], predicted, said.weight)
