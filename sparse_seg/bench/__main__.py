"""`make bench`: what training costs on this machine, each figure beside a reference measured in the same run.

Needs no download. Ratios are value ÷ reference; each function says how its figures are measured. Machines drift, so
whatever is compared is run in turn (A B A B …) and compared by medians. Nothing is left on the disk.
"""

import itertools
import json
import logging
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Any

import lightning as L
import torch
import torch.nn.functional as F
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.profilers import SimpleProfiler
from torch import Tensor, nn

from sparse_seg.classes import IGNORE_INDEX, LAND_COVER
from sparse_seg.data.datamodule import SparsePointsDataModule
from sparse_seg.data.synthetic import synthetic
from sparse_seg.data.transforms import report_augmentation
from sparse_seg.losses import PartialFocal, partial_cross_entropy, partial_focal
from sparse_seg.networks.build import create
from sparse_seg.training.checkpoint import AtomicCheckpointIO, RunCheckpoint
from sparse_seg.training.hardware import channels_last, keep_freed_memory, native_precision
from sparse_seg.training.history import History
from sparse_seg.training.panels import Panels
from sparse_seg.training.task import SegmentationTask

ENCODER, SIZE, BATCH = "resnet34", 256, 8
IMAGES, VAL_IMAGES = 143, 15
"""16 training steps of 8 images for (a); the validation set is as large as that of the Dubai images."""
EPOCHS, EPOCH_STEPS = 3, 7
"""(d): epochs as long as those of the Dubai images, 57 of them in batches of 8. The first epoch is a warm-up."""
ROUNDS, PATIENCE = 5, 12.0
"""(c): steps per variant, and the seconds after which a variant gets no further step."""
ALONE, ALONE_ROUNDS = 3, 2
"""(c): steps of a process, and processes with freed memory kept and as many without."""
LABELS, LOSS_ROUNDS, LOSS_CALLS = 100, 15, 20
STARTS, ANSWERS = 2, 3
JOBS, RUN_IMAGES = 8, 72
ROOT = Path(__file__).resolve().parents[2]
FIRST_STEP = "first training step at"
BEGAN = time.perf_counter()

Variant = tuple[str, bool]
"""Lightning's name of a precision, and whether the memory format is channels last."""
Loss = Callable[[Tensor, Tensor], Tensor]
BUCKETS = {
    "data loading": r"_next$|batch_to_device$",
    "training step": r"^run_training_batch$",
    "validation forward": r"\[Strategy\].*validation_step$",
    "history, TensorBoard": r"\[Callback\]History(?!.*on_save_)",
    "panels": r"\[Callback\]Panels",
    "checkpoint": r"\[Callback\]RunCheckpoint(?!.*on_save_)",
}
"""Part of an epoch → the names under which Lightning's profiler files it."""


@dataclass(frozen=True)
class Row:
    """One line of the table, in seconds. What is wanted: a bound on the value, on value ÷ reference, or nothing."""

    what: str
    value: float
    reference: float | None = None
    max_seconds: float | None = None
    max_ratio: float | None = None

    @property
    def ratio(self) -> float | None:
        return self.value / self.reference if self.reference else None

    @property
    def met(self) -> bool | None:
        """None where nothing is wanted."""
        if self.max_ratio is not None and self.ratio is not None:
            return self.ratio <= self.max_ratio
        return self.value <= self.max_seconds if self.max_seconds is not None else None

    def cells(self) -> dict[str, str]:
        wanted = f"ratio ≤ {self.max_ratio:g}" if self.max_ratio is not None else ""
        wanted = f"≤ {self.max_seconds:g} s" if self.max_seconds is not None else wanted
        return {
            "what": self.what,
            "value": duration(self.value),
            "reference": duration(self.reference) if self.reference is not None else "",
            "ratio": f"{self.ratio:.3f}" if self.ratio is not None else "",
            "wanted": wanted,
            "met": {True: "yes", False: "no", None: ""}[self.met],
        }


def duration(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 1 else f"{1000 * seconds:.1f} ms"


def say(text: str) -> None:
    print(f"{time.perf_counter() - BEGAN:5.0f} s  {text}", flush=True)


def now() -> float:
    """perf_counter once the device has done all that it was given."""
    if torch.accelerator.is_available():
        torch.accelerator.synchronize()
    return time.perf_counter()


def device() -> torch.device:
    return torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")


def automatic() -> Variant:
    """What a run with the default configuration computes in on this machine."""
    precision = native_precision("auto")
    return precision, channels_last("auto", precision)


def variant_name(variant: Variant) -> str:
    return f"{variant[0]}, {'channels last' if variant[1] else 'contiguous'}"


def build_data(folder: Path) -> SparsePointsDataModule:
    """Synthetic images with 20 points per class and the default augmentation; cached in `folder`."""
    data = SparsePointsDataModule(
        synthetic(images=IMAGES),
        points=20,
        split="random",
        seed=0,
        size=SIZE,
        batch_size=BATCH,
        val_fraction=VAL_IMAGES / IMAGES,
        augment=report_augmentation(),
        cache_dir=str(folder / "cache"),
    )
    data.setup()
    return data


def build_task() -> SegmentationTask:
    torch.manual_seed(0)
    optimizer = partial(torch.optim.Adam, lr=1e-4)
    network = create("unet", ENCODER, None, classes=len(LAND_COVER))
    return SegmentationTask(network, PartialFocal(), optimizer, LAND_COVER.names, channels_last=automatic()[1])


def build_trainer(folder: Path, callbacks: list[L.Callback], **options: Any) -> L.Trainer:
    """The trainer as `run.py` makes it."""
    return L.Trainer(
        accelerator="auto",
        devices=1,
        precision=automatic()[0],  # type: ignore[arg-type]
        callbacks=callbacks,
        logger=TensorBoardLogger(save_dir=folder, name=None, version="", default_hp_metric=False),
        default_root_dir=folder,
        plugins=[AtomicCheckpointIO()],
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        enable_checkpointing=any(isinstance(c, RunCheckpoint) for c in callbacks),
        enable_model_summary=False,
        enable_progress_bar=False,
        log_every_n_steps=1,
        **options,
    )


def bare_steps(
    batches: Iterable[Mapping[str, Tensor]], variant: Variant, encoder: str | None = None
) -> Iterator[float]:
    """Train in plain PyTorch, one step per `next`. Yields its seconds, the fetching of its batch included."""
    precision, last = variant
    layout = torch.channels_last if last else torch.contiguous_format
    torch.manual_seed(0)
    network: nn.Module = create("unet", encoder or ENCODER, None, classes=len(LAND_COVER))
    network.to(device()).to(memory_format=layout)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-4)
    loss = PartialFocal()
    started = now()
    for batch in batches:
        image = batch["image"].to(device(), non_blocking=True).contiguous(memory_format=layout)
        target = batch["target"].to(device(), non_blocking=True)
        optimizer.zero_grad()
        with torch.autocast(device().type, torch.bfloat16, enabled=precision == "bf16-mixed"):
            value = loss(network(image), target)
        value.backward()
        optimizer.step()
        yield now() - started
        started = now()


class TakeTurns(L.Callback):
    """Times Lightning's steps, and has a bare step done after each one, off Lightning's clock."""

    def __init__(self, bare: Iterator[float]) -> None:
        self.lightning: list[float] = []
        self.bare: list[float] = []
        self._bare = bare
        self._started: float | None = None
        self._pause = 0.0

    def on_train_batch_start(self, *args: Any) -> None:
        started = now()
        if self._started is not None:
            self.lightning.append(started - self._started - self._pause)
        self._started = started

    def on_train_batch_end(self, trainer: L.Trainer, *args: Any) -> None:
        ended = now()
        self.bare.append(next(self._bare))
        say(f"    step {len(self.bare)} of {trainer.num_training_batches}")
        self._pause = now() - ended


def lightning_overhead(data: SparsePointsDataModule, folder: Path) -> list[Row]:
    """(a) A training step of the task in Lightning against one of a bare loop: network, loss, batches all the same.

    A Lightning step lasts from one on_train_batch_start to the next, less the bare step that is done in between; so
    loading, hooks, the finite-loss check and the running sums count. The two take turns step by step. The first step
    of each is left out. The callbacks of a run act once per epoch and are part of (d).
    """
    turns = TakeTurns(bare_steps(data.train_dataloader(), automatic()))
    trainer = build_trainer(folder / "overhead", [turns], max_epochs=1, limit_val_batches=0)
    trainer.fit(build_task(), datamodule=data)
    mine, bare = median(turns.lightning[1:]), median(turns.bare[1:])
    what = f"(a) step in Lightning vs in a bare loop, {len(turns.lightning) - 1} steps each"
    return [Row(what, mine, bare, max_ratio=1.03)]


def dense_masked(logits: Tensor, target: Tensor, gamma: float = 0.0) -> Tensor:
    """Focal loss, cross-entropy for gamma 0, of every pixel × mask ÷ number of labels. Shapes as `partial_focal`."""
    mask = target != IGNORE_INDEX
    log_p = logits.log_softmax(1).gather(1, target.where(mask, 0).unsqueeze(1)).squeeze(1)
    pixels = -log_p if gamma == 0 else -((1 - log_p.exp()) ** gamma) * log_p
    return (pixels * mask).sum() / mask.sum()


LOSSES: dict[str, Loss] = {
    "partial_cross_entropy": partial_cross_entropy,
    "partial_focal": partial_focal,
    "F.cross_entropy": partial(F.cross_entropy, ignore_index=IGNORE_INDEX),
    "dense masked cross-entropy": dense_masked,
    "dense masked focal": partial(dense_masked, gamma=2.0),
}
LOSS_PAIRS = [
    ("partial_cross_entropy", "F.cross_entropy"),
    ("partial_cross_entropy", "dense masked cross-entropy"),
    ("partial_focal", "F.cross_entropy"),
    ("partial_focal", "dense masked focal"),
]


def sparse_batch(last: bool) -> tuple[Tensor, Tensor]:
    """Random float32 logits (BATCH, 5, SIZE, SIZE), and targets with LABELS labelled pixels per image."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(BATCH, len(LAND_COVER), SIZE, SIZE, generator=generator)
    target = torch.full((BATCH, SIZE * SIZE), IGNORE_INDEX)
    for row in target:
        pixels = torch.randperm(len(row), generator=generator)[:LABELS]
        row[pixels] = torch.randint(len(LAND_COVER), (len(pixels),), generator=generator)
    layout = torch.channels_last if last else torch.contiguous_format
    logits = logits.to(device()).contiguous(memory_format=layout)
    return logits.requires_grad_(), target.view(BATCH, SIZE, SIZE).to(device())


def loss_speed(data: SparsePointsDataModule, folder: Path) -> list[Row]:
    """(b) The losses, which gather the labelled logits, against dense forms: forward and backward, float32.

    LOSS_CALLS calls of each loss per round, in turn; the first round is left out. Wanted: four times as fast, in the
    memory format of the task's logits and in the other one.
    """
    rows = []
    for last in (automatic()[1], not automatic()[1]):
        logits, target = sparse_batch(last)
        seconds: dict[str, list[float]] = {name: [] for name in LOSSES}
        for _ in range(LOSS_ROUNDS + 1):
            for name, loss in LOSSES.items():
                started = now()
                for _ in range(LOSS_CALLS):
                    torch.autograd.grad(loss(logits, target), logits)
                seconds[name].append((now() - started) / LOSS_CALLS)
        mid = {name: median(values[1:]) for name, values in seconds.items()}
        layout = f"{'channels last' if last else 'contiguous'}{' (the task)' if last == automatic()[1] else ''}"
        rows += [Row(f"(b) {a} vs {b}; {layout}", mid[a], mid[b], max_ratio=0.25) for a, b in LOSS_PAIRS]
    return rows


def precision_and_layout(data: SparsePointsDataModule, folder: Path) -> list[Row]:
    """(c) A training step in the automatic precision and memory format against the other choices, one at a time.

    Bare steps on one batch, in turn, after one warm-up each. A variant that has had PATIENCE seconds gets no further
    step; one that has not finished its warm-up by then is judged by it. Wanted: nothing is over 5 % faster.
    """
    auto = automatic()
    other = "32-true" if auto[0] != "32-true" else "bf16-mixed"
    variants: list[Variant] = [auto, (other, auto[1]), (auto[0], not auto[1])]
    if other == "32-true":  # bf16 that the device only emulates takes minutes, so one step of it is enough
        variants.append((other, not auto[1]))
    batch = next(iter(data.train_dataloader()))
    steps = {v: bare_steps(itertools.repeat(batch), v) for v in variants}
    seconds: dict[Variant, list[float]] = {v: [] for v in variants}
    for round_ in range(ROUNDS + 1):
        for v in variants:
            if sum(seconds[v]) < PATIENCE:
                seconds[v].append(next(steps[v]))
        say(f"    round {round_} of {ROUNDS}")
    mid = {v: median(values[1:] or values) for v, values in seconds.items()}
    name = f"(c) step in {variant_name(auto)} (automatic)"
    return [Row(f"{name} vs {variant_name(v)}", mid[auto], mid[v], max_ratio=1.05) for v in variants[1:]]


def steps_alone(keep: bool, batch: Mapping[str, Tensor], encoder: str, threads: int) -> list[float]:
    """Seconds of a few bare steps in a process of their own, whose freed memory is kept, or not."""
    torch.set_num_threads(threads)
    if keep:
        keep_freed_memory("auto")
    steps = bare_steps(itertools.repeat(batch), automatic(), encoder)
    return [next(steps) for _ in range(ALONE + 1)][1:]


def freed_memory(data: SparsePointsDataModule, folder: Path) -> list[Row]:
    """(c) A training step in a process that keeps what it frees against one that gives it back to the kernel.

    Bare steps on one batch, in a new process each time, kept and given back in turn; the first step is left out. On a
    GPU both are the same.
    """
    batch = next(iter(data.train_dataloader()))
    arrays = {name: batch[name] for name in ("image", "target")}
    seconds: dict[bool, list[float]] = {True: [], False: []}
    for _ in range(ALONE_ROUNDS):
        for keep, values in seconds.items():
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
                values += process.submit(steps_alone, keep, arrays, ENCODER, torch.get_num_threads()).result()
    what = "(c) step with freed memory kept (automatic on a CPU) vs given back"
    return [Row(what, median(seconds[True]), median(seconds[False]), max_ratio=1.05)]


class SteadyEpochs(L.Callback):
    """Starts profiler and clock anew after the first epoch, and stops the clock after the last."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        say(f"    epoch {trainer.current_epoch + 1} of {trainer.max_epochs}")
        if trainer.current_epoch == 1:
            trainer.profiler.recorded_durations.clear()  # type: ignore[attr-defined]
            self.seconds = -now()

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.seconds += now()


def epoch_shares(data: SparsePointsDataModule, folder: Path) -> list[Row]:
    """(d) Where an epoch's time goes, from Lightning's profiler: the default callbacks, TensorBoard, real files.

    The mean of the epochs after the first. Panels are drawn in the first epoch, the last and every tenth: what the
    last epoch's took, its PNG file included, is divided by `every_n_epochs`. The validation forward includes the
    confusion matrix; the checkpoint is that of an early epoch, in which the best weights are often written, too.
    "other" is what no part explains: Lightning's loops and hooks. The progress bar, for terminals only, is left out.
    On a GPU, work counts where it is waited for.
    """
    profiler, steady, panels = SimpleProfiler(), SteadyEpochs(), Panels()
    callbacks = [steady, History(), RunCheckpoint(), panels]
    limits = {"max_epochs": EPOCHS, "limit_train_batches": EPOCH_STEPS}
    trainer = build_trainer(folder / "epochs", callbacks, profiler=profiler, **limits)
    trainer.fit(build_task(), datamodule=data)
    parts = split_durations(profiler.recorded_durations)
    parts["other"] = steady.seconds - sum(parts.values())
    parts = {name: seconds / (EPOCHS - 1) for name, seconds in parts.items()}
    parts["panels"] *= (EPOCHS - 1) / panels.every_n_epochs  # drawn once in these epochs
    epoch = sum(parts.values())
    rows = [Row(f"(d) {name} vs whole epoch", seconds, epoch) for name, seconds in parts.items()]
    rest = epoch - parts["training step"] - parts["validation forward"]
    return [*rows, Row("(d) all but step and validation forward vs whole epoch", rest, epoch, max_ratio=0.1)]


def split_durations(recorded: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """Sum a profiler's seconds over each of BUCKETS. Actions of no bucket are left to "other"."""
    return {
        bucket: sum(sum(seconds) for name, seconds in recorded.items() if re.search(pattern, name))
        for bucket, pattern in BUCKETS.items()
    }


class FirstStep(L.Callback):
    """Prints the time at which the first training step of an epoch begins, and ends the process there and then."""

    def __init__(self, epoch: int = 1) -> None:
        self.epoch = epoch

    def on_train_batch_start(self, trainer: L.Trainer, *args: Any) -> None:
        if trainer.current_epoch + 1 == self.epoch:
            print(FIRST_STEP, time.time(), flush=True)
            os._exit(0)


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


def words_of(folder: Path, size: int = SIZE, encoder: str = ENCODER) -> list[str]:
    """The words of a run on synthetic scenes whose cache and output lie in the folder."""
    folder = Path(os.path.relpath(folder, ROOT))  # whatever the path of the checkout holds, Hydra need not parse it
    return [
        "data=synthetic", f"data.size={size}", f"data.batch_size={BATCH}", f"data.cache_dir={folder / 'cache'}",
        f"model.encoder={encoder}", "model.encoder_weights=null",
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


def start_up(data: SparsePointsDataModule, folder: Path) -> list[Row]:
    """(e) Seconds from a command to its first step or its answer: child processes, median of several.

    The first start, which fills the cache of images, is left out. The imports are timed in a process of their own.
    """
    seconds_to_step(words_of(folder))
    start = [seconds_to_step(words_of(folder)) for _ in range(STARTS)]
    imports = [child(["-c", "import torch, lightning, segmentation_models_pytorch"])[1] for _ in range(STARTS)]
    helped = [child(["train.py", "--help"])[1] for _ in range(ANSWERS)]
    refused = [child(["train.py", "points=twenty"], code=1)[1] for _ in range(ANSWERS)]
    return [
        Row("(e) command to first training step", median(start), max_seconds=10),
        Row("(e) import torch, lightning, smp vs all of that", median(imports), median(start)),
        Row("(e) train.py --help", median(helped), max_seconds=2),
        Row("(e) train.py points=twenty, refused", median(refused), max_seconds=2),
    ]


def resuming(data: SparsePointsDataModule, folder: Path) -> list[Row]:
    """(f) Seconds from the command to the first new step of a run that ended after its first epoch."""
    words = [*words_of(folder), "data.source.images=10"]
    seconds_to_step(words, epoch=2)
    return [Row("(f) command to first step of a resumed run", seconds_to_step(words, epoch=2))]


def sweep_once(words: Sequence[str], *launcher: str) -> tuple[float, list[float]]:
    """Run a sweep; returns its seconds, and those of the epochs of each of its runs."""
    _, seconds, _ = child(["train.py", "-m", *words, *launcher])
    output = next(word for word in words if word.startswith("output_dir=")).removeprefix("output_dir=")
    results = [json.loads(path.read_text(encoding="utf-8")) for path in (ROOT / output).rglob("result.json")]
    return seconds, [result["seconds"] for result in results]


def job_cost(data: SparsePointsDataModule, folder: Path) -> list[Row]:
    """(g) Wall time of a sweep of two runs of one epoch less that of its epochs, per job, against 50 such epochs.

    As many images as Dubai has. The first run also makes the cache of decoded images.
    """
    words = [*words_of(folder), f"data.source.images={RUN_IMAGES}", "trainer.max_epochs=1", "seed=0,1"]
    seconds, epochs = sweep_once(words)
    cost = (seconds - sum(epochs)) / len(epochs)
    return [Row("(g) fixed cost of a job vs its 50 epochs", cost, 50 * median(epochs), max_ratio=0.05)]


def at_once(data: SparsePointsDataModule, folder: Path) -> list[Row]:
    """(h) Wall time of JOBS small runs: on a CPU one and two at a time, on a GPU 1, 2, 4 and 8 per GPU."""
    gpu = device().type == "cuda"
    small = ["data.source.images=20", "trainer.max_epochs=3"]
    key, counts = ("jobs_per_gpu", (2, 4, 8)) if gpu else ("jobs", (2,))

    def seconds(count: int, jobs: int = JOBS) -> float:
        words = [*words_of(folder, size=SIZE if gpu else 64, encoder=ENCODER if gpu else "resnet18"), *small]
        words += [f"seed={','.join(map(str, range(jobs)))}"]
        return sweep_once(words, "hydra/launcher=processes", f"hydra.launcher.{key}={count}")[0]

    seconds(1, jobs=1)  # fills the cache
    one = seconds(1)
    return [Row(f"(h) {JOBS} jobs, {key}={count} vs {key}=1", seconds(count), one) for count in counts]


SECTIONS: list[tuple[str, Callable[[SparsePointsDataModule, Path], list[Row]]]] = [
    ("(a) a training step in Lightning against a bare loop, in turn", lightning_overhead),
    ("(b) partial losses against dense ones", loss_speed),
    ("(c) precision and memory format", precision_and_layout),
    ("(c) freed memory, in child processes", freed_memory),
    ("(d) whole epochs with all callbacks", epoch_shares),
    ("(e) start-up, in child processes", start_up),
    ("(f) resuming a run", resuming),
    ("(g) what a job of a sweep costs beside its epochs", job_cost),
    ("(h) a sweep of small runs, several at once", at_once),
]


def heading() -> str:
    name = torch.cuda.get_device_name() if device().type == "cuda" else f"{device().type} ({platform.machine()})"
    return (
        f"sparse_seg bench: torch {torch.__version__}, {name}, {torch.get_num_threads()} threads\n"
        f"automatic precision and memory format: {variant_name(automatic())}\n"
        f"U-Net/{ENCODER}, {BATCH} images of {SIZE}×{SIZE} per step"
    )


def measure(folder: Path) -> list[Row]:
    """All rows. A section that fails says why and leaves its rows out."""
    say("making synthetic images")
    data = build_data(folder)
    rows: list[Row] = []
    for title, section in SECTIONS:
        say(title)
        try:
            rows += section(data, folder)
        except Exception:  # the other figures are still worth having
            traceback.print_exc()
            say(f"not measured: {title}")
    return rows


def main() -> None:
    import pandas as pd

    warnings.filterwarnings("ignore", module="lightning|torch")  # as run.py: nothing here that a user can act on
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    print(heading(), flush=True)
    keep_freed_memory("auto")  # as run.py
    (ROOT / "outputs").mkdir(exist_ok=True)
    # Beside real runs rather than in /tmp, which may be memory: checkpoints are flushed to the disk.
    with tempfile.TemporaryDirectory(dir=ROOT / "outputs", prefix=".bench-") as folder:
        rows = measure(Path(folder))
    say("done; ratio = value ÷ reference, the reference is what stands after vs")
    table = pd.DataFrame([row.cells() for row in rows]).to_markdown(index=False, disable_numparse=True)
    print(f"\n{heading()}\n\n{table}")


if __name__ == "__main__":
    main()
