"""What goes on behind the page: points that are read by and by, scores that stay, a disk that is full. No browser."""

import errno
import json
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
from browsing import until

from sparse_seg.annotate.estimates import ahead, estimates
from sparse_seg.annotate.jobs import Jobs
from sparse_seg.annotate.journal import Pixels
from sparse_seg.annotate.panels import panels
from sparse_seg.annotate.places import Suggested
from sparse_seg.annotate.session import Session
from sparse_seg.annotate.state import Annotation
from sparse_seg.classes import Classes
from sparse_seg.errors import UserError
from sparse_seg.predict.areas import areas, areas_csv
from sparse_seg.raster.readers import open_raster
from sparse_seg.raster.write import new_map


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

    def counts(self, image: str | None = None) -> dict[tuple[str, int, int], np.ndarray]:
        return {(image or "a", 0, 0): np.full(256, 100)}

    def mapped(self, image: str | None = None) -> tuple[int, int]:
        return 1, 4

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


def test_an_answer_to_a_check_point_that_is_no_longer_asked_about_is_refused(session: Session) -> None:
    answer = {"do": "add", "image": 1, "row": 10, "col": 20, "label": 1, "check": True}
    for offered in (None, Suggested("b", 10, 20, ""), Suggested("b", 11, 20, "", True, 0, 1.0)):
        session.offered = offered
        with pytest.raises(UserError, match="another place is offered"):
            session.act(answer)
        assert session.offered == offered
    assert not any(session.state.points.values())
    assert not any(session.state.checks.values())
    session.offered = Suggested("b", 10, 20, "", True, 0, 1.0)
    session.act(answer)
    assert session.state.checks["b"][10, 20].label == 1


def test_a_score_that_was_taken_back_leaves_the_curve(session: Session) -> None:
    maps: Any = Reading()
    session.follow.maps = maps
    for k in range(9):
        session.offered = Suggested("b", 10 * k, 20, "", True, k % 3, 1.0)
        session.act({"do": "add", "image": 1, "row": 10 * k, "col": 20, "label": k % 3, "check": True})
    shown = panels(session, "b")["checks"]
    assert "over check points 2 to 9" in shown
    assert "<polygon" in shown, "the interval"
    session.act({"do": "undo"})
    assert "over check points 2 to 8" in panels(session, "b")["checks"]


def test_the_change_of_areas_is_of_what_was_mapped_before_the_last_change(session: Session) -> None:
    def counts(*pixels: int) -> np.ndarray:
        return np.array([*pixels, *[0] * (256 - len(pixels))])

    there = {("b", 0, 0): counts(50, 50, 0)}
    maps: Any = Reading()
    maps.counts = lambda image=None: dict(there)
    maps.fit = True
    session.follow.maps = maps
    session.act({"do": "add", "image": 1, "row": 3, "col": 4, "label": 0})
    there["b", 0, 0], there["b", 0, 1] = counts(75, 25, 0), counts(0, 0, 100)
    shown = panels(session, "b")["areas"]
    assert "37.5 % <small>+25.0</small>" in shown
    assert "12.5 % <small>-25.0</small>" in shown
    assert "50.0 % <small></small>" in shown, "it was not mapped before"
    assert "image, 1 of 4 windows" in shown
    for words in ({"row": 9_999}, {"row": 8, "label": 77}):
        with pytest.raises(UserError):
            session.act({"do": "add", "image": 1, "row": 3, "col": 4, "label": 0} | words)
    assert panels(session, "b")["areas"] == shown, "what was refused changes nothing"
    session.act({"do": "undo"})
    assert "+25.0" not in panels(session, "b")["areas"]


def test_a_page_that_only_looks_has_a_map_and_sees_what_others_write(root: Path) -> None:
    state = Annotation(root, read_only=True)
    session = Session(state, Jobs(state, "resnet18", "null"))
    maps: Any = Reading()
    session.start(lambda: maps)
    (root / "points.csv").write_text("image,row,col,class\nb,1,1,Water\nb,1,300,Land\n")
    until(lambda: maps.learned[-1:], [2])
    assert state.counts() == [1, 1, 0]
    session.end()
    assert sorted(p.name for p in root.iterdir()) == ["classes.yaml", "images", "points.csv"]


def test_two_folders_of_one_name_have_studies_of_their_own(root: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    shutil.copytree(root, tmp_path / "other" / "data")
    studies = set()
    for folder in (root, tmp_path / "other" / "data"):
        state = Annotation(folder, read_only=True)
        studies.add(Jobs(state, "resnet18", "null").study)
        state.close()
    assert len(studies) == 2
    assert all(re.fullmatch("annotate-data-[0-9a-f]{6}", study) for study in studies)


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


def test_check_points_score_the_maps_of_a_trained_network_beside_the_probes(session: Session, root: Path) -> None:
    state = session.state
    classes = Classes(tuple(row.name for row in state.classes), tuple(row.colour for row in state.classes))
    maps: Any = Reading()
    maps.label_at = lambda image, row, col: int(image == "b")
    maps.areas = lambda classes, image=None: [100, 300, 0]
    session.follow.maps = maps
    asked = [("a", 299, 10, 1), ("a", 5, 6, 0), ("a", 100, 20, 1), ("b", 10, 20, 1), ("b", 30, 40, 0), ("b", 50, 5, 0)]
    (root / "maps").mkdir()
    found = {}
    for name, suffix in (("a", ".png"), ("b", ".tif")):
        image = state.files.images[name]
        with (
            open_raster(image, None, None) as raster,
            new_map(root / "maps" / f"{name}{suffix}", raster, classes) as out,
        ):
            values = np.zeros((raster.height, raster.width), np.uint8)
            for _, row, col, label in [place for place in asked if place[0] == name]:
                values[row, col] = label
            if name == "b":
                values[30, 40] = 1  # which is wrong
            out.write(0, 0, values)
        found[image.name] = areas(np.bincount(values.ravel(), minlength=256), classes, None)
    for name, row, col, label in asked:
        session.offered = Suggested(name, row, col, "", True, 0, 1.0)
        session.act({"do": "add", "image": "abc".index(name), "row": row, "col": col, "label": label, "check": True})
    assert session.network_estimates() is None, "areas.csv comes when all maps are there"
    assert "<th>network</th>" not in panels(session, "b")["checks"]
    (root / "maps" / "areas.csv").write_text(areas_csv(found.items()))
    state.add("b", 1, 1, 0)  # anything that happens
    scores = session.network_estimates()
    assert scores is not None
    network, more = scores
    said, mapped = [label for *_, label in asked], [1, 0, 1, 1, 1, 0]
    where = [1.0] * 6, [100, 300, 0], [0, 0, 0, 1, 1, 1]
    np.testing.assert_equal(tuple(network), tuple(estimates(mapped, said, *where)))
    assert more == ahead(mapped, said, *where)
    assert network.accuracy.value == pytest.approx(1 / 4 * 1 + 3 / 4 * 2 / 3)
    assert more.value == pytest.approx(1 / 4 * 2 / 3 + 3 / 4 * 1 / 3)
    shown = panels(session, "b")["checks"]
    assert "<th>probe</th><th>network</th>" in shown
    assert re.search("<td>accuracy</td><td>33.3 ± .+?</td><td>75.0 ± ", shown)
    assert "network − probe: +41.7 ± " in shown
    state.edit_class(0, name="Sea")
    assert session.network_estimates() is None
    assert "areas.csv has other classes: Water, Land, Road" in panels(session, "b")["checks"]
    state.undo()
    assert session.network_estimates() is not None
    for name in ("a.png", "b.tif"):
        PIL.Image.new("L", (2, 2)).save(root / "maps" / name)
    state.add("b", 2, 2, 0)
    assert session.network_estimates() is None
    assert "are not scored: " in panels(session, "b")["checks"]
    assert "<th>network</th>" not in panels(session, "b")["checks"]
