"""(c) Whether the automatic precision, memory format and handling of memory are the fast ones here."""

import itertools
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from statistics import median

import torch
from torch import Tensor

from sparse_seg.bench.device import Variant, automatic, say, variant_name
from sparse_seg.bench.plan import Plan
from sparse_seg.bench.table import Row
from sparse_seg.bench.training import bare_steps
from sparse_seg.data.datamodule import SparsePointsDataModule
from sparse_seg.training.hardware import keep_freed_memory


def precision_and_layout(plan: Plan, data: SparsePointsDataModule, folder: Path) -> list[Row]:
    """(c) A training step in the automatic precision and memory format against the other choices, one at a time.

    Bare steps on one batch, in turn, after one warm-up each. A variant that has had `patience` seconds gets no further
    step; one that has not finished its warm-up by then is judged by it. Wanted: nothing is over 5 % faster.
    """
    auto = automatic()
    other = "32-true" if auto[0] != "32-true" else "bf16-mixed"
    variants: list[Variant] = [auto, (other, auto[1]), (auto[0], not auto[1])]
    if other == "32-true":  # bf16 that the device only emulates takes minutes, so one step of it is enough
        variants.append((other, not auto[1]))
    batch = next(iter(data.train_dataloader()))
    steps = {v: bare_steps(itertools.repeat(batch), v, plan.encoder) for v in variants}
    seconds: dict[Variant, list[float]] = {v: [] for v in variants}
    for round_ in range(plan.rounds + 1):
        for v in variants:
            if sum(seconds[v]) < plan.patience:
                seconds[v].append(next(steps[v]))
        say(f"    round {round_} of {plan.rounds}")
    mid = {v: median(values[1:] or values) for v, values in seconds.items()}
    name = f"(c) step in {variant_name(auto)} (automatic)"
    return [Row(f"{name} vs {variant_name(v)}", mid[auto], mid[v], max_ratio=1.05) for v in variants[1:]]


def steps_alone(keep: bool, steps: int, batch: Mapping[str, Tensor], encoder: str, threads: int) -> list[float]:
    """Seconds of a few bare steps in a process of their own, whose freed memory is kept, or not."""
    torch.set_num_threads(threads)
    if keep:
        keep_freed_memory("auto")
    seconds = bare_steps(itertools.repeat(batch), automatic(), encoder)
    return [next(seconds) for _ in range(steps + 1)][1:]


def freed_memory(plan: Plan, data: SparsePointsDataModule, folder: Path) -> list[Row]:
    """(c) A training step in a process that keeps what it frees against one that gives it back to the kernel.

    Bare steps on one batch, in a new process each time, kept and given back in turn; the first step is left out. On a
    GPU both are the same.
    """
    batch = next(iter(data.train_dataloader()))
    arrays = {name: batch[name] for name in ("image", "target")}
    seconds: dict[bool, list[float]] = {True: [], False: []}
    for _ in range(plan.alone_rounds):
        for keep, values in seconds.items():
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
                values += process.submit(
                    steps_alone, keep, plan.alone, arrays, plan.encoder, torch.get_num_threads()
                ).result()
    what = "(c) step with freed memory kept (automatic on a CPU) vs given back"
    return [Row(what, median(seconds[True]), median(seconds[False]), max_ratio=1.05)]
