"""A page whose server is killed: a real process, asked over HTTP, and once in the browser."""

import http.client
import json
import os
import random
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from browsing import WAIT, asked, opened, rows, served, spot, until, wait

KILLS = 49
Pixels = dict[tuple[int, int], int]


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


def change(draw: random.Random, states: list[Pixels]) -> tuple[dict[str, object], list[Pixels]]:
    """A request, and all that can be undone after it, the last one being what there is."""
    now = states[-1]
    kind = draw.choice(["add", "add", "add", "remove", "undo"])
    if kind == "undo" and len(states) > 1:
        return {"do": "undo"}, states[:-1]
    if kind == "remove" and now:
        at = draw.choice(sorted(now))
        return {"do": "remove", "image": 0, "row": at[0], "col": at[1]}, [*states, {p: now[p] for p in now if p != at}]
    row, col = next(p for p in iter(lambda: (draw.randrange(300), draw.randrange(200)), None) if p not in now)
    label = draw.randrange(3)
    click = {"do": "add", "image": 0, "row": row, "col": col, "label": label}
    return click, [*states, {**now, (row, col): label}]


def points(address: str) -> Pixels:
    code, said = asked(address, "/state/0")
    assert code == 200
    return {(row, col): label for row, col, label, _ in json.loads(said)["points"]}


@pytest.mark.slow
def test_a_kill_right_after_a_click_loses_at_most_that_click(root: Path) -> None:
    """Forty-nine times; the fiftieth is the one in the browser. Killed while the click is on its way, or its table."""
    draw = random.Random(0)
    states: list[Pixels] = [{}]
    hand = states
    lost = 0
    for kill in range(KILLS):
        with served(root) as (address, child):
            own = {"Origin": address.rstrip("/"), "X-Annotate": "1"}
            there = points(address)
            assert there in (states[-1], hand[-1]), f"after kill {kill}"
            lost += there != hand[-1]
            states = hand if there == hand[-1] else states
            for _ in range(draw.randrange(1, 6)):
                click, after = change(draw, states)
                assert asked(address, "/act", click, **own)[0] == 200
                states = after
            click, hand = change(draw, states)
            server = http.client.HTTPConnection(address.removeprefix("http://").rstrip("/"))
            server.request("POST", "/act", json.dumps(click), own)
            time.sleep(draw.choice([0, draw.uniform(0, 0.01), draw.uniform(0, 0.8)]))
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()
            server.close()
    with served(root) as (address, _):
        assert points(address) in (states[-1], hand[-1])
        until(lambda: {(int(r[1]), int(r[2])) for r in rows(root)}, set(points(address)))
    print(f"{lost} of {KILLS} clicks were still on their way")
