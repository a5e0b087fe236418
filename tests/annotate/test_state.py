"""The page's state, without a page: what a person does is kept, undone, merged and recovered."""

import json
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from folders import CLASSES, make, save_tif
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sparse_seg.annotate.disk import OWN
from sparse_seg.annotate.state import Annotation
from sparse_seg.data.classfile import read_classes
from sparse_seg.data.folder import folder
from sparse_seg.errors import UserError
from sparse_seg.palette import hex_colour


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make(tmp_path / "data", ["a.png", "b.png"], masked=[])


def lines(root: Path, name: str = "points.csv") -> list[str]:
    return (root / name).read_text().splitlines()


def test_points_are_in_the_file_that_training_reads(root: Path) -> None:
    page = Annotation(root)
    page.add("a", 3, 5, 0)
    page.add("b", 7, 2, 2)
    assert page.save()
    assert lines(root) == ["image,row,col,class", "a,3,5,Water", "b,7,2,Road"]
    found = {s.image_id: s.points for s in folder(root).samples}
    assert found["a"] is not None
    assert found["a"][:, :3].tolist() == [[3, 5, 0]]
    assert not page.save()


def test_a_click_replaces_moves_and_removes(root: Path) -> None:
    page = Annotation(root)
    page.add("a", 3, 5, 0)
    page.add("a", 3, 5, 1)
    page.move("a", 3, 5, (4, 6))
    assert page.points["a"] == {(4, 6): (1, None, None)}
    page.remove("a", 4, 6)
    assert page.counts() == [0, 0, 0]


def test_what_cannot_be_a_point_is_refused_where_it_is_made(root: Path) -> None:
    values = np.full((3, 20, 30), 7, np.uint8)
    values[:, :5] = 0
    save_tif(root / "images" / "c.tif", values, nodata=0)
    page = Annotation(root)
    page.add("a", 0, 0, 0)
    for image, row, col, label, why in [
        ("a", -1, 0, 0, "outside"), ("a", 0, 48, 0, "outside"), ("c", 4, 4, 0, "nodata"), ("d", 0, 0, 0, "no image"),
        ("a", 1, 1, 3, "no class"), ("a", 0, 0, 0, "already"),
    ]:  # fmt: skip
        with pytest.raises(UserError, match=why):
            page.add(image, row, col, label)
    page.add("a", 2, 2, 1)
    page.check("a", 9, 9, 1, 0, 2.5)
    for to in ((2, 2), (9, 9)):
        with pytest.raises(UserError, match="already"):
            page.move("a", 0, 0, to)
    with pytest.raises(UserError, match="check point"):
        page.add("a", 9, 9, 0)
    with pytest.raises(UserError, match="no point"):
        page.remove("a", 7, 7)
    page.add("c", 5, 4, 0)


def test_counts_and_the_rarest_class(root: Path) -> None:
    page = Annotation(root)
    assert page.rarest is None
    for k, label in enumerate((0, 0, 1, 2, 2)):
        page.add("a" if k else "b", k, k, label)
    assert page.counts() == [2, 1, 2]
    assert page.counts("b") == [1, 0, 0]
    assert page.rarest == 1


ACTS = st.lists(st.tuples(st.sampled_from(["add", "remove", "move", "undo", "redo", "class"]), st.integers(0, 40)))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(acts=ACTS)
def test_undo_goes_back_to_the_beginning_and_redo_to_the_end(acts: list[tuple[str, int]], tmp_path_factory) -> None:  # type: ignore[no-untyped-def]
    root = make(tmp_path_factory.mktemp("undo") / "data", ["a.png"], masked=[])
    page = Annotation(root)
    page.imagery.valid = lambda *at: True  # type: ignore[method-assign]
    for act, k in acts:
        at, to = (k // 5, k % 5), (k % 7, k % 3)
        try:
            if act == "add":
                page.add("a", *at, k % 3)
            elif act == "remove":
                page.remove("a", *at)
            elif act == "move":
                page.move("a", *at, to)
            elif act == "class":
                page.edit_class(k % 3, f"name {k}")
            else:
                getattr(page, act)()
        except UserError:
            pass
    end = dict(page.points.get("a", {})), page.classes
    steps = len(page.contents.done)
    for _ in range(steps):
        page.undo()
    assert not page.points.get("a")
    assert [row.name for row in page.classes] == ["Water", "Land", "Road"]
    page.save()
    page.close()
    again = Annotation(root)
    for _ in range(steps):
        again.redo()
    assert (again.points.get("a", {}), again.classes) == end
    again.close()


def test_classes_are_named_coloured_and_added(root: Path) -> None:
    page = Annotation(root)
    page.add("a", 1, 1, 0)
    page.save()
    page.edit_class(0, "Sea", (1, 2, 3))
    page.add_class("Sand")
    page.add("a", 2, 2, 3)
    page.save()
    assert read_classes(root / "classes.yaml").names == ("Sea", "Land", "Road", "Sand")
    assert read_classes(root / "classes.yaml").colours[0] == (1, 2, 3)
    assert lines(root)[1:] == ["a,1,1,Sea", "a,2,2,Sand"]
    taken = page.classes[1].colour
    for name, colour in [("Land", None), ("", None), ("a\nb", None), ("New", taken), ("New", (155, 155, 155))]:
        with pytest.raises(UserError):
            page.edit_class(0, name, colour)
    page.undo()
    page.undo()
    page.save()
    assert read_classes(root / "classes.yaml").names == ("Sea", "Land", "Road")


def test_colours_of_masks_stay(tmp_path: Path) -> None:
    page = Annotation(make(tmp_path / "data", ["a.png"]))
    with pytest.raises(UserError, match="masks"):
        page.edit_class(0, colour=(1, 2, 3))
    page.edit_class(0, "Sea")


def test_a_folder_of_jpegs_alone_will_do(tmp_path: Path) -> None:
    for name in ("a", "b"):
        PIL.Image.new("RGB", (40, 30)).save(tmp_path / f"{name}.jpg")
    page = Annotation(tmp_path)
    assert page.images == ["a", "b"]
    with pytest.raises(UserError, match="no class"):
        page.add("a", 0, 0, 0)
    page.add_class("Road")
    page.add("a", 29, 39, 0)
    page.close()
    again = Annotation(tmp_path)
    again.add_class("Roof")
    again.add("b", 0, 0, 1)
    again.save()
    assert lines(tmp_path)[1:] == ["a,29,39,Road", "b,0,0,Roof"]
    assert len(folder(tmp_path, images=again.pattern).samples) == 2


def test_classes_of_points_without_a_list_are_taken_from_them(root: Path) -> None:
    (root / "classes.yaml").unlink()
    (root / "points.csv").write_text("image,x,y,class\na.png,3,4,Roof\nb,1,1,Tree\n")
    page = Annotation(root)
    assert [row.name for row in page.classes] == ["Roof", "Tree"]
    assert page.points["a"] == {(4, 3): (0, None, None)}
    page.save()
    assert read_classes(root / "classes.yaml").names == ("Roof", "Tree")
    assert lines(root)[0] == "image,x,y,class", "nobody changed it"


def test_an_unreadable_image_is_named_and_the_others_open(root: Path) -> None:
    (root / "images" / "bad.png").write_bytes(b"no image")
    page = Annotation(root)
    assert list(page.imagery.damaged) == ["bad"]
    assert page.images == ["a", "b", "bad"]
    with pytest.raises(UserError, match=r"bad\.png"):
        page.add("bad", 0, 0, 0)


@pytest.mark.parametrize(
    ("text", "why"),
    [("image,row,col,class\na,1,1,Moon", "Moon"), ("image,row,col,class\nz,1,1,Road", "no image"), ("x\n", "column")],
)
def test_a_file_that_cannot_be_used_stops_the_start(root: Path, text: str, why: str) -> None:
    (root / "points.csv").write_text(text)
    with pytest.raises(UserError, match=why):
        Annotation(root)
    assert (root / "points.csv").read_text() == text


def test_no_folder_no_images_and_points_elsewhere(tmp_path: Path, root: Path) -> None:
    with pytest.raises(UserError, match="no folder"):
        Annotation(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no image"):
        Annotation(tmp_path / "empty")
    (root / "points.geojson").write_text("{}")
    with pytest.raises(UserError, match=r"points\.geojson"):
        Annotation(root)


def test_one_folder_is_open_once(root: Path) -> None:
    page = Annotation(root)
    with pytest.raises(UserError, match="another page"):
        Annotation(root)
    look = Annotation(root, read_only=True)
    with pytest.raises(UserError, match="read-only"):
        look.add("a", 0, 0, 0)
    assert not look.save()
    page.close()
    Annotation(root).close()


def outside(root: Path, *rows: str) -> None:
    (root / "points.csv").write_text("\n".join(["image,row,col,class", *rows]) + "\n")


def test_what_another_program_adds_and_removes_is_merged(root: Path) -> None:
    page = Annotation(root)
    for k in range(3):
        page.add("a", k, k, k)
    page.save()
    page.add("a", 9, 9, 0)
    outside(root, "a,0,0,Water", "a,1,1,Road", "b,5,5,Land")
    page.save()
    assert not page.questions
    assert sorted(lines(root)[1:]) == ["a,0,0,Water", "a,1,1,Road", "a,9,9,Water", "b,5,5,Land"]
    page.undo()
    assert (9, 9) not in page.points["a"]


def test_two_answers_for_one_pixel_are_asked_about(root: Path) -> None:
    for theirs, row in ((True, "a,0,0,Land"), (False, "a,0,0,Road")):
        page = Annotation(root)
        page.add("a", 0, 0, 0)
        page.save()
        page.add("a", 0, 0, 2)
        outside(root, "a,0,0,Land", "b,1,1,Land")
        page.save()
        assert list(page.questions) == ["points.csv"]
        assert lines(root)[1:] == ["a,0,0,Land", "b,1,1,Land"], "it is not overwritten"
        page.add("b", 2, 2, 0)
        page.answer("points.csv", theirs)
        page.save()
        assert sorted(lines(root)[1:]) == sorted([row, "b,1,1,Land", "b,2,2,Water"])
        page.remove("b", 2, 2)
        page.save()
        page.close()


@pytest.mark.parametrize("theirs", [True, False])
def test_a_file_that_is_gone_is_asked_about(root: Path, theirs: bool) -> None:
    page = Annotation(root)
    page.add("a", 0, 0, 0)
    page.save()
    (root / "points.csv").unlink()
    page.save()
    assert "gone" in page.questions["points.csv"].text
    assert not (root / "points.csv").exists()
    page.answer("points.csv", theirs)
    page.save()
    assert page.counts() == ([0, 0, 0] if theirs else [1, 0, 0])
    assert (root / "points.csv").exists() != theirs


def test_a_file_that_was_damaged_waits_until_it_is_mended(root: Path) -> None:
    page = Annotation(root)
    page.add("a", 0, 0, 0)
    page.save()
    outside(root, "a,0,0,Moon")
    page.add("a", 1, 1, 1)
    page.save()
    assert "Moon" in page.questions["points.csv"].text
    with pytest.raises(UserError, match="mend"):
        page.answer("points.csv", True)
    outside(root, "a,0,0,Road")
    page.save()
    assert not page.questions
    assert sorted(lines(root)[1:]) == ["a,0,0,Road", "a,1,1,Land"]
    outside(root, "a,0,0,Moon")
    page.save()
    page.answer("points.csv", False)
    page.save()
    assert sorted(lines(root)[1:]) == ["a,0,0,Road", "a,1,1,Land"]


def test_classes_that_another_program_turns_round_keep_their_points(root: Path) -> None:
    page = Annotation(root)
    page.add("a", 0, 0, 0)
    page.check("a", 5, 5, 2, 0, 1.5)
    page.save()
    rows = CLASSES.splitlines()
    (root / "classes.yaml").write_text("\n".join([rows[0], rows[3], rows[2], rows[1], rows[4]]) + "\n")
    page.save()
    assert [row.name for row in page.classes] == ["Road", "Land", "Water"]
    assert page.points["a"] == {(0, 0): (2, None, None)}
    assert page.checks["a"] == {(5, 5): (0, 2, 1.5)}
    (root / "classes.yaml").write_text("\n".join([rows[0], rows[2], rows[3]]) + "\n")
    page.save()
    assert "Water" in page.questions["classes.yaml"].text
    page.answer("classes.yaml", False)
    page.save()
    assert read_classes(root / "classes.yaml").names == ("Road", "Land", "Water")


def test_colours_that_another_program_changes_leave_clicks_to_be_undone(root: Path) -> None:
    page = Annotation(root)
    page.add("a", 1, 1, 0)
    page.add_class("Sand")
    page.add("a", 2, 2, 1)
    page.save()
    path = root / "classes.yaml"
    path.write_text(path.read_text().replace(hex_colour(page.classes[0].colour), "#123456"))
    page.save()
    assert page.classes[0].colour == (0x12, 0x34, 0x56)
    page.undo()
    page.undo()
    assert not any(page.points.values())
    with pytest.raises(UserError, match="nothing to undo"):
        page.undo()
    assert page.classes[0].colour == (0x12, 0x34, 0x56)
    assert [row.name for row in page.classes][3:] == ["Sand"], "which would bring the old colour back"
    page.redo()
    assert (1, 1) in page.points["a"]
    page.close()


def test_columns_that_the_page_does_not_write_are_kept_beside(root: Path) -> None:
    text = "image,row,col,class,who\na,1,1,Road,me\n"
    (root / "points.csv").write_text(text)
    page = Annotation(root)
    page.add("a", 0, 0, 0)
    page.save()
    (kept,) = (root / OWN).glob("points-*.csv")
    assert kept.read_text() == text


def test_check_points_are_read_back_and_are_no_points(root: Path) -> None:
    page = Annotation(root)
    page.check("a", 5, 5, 2, 0, 1 / 3)
    page.add("a", 1, 1, 1)
    page.save()
    page.close()
    assert lines(root, "checks.csv")[1] == f"a,5,5,Road,Water,{1 / 3!r}"
    assert lines(root)[1:] == ["a,1,1,Land"]
    (root / OWN / "journal.jsonl").unlink()
    again = Annotation(root)
    assert again.checks == {"a": {(5, 5): (2, 0, 1 / 3)}}
    again.remove("a", 5, 5, "checks")
    again.save()
    assert len(lines(root, "checks.csv")) == 1
    (root / "checks.csv").write_text("image,row,col,class,predicted,weight\na,5,5,Road,Water,-1\n")
    again.refresh()
    assert "line 2" in again.questions["checks.csv"].text


def test_a_full_disk_refuses_the_click_and_loses_nothing(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = Annotation(root)
    page.add("a", 0, 0, 0)
    page.save()
    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
        with pytest.raises(UserError, match="No space left"):
            page.add("a", 1, 1, 1)
        assert page.counts() == [1, 0, 0]
    page.add("a", 2, 2, 2)
    with monkeypatch.context() as patch:
        patch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
        with pytest.raises(UserError, match="No space left"):
            page.save()
    assert lines(root)[1:] == ["a,0,0,Water"]
    page.close()
    again = Annotation(root)
    again.save()
    assert {"a,0,0,Water", "a,2,2,Road"} <= set(lines(root))


@pytest.mark.parametrize("cut", range(0, 60, 7))
def test_a_torn_last_line_is_left_out_and_closed(root: Path, cut: int) -> None:
    page = Annotation(root)
    page.add("a", 0, 0, 0)
    page.add("a", 1, 1, 1)
    page.close()
    journal = root / OWN / "journal.jsonl"
    data = journal.read_bytes()
    journal.write_bytes(data[: len(data) - 1 - cut])
    again = Annotation(root)
    assert again.counts() == [1, 0, 0]
    again.add("b", 2, 2, 2)
    again.close()
    third = Annotation(root)
    assert third.counts() == [1, 0, 1]


def test_a_damaged_journal_is_said(root: Path) -> None:
    page = Annotation(root)
    page.add("a", 0, 0, 0)
    page.save()
    page.close()
    journal = root / OWN / "journal.jsonl"
    whole = journal.read_text()
    for text in (whole.replace("{", "", 1), whole.replace('"points"', '"other"')):
        journal.write_text(text)
        with pytest.raises(UserError, match="move"):
            Annotation(root)
    assert all(json.loads(line) for line in whole.splitlines())


def test_what_was_changed_while_the_page_was_closed_is_merged(root: Path) -> None:
    page = Annotation(root)
    page.add("a", 0, 0, 0)
    page.add("a", 1, 1, 1)
    page.save()
    page.add("a", 2, 2, 2)
    page.close()
    outside(root, "a,1,1,Land", "b,3,3,Road")
    again = Annotation(root)
    again.save()
    assert sorted(lines(root)[1:]) == ["a,1,1,Land", "a,2,2,Road", "b,3,3,Road"]
    again.close()
    outside(root, "a,0,0,Water", "a,1,1,Land")
    third = Annotation(root)
    third.save()
    assert sorted(lines(root)[1:]) == ["a,0,0,Water", "a,1,1,Land"], "an older version that is put back counts"
