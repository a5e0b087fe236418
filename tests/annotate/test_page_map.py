"""The map over the image, the next place, check points, and a training, in the browser."""

import re
from pathlib import Path
from typing import Any

import pytest
from browsing import choose_image, opened, place_some, rows, served, spot, until, wait


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
        wait(page, "() => document.querySelector('#areas').textContent.includes('%')")
        assert "experiment=best" in page.inner_text("#jobs code")
        page.click("#jobs [data-do=train]")
        wait(page, "() => document.querySelector('#jobs').textContent.includes('epoch 2')")
        page.click("#jobs [data-do=stop]")
        wait(page, "() => document.querySelector('#jobs').textContent.includes('stopped')")
        page.close()
