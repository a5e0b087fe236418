"""A network of noise in a checkpoint, and images for it, plain and with a map position."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from sparse_seg.networks.build import create

RNG = np.random.default_rng(0)
NAMES, COLOURS = ["Water", "Land", "Road"], [[0, 0, 255], [0, 255, 0], [255, 0, 0]]
UTM = {"crs": "EPSG:32640", "transform": (0.5, 0, 500000, 0, -0.5, 2780000)}


def checkpoint(path: Path, **model: Any) -> Path:
    """A network of noise whose classes all occur."""
    torch.manual_seed(0)
    network = create("unet", "resnet18", None, classes=3)
    head = network.network.segmentation_head[0]
    torch.nn.init.normal_(head.weight)
    config = {"_target_": "sparse_seg.networks.create", "encoder": "resnet18", "encoder_weights": "imagenet"}
    content = {"config": config, "classes": NAMES, "colours": COLOURS, "size": 64} | model
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"state_dict": network.state_dict(), "model": content, "epoch": 3, "val_miou": 0.5}, path)
    return path


def picture(path: Path, height: int = 64, width: int = 64) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(RNG.integers(0, 256, (height, width, 3)).astype(np.uint8)).save(path)
    return path


def geotiff(path: Path, pixels: np.ndarray, **options: Any) -> Path:
    """pixels: (bands, H, W), in UTM unless options say otherwise."""
    rasterio = pytest.importorskip("rasterio")
    options = UTM | {"driver": "GTiff", "count": len(pixels), "dtype": pixels.dtype.name} | options
    options["transform"] = rasterio.Affine(*options["transform"])  # type: ignore[misc]
    with rasterio.open(path, "w", height=pixels.shape[1], width=pixels.shape[2], **options) as file:
        file.write(pixels)
    return path
