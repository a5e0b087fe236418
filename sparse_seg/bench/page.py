"""(l) The page of sparse_seg.annotate: a server of its own, and a person's clicks in Debian's Chromium."""

import contextlib
import itertools
import os
import shutil
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from sparse_seg.bench.commands import ROOT
from sparse_seg.bench.plan import Plan
from sparse_seg.bench.table import Row
from sparse_seg.classes import IGNORE_INDEX, LAND_COVER
from sparse_seg.data.datamodule import SparsePointsDataModule
from sparse_seg.data.synthetic import synthetic_samples
from sparse_seg.points.draw import write_points
from sparse_seg.raster.readers import import_rasterio

VIEW = 512
"""Side of the view, in pixels of the screen."""
QUIET = 0.7
"""Seconds without a change after which the page has nothing left to do, as while a person looks for the next place."""
PATIENCE = 300.0
"""Seconds that anything may take."""
ONCE_PAINTED = """version => new Promise(done => {
  const box = map.getContainer(), look = () => +box.dataset.painted > version ? done() : requestAnimationFrame(look);
  look();
})"""
ONCE_LOADED = """([row, col, zoom]) => new Promise(done => {
  const started = performance.now(), seconds = () => (performance.now() - started) / 1000;
  const end = () => requestAnimationFrame(() => done(seconds()));
  map.setView([row, col], zoom, { animate: false });
  if (base.isLoading()) base.once("load", end); else end();
})"""


def page(plan: Plan, data: SparsePointsDataModule, folder: Path) -> list[Row]:
    """(l) Start to a page that takes a click; click to the new map of the view; a view of a large GeoTIFF; memory.

    As many images as Dubai has, of its size, with `page_points` points of five classes, an encoder without weights. A
    click is timed until the browser has drawn the map of all points, after a pause in which nothing was left to do.
    The GeoTIFF has overviews and no points; a view is timed until all of its tiles are there, at random places, at each
    zoom in turn. Memory is the most that the server's process ever held. Wants chromium, playwright and the extras
    annotate and geo.
    """
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium")
    if chromium is None:
        raise RuntimeError("there is no chromium: apt-get install chromium")
    small, large = folder / "page", folder / "large"
    masks = _images(plan, small)
    _scene(plan, large)
    with sync_playwright() as playwright, _browser(playwright, chromium) as browser:
        with _served(plan, small) as (address, child, started):
            tab = _opened(browser, address, started)
            start = time.perf_counter() - started
            clicks = _clicks(plan, tab, masks)
            memory = _most(child.pid)
            tab.close()
        with _served(plan, large) as (address, child, started):
            tab = _opened(browser, address, started)
            views = _views(plan, tab)
            memory = max(memory, _most(child.pid))
            tab.close()
    what = f"{plan.page_points} points, view of {VIEW}×{VIEW}"
    scene = f"{plan.page_side}×{plan.page_side} pixels"
    return [
        Row(f"(l) page of {plan.run_images} images, start to the first click", start, max_seconds=8),
        Row(f"(l) click to the view's new map, {what}, median of {len(clicks)}", median(clicks), max_seconds=1.5),
        Row("(l) the same, 95th percentile", float(np.quantile(clicks, 0.95)), max_seconds=3),
        Row(f"(l) another view of {scene}, median of {len(views)}", median(views), max_seconds=0.4),
        Row("(l) the same, 95th percentile", float(np.quantile(views, 0.95))),
        Row("(l) the server's memory at most", memory, max_gigabytes=2),
    ]


def _images(plan: Plan, folder: Path) -> dict[str, NDArray[np.uint8]]:
    """Write images and their points; returns the masks."""
    (folder / "images").mkdir(parents=True)
    draw = np.random.default_rng(0)
    masks = {}
    for k, sample in enumerate(synthetic_samples(images=plan.run_images, size=plan.page_size)):
        image, masks[f"image_{k:02d}"] = sample.read()
        PIL.Image.fromarray(image).save(folder / "images" / f"image_{k:02d}.jpg", quality=90)
    points: dict[str, dict[tuple[int, int], int]] = {}
    names = list(masks)
    while sum(map(len, points.values())) < plan.page_points:
        name, row, col, label = _somewhere(masks, names[draw.integers(len(names))], draw)
        points.setdefault(name, {})[row, col] = label
    rows = {name: np.array([(*at, label) for at, label in those.items()]) for name, those in points.items()}
    write_points(folder / "points.csv", rows, LAND_COVER.names)
    return masks


def _somewhere(masks: dict[str, NDArray[np.uint8]], name: str, draw: np.random.Generator) -> tuple[str, int, int, int]:
    """Image, row, column and class of a labelled pixel."""
    while True:
        row, col = (int(draw.integers(n)) for n in masks[name].shape)
        if (label := int(masks[name][row, col])) != IGNORE_INDEX:
            return name, row, col, label


def _scene(plan: Plan, folder: Path) -> None:
    """Write a large GeoTIFF with overviews."""
    rasterio = import_rasterio()
    (folder / "images").mkdir(parents=True)
    part = next(iter(synthetic_samples(images=1, size=1024))).read()[0][:1024, :1024].transpose(2, 0, 1)
    form = {"driver": "GTiff", "count": 3, "dtype": "uint8", "tiled": True, "compress": "lzw", "bigtiff": "yes"}
    side = plan.page_side
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        with rasterio.open(folder / "images" / "scene.tif", "w", height=side, width=side, **form) as file:
            for row, col in itertools.product(range(0, side, 1024), repeat=2):
                height, width = min(1024, side - row), min(1024, side - col)
                file.write(part[:, :height, :width], window=rasterio.windows.Window(col, row, width, height))
            file.build_overviews([2**k for k in range(1, 8)])


@contextlib.contextmanager
def _browser(playwright: Any, chromium: str) -> Iterator[Any]:
    browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
    try:
        yield browser
    finally:
        browser.close()


@contextlib.contextmanager
def _served(plan: Plan, folder: Path) -> Iterator[tuple[str, subprocess.Popen[str], float]]:
    """Address, process, and when it was started."""
    command = [sys.executable, "-m", "sparse_seg.annotate", str(folder), "--no-browser", "--port", "0"]
    command += ["--encoder", plan.encoder, "--encoder-weights", "null"]
    started = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT, start_new_session=True) as child:
        try:
            assert child.stdout is not None
            address = child.stdout.readline().strip()
            if not address.startswith("http"):
                raise RuntimeError(f"the page of {folder} was not served")
            yield address, child, started
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)


def _opened(browser: Any, address: str, started: float) -> Any:
    """The page once it takes clicks, its map VIEW × VIEW pixels large."""
    tab = browser.new_page(viewport={"width": 1000, "height": 700})
    tab.set_default_timeout(1000 * PATIENCE)
    tab.goto(address)
    tab.wait_for_selector(".leaflet-tile-loaded")
    box = tab.locator("#map").bounding_box()
    tab.set_viewport_size({"width": 1000 + VIEW - round(box["width"]), "height": 700 + VIEW - round(box["height"])})
    return tab


def _quiet(tab: Any) -> int:
    """Wait until the page has nothing left to do. Returns the version of the map that it shows."""
    said, since, end = None, time.monotonic(), time.monotonic() + PATIENCE
    while time.monotonic() < end:
        now = tab.evaluate("() => [shown.painted, +(map.getContainer().dataset.painted || 0), !!again || busy]")
        if now != said:
            said, since = now, time.monotonic()
        elif time.monotonic() - since > QUIET and now[0] and now[0] == now[1]:
            return int(now[0])
        time.sleep(0.05)
    raise RuntimeError(f"the page was never at rest: {said}")


def _clicks(plan: Plan, tab: Any, masks: dict[str, NDArray[np.uint8]]) -> list[float]:
    """Seconds from a click to the map of all points."""
    draw, found = np.random.default_rng(1), []
    height, width = next(iter(masks.values())).shape
    tab.evaluate("([r, c]) => map.setView([r, c], shown.levels, { animate: false })", [height / 2, width / 2])
    name = tab.evaluate("() => shown.name")
    # The map is of all points once every point's surroundings were read.
    tab.wait_for_function("() => shown.painted && !/reading the surroundings/.test(shown.panels.areas)")
    box = tab.locator("#map").bounding_box()
    for _ in range(plan.page_clicks):
        while True:
            _, row, col, label = _somewhere(masks, name, draw)
            at = tab.evaluate(
                "([r, c]) => { const p = map.latLngToContainerPoint([r + .5, c + .5]); return [p.x, p.y]; }", [row, col]
            )
            if all(10 < x < VIEW - 10 for x in at):
                break
        tab.keyboard.press(str(label + 1))
        version = _quiet(tab)
        before = tab.evaluate("() => shown.points.length")
        started = time.perf_counter()
        tab.mouse.click(box["x"] + at[0], box["y"] + at[1])
        tab.evaluate(ONCE_PAINTED, version)
        found.append(time.perf_counter() - started)
        if tab.evaluate("() => shown.points.length") != before + 1:
            found.pop()  # on a point that is there, which it chose
    return found


def _views(plan: Plan, tab: Any) -> list[float]:
    """Seconds from a new view of the GeoTIFF to all of its tiles."""
    draw = np.random.default_rng(2)
    levels = tab.evaluate("() => shown.levels")
    found = []
    for k in range(plan.page_clicks):
        row, col = (int(v) for v in draw.integers(VIEW, plan.page_side - VIEW, 2))
        found.append(float(tab.evaluate(ONCE_LOADED, [row, col, max(0, levels - k % 5)])))
        time.sleep(0.2)
    return found


def _most(process: int) -> float:
    """The most memory that a process ever held, GB."""
    lines = Path(f"/proc/{process}/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024 / 1e9
