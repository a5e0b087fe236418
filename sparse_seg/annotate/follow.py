"""The map that follows the points, in a thread of its own: each change is learned and drawn, the view first."""

import threading
import time
import traceback
from collections.abc import Callable
from typing import TYPE_CHECKING

from sparse_seg.annotate.state import Annotation
from sparse_seg.errors import UserError

if TYPE_CHECKING:  # it needs torch
    from sparse_seg.annotate.maps import Maps

View = tuple[str, int, int, int, int]
"""Image, and row, column, height and width of the part of it that a person looks at."""
AHEAD = 48
"""Windows that are mapped beyond the view, where next places and areas come from."""


class Follow:
    """Keeps a map up to date. `start` loads the encoder and begins, `end` ends it.

    Args:
        state: whose points it learns from.
        changed: is called after each change of what is shown.

    Attributes:
        maps: None as long as there is no encoder.
        problem: why there is no map; "" if nothing is wrong.
        progress: what is not done yet before the map is one of all points; "" if it is.
        painted: grows with every change of the map.
        view: what is mapped first.
    """

    def __init__(self, state: Annotation, changed: Callable[[], None]) -> None:
        self.state, self.changed = state, changed
        self.maps: Maps | None = None
        self.problem = "the encoder is being loaded"
        self.painted = 0
        self.view: View | None = None
        self.progress = ""
        self._learned = self._seen = -1, -1
        self._count = 0
        self._wake, self._end = threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def there(self) -> bool:
        """Whether there is a map."""
        return self.maps is not None and self.maps.fit is not None

    def start(self, make: Callable[[], "Maps"]) -> None:
        """make: loads the encoder; may raise UserError, which becomes the problem."""
        self._thread = threading.Thread(target=self._run, args=(make,), daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """Something has changed: what is being mapped beyond the view waits."""
        self._wake.set()

    def anew(self) -> None:
        """Images are read otherwise now: what was read of them is forgotten, and all is learned again."""
        if self.maps is not None:
            self.maps.forget()
        self._count = 0

    def end(self) -> None:
        self._end.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(20)

    def _run(self, make: Callable[[], "Maps"]) -> None:
        try:
            self.maps, self.problem = make(), ""
        except UserError as error:
            self.problem = str(error)
        self.changed()
        while not self._end.is_set():
            self._wake.clear()
            busy = False
            try:
                if self.maps is not None:
                    busy = self._learn(self.maps)
                    busy |= self._paint(self.maps, beyond=not busy)
            except UserError as error:
                self.problem = str(error)
            except Exception:  # the page goes on without a map, and says why
                self.problem = traceback.format_exc(limit=1).splitlines()[-1][:300]
                traceback.print_exc()
                time.sleep(1)
            if not busy:
                self._wake.wait(0.5)

    def _learn(self, maps: "Maps") -> bool:
        """Read for a second what is around points, those in view first, and learn. Returns whether points are left.

        Until all are read, the map is of those that are: it is made anew when they are twice as many, and after a click
        in an image whose points are read.
        """
        version = self.state.version, self.state.imagery.version
        if version == self._learned:
            return False
        pictures, damaged = self.state.imagery.pictures, self.state.imagery.damaged
        points = {i: those for i, those in self.state.pixels("points").items() if i in pictures and i not in damaged}
        here = self.view[0] if self.view else ""
        unread = maps.unread(points)
        started = time.monotonic()
        for key in sorted(unread, key=lambda key: key[0] != here):
            try:
                maps.read(key[0], unread.pop(key))
            except UserError as error:
                self.state.imagery.damaged[key[0]] = str(error)
                self.changed()
                return True
            if time.monotonic() - started > 1.0:
                break
        waiting = {(key[0], *at) for key, those in unread.items() for at in those}
        read = {i: {at: said for at, said in those.items() if (i, *at) not in waiting} for i, those in points.items()}
        count = sum(map(len, read.values()))
        clicked = version != self._seen and all(key[0] != here for key in unread)
        if not unread or clicked or count >= 2 * self._count:
            maps.learn(read)
            self._seen, self._count = version, count
        total = count + len(waiting)
        self.progress = f"reading the surroundings of {count} of {total} points" if unread else ""
        self._learned = (-1, -1) if unread else version
        self.changed()
        return bool(unread)

    def _paint(self, maps: "Maps", beyond: bool) -> bool:
        """Map some windows: of the view, then beyond it. Returns whether there may be more."""
        view = self.view
        if maps.fit is None or view is None or view[0] in self.state.imagery.damaged:
            return False
        keys = maps.in_view(*view)
        near = keys if len(keys) <= 4 * AHEAD else keys[:: len(keys) // (4 * AHEAD)]
        started = time.monotonic()
        done = 0
        for key in near:
            try:
                done += maps.paint([key])
            except UserError as error:
                self.state.imagery.damaged[view[0]] = str(error)
                self.changed()
                return True
            if self._wake.is_set() or time.monotonic() - started > 1.0:
                break
        if not done and beyond:
            done = maps.paint(maps.ahead(view[0], AHEAD), most=2)
        if done:
            self.painted += 1
            self.changed()
        return done > 0
