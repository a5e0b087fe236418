"""Small folders of one's own imagery, written by tests."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import rasterio
from affine import Affine

from sparse_seg.classes import Classes
from sparse_seg.raster.masks import probe, read_mask

COLOURS = ((226, 169, 41), (132, 41, 246), (110, 193, 228))
CLASSES = """classes:
  - {name: Water, colour: "#E2A929"}
  - {name: Land, colour: "#8429F6"}
  - {name: Road, colour: [110, 193, 228]}
unlabelled: ["#9B9B9B"]
"""
UTM = "EPSG:32640"
ORIGIN = (325_000.0, 2_780_000.0)
PIXEL = 2.0


def index_map(seed: int, shape: tuple[int, int] = (40, 48)) -> np.ndarray:
    """(H, W) uint8 of three classes in blocks."""
    blocks = np.random.default_rng(seed).integers(0, 3, (shape[0] // 8, shape[1] // 8), np.uint8)
    return np.kron(blocks, np.ones((8, 8), np.uint8))


def picture(index: np.ndarray) -> np.ndarray:
    return np.asarray(np.array(COLOURS, np.uint8)[index] // 2 + 40, np.uint8)


def save_mask(path: Path, index: np.ndarray, mode: str = "RGB") -> None:
    """As colours ("RGB"), palette ("P") or numbers ("L")."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if mode == "RGB":
        PIL.Image.fromarray(np.array(COLOURS, np.uint8)[index]).save(path)
        return
    image = PIL.Image.fromarray(index)
    if mode == "P":
        image.putpalette([v for colour in COLOURS for v in colour])
    image.save(path)


def make(root: Path, names: Sequence[str], masked: Sequence[str] | None = None, points: int = 0) -> Path:
    """A folder with classes.yaml, an image per name, masks of those in `masked` (default: all), every other one with a
    palette, and `points` points per class and image.
    """
    root.mkdir(parents=True, exist_ok=True)
    (root / "images").mkdir()
    (root / "classes.yaml").write_text(CLASSES)
    lines = ["image,x,y,class"]
    for k, name in enumerate(names):
        index = index_map(k)
        PIL.Image.fromarray(picture(index)).save(root / "images" / name)
        if masked is None or name in masked:
            save_mask(
                root / "masks" / (Path(name).stem + (".PNG" if k % 2 else ".png")), index, "RGB" if k % 2 else "P"
            )
        for label, title in enumerate(("Water", "Land", "Road")):
            places = np.argwhere(index == label)
            chosen = np.random.default_rng(k).permutation(len(places))[:points]
            lines += [f"{name},{x},{y},{title}" for y, x in places[chosen].tolist()]
    if points:
        (root / "points.csv").write_text("\n".join(lines) + "\n")
    return root


def save_tif(path: Path, values: np.ndarray, **options: Any) -> None:
    """values: (bands, H, W)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    options = {"crs": UTM, "transform": Affine(PIXEL, 0, ORIGIN[0], 0, -PIXEL, ORIGIN[1])} | options
    with rasterio.open(
        path, "w", driver="GTiff", count=len(values), height=values.shape[1], width=values.shape[2],
        dtype=values.dtype, **options,
    ) as file:  # fmt: skip
        file.write(values)


def decode_mask(path: Path, classes: Classes) -> tuple[np.ndarray, int]:
    """A mask by itself: (H, W) class or 255, and how many of its pixels hold no class."""
    picture = probe(path)
    labels = read_mask(path, classes, (0, 0, picture.height, picture.width), picture)
    return labels.mask, labels.off


def scene(height: int, width: int) -> np.ndarray:
    """Left dark, right light, with noise."""
    image = np.full((height, width, 3), 40, np.uint8)
    image[:, width // 2 :] = 210
    return image + np.random.default_rng(0).integers(0, 12, image.shape, np.uint8)
