"""A page at work: the state, the map that follows it, the next place, and what is drawn of them. No browser."""

import math
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from sparse_seg.annotate.estimates import Estimates, estimates
from sparse_seg.annotate.jobs import Jobs
from sparse_seg.annotate.state import Annotation
from sparse_seg.errors import UserError
from sparse_seg.palette import parse_colour

if TYPE_CHECKING:  # it needs torch
    from sparse_seg.annotate.maps import Maps, Suggested

EVERY = 5
"""Each so many-th next place is a check point."""
AHEAD = 48
"""Windows that are mapped beyond the view, where next places and areas come from."""


class Session:
    """What the page's requests do. `start` runs what goes on between them.

    Args:
        state: of the folder.
        jobs: training and labelling.
        every: each so many-th next place is a check point; 0: none.
    """

    def __init__(self, state: Annotation, jobs: Jobs, every: int = EVERY) -> None:
        self.state, self.jobs, self.every = state, jobs, every
        self.maps: Maps | None = None
        self.problem = "" if state.read_only else "the encoder is being loaded"
        """Why there is no map; "" if nothing is wrong."""
        self.offered: Suggested | None = None
        self.scores: list[tuple[int, float, float]] = []
        """After each check point: how many there are, accuracy, and half its interval."""
        self.before: dict[str, list[int]] = {}
        self.version = self.painted = 0
        """Of everything that is not the state's; of the map that is drawn over the images."""
        self._passed: list[tuple[str, int, int]] = []
        self._nexts = 0
        self._draw = np.random.default_rng()
        self._view: tuple[str, int, int, int, int] | None = None
        self._wake = threading.Event()
        self._end = threading.Event()
        self._threads: list[threading.Thread] = []
        self._reading: dict[str, threading.Thread] = {}
        self._lock = threading.Lock()
        self._acts: dict[str, Callable[[Mapping[str, Any]], None]] = {
            "add": self._add,
            "remove": lambda q: state.remove(*self._pixel(q), layer=_word(q, "layer", ("points", "checks"))),
            "move": lambda q: state.move(*self._pixel(q), (_whole(q, "to_row"), _whole(q, "to_col"))),
            "undo": lambda q: state.undo(),
            "redo": lambda q: state.redo(),
            "add_class": lambda q: state.add_class(_text(q, "name")),
            "name_class": lambda q: state.edit_class(_whole(q, "label"), name=_text(q, "name")),
            "colour_class": lambda q: state.edit_class(
                _whole(q, "label"), colour=parse_colour(_text(q, "colour"), "class")
            ),
            "answer": lambda q: state.answer(_text(q, "table"), bool(q.get("theirs"))),
            "view": self._look,
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
        act(request)
        self.version += request["do"] != "view"
        self._wake.set()

    @property
    def now(self) -> tuple[int, int]:
        """Changes with everything that a page shows."""
        return self.state.version, self.version

    # Requests

    def _image(self, q: Mapping[str, Any]) -> str:
        images, k = self.state.images, _whole(q, "image")
        if not 0 <= k < len(images):
            raise UserError(f"there is no image {k}")
        return images[k]

    def _pixel(self, q: Mapping[str, Any]) -> tuple[str, int, int]:
        return self._image(q), _whole(q, "row"), _whole(q, "col")

    def _add(self, q: Mapping[str, Any]) -> None:
        (image, row, col), label, offered = self._pixel(q), _whole(q, "label"), self.offered
        if offered is not None and offered.check and bool(q.get("check")):
            self.state.check(offered.image, offered.row, offered.col, label, offered.predicted, offered.weight)
            self.offered = None
            self._score()
            return
        self._remember()
        self.state.add(image, row, col, label)
        if offered is not None and offered.image == image and math.hypot(offered.row - row, offered.col - col) < 30:
            self.offered = None

    def _look(self, q: Mapping[str, Any]) -> None:
        row, col, height, width = (_whole(q, key) for key in ("row", "col", "height", "width"))
        self._view = self._image(q), row, col, height, width

    def _next(self, q: Mapping[str, Any]) -> None:
        if self.maps is None or self.maps.fit is None:
            raise UserError(self.problem or "place points of two classes first, then the map knows where it is unsure")
        if self.offered is not None and not self.offered.check:
            self._passed.append((self.offered.image, self.offered.row, self.offered.col))
        self._nexts += 1
        names = [row.name for row in self.state.classes]
        taken = [self.state.pixels("points"), self.state.pixels("checks")]
        if self.every and self._nexts % self.every == 0:
            self.offered = self.maps.check_point(taken, self._draw)
        else:
            away = [*self._passed, *((i, *at) for i, those in taken[1].items() for at in those)]
            self.offered = self.maps.suggest(taken[0], names, away)
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
        if self.maps is None:
            return None
        mapped, said, weights = [], [], []
        for image, those in self.state.pixels("checks").items():
            for at, label in those.items():
                here = self.maps.label_at(image, *at)
                mapped.append(label.predicted if here is None else here)
                said.append(label.label)
                weights.append(label.weight or 1.0)
        pixels = self.maps.areas(len(self.state.classes))
        if not mapped or not sum(pixels):
            return None
        return estimates([int(m or 0) for m in mapped], said, weights, pixels), len(mapped)

    def _score(self) -> None:
        found = self.estimates()
        if found is not None and not math.isnan(found[0].accuracy.value):
            self.scores.append((found[1], *found[0].accuracy))

    def _remember(self) -> None:
        """Keep the areas as they are before a click."""
        if self.maps is not None:
            classes = len(self.state.classes)
            self.before = {"": self.maps.areas(classes)}
            self.before |= {image: self.maps.areas(classes, image) for image in self.state.images}

    def wait_until_small(self, image: str) -> None:
        """Have a large image without overviews read once, so that all of it can be seen; returns when it was."""
        with self._lock:
            thread = self._reading.get(image)
            if thread is None:
                thread = threading.Thread(target=self.state.imagery.reduce, args=(image, self._end), daemon=True)
                self._reading[image] = thread
                thread.start()
        thread.join()

    # What goes on meanwhile

    def start(self, make: Callable[[], "Maps"]) -> None:
        """Load the encoder, keep the tables written, and let the map follow. make: gives the maps; may raise."""
        if self.state.read_only:
            return
        self._threads = [
            threading.Thread(target=self._keep, daemon=True),
            threading.Thread(target=self._follow, args=(make,), daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def end(self) -> None:
        """Stop what goes on, write the tables, and let go of the folder."""
        self._end.set()
        self._wake.set()
        for thread in self._threads:
            thread.join(20)
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
                self.version += 1

    trouble = ""
    """Why tables cannot be written; "" if they can."""

    def _follow(self, make: Callable[[], "Maps"]) -> None:
        try:
            self.maps, self.problem = make(), ""
        except UserError as error:
            self.problem = str(error)
        self.version += 1
        learned = -1
        while not self._end.is_set():
            self._wake.clear()
            busy = False
            try:
                if self.maps is not None:
                    state = self.state.version
                    if state != learned:
                        self.maps.learn(self.state.pixels("points"))
                        learned = state
                        self.version += 1
                    busy = self._paint(self.maps)
            except UserError as error:
                self.problem = str(error)
            except Exception:  # the page goes on without a map, and says why
                self.problem = traceback.format_exc(limit=1).splitlines()[-1][:300]
                traceback.print_exc()
                time.sleep(1)
            if not busy:
                self._wake.wait(0.5)

    def _paint(self, maps: "Maps") -> bool:
        """Map some windows: of the view, then beyond it. Returns whether there may be more."""
        view = self._view
        if maps.fit is None or view is None:
            return False
        keys = maps.in_view(*view)
        near = keys if len(keys) <= 4 * AHEAD else keys[:: len(keys) // (4 * AHEAD)]
        started = time.monotonic()
        done = 0
        for key in near:
            done += maps.paint([key])
            if self._wake.is_set() or time.monotonic() - started > 1.0:
                break
        if not done:
            windows = maps.windows(view[0])
            order = np.random.default_rng(0).permutation(len(windows))[:AHEAD]
            done = maps.paint([windows[k] for k in order], most=2)
        self.painted += done > 0
        self.version += done > 0
        return done > 0


def _whole(q: Mapping[str, Any], key: str) -> int:
    value = q.get(key)
    if isinstance(value, bool) or not isinstance(value, int) or abs(value) > 2**31:
        raise UserError(f"{key} must be a whole number")
    return value


def _text(q: Mapping[str, Any], key: str) -> str:
    value = q.get(key)
    if not isinstance(value, str) or len(value) > 200:
        raise UserError(f"{key} must be text of up to 200 letters")
    return value


def _word(q: Mapping[str, Any], key: str, known: tuple[str, ...]) -> str:
    value = q.get(key, known[0])
    if value not in known:
        raise UserError(f"{key} must be one of {', '.join(known)}")
    return str(value)
