"""What is trained: synthetic images, the task in Lightning, and the same in plain PyTorch."""

from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.loggers import TensorBoardLogger
from torch import Tensor, nn

from sparse_seg.bench.device import Variant, automatic, device, now
from sparse_seg.bench.plan import Plan
from sparse_seg.classes import LAND_COVER
from sparse_seg.data.datamodule import SparsePointsDataModule
from sparse_seg.data.synthetic import synthetic
from sparse_seg.data.transforms import report_augmentation
from sparse_seg.losses import PartialFocal
from sparse_seg.networks.build import create
from sparse_seg.training.checkpoint import AtomicCheckpointIO, RunCheckpoint
from sparse_seg.training.task import SegmentationTask


def build_data(plan: Plan, folder: Path) -> SparsePointsDataModule:
    """Synthetic images with 20 points per class and the default augmentation; cached in `folder`."""
    data = SparsePointsDataModule(
        synthetic(images=plan.images),
        points=20,
        split="random",
        seed=0,
        size=plan.size,
        batch_size=plan.batch,
        val_fraction=plan.val_images / plan.images,
        augment=report_augmentation(),
        cache_dir=str(folder / "cache"),
    )
    data.setup()
    return data


def build_task(plan: Plan) -> SegmentationTask:
    torch.manual_seed(0)
    optimizer = partial(torch.optim.Adam, lr=1e-4)
    network = create("unet", plan.encoder, None, classes=len(LAND_COVER))
    return SegmentationTask(
        network, PartialFocal(), class_names=LAND_COVER.names, optimizer=optimizer, channels_last=automatic()[1]
    )


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


def bare_steps(batches: Iterable[Mapping[str, Tensor]], variant: Variant, encoder: str) -> Iterator[float]:
    """Train in plain PyTorch, one step per `next`. Yields its seconds, the fetching of its batch included."""
    precision, last = variant
    layout = torch.channels_last if last else torch.contiguous_format
    torch.manual_seed(0)
    network: nn.Module = create("unet", encoder, None, classes=len(LAND_COVER))
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
