"""The command line as a user runs it, in child processes."""

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from sparse_seg.bench.plan import Plan
from sparse_seg.bench.probe import FIRST_STEP

ROOT = Path(__file__).resolve().parents[2]


def child(arguments: Sequence[str], code: int = 0) -> tuple[float, float, str]:
    """Run Python in a child process. Returns its start (time.time()), its seconds and what it printed.

    Raises RuntimeError if it ends with another exit code.
    """
    started = time.time()
    done = subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    seconds = time.time() - started
    if done.returncode != code:
        raise RuntimeError(f"{' '.join(arguments)} ended with exit code {done.returncode}:\n{done.stderr[-2000:]}")
    return started, seconds, done.stdout


def words_of(plan: Plan, folder: Path) -> list[str]:
    """The words of a run on synthetic scenes whose cache and output lie in the folder."""
    folder = Path(os.path.relpath(folder, ROOT))  # whatever the path of the checkout holds, Hydra need not parse it
    return [
        "data=synthetic", f"data.size={plan.size}", f"data.batch_size={plan.batch}",
        f"data.cache_dir={folder / 'cache'}", f"model.encoder={plan.encoder}", "model.encoder_weights=null",
        f"output_dir={folder / Path(tempfile.mkdtemp(dir=ROOT / folder)).name}",
    ]  # fmt: skip


def seconds_to_step(words: Sequence[str], epoch: int = 1) -> float:
    """Seconds from the command to the start of the first training step of an epoch."""
    started, _, printed = child(
        ["train.py", *words, f"trainer.max_epochs={epoch}", "+callbacks.probe._target_=sparse_seg.bench.FirstStep",
         f"+callbacks.probe.epoch={epoch}"]
    )  # fmt: skip
    if not (stamp := re.search(FIRST_STEP + r" ([\d.]+)", printed)):
        raise RuntimeError(f"train.py ended before its first step: {printed[-2000:]}")
    return float(stamp[1]) - started


def sweep_once(words: Sequence[str], *launcher: str) -> tuple[float, list[float]]:
    """Run a sweep; returns its seconds, and those of the epochs of each of its runs."""
    _, seconds, _ = child(["train.py", "-m", *words, *launcher])
    output = next(word for word in words if word.startswith("output_dir=")).removeprefix("output_dir=")
    results = [json.loads(path.read_text(encoding="utf-8")) for path in (ROOT / output).rglob("result.json")]
    return seconds, [result["seconds"] for result in results]
