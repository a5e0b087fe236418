"""The map over the image, the next place, check points, and a training, in the browser."""

import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
from browsing import WAIT, choose_image, opened, place_some, rows, served, spot, until, wait
from folders import save_tif, scene

from sparse_seg.classes import Classes
from sparse_seg.raster.readers import open_raster
from sparse_seg.raster.write import new_map


def ring_is_seen(page: Any, row: int, col: int) -> bool:
    """Whether most of the pixels 12 from a place are white on the screen."""
    x, y = spot(page, row, col)
    shot = page.screenshot(clip={"x": x - 20, "y": y - 20, "width": 41, "height": 41})
    pixels = np.asarray(PIL.Image.open(io.BytesIO(shot)).convert("RGB"))
    at = [(round(20 + 12 * np.sin(t)), round(20 + 12 * np.cos(t))) for t in np.linspace(0, 6.28, 40)]
    return sum(pixels[i, j].min() > 240 for i, j in at) > 20


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
        opacity = "() => [...document.querySelectorAll('.leaflet-probe-pane .leaflet-layer')].map(l => l.style.opacity)"
        page.evaluate("() => { $('opacity').value = 20; $('opacity').dispatchEvent(new Event('input')); }")
        until(lambda: page.evaluate(opacity)[-1], "0.2")
        page.keyboard.press("c")
        wait(page, "() => document.querySelector('.leaflet-probe-pane img[src*=\"confidence/\"]')")
        page.keyboard.press("c")
        wait(page, "() => document.querySelector('.leaflet-probe-pane img[src*=\"map/\"]')")
        other = opened(browser, address)
        choose_image(other, "c")
        page.keyboard.press("n")
        wait(page, "() => shown.offered && !shown.offered.check")
        assert re.search(r"(Water|Land)( or (Water|Land)\?|, says the map:) \d+( to \d+)? %", page.inner_text("#offer"))
        first = page.evaluate("shown.offered")
        until(lambda: ring_is_seen(page, first["row"], first["col"]))
        page.keyboard.press("s")
        wait(page, "() => shown.offered && shown.offered.check")
        assert page.evaluate("shown.offered") != first
        assert not page.locator(".leaflet-probe-pane img").first.is_visible(), "the map would give the answer away"
        page.keyboard.press("1")
        until(lambda: len(rows(root, "checks.csv")), 1)
        assert len(rows(root)) == 7, "a check point is not trained on"
        wait(page, "() => document.querySelector('#checks').textContent.includes('would halve')")
        assert other.evaluate("() => shown.name") == "c", "another tab is not led away"
        other.close()
        page.close()


def test_the_map_of_a_trained_network_is_laid_beside_the_probes_by_a_swipe(browser: Any, root: Path) -> None:
    classes = Classes(("Water", "Land"), ((1, 2, 250), (0, 200, 0)))
    with open_raster(root / "images" / "b.tif", None, None) as image:
        (root / "maps").mkdir()
        with new_map(root / "maps" / "b.tif", image, classes) as written:
            written.write(0, 0, np.zeros((image.height, image.width), np.uint8))
    with served(root) as (address, _):
        page = opened(browser, address)
        assert page.is_hidden("#compare"), "no map of the first image was written"
        choose_image(page, "b")
        page.wait_for_selector('img[src*="trained/"].leaflet-tile-loaded', timeout=WAIT)
        script = "([pane, k]) => parseFloat(map.getPane(pane).style.clip.match(/-?[0-9.]+/g)[k])"
        whole = page.evaluate(script, ["trained", 1])
        page.evaluate("() => { $('swipe').value = 25; $('swipe').dispatchEvent(new Event('input')); }")
        assert 0.2 * whole < page.evaluate(script, ["trained", 1]) < 0.3 * whole
        assert page.evaluate(script, ["probe", 3]) == page.evaluate(script, ["trained", 1])
        page.close()


def test_bands_and_contrast_are_chosen_in_the_page_and_learned_from(browser: Any, root: Path) -> None:
    for path in (root / "images").iterdir():
        path.unlink()
    values = np.full((4, 600, 600), 500, np.uint16)
    values[3, :, 300:] = 2000  # the fourth band alone tells the halves apart
    save_tif(root / "images" / "deep.tif", values + np.random.default_rng(0).integers(0, 9, values.shape, np.uint16))
    colour = """([layer, x, y]) => new Promise(done => {
      const picture = new Image();
      picture.onload = () => {
        const canvas = document.createElement('canvas');
        canvas.getContext('2d').drawImage(picture, 0, 0);
        done([...canvas.getContext('2d').getImageData(50, 100, 1, 1).data]);
      };
      picture.onerror = () => done([]);
      picture.src = `${layer}/${shown.painted}/0/${shown.levels}/${x}/${y}`;
    })"""
    with served(root) as (address, _):
        page = opened(browser, address)
        assert page.input_value("[name=bands]") == "1 2 3"
        page.fill("[name=bands]", "4 2 9")
        page.click("#look button")
        wait(page, "() => document.getElementById('message').textContent.includes('has 4')")
        page.fill("[name=bands]", "4 2 1")
        page.fill("[name=scale]", "0 2550")
        page.click("#look button")
        wait(page, "() => document.querySelector('[name=bands]').defaultValue === '4 2 1'")
        page.wait_for_selector(".leaflet-tile-loaded", timeout=WAIT)
        red, green, blue, _ = page.evaluate(colour, ["image", 2, 0])
        assert abs(red - 200) < 15
        assert abs(green - 50) < 15
        assert abs(blue - 50) < 15
        place_some(page)
        wait(page, "() => shown.painted > 0")
        colours = page.evaluate("() => shown.colours")
        for x, of in ((0, colours[0]), (2, colours[1])):
            wanted = [int(of[k : k + 2], 16) for k in (1, 3, 5)]
            until(lambda x=x: page.evaluate(colour, ["map", x, 1])[:3], wanted)  # type: ignore[misc]
        assert "'data.bands=[4,2,1]' 'data.scale=[0,2550]'" in page.inner_text("#jobs")
        page.close()
    with served(root) as (address, _):
        page = opened(browser, address)
        assert page.input_value("[name=bands]") == "4 2 1"
        assert page.input_value("[name=scale]") == "0 2550"
        page.close()
    with served(root, "--bands", "1", "2", "3") as (address, _):
        page = opened(browser, address)
        assert page.input_value("[name=bands]") == "1 2 3", "the command line's go before"
        page.close()


@pytest.mark.slow
def test_from_jpegs_to_the_maps_of_a_training_by_the_page_alone(browser: Any, tmp_path: Path) -> None:
    root = tmp_path / "mine"
    root.mkdir()
    for name in "ab":
        PIL.Image.fromarray(scene(500, 600)).save(root / f"{name}.jpg")
    small = ["data.size=64", "data.batch_size=2", "trainer=cpu", "trainer.max_epochs=12"]
    with served(root, "--train", *small) as (address, _):
        page = opened(browser, address)
        names = iter(["Water", "Land"])
        page.on("dialog", lambda dialog: dialog.accept(next(names)))
        for k in (1, 2):
            page.click("[data-new-class]")
            wait(page, "n => shown.names.length === n", k)
        place_some(page)
        for k in range(8):  # a fifth of a class's points validates
            page.keyboard.press(str(1 + k % 2))
            page.mouse.click(*spot(page, 100 + 20 * k, 40 + 400 * (k % 2)))
        until(lambda: len(rows(root)), 14)
        wait(page, "() => document.querySelector('#areas').textContent.includes('%')")
        assert "experiment=best" in page.inner_text("#jobs code")
        page.click("#jobs [data-do=train]")
        wait(page, "() => document.querySelector('#jobs').textContent.includes('epoch 2')")
        page.click("#jobs [data-do=stop]")
        wait(page, "() => document.querySelector('#jobs').textContent.includes('stopped')")
        assert "maps:" not in page.inner_text("#jobs")
        page.click("#jobs [data-do=train]")
        wait(page, "() => document.querySelector('#jobs').textContent.includes('goes on after epoch')")
        wait(page, "() => document.querySelector('#jobs').textContent.includes('write maps: done')")
        assert f"maps:\n{root.resolve() / 'maps'}" in page.inner_text("#jobs")
        page.wait_for_selector('img[src*="trained/"].leaflet-tile-loaded', timeout=WAIT)
        assert page.is_visible("#compare")
        page.close()
    maps = sorted(p.name for p in (root / "maps").iterdir())
    assert maps == ["a.confidence.png", "a.png", "areas.csv", "b.confidence.png", "b.png"]
    with served(root, "--train", *small) as (address, _):
        page = opened(browser, address)
        page.wait_for_selector('img[src*="trained/"].leaflet-tile-loaded', timeout=WAIT)
        assert "maps:" in page.inner_text("#jobs"), "after a restart, too"
        page.close()
