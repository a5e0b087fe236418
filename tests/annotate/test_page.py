"""Points and classes as a person places and edits them in the browser."""

import shutil
from pathlib import Path
from typing import Any

from browsing import choose_image, opened, rows, served, show, spot, until, wait

from sparse_seg.data.classfile import read_classes
from sparse_seg.palette import hex_colour


def test_clicks_at_any_zoom_are_in_the_file_at_their_pixels(browser: Any, root: Path) -> None:
    with served(root) as (address, _):
        page = opened(browser, address)
        expected = []
        for name, size in (("a", (400, 300)), ("b", (500, 600)), ("c", (200, 300))):
            choose_image(page, name)
            assert page.evaluate("shown.size") == list(size)
            levels = page.evaluate("shown.levels")
            for k, zoom in enumerate((levels, levels + 1, levels + 3)):
                row, col = size[0] // 2 + 7 * k, size[1] // 2 + 11 * k
                show(page, row, col, zoom)
                page.keyboard.press(str(k + 1))
                page.mouse.click(*spot(page, row, col))
                expected.append([name, str(row), str(col), ["Water", "Land", "Road"][k]])
                until(lambda: rows(root), expected)
        page.close()


def test_wheel_and_drag_move_the_view_and_clicks_still_hit_their_pixels(browser: Any, root: Path) -> None:
    with served(root) as (address, _):
        page = opened(browser, address)
        choose_image(page, "b")
        show(page, 250, 300, 2)
        page.mouse.move(*spot(page, 250, 300))
        page.mouse.wheel(0, -200)
        wait(page, "() => map.getZoom() > 2")
        before = page.evaluate("() => map.getCenter()")
        x, y = spot(page, 250, 300)
        page.mouse.down()
        page.mouse.move(x - 60, y - 40, steps=5)
        page.mouse.up()
        wait(page, "c => map.getCenter().lat > c.lat && map.getCenter().lng > c.lng", before)
        still = "setTimeout(() => done(at.equals(map.getCenter())), 500)"
        wait(page, f"() => new Promise(done => {{ const at = map.getCenter(); {still}; }})")  # it goes on for a moment
        page.keyboard.press("2")
        page.mouse.click(*spot(page, 260, 310))
        until(lambda: rows(root), [["b", "260", "310", "Land"]])
        page.mouse.wheel(0, 3000)
        wait(page, "() => map.getZoom() === 0")
        page.mouse.click(*spot(page, 100, 80))
        until(lambda: len(rows(root)), 2)
        _, row, col, _ = rows(root)[1]
        assert abs(int(row) - 100) <= 4, "one pixel of the screen is four of the image"
        assert abs(int(col) - 80) <= 4
        page.close()


def test_keys_and_a_filter_lead_through_the_images(browser: Any, root: Path) -> None:
    with served(root) as (address, _):
        page = opened(browser, address)
        for key, name in (("]", "b"), ("]", "c"), ("]", "a"), ("[", "c"), ("]", "a")):
            page.keyboard.press(key)
            wait(page, "name => shown.name === name", name)
        page.mouse.click(*spot(page, 100, 100))
        until(lambda: len(rows(root)), 1)
        assert page.locator("#images li:visible").count() == 3
        page.check("#without")
        until(lambda: page.locator("#images li:visible").all_inner_texts(), ["b 0", "c 0"])
        for button, name in (("#following", "b"), ("#following", "c"), ("#following", "b"), ("#previous", "c")):
            page.click(button)
            wait(page, "name => shown.name === name", name)
        page.close()


def test_what_is_placed_can_be_undone_dragged_and_deleted(browser: Any, root: Path) -> None:
    with served(root) as (address, _):
        page = opened(browser, address)
        show(page, 200, 150, 1)
        for row, col in ((180, 100), (220, 200)):
            page.mouse.click(*spot(page, row, col))
        both = [["a", "180", "100", "Water"], ["a", "220", "200", "Water"]]
        until(lambda: rows(root), both)
        page.keyboard.press("Control+z")
        until(lambda: rows(root), both[:1])
        page.keyboard.press("Control+y")
        until(lambda: rows(root), both)
        page.mouse.move(*spot(page, 180, 100))
        page.mouse.down()
        page.mouse.move(*spot(page, 190, 120), steps=4)
        page.mouse.move(*spot(page, 200, 130), steps=4)
        page.mouse.up()
        until(lambda: len(rows(root)) == 2 and ["a", "180", "100", "Water"] not in rows(root))
        (moved,) = [r for r in rows(root) if r != both[1]]
        assert abs(int(moved[1]) - 200) <= 2
        assert abs(int(moved[2]) - 130) <= 2
        page.mouse.click(*spot(page, 220, 200), button="right")
        until(lambda: rows(root), [moved])
        page.mouse.move(*spot(page, int(moved[1]), int(moved[2])))
        page.keyboard.press("Delete")
        until(lambda: rows(root), [])
        for _ in range(4):
            page.keyboard.press("Control+z")
        until(lambda: len(rows(root)), 1)
        page.close()


def test_nodata_and_outside_are_refused_where_they_are_made(browser: Any, root: Path) -> None:
    with served(root) as (address, _):
        page = opened(browser, address)
        choose_image(page, "c")
        page.mouse.click(*spot(page, 100, 50))
        wait(page, "() => document.getElementById('message').textContent.includes('nodata')")
        page.mouse.click(*spot(page, 100, 304))
        wait(page, "() => document.getElementById('message').textContent.includes('outside')")
        assert rows(root) == []
        page.close()


def test_names_are_text_and_classes_are_edited_in_the_page(browser: Any, root: Path) -> None:
    shutil.copy(root / "images" / "a.jpg", root / "images" / "<img src=x onerror=alert(1)>.jpg")
    with served(root) as (address, _):
        page = opened(browser, address)
        asked = []

        def answer(dialog: Any) -> None:
            asked.append(dialog.type)
            dialog.accept("<b>Sand</b>")

        page.on("dialog", answer)
        page.click("[data-new-class]")
        wait(page, "() => shown.names.length === 4")
        assert "<b>Sand</b>" in page.inner_text("#classes")
        assert page.locator("#classes td b").count() == 0
        assert page.locator("#images img").count() == 0
        assert asked == ["prompt"]
        until(lambda: "Sand" in (root / "classes.yaml").read_text())
        page.mouse.click(*spot(page, 100, 100))
        page.click("[data-rename='1']")
        until(lambda: page.inner_text("#message"), "there is a class <b>Sand</b> already")
        page.fill("[data-colour='0']", "#123456")
        wait(page, "() => shown.colours[0] === '#123456'")
        until(lambda: {"#123456", "Water"} <= set(read(root)))
        for key, places in (("1", 2), ("2", 1)):
            page.keyboard.press(key)
            for k in range(places):
                page.mouse.click(*spot(page, 140 + 20 * k, 20 * int(key) + 100))
        wait(page, "() => shown.points.length === 4")
        (rare,) = [row for row in page.locator("#classes tr").all_inner_texts() if "rarest" in row]
        assert "Road" in rare
        page.close()


def test_delete_is_of_the_point_under_the_pointer(browser: Any, root: Path) -> None:
    with served(root) as (address, _):
        page = opened(browser, address)
        show(page, 200, 150, 1)
        page.mouse.click(*spot(page, 180, 100))
        wait(page, "() => document.querySelectorAll('.point').length === 1")
        x, y = spot(page, 180, 100)
        page.mouse.move(x + 1, y)
        wait(page, "() => document.querySelector('.point.chosen')")
        page.mouse.move(x + 60, y)
        wait(page, "() => !document.querySelector('.point.chosen')")
        page.keyboard.press("Delete")
        page.mouse.move(x, y)
        wait(page, "() => document.querySelector('.point.chosen')")
        until(lambda: len(rows(root)), 1)
        page.keyboard.press("Delete")
        until(lambda: len(rows(root)), 0)
        page.close()


def read(root: Path) -> list[str]:
    """Names and colours of classes.yaml."""
    classes = read_classes(root / "classes.yaml")
    return [*classes.names, *map(hex_colour, classes.colours)]


def test_two_tabs_and_another_program_see_each_other(browser: Any, root: Path) -> None:
    with served(root) as (address, _):
        one, two = opened(browser, address), opened(browser, address)
        one.mouse.click(*spot(one, 100, 100))
        wait(two, "() => shown.points.length === 1")
        until(lambda: len(rows(root)), 1)
        with (root / "points.csv").open("a") as file:
            file.write("a,120,130,Land\n")
        for page in (one, two):
            wait(page, "() => shown.points.length === 2")
        (root / "points.csv").write_text("image,row,col,class\na,1,1,Moon\n")
        wait(one, "() => document.querySelector('#questions').textContent.includes('Moon')")
        one.click("#questions button:has-text('keep what is here')")
        until(lambda: len(rows(root)), 2)
        one.close()
        two.close()
