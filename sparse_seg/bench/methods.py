"""(i), (j), (k) A probe, what shares add to a training step, and the map of a large image."""

import itertools
import resource
import time
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sparse_seg.bench.device import automatic, device, now
from sparse_seg.bench.plan import Plan
from sparse_seg.bench.table import Row
from sparse_seg.bench.training import build_task
from sparse_seg.classes import LAND_COVER
from sparse_seg.data.datamodule import SparsePointsDataModule
from sparse_seg.data.synthetic import synthetic
from sparse_seg.networks.build import NormalisedNetwork, create
from sparse_seg.networks.features import Features
from sparse_seg.networks.probe import Probe
from sparse_seg.networks.trained import Trained
from sparse_seg.predict.device import network_on
from sparse_seg.predict.predictor import Predictor
from sparse_seg.raster.readers import import_rasterio
from sparse_seg.tensors import to_float
from sparse_seg.training.prior import estimate, gather
from sparse_seg.training.shares import RunningShares, Shares
from sparse_seg.training.task import SegmentationTask


def probe_run(plan: Plan, data: SparsePointsDataModule, folder: Path) -> list[Row]:
    """(i) From points to maps of all images by a probe with estimated shares, on the CPU.

    As many images as Dubai has. Features, strength, fit, three rounds, and the map of every image, also of those that
    validate; once with nothing kept, and again. The imports and the network's making are left out.
    """
    images = SparsePointsDataModule(
        synthetic(images=plan.run_images), points=20, size=plan.size, cache_dir=str(folder / "probe")
    )
    images.setup()
    torch.manual_seed(0)
    network = create("probe", plan.probe_encoder, None, classes=len(LAND_COVER)).eval()
    seconds = [_probe_once(network, images, folder / "features") for _ in range(2)]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    return [
        Row(f"(i) probe, points to maps of {plan.run_images} images, cold", seconds[0], max_seconds=60),
        Row("(i) the same with features kept vs cold", seconds[1], seconds[0], max_seconds=5),
        Row("(i) memory of this process at most, all that it measured before included", peak, max_gigabytes=3),
    ]


def _probe_once(network: NormalisedNetwork, data: SparsePointsDataModule, folder: Path) -> float:
    started, probe = time.perf_counter(), network.network
    assert isinstance(probe, Probe)
    features = Features(probe, network.mean, network.std, folder)
    gathered = gather(features, data.training_examples(), len(data.train_indices))
    fit = estimate(gathered, len(LAND_COVER)).probe
    assert fit is not None
    probe.take(fit)
    with torch.no_grad():
        shown = itertools.chain((image for _, image, _, _ in data.training_examples()), data.validation_arrays()[0])
        for image in shown:
            probe.logits([level[None] for level in features(to_float(image))]).max(1)
    return time.perf_counter() - started


def step_with_shares(plan: Plan, data: SparsePointsDataModule, folder: Path) -> list[Row]:
    """(j) A training step with logits moved by shares against one without, in turn, on one batch; bare steps.

    Once with shares that are known before training, once with those that follow the network. The fastest step of each
    counts: two in a hundred are less than what else a machine does adds to a step.
    """
    count, classes = len(data.train_indices), len(LAND_COVER)
    own = torch.full((count, classes), 1 / classes, dtype=torch.float64)
    ground = torch.arange(1.0, classes + 1).double().expand(count, classes) / sum(range(1, classes + 1))
    batch, names, steps = next(iter(data.train_dataloader())), [str(k) for k in range(count)], {}
    for kind in (Shares, RunningShares, None):
        task = build_task(plan)
        if kind is not None:
            task.use_shares(kind(names, own, ground, torch.arange(count)))
        task.to(device())
        if kind is RunningShares:
            task.follow_shares(moves=True)
        steps[kind] = _steps(task, batch)
    seconds: dict[type | None, list[float]] = {kind: [] for kind in steps}
    for _ in range(plan.step_rounds + 1):
        for kind, one in steps.items():
            seconds[kind].append(next(one))
    before, following, plain = (min(seconds[kind][1:]) for kind in (Shares, RunningShares, None))
    return [
        Row("(j) step with logits moved by shares vs without", before, plain, max_ratio=1.02),
        Row("(j) step with shares that follow the network vs without", following, plain, max_ratio=1.02),
    ]


def _steps(task: SegmentationTask, batch: Mapping[str, Tensor]) -> Iterator[float]:
    on = device()
    optimizer = torch.optim.Adam(task.parameters(), lr=1e-4)
    given = {name: values.to(on) for name, values in batch.items()}
    while True:
        started = now()
        optimizer.zero_grad()
        with torch.autocast(on.type, torch.bfloat16, enabled=automatic()[0] == "bf16-mixed"):
            loss, _ = task.training_loss(task.whole_batch(given))
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        yield now() - started


def maps(plan: Plan, data: SparsePointsDataModule, folder: Path) -> list[Row]:
    """(k) A GeoTIFF's map, reading, blending and writing included, against the network alone on as many windows.

    The network alone gets one batch again and again, in the same precision and layout. A quarter of the batches comes
    before the map and a quarter after it; their mean time stands for all.
    """
    rasterio = import_rasterio()
    image = data.validation_arrays()[0][0]
    tile = np.tile(image, (-(-plan.side // image.shape[0]), -(-plan.side // image.shape[1]), 1))[
        : plan.side, : plan.side
    ]
    source = folder / "scene.tif"
    form = {"driver": "GTiff", "count": 3, "dtype": "uint8", "tiled": True, "compress": "deflate"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        with rasterio.open(source, "w", height=plan.side, width=plan.side, **form) as file:
            file.write(tile.transpose(2, 0, 1))
    torch.manual_seed(0)
    network = create("unet", plan.encoder, None, classes=len(LAND_COVER)).eval()
    predictor = Predictor(Trained(network, LAND_COVER, plan.size, None, None, None))
    batch = to_float(np.stack([image[: plan.size, : plan.size]] * predictor.batch_size), predictor.device)
    alone = network_on(network, predictor.device, "auto")
    count = predictor.windows.count(plan.side, plan.side, len(LAND_COVER)) // predictor.batch_size
    quarter = max(1, count // 4)

    def plain() -> float:
        started = now()
        with torch.inference_mode():
            for _ in range(quarter):
                alone(batch)
        return (now() - started) / quarter

    plain()
    before, started = plain(), now()
    predictor.predict_file(source, folder / "map.tif")
    mine, after = now() - started, plain()
    reference = (before + after) / 2 * max(1, count)
    return [Row(f"(k) map of {plan.side}×{plan.side} pixels vs the network alone", mine, reference, max_ratio=1 / 0.9)]
