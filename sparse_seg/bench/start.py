"""(e), (f) How long a command takes to its answer, its first step, or its next one."""

from pathlib import Path
from statistics import median

from sparse_seg.bench.commands import child, seconds_to_step, words_of
from sparse_seg.bench.plan import Plan
from sparse_seg.bench.table import Row
from sparse_seg.data.datamodule import SparsePointsDataModule

COMMANDS = ("predict", "suggest", "data", "report", "annotate", "bench")
"""Modules with a command line of their own."""


def start_up(plan: Plan, data: SparsePointsDataModule, folder: Path) -> list[Row]:
    """(e) Seconds from a command to its first step or its answer: child processes, median of several.

    The first start, which fills the cache of images, is left out. The imports are timed in a process of their own.
    """
    seconds_to_step(words_of(plan, folder))
    start = [seconds_to_step(words_of(plan, folder)) for _ in range(plan.starts)]
    imports = [child(["-c", "import torch, lightning, segmentation_models_pytorch"])[1] for _ in range(plan.starts)]
    helped = [child(["train.py", "--help"])[1] for _ in range(plan.answers)]
    refused = [child(["train.py", "points=twenty"], code=1)[1] for _ in range(plan.answers)]
    return [
        Row("(e) command to first training step", median(start), max_seconds=10),
        Row("(e) import torch, lightning, smp vs all of that", median(imports), median(start)),
        Row("(e) train.py --help", median(helped), max_seconds=2),
        Row("(e) train.py points=twenty, refused", median(refused), max_seconds=2),
    ]


def answers(plan: Plan, data: SparsePointsDataModule, folder: Path) -> list[Row]:
    """(e) Seconds to the help of each command beside train.py, against a Python that imports NumPy, in turn."""
    calls = {name: ["-m", f"sparse_seg.{name}", "--help"] for name in COMMANDS} | {"": ["-c", "import numpy"]}
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(plan.answers):
        for name, words in calls.items():
            seconds[name].append(child(words)[1])
    return [
        Row(f"(e) {name} --help vs import numpy", median(seconds[name]), median(seconds[""]), max_ratio=5)
        for name in COMMANDS
    ]


def resuming(plan: Plan, data: SparsePointsDataModule, folder: Path) -> list[Row]:
    """(f) Seconds from the command to the first new step of a run that ended after its first epoch."""
    words = [*words_of(plan, folder), "data.source.images=10"]
    seconds_to_step(words, epoch=2)
    return [Row("(f) command to first step of a resumed run", seconds_to_step(words, epoch=2))]
