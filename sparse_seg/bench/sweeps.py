"""(g), (h) What a sweep costs beside the epochs of its runs, and what several runs at once bring."""

from dataclasses import replace
from pathlib import Path
from statistics import median

from sparse_seg.bench.commands import sweep_once, words_of
from sparse_seg.bench.device import device
from sparse_seg.bench.plan import Plan
from sparse_seg.bench.table import Row
from sparse_seg.data.datamodule import SparsePointsDataModule


def job_cost(plan: Plan, data: SparsePointsDataModule, folder: Path) -> list[Row]:
    """(g) Wall time of a sweep of two runs of one epoch less that of its epochs, per job, against 50 such epochs.

    As many images as Dubai has. The first run also makes the cache of decoded images.
    """
    words = [*words_of(plan, folder), f"data.source.images={plan.run_images}", "trainer.max_epochs=1", "seed=0,1"]
    seconds, epochs = sweep_once(words)
    cost = (seconds - sum(epochs)) / len(epochs)
    return [Row("(g) fixed cost of a job vs its 50 epochs", cost, 50 * median(epochs), max_ratio=0.05)]


def at_once(plan: Plan, data: SparsePointsDataModule, folder: Path) -> list[Row]:
    """(h) Wall time of `jobs` small runs: on a CPU one and two at a time, on a GPU 1, 2, 4 and 8 per GPU."""
    gpu = device().type == "cuda"
    small = ["data.source.images=20", "trainer.max_epochs=3"]
    key, counts = ("jobs_per_gpu", (2, 4, 8)) if gpu else ("jobs", (2,))

    def seconds(count: int, jobs: int = plan.jobs) -> float:
        words = [*words_of(plan if gpu else replace(plan, size=64, encoder="resnet18"), folder), *small]
        words += [f"seed={','.join(map(str, range(jobs)))}"]
        return sweep_once(words, "hydra/launcher=processes", f"hydra.launcher.{key}={count}")[0]

    seconds(1, jobs=1)  # fills the cache
    one = seconds(1)
    return [Row(f"(h) {plan.jobs} jobs, {key}={count} vs {key}=1", seconds(count), one) for count in counts]
