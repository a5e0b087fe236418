"""What goes on behind the page: points that are read by and by, scores that stay, a disk that is full. No browser."""

import errno
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browsing import until

from sparse_seg.annotate.jobs import Jobs
from sparse_seg.annotate.journal import Pixels
from sparse_seg.annotate.panels import panels
from sparse_seg.annotate.places import Suggested
from sparse_seg.annotate.session import Session
from sparse_seg.annotate.state import Annotation


class Reading:
    """Maps that take long to read a window, and keep which numbers of points they learned from."""

    def __init__(self) -> None:
        self.there: set[tuple[str, int, int]] = set()
        self.learned: list[int] = []
        self.order: list[str] = []
        self.fit: object = None

    def unread(self, points: Pixels) -> dict[tuple[str, int, int], list[tuple[int, int]]]:
        found: dict[tuple[str, int, int], list[tuple[int, int]]] = {}
        for image, those in points.items():
            for row, col in those:
                if (image, row, col) not in self.there:
                    found.setdefault((image, row // 50, col // 50), []).append((row, col))
        return found

    def read(self, image: str, pixels: list[tuple[int, int]]) -> None:
        time.sleep(0.3)
        self.order.append(image)
        self.there |= {(image, *at) for at in pixels}

    def learn(self, points: Pixels) -> None:
        self.learned.append(sum(map(len, points.values())))

    def areas(self, classes: int, image: str | None = None) -> list[int]:
        return [100] * classes

    def label_at(self, image: str, row: int, col: int) -> int | None:
        return 0


@pytest.fixture
def session(root: Path) -> Iterator[Session]:
    state = Annotation(root)
    made = Session(state, Jobs(state, "resnet18", "null"))
    yield made
    made.end()


def test_many_points_are_read_by_and_by_and_the_page_says_so(session: Session) -> None:
    for k in range(6):
        session.state.add("a", 50 * k, 60, k % 2)
        session.state.add("b", 50 * k, 60, k % 2)
    maps: Any = Reading()
    session.follow.view = "b", 0, 0, 100, 100
    session.follow.start(lambda: maps)
    until(lambda: "reading the surroundings of 4 of 12 points" in panels(session, "b")["areas"])
    until(lambda: maps.learned[-1:], [12])
    assert maps.order == ["b"] * 6 + ["a"] * 6, "what is looked at comes first"
    assert maps.learned[0] == 4, "the map is there before all points are read"
    assert "reading" not in panels(session, "b")["areas"]


def test_the_curve_of_scores_is_there_after_a_restart(root: Path) -> None:
    curves = []
    for _ in range(2):
        state = Annotation(root)
        session = Session(state, Jobs(state, "resnet18", "null"))
        maps: Any = Reading()
        session.follow.maps = maps
        if not session.scores:
            for k in range(9):
                session.offered = Suggested("b", 10 * k, 20, "", True, k % 3, 1.0)
                session.act({"do": "add", "image": 1, "row": 10 * k, "col": 20, "label": k % 3, "check": True})
        assert len(session.scores) > 2
        curves.append(session.scores)
        assert "<polyline" in panels(session, "b")["checks"]
        session.end()
    assert curves[0] == curves[1]


def test_tables_that_a_full_disk_refuses_are_asked_about_and_written_later(
    session: Session, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    maps: Any = Reading()
    session.start(lambda: maps)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_text", full)
        session.act({"do": "add", "image": 1, "row": 3, "col": 4, "label": 0})
        until(lambda: "No space left on device" in panels(session, "b")["questions"])
        assert not (root / "points.csv").exists()
    until(lambda: (root / "points.csv").exists())
    until(lambda: panels(session, "b")["questions"], "")
    assert json.loads((root / ".annotate" / "journal.jsonl").read_text().splitlines()[1])["kind"] == "do"
    assert np.array_equal(session.state.counts(), [1, 0, 0])
