"""The sections of the benchmark, one after the other."""

import logging
import platform
import tempfile
import traceback
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd
import torch

from sparse_seg.bench.commands import ROOT
from sparse_seg.bench.device import automatic, device, say, variant_name
from sparse_seg.bench.epochs import epoch_shares
from sparse_seg.bench.losses import loss_speed
from sparse_seg.bench.methods import maps, probe_run, step_with_shares
from sparse_seg.bench.overhead import lightning_overhead
from sparse_seg.bench.page import page
from sparse_seg.bench.plan import Plan
from sparse_seg.bench.precision import freed_memory, precision_and_layout
from sparse_seg.bench.start import answers, resuming, start_up
from sparse_seg.bench.sweeps import at_once, job_cost
from sparse_seg.bench.table import Row
from sparse_seg.bench.training import build_data
from sparse_seg.data.datamodule import SparsePointsDataModule
from sparse_seg.training.hardware import keep_freed_memory

Section = Callable[[Plan, SparsePointsDataModule, Path], list[Row]]
SECTIONS: dict[str, Sequence[Section]] = {
    "a": [lightning_overhead],
    "b": [loss_speed],
    "c": [precision_and_layout, freed_memory],
    "d": [epoch_shares],
    "e": [start_up, answers],
    "f": [resuming],
    "g": [job_cost],
    "h": [at_once],
    "i": [probe_run],
    "j": [step_with_shares],
    "k": [maps],
    "l": [page],
}
"""Letter → what is measured."""


def heading(plan: Plan) -> str:
    """What is measured where, in three lines."""
    name = torch.cuda.get_device_name() if device().type == "cuda" else f"{device().type} ({platform.machine()})"
    return (
        f"sparse_seg bench: torch {torch.__version__}, {name}, {torch.get_num_threads()} threads\n"
        f"automatic precision and memory format: {variant_name(automatic())}\n"
        f"U-Net/{plan.encoder}, {plan.batch} images of {plan.size}×{plan.size} per step"
    )


def measure(plan: Plan, letters: Sequence[str], folder: Path) -> list[Row]:
    """The rows of the sections with these letters. A section that fails says why and leaves its rows out."""
    say("making synthetic images")
    data = build_data(plan, folder)
    rows: list[Row] = []
    for letter in letters:
        for section in SECTIONS[letter]:
            title = f"({letter}) {section.__name__.replace('_', ' ')}"
            say(title)
            try:
                rows += section(plan, data, folder)
            except Exception:  # the other figures are still worth having
                traceback.print_exc()
                say(f"not measured: {title}")
    return rows


def run(letters: Sequence[str]) -> None:
    """Measure the sections with these letters and print their table."""
    plan = Plan()
    warnings.filterwarnings("ignore", module="lightning|torch")  # as train.py: nothing here that a user can act on
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    print(heading(plan), flush=True)
    keep_freed_memory("auto")  # as train.py
    (ROOT / "outputs").mkdir(exist_ok=True)
    # Beside real runs rather than in /tmp, which may be memory: checkpoints are flushed to the disk.
    with tempfile.TemporaryDirectory(dir=ROOT / "outputs", prefix=".bench-") as folder:
        rows = measure(plan, letters, Path(folder))
    say("done; ratio = value ÷ reference, the reference is what stands after vs")
    table = pd.DataFrame([row.cells() for row in rows]).to_markdown(index=False, disable_numparse=True)
    print(f"\n{heading(plan)}\n\n{table}")
