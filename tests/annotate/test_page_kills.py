"""A page whose server is killed, on a real disk, in a real process."""

import os
import signal
from pathlib import Path
from typing import Any

from browsing import WAIT, opened, rows, served, spot, until, wait


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
