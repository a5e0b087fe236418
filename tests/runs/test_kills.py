"""A small sweep of real processes, killed again and again at random moments, ends with the figures of a quiet one."""

import contextlib
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from processes import TINY, started, train

from sparse_seg.training.checkpoint import resume_point

KILLS, EPOCHS = 20, 20
WORDS = (
    "-m", *TINY, "seed=0,1,2", f"trainer.max_epochs={EPOCHS}", "data.source.images=12", "scheduler=cosine",
    "loss=custom", "loss._target_=probes.random_loss", "data.num_workers=1",
)  # fmt: skip
FIGURES = ("fingerprint", "train_loss", "val_miou", "iou", "confusion_matrix", "labelled_pixels")


def results(cwd: Path) -> dict[str, dict]:
    return {p.parent.name: json.loads(p.read_text()) for p in cwd.glob("outputs/runs/*/result.json")}


def epochs(cwd: Path) -> int:
    """Rows of all histories."""
    return sum(len(p.read_text().splitlines()) - 1 for p in cwd.glob("outputs/runs/*/history.csv"))


def children(parent: int) -> list[int]:
    listed = subprocess.run(["pgrep", "-P", str(parent)], capture_output=True, text=True, check=False)
    return [int(pid) for pid in listed.stdout.split()]


def forking(sweep: int) -> list[int]:
    """The process that has everything imported, of which a sweep's jobs are forks, once it has one."""
    return [pid for pid in children(sweep) if children(pid)]


def jobs_of(sweep: int) -> list[int]:
    return [job for pid in forking(sweep) for job in children(pid)]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="children end with their parent on Linux only")
def test_twenty_kills_leave_the_figures_of_a_quiet_sweep(tmp_path):
    quiet, killed = tmp_path / "quiet", tmp_path / "killed"
    for cwd in (quiet, killed):
        cwd.mkdir()
    ended = train(*WORDS, cwd=quiet)
    assert ended.code == 0, ended.err
    draw, kills, ends = random.Random(0), 0, {"sweep": 0, "job": 0, "forking": 0}
    while kills < KILLS:
        with started(*WORDS, cwd=killed) as sweep:
            while sweep.poll() is None and not jobs_of(sweep.pid):
                time.sleep(0.1)
            if draw.random() < 0.6:  # while it trains, not while it starts
                before = epochs(killed)
                while sweep.poll() is None and epochs(killed) == before:
                    time.sleep(0.1)
                time.sleep(draw.uniform(0, 2))
            else:
                time.sleep(draw.uniform(0, 8))
            assert sweep.poll() is None, "the sweep ended before its kills"
            whom = min(ends, key=lambda name: (ends[name], draw.random()))  # none is left out
            for pid in {"sweep": lambda pid: [pid], "job": jobs_of, "forking": forking}[whom](sweep.pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, draw.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT]))
                    kills, ends[whom] = kills + 1, ends[whom] + 1
            time.sleep(0.5)
    assert min(ends.values()) >= 5, ends
    again = train(*WORDS, cwd=killed)
    assert again.code == 0, again.err
    mine, expected = results(killed), results(quiet)
    assert mine.keys() == expected.keys()
    assert len(mine) == 3
    for name, result in expected.items():
        assert {k: mine[name][k] for k in FIGURES} == {k: result[k] for k in FIGURES}
        history = (killed / "outputs" / "runs" / name / "history.csv").read_text().splitlines()
        assert [line.split(",")[0] for line in history] == ["epoch", *map(str, range(1, EPOCHS + 1))]
    logs = "".join(p.read_text() for p in killed.glob("outputs/runs/*/log.txt"))
    assert len(re.findall("goes on after epoch", logs)) >= 3, "hardly any kill met a run that was training"
    assert not list(killed.rglob("*.tmp"))
    assert not list(killed.rglob("failed.json"))


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 260 MB: room for one resume checkpoint and the weights of ResNet-18, not for a second."""
    path = tmp_path / "disk"
    path.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=260m", "none", str(path)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting a file system is not permitted here")
    yield path
    subprocess.run(["umount", str(path)], check=True)


def test_a_full_disk_ends_its_run_with_a_message_and_leaves_the_others(small_disk, tmp_path):
    words = (*TINY, f"output_dir={small_disk}", "trainer.max_epochs=3")
    other = train(*words, "seed=1", "callbacks.checkpoint=null", cwd=tmp_path)
    assert other.code == 0, other.err
    (done,) = (p.parent for p in small_disk.rglob("result.json"))
    before = {p: p.read_bytes() for p in done.rglob("*") if p.is_file()}

    ended = train(*words, cwd=tmp_path)
    assert ended.code == 1
    assert "Traceback" not in ended.err
    assert re.search(r"error: \S+ckpt cannot be written: .*free some space, the same command goes on", ended.err)
    assert {p: p.read_bytes() for p in done.rglob("*") if p.is_file()} == before
    (full,) = (p.parent for p in small_disk.rglob("history.csv") if p.parent != done)
    assert not list(full.rglob("*.tmp"))
    path, epochs = resume_point(full)  # type: ignore[misc]
    torch.load(path, weights_only=True)

    subprocess.run(["mount", "-o", "remount,size=1g", str(small_disk)], check=True)
    again = train(*words, cwd=tmp_path)
    assert again.code == 0, again.err
    assert f"goes on after epoch {epochs} of 3" in again.out
