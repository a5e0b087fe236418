"""A page in a real browser, or asked over HTTP, as tests of `sparse_seg.annotate` use it."""

import contextlib
import csv
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
WAIT = 120_000
"""Milliseconds that anything may take on a busy machine."""


@contextlib.contextmanager
def served(root: Path, *words: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """The page's address, and its process. words: more of the command line."""
    pytest.importorskip("xstatic.pkg.leaflet", reason="needs pip install -e '.[annotate]'")
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
    """The lines of a table, without the first one."""
    path = root / name
    return list(csv.reader(path.read_text().splitlines()))[1:] if path.exists() else []


def until(what: Any, expected: Any = True, seconds: float = 60) -> None:
    """Wait for a function to return something."""
    end = time.monotonic() + seconds
    while (found := what()) != expected and time.monotonic() < end:
        time.sleep(0.1)
    assert found == expected


def wait(page: Any, script: str, given: Any = None) -> None:
    """Wait until a function says yes in the page."""
    until(lambda: bool(page.evaluate(script, given)), seconds=WAIT / 1000)


def choose_image(page: Any, name: str) -> None:
    page.locator("#images button", has_text=re.compile(f"^{name}$")).click()
    wait(page, "name => shown.name === name", name)
    page.wait_for_selector(".leaflet-tile-loaded", timeout=WAIT)


def place_some(page: Any) -> None:
    for key, places in (("1", [(60, 60), (300, 70), (20, 250)]), ("2", [(60, 500), (300, 450), (400, 400)])):
        page.keyboard.press(key)
        for row, col in places:
            page.mouse.click(*spot(page, row, col))
            wait(page, "([r, c]) => shown.points.some(p => p[0] === r && p[1] === c)", [row, col])


def asked(address: str, path: str, body: object = None, /, **headers: str) -> tuple[int, str]:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(address.rstrip("/") + path, data, headers)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()
