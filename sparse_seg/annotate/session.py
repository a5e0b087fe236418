"""A page at work: the state, the map that follows it, the next place, and what is drawn of them. No browser."""

import math
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from sparse_seg.annotate import EVERY
from sparse_seg.annotate.disk import OWN
from sparse_seg.annotate.estimates import Estimate, Estimates, ahead, estimates
from sparse_seg.annotate.follow import Follow
from sparse_seg.annotate.imagery import Imagery
from sparse_seg.annotate.jobs import Jobs
from sparse_seg.annotate.journal import Journal
from sparse_seg.annotate.requests import numbers, text, whole, word
from sparse_seg.annotate.state import Annotation
from sparse_seg.annotate.written import Place, written
from sparse_seg.errors import UserError
from sparse_seg.palette import parse_colour

if TYPE_CHECKING:  # they need torch
    from numpy.typing import NDArray

    from sparse_seg.annotate.maps import Key, Maps
    from sparse_seg.annotate.places import Suggested

CLICKS = ("add", "remove", "move", "undo", "redo")
"""Requests that may change the points."""
NEAR = 9
"""Windows of the view that are mapped at once where a next place is asked for."""


class Session:
    """What the page's requests do. `start` runs what goes on between them.

    Args:
        state: of the folder.
        jobs: training and labelling.
        every: each so many-th next place is a check point; 0: none.
    """

    def __init__(self, state: Annotation, jobs: Jobs, every: int = EVERY) -> None:
        self.state, self.jobs, self.every = state, jobs, every
        self.follow = Follow(state, self.changed)
        self.offered: Suggested | None = None
        self.scores: list[tuple[int, float, float]]
        """After each check point: how many there are, accuracy, and half its interval."""
        self.before: Mapping[Key, NDArray[np.int64]] = {}
        """Window → pixels of each class, before the last change of the points."""
        self.trouble = ""
        """Why tables cannot be written; "" if they can."""
        self.version = 0
        """Of everything that is not the state's."""
        self._passed: list[tuple[str, int, int]] = []
        self._nexts = sum(state.counts())  # so a page that is opened anew often has its check points, too
        self._draw = np.random.default_rng()
        self._end = threading.Event()
        self._keeper: threading.Thread | None = None
        self._reading: dict[str, threading.Thread] = {}
        self._lock = threading.Lock()
        self._trained: Imagery | None = None
        self._maps_of = -1
        self.unscored = ""
        """Why the maps that a trained network wrote cannot be scored; "" if they can, or there are none."""
        self._written: tuple[tuple[int, int], dict[Place, int]] = (-1, -1), {}
        self._kept = Journal(state.root / OWN / "scores.jsonl")
        self.scores = [(int(r["checks"]), float(r["accuracy"]), float(r["half"])) for r in self._kept.read()]
        self._looks = Journal(state.root / OWN / "looks.jsonl")
        if state.imagery.is_usual and (looks := list(self._looks.read())):
            try:
                self._look_at(looks[-1]["bands"], looks[-1]["scale"])
            except UserError as error:  # other images than there were
                self.trouble = f"{error}; the usual bands are shown"
        self._acts: dict[str, Callable[[Mapping[str, Any]], None]] = {
            "add": self._add,
            "remove": lambda q: state.remove(*self._pixel(q), layer=word(q, "layer", ("points", "checks"))),
            "move": lambda q: state.move(*self._pixel(q), (whole(q, "to_row"), whole(q, "to_col"))),
            "undo": lambda q: state.undo(),
            "redo": lambda q: state.redo(),
            "add_class": lambda q: state.add_class(text(q, "name")),
            "name_class": lambda q: state.edit_class(whole(q, "label"), name=text(q, "name")),
            "colour_class": lambda q: state.edit_class(
                whole(q, "label"), colour=parse_colour(text(q, "colour"), "class")
            ),
            "answer": lambda q: state.answer(text(q, "table"), bool(q.get("theirs"))),
            "view": self._view,
            "look": self._look,
            "next": self._next,
            "skip": self._skip,
            "train": lambda q: jobs.start("train"),
            "predict": lambda q: jobs.start("predict"),
            "stop": lambda q: jobs.stop(),
        }

    def act(self, request: Mapping[str, Any]) -> None:
        """Do what a request asks for.

        Raises:
            UserError: it cannot be done, or is none of the things that a page may ask for.
        """
        act = self._acts.get(str(request.get("do")))
        if act is None:
            raise UserError("there is no such request")
        if self.state.read_only and request["do"] != "view":
            raise UserError("the page is read-only")
        maps = self.follow.maps
        before = None if maps is None or request["do"] not in CLICKS or request.get("check") else maps.counts()
        act(request)
        if before is not None:
            self.before = before
        if request["do"] != "view":
            self.changed()
        self.follow.wake()

    def changed(self) -> None:
        """Something that the page shows is another one now."""
        with self._lock:
            self.version += 1

    @property
    def now(self) -> str:
        """Changes with everything that a page shows."""
        return f"{self.state.version}.{self.version}.{self.jobs.status}"

    @property
    def trained(self) -> Imagery | None:
        """The maps that were written, as images in the colours of their classes; None if there is none."""
        with self._lock:
            if self._maps_of != self.jobs.ended:
                old, self._maps_of = self._trained, self.jobs.ended
                written = self.jobs.written()
                self._trained = Imagery(written) if written else None
                if old is not None:
                    old.close()
            return self._trained

    # Requests

    def _image(self, q: Mapping[str, Any]) -> str:
        images, k = self.state.images, whole(q, "image")
        if not 0 <= k < len(images):
            raise UserError(f"there is no image {k}")
        return images[k]

    def _pixel(self, q: Mapping[str, Any]) -> tuple[str, int, int]:
        return self._image(q), whole(q, "row"), whole(q, "col")

    def _add(self, q: Mapping[str, Any]) -> None:
        (image, row, col), label, offered = self._pixel(q), whole(q, "label"), self.offered
        if bool(q.get("check")):
            if offered is None or not offered.check or (offered.image, offered.row, offered.col) != (image, row, col):
                raise UserError("another place is offered by now: nothing is kept of this answer")
            self.state.check(offered.image, offered.row, offered.col, label, offered.predicted, offered.weight)
            self.offered = None
            self._score()
            return
        self.state.add(image, row, col, label)
        if offered is not None and offered.image == image and math.hypot(offered.row - row, offered.col - col) < 30:
            self.offered = None

    def _look(self, q: Mapping[str, Any]) -> None:
        imagery = self.state.imagery
        bands = numbers(q, "bands")
        if any(n % 1 for n in bands):
            raise UserError("bands must be whole numbers")
        scale = numbers(q, "scale") if imagery.deep else []
        if len(scale) not in (0, 2):
            raise UserError("black and white must be two numbers, or nothing")
        self._look_at(bands, scale)
        self._looks.write({"bands": list(imagery.bands or ()), "scale": list(imagery.scale or ())})

    def _look_at(self, bands: Sequence[float], scale: Sequence[float]) -> None:
        self.state.imagery.look([int(n) for n in bands], (scale[0], scale[1]) if scale else None)
        self.offered = None
        self.follow.anew()

    def _view(self, q: Mapping[str, Any]) -> None:
        row, col, height, width = (whole(q, key) for key in ("row", "col", "height", "width"))
        self.follow.view = self._image(q), row, col, height, width

    def _next(self, q: Mapping[str, Any]) -> None:
        maps, problem = self.follow.maps, self.follow.problem
        if maps is None or maps.fit is None:
            raise UserError(problem or "place points of two classes first, then the map knows where it is unsure")
        from sparse_seg.annotate.places import check_point, suggest  # with torch, which the map has loaded

        if self.offered is not None and not self.offered.check:
            self._passed.append((self.offered.image, self.offered.row, self.offered.col))
        if self.follow.view is not None:  # nothing may be mapped yet since the last click
            maps.paint(maps.in_view(*self.follow.view), most=NEAR)
        self._nexts += 1
        names = [row.name for row in self.state.classes]
        taken = [self.state.pixels("points"), self.state.pixels("checks")]
        if self.every and self._nexts % self.every == 0:
            self.offered = check_point(maps, taken, self._draw)
        else:
            away = [*self._passed, *((i, *at) for i, those in taken[1].items() for at in those)]
            self.offered = suggest(maps, taken[0], names, away, self._draw)
        if self.offered is None:
            raise UserError("no place is left in what is mapped: move the view")

    def _skip(self, q: Mapping[str, Any]) -> None:
        if self.offered is not None:
            self._passed.append((self.offered.image, self.offered.row, self.offered.col))
            self.offered = None
        self._next(q)

    # What is known

    def estimates(self) -> tuple[Estimates, int] | None:
        """From the check points, with their number; None without any or without a map."""
        maps = self.follow.maps
        if maps is None:
            return None
        checks, pixels = self._checks(maps), maps.areas(len(self.state.classes))
        if not checks or not sum(pixels):
            return None
        mapped, said, weights = zip(*checks.values(), strict=True)
        return estimates(mapped, said, weights, pixels), len(checks)

    def _checks(self, maps: "Maps") -> dict[Place, tuple[int, int, float]]:
        """Check point → class of the map, class that a person says, weight."""
        found = {}
        for image, those in self.state.pixels("checks").items():
            for at, label in those.items():
                here = maps.label_at(image, *at)
                mapped = label.predicted if here is None else here
                found[image, *at] = int(mapped or 0), label.label, label.weight or 1.0
        return found

    def network_estimates(self) -> tuple[Estimates, Estimate] | None:
        """From the same check points: the maps that a trained network wrote, and how far they are ahead of the map
        that the points were drawn by. None without them.
        """
        maps, now = self.follow.maps, (self.jobs.ended, self.state.version)
        if maps is None or (self.jobs.running and self.jobs.kind == "predict"):
            return None
        checks, pixels = self._checks(maps), maps.areas(len(self.state.classes))
        if self._written[0] != now:
            names = [row.name for row in self.state.classes]
            self.unscored = ""
            try:
                found = written(self.jobs.maps / "areas.csv", self.jobs.written(), checks, names)
            except UserError as error:
                found, self.unscored = {}, str(error)
            self._written = now, found
        there = {place: label for place, label in self._written[1].items() if place in checks}
        if not there or not sum(pixels):
            return None
        strata, said, weights = zip(*(checks[place] for place in there), strict=True)
        words = [*there.values()], said, weights, pixels, strata
        return estimates(*words), ahead(*words)

    def _score(self) -> None:
        found = self.estimates()
        if found is not None and not math.isnan(found[0].accuracy.value):
            self.scores.append((found[1], *found[0].accuracy))
            self._kept.write(dict(zip(("checks", "accuracy", "half"), self.scores[-1], strict=True)))

    def wait_until_small(self, image: str) -> None:
        """Have a large image without overviews read once, so that all of it can be seen; returns when it was."""
        with self._lock:
            thread = self._reading.get(image)
            if thread is None:
                thread = threading.Thread(target=self._reduce, args=(image,), daemon=True)
                self._reading[image] = thread
                thread.start()
        thread.join()

    def _reduce(self, image: str) -> None:
        self.state.imagery.reduce(image, self._end)
        with self._lock:  # it is read again once others have taken its room
            self._reading.pop(image, None)

    # What goes on meanwhile

    def start(self, make: Callable[[], "Maps"]) -> None:
        """Load the encoder, keep the tables written, and let the map follow. make: gives the maps; may raise."""
        self._keeper = threading.Thread(target=self._keep, daemon=True)
        self._keeper.start()
        self.follow.start(make)

    def end(self) -> None:
        """Stop what goes on, write the tables, and let go of the folder."""
        self._end.set()
        self.follow.end()
        if self._keeper is not None:
            self._keeper.join(20)
        self.jobs.stop()
        try:
            self.state.save()
        finally:
            self.state.close()

    def _keep(self) -> None:
        said = ""
        while not self._end.wait(0.4):
            try:
                self.state.save()
                now = ""
            except UserError as error:
                now = str(error)
            if now != said:
                self.trouble, said = now, now
                self.changed()
