"""A page that is killed after any click has lost nothing but the click in hand."""

import os
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from folders import make

from sparse_seg.annotate.state import Annotation
from sparse_seg.errors import UserError

Points = dict[tuple[int, int], int]


def acts(seed: int) -> Iterator[tuple[str, tuple[int, int], tuple[int, int], int]]:
    draw = random.Random(seed)
    while True:
        act = draw.choice(["add", "add", "add", "move", "remove", "undo", "redo", "save", "rename"])
        yield act, (draw.randrange(8), draw.randrange(8)), (draw.randrange(8), draw.randrange(8)), draw.randrange(3)


def do(page: Annotation, act: str, at: tuple[int, int], to: tuple[int, int], label: int) -> None:
    try:
        if act == "add":
            page.add("a", *at, label)
        elif act == "move":
            page.move("a", *at, to)
        elif act == "remove":
            page.remove("a", *at)
        elif act == "rename":
            page.edit_class(label, f"class {label} {at}")
        else:
            getattr(page, act)()
    except UserError:
        pass


def said(page: Annotation) -> object:
    return sorted(page.points.get("a", {}).items()), page.classes, len(page.contents.done)


def killed(root: Path, seed: int, acts_before: int, after: float) -> int:
    """How many acts a page had acknowledged when it was killed: some seconds after so many of them."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            page = Annotation(root)
            for act in acts(seed):
                do(page, *act)
                os.write(writing, b".")
        finally:
            os._exit(1)
    os.close(writing)
    with os.fdopen(reading, "rb", buffering=0) as pipe:
        seen = 0
        while seen < acts_before and (more := len(pipe.read(1))):
            seen += more
        time.sleep(after)
        os.kill(child, signal.SIGKILL)
        assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
        while more := len(pipe.read(4096)):
            seen += more
    return seen


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_fifty_kills_lose_at_most_the_click_in_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The expected state is that of another folder, in which the same is done without a kill."""
    root, other = (make(tmp_path / name, ["a.png"], masked=[]) for name in ("data", "other"))
    monkeypatch.setattr(os, "fsync", lambda _: None)  # a kill, unlike a loss of power, keeps what was written
    calm, draw, total = Annotation(other), np.random.default_rng(0), 0
    for seed in range(50):
        done = killed(root, seed, int(draw.integers(40)), float(draw.uniform(0, 0.004)))
        total += done
        again = Annotation(root)
        coming = acts(seed)
        for _ in range(done):
            do(calm, *next(coming))
        if said(again) != said(calm):
            do(calm, *next(coming))
        assert said(again) == said(calm), f"kill {seed} after {done} acts"
        again.save()
        calm.save()
        again.close()
        if (other / "points.csv").exists():
            table, expected = ((r / "points.csv").read_text().splitlines() for r in (root, other))
            assert sorted(table) == sorted(expected)
    assert total > 500
