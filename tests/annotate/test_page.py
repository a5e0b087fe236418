"""The page as a person uses it, in a real browser. Skipped where there is no Chromium, or without the extra."""

import contextlib
import csv
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
from affine import Affine
from folders import CLASSES, save_tif

sync_api = pytest.importorskip("playwright.sync_api", reason="needs pip install -e '.[annotate,test]'")
pytest.importorskip("xstatic.pkg.leaflet", reason="needs pip install -e '.[annotate]'")
CHROMIUM = shutil.which("chromium")
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
ROOT = Path(__file__).resolve().parents[2]
QUIET = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
WAIT = 60_000
"""Milliseconds that anything may take on a busy machine."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=[*QUIET, "--disable-sync"])
        yield opened
        opened.close()


@contextlib.contextmanager
def served(root: Path, *words: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """The page's address, and its process."""
    command = [sys.executable, "-m", "sparse_seg.annotate", str(root), "--no-browser", "--port", "0"]
    command += ["--encoder", "resnet18", "--encoder-weights", "null", *words]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env=env, cwd=root, start_new_session=True
    ) as child:
        assert child.stdout is not None
        address = child.stdout.readline().strip()
        assert address.startswith("http://"), address
        try:
            yield address, child
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A JPEG that is turned, a GeoTIFF that is rotated, and one with nodata."""
    folder = tmp_path / "data"
    (folder / "images").mkdir(parents=True)
    (folder / "classes.yaml").write_text(CLASSES)
    exif = PIL.Image.Exif()
    exif[274] = 6
    PIL.Image.fromarray(scene(300, 400)).save(folder / "images" / "a.jpg", exif=exif)
    save_tif(
        folder / "images" / "b.tif", scene(500, 600).transpose(2, 0, 1), transform=Affine(1.7, 1, 3e5, 1, -1.7, 2e6)
    )
    values = scene(200, 300).transpose(2, 0, 1).copy()
    values[:, :, :100] = 0
    save_tif(folder / "images" / "c.tif", values, nodata=0)
    return folder


def scene(height: int, width: int) -> np.ndarray:
    image = np.full((height, width, 3), 40, np.uint8)
    image[:, width // 2 :] = 210
    return image + np.random.default_rng(0).integers(0, 12, image.shape, np.uint8)


def opened(browser: Any, address: str) -> Any:
    page = browser.new_page(viewport={"width": 1100, "height": 700})
    page.goto(address)
    page.wait_for_selector(".leaflet-tile-loaded", timeout=WAIT)
    return page


def spot(page: Any, row: float, col: float) -> tuple[float, float]:
    """Where on the screen the middle of a pixel is."""
    script = """([r, c]) => {
      const p = map.project([r + .5, c + .5]).subtract(map.getPixelOrigin()).add(map._getMapPanePos());
      return [Math.floor(p.x), Math.floor(p.y)];
    }"""
    at = page.evaluate(script, [row, col])
    box = page.locator("#map").bounding_box()
    return box["x"] + at[0], box["y"] + at[1]


def show(page: Any, row: int, col: int, zoom: int) -> None:
    page.evaluate("([r, c, z]) => map.setView([r, c], z, { animate: false })", [row, col, zoom])


def rows(root: Path, name: str = "points.csv") -> list[list[str]]:
    path = root / name
    return list(csv.reader(path.open()))[1:] if path.exists() else []


def until(what: Any, expected: Any = True, seconds: float = 30) -> None:
    """Wait for a function to return something."""
    end = time.monotonic() + seconds
    while (found := what()) != expected and time.monotonic() < end:
        time.sleep(0.1)
    assert found == expected


def wait(page: Any, script: str, given: Any = None) -> None:
    """Wait until a function says yes in the page."""
    until(lambda: bool(page.evaluate(script, given)), seconds=60)


def choose_image(page: Any, name: str) -> None:
    page.locator("#images button", has_text=re.compile(f"^{name}$")).click()
    wait(page, "name => shown.name === name", name)
    page.wait_for_selector(".leaflet-tile-loaded", timeout=WAIT)


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


def place_some(page: Any) -> None:
    for key, places in (("1", [(60, 60), (300, 70), (20, 250)]), ("2", [(60, 500), (300, 450), (400, 400)])):
        page.keyboard.press(key)
        for row, col in places:
            page.mouse.click(*spot(page, row, col))
            wait(page, "([r, c]) => shown.points.some(p => p[0] === r && p[1] === c)", [row, col])


def test_the_map_follows_next_leads_and_check_points_score(browser: Any, root: Path) -> None:
    with served(root, "--check-every", "2") as (address, _):
        page = opened(browser, address)
        choose_image(page, "b")
        place_some(page)
        wait(page, "() => document.querySelectorAll('img[src*=\"map/\"]').length > 0")
        wait(page, "() => document.querySelector('#areas').textContent.includes('%')")
        before = page.evaluate("shown.painted")
        page.mouse.click(*spot(page, 450, 300))
        wait(page, "n => shown.painted > n", before)
        page.keyboard.press("n")
        wait(page, "() => shown.offered && !shown.offered.check")
        assert re.search(r"(Water|Land) or (Water|Land)\? \d+ to \d+ %", page.inner_text("#offer"))
        first = page.evaluate("shown.offered")
        page.keyboard.press("s")
        wait(page, "() => shown.offered && shown.offered.check")
        assert page.evaluate("shown.offered") != first
        page.keyboard.press("1")
        until(lambda: len(rows(root, "checks.csv")), 1)
        assert len(rows(root)) == 7, "a check point is not trained on"
        wait(page, "() => document.querySelector('#checks').textContent.includes('would halve')")
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
        page.close()


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


def test_a_kill_and_a_reload_lose_nothing(browser: Any, root: Path) -> None:
    with served(root) as (address, child):
        page = opened(browser, address)
        for k in range(3):
            page.mouse.click(*spot(page, 100 + 40 * k, 100))
            wait(page, "n => shown.points.length === n", k + 1)
        os.killpg(child.pid, signal.SIGKILL)
        page.close()
    with served(root) as (address, _):
        page = opened(browser, address)
        wait(page, "() => shown.points.length === 3")
        page.reload()
        page.wait_for_selector(".point", timeout=WAIT)
        assert page.locator(".point").count() == 3
        until(lambda: len(rows(root)), 3)
        page.close()


def asked(address: str, path: str, body: object = None, **headers: str) -> tuple[int, str]:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(address.rstrip("/") + path, data, headers)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_others_cannot_talk_to_the_page(root: Path) -> None:
    with served(root) as (address, _):
        own = {"Origin": address.rstrip("/"), "X-Annotate": "1"}
        click = {"do": "add", "image": 0, "row": 1, "col": 1, "label": 0}
        assert asked(address, "/act", click, **own)[0] == 200
        evil = "http://evil.example"
        foreign = [{**own, "Origin": evil}, {**own, "Origin": "null"}, {**own, "Host": "evil.example:80"}]
        for headers in (*foreign, {"Origin": own["Origin"]}, {"X-Annotate": "1"}):
            assert asked(address, "/act", click, **headers)[0] == 403, headers
        assert asked(address, "/state/0", Host="evil.example")[0] == 403
        assert asked(address, "/events", Origin=evil)[0] == 403
        for path in ("/static/../state.py", "/static/%2e%2e%2fstate.py", "/static/state.py", "/etc/passwd"):
            assert asked(address, path)[0] == 404, path
        assert asked(address, "/image/0/0/9/9/9")[0] == 204
        odd = [{"image": "../x"}, {"row": 1e9}, {"image": 99}, {"label": True}, {"do": "shell"}, {"do": "_keep"}]
        for body in (*({**click, **words} for words in odd), [], 7):
            assert asked(address, "/act", body, **own)[0] == 400, body
        assert asked(address, "/act", {"do": "colour_class", "label": 0, "colour": "red;x"}, **own)[0] == 400
        assert asked(address, "/act", {"do": "name_class", "label": 0, "name": "x" * 20_000}, **own)[0] == 413
        assert len(rows(root)) <= 1


def test_another_host_needs_the_token(root: Path) -> None:
    with served(root, "--host", "0.0.0.0", "--read-only") as (said, _):
        address, _, token = said.replace("0.0.0.0", "127.0.0.1").partition("?token=")
        assert len(token) > 20
        assert asked(address, "/state/0")[0] == 403
        assert asked(address, "/state/0?token=wrong")[0] == 403
        assert asked(address, f"/state/0?token={token}")[0] == 200
        own = {"Origin": address.rstrip("/"), "X-Annotate": "1", "Cookie": f"token={token}"}
        code, why = asked(address, "/act", {"do": "add", "image": 0, "row": 1, "col": 1, "label": 0}, **own)
        assert (code, "read-only" in why) == (400, True)


def command(*words: str) -> tuple[int, str]:
    command = [sys.executable, "-m", "sparse_seg.annotate", *words, "--no-browser"]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=env)
    return done.returncode, done.stderr


def test_what_stops_the_start_is_said_in_the_terminal(root: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    code, said = command(str(tmp_path / "empty"), "--port", "0")
    assert (code, "no image" in said) == (1, True)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        code, said = command(str(root), "--port", str(taken.getsockname()[1]))
    assert (code, "--port" in said) == (1, True)


def test_an_image_that_cannot_be_read_is_named_in_the_page(browser: Any, root: Path) -> None:
    (root / "images" / "bad.png").write_bytes(b"no image")
    with served(root) as (address, _):
        page = opened(browser, address)
        assert "cannot be read" in page.inner_text("#images")
        page.locator("#images button", has_text="bad").click()
        wait(page, "() => document.getElementById('message').textContent.includes('bad.png')")
        page.close()


@pytest.mark.slow
def test_a_training_is_started_followed_and_stopped(browser: Any, root: Path) -> None:
    small = ["data.size=64", "data.batch_size=2", "trainer=cpu", "trainer.max_epochs=40"]
    with served(root, "--train", *small) as (address, _):
        page = opened(browser, address)
        choose_image(page, "b")
        place_some(page)
        until(lambda: len(rows(root)), 6)
        with (root / "points.csv").open("a") as file:  # a fifth of a class's points validates
            file.writelines(f"b,{10 + k},{10 + 400 * (k % 2)},{['Water', 'Land'][k % 2]}\n" for k in range(8))
        wait(page, "() => shown.points.length === 14")
        page.wait_for_selector("#jobs [data-do=train]:enabled", timeout=WAIT)
        assert "experiment=best" in page.inner_text("#jobs code")
        page.click("#jobs [data-do=train]")
        wait(page, "() => document.querySelector('#jobs').textContent.includes('epoch 2')")
        page.click("#jobs [data-do=stop]")
        wait(page, "() => document.querySelector('#jobs').textContent.includes('stopped')")
        page.close()
