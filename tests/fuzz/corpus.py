"""Good files of every kind that the product reads, small, and sixty damaged ones made of them."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import PIL.Image
from folders import index_map, make, picture, save_mask, save_tif

Generator = np.random.Generator
SHAPE = (40, 48)
AUX = "<PAMDataset><PAMRasterBand band='1'><NoDataValue>0</NoDataValue></PAMRasterBand></PAMDataset>"
KINDS = (
    "a.jpg", "a.png", "palette.png", "tiled.tif", "strips.tif", "float.tif", "points.geojson", "points.csv",
    "classes.yaml", "run.ckpt", "a.tfw", "a.tif.aux.xml",
)  # fmt: skip
"""Names of the good files that are damaged, each in five ways or more."""


def good(folder: Path, checkpoint: Path) -> None:
    """Write the good files. checkpoint: a real one."""
    folder.mkdir()
    index = index_map(0, SHAPE)
    rgb = picture(index)
    PIL.Image.fromarray(rgb).save(folder / "a.jpg", quality=90)
    PIL.Image.fromarray(rgb).save(folder / "a.png")
    save_mask(folder / "palette.png", index, "P")
    bands = np.tile(rgb.transpose(2, 0, 1), (1, 2, 2))
    save_tif(folder / "tiled.tif", bands, tiled=True, blockxsize=32, blockysize=32, compress="deflate")
    save_tif(folder / "strips.tif", bands, blockysize=8)
    save_tif(folder / "float.tif", np.where(index == 1, np.nan, index)[None].astype(np.float32), nodata=-1)
    save_tif(folder / "a.tif", rgb.transpose(2, 0, 1))
    (folder / "a.tif.aux.xml").write_text(AUX)
    (folder / "a.tfw").write_text("2.0\n0.0\n0.0\n-2.0\n325001.0\n2779999.0\n")
    made = make(folder / "made", ["a.png", "b.png"], points=20)
    for name in ("points.csv", "classes.yaml"):
        shutil.move(made / name, folder / name)
    lines = (folder / "points.csv").read_text().splitlines()[1:]
    features = [
        f'{{"type": "Feature", "geometry": {{"type": "Point", "coordinates": [{x}, {y}]}}, '
        f'"properties": {{"image": "{image}", "class": "{label}"}}}}'
        for image, x, y, label in (line.split(",") for line in lines)
    ]
    (folder / "points.geojson").write_text(
        '{"type": "FeatureCollection", "features": [\n' + ",\n".join(features) + "]}\n"
    )
    shutil.copy(checkpoint, folder / "run.ckpt")


def cut(data: bytes, rng: Generator) -> bytes:
    return data[: int(rng.integers(len(data)))]


def zeroed(data: bytes, rng: Generator) -> bytes:
    at, length = int(rng.integers(len(data))), int(rng.integers(1, len(data) // 4 + 2))
    return data[:at] + bytes(min(length, len(data) - at)) + data[at + length :]


def flipped(data: bytes, rng: Generator) -> bytes:
    """Some bytes, half of them near the start, where headers are."""
    values = np.frombuffer(data, np.uint8).copy()
    for end in (min(200, len(data)), len(data)):
        at = rng.integers(end, size=4)
        values[at] ^= rng.integers(1, 256, size=4).astype(np.uint8)
    return values.tobytes()


def inserted(data: bytes, rng: Generator) -> bytes:
    at = int(rng.integers(len(data)))
    return data[:at] + rng.bytes(int(rng.integers(1, 300))) + data[at:]


def repeated(data: bytes, rng: Generator) -> bytes:
    start, end = sorted(rng.integers(len(data), size=2).tolist())
    return data[:end] + data[start:end] * 3 + data[end:]


WAYS: tuple[Callable[[bytes, Generator], bytes], ...] = (cut, zeroed, flipped, inserted, repeated)


@dataclass(frozen=True)
class Damaged:
    """kind: the good file that it was. data: None for a folder of that name."""

    name: str
    kind: str
    data: bytes | None


def damaged(folder: Path, rounds: int = 1) -> Iterator[Damaged]:
    """Every good file damaged in every way, `rounds` times; then those that are empty, a folder or of another kind."""
    for number in range(rounds):
        for place, kind in enumerate(KINDS):
            data = (folder / kind).read_bytes()
            for way in WAYS:
                rng = np.random.default_rng([number, place, WAYS.index(way)])
                yield Damaged(f"{kind} {way.__name__} {number}", kind, way(data, rng))
    for kind in KINDS:
        yield Damaged(f"{kind} empty", kind, b"")
        yield Damaged(f"{kind} a folder", kind, None)
    for kind, other in SWAPPED:
        yield Damaged(f"{kind} that is {other}", kind, (folder / other).read_bytes())


SWAPPED = (
    ("a.jpg", "a.png"), ("a.png", "a.jpg"), ("a.png", "tiled.tif"), ("tiled.tif", "a.png"), ("strips.tif", "a.jpg"),
    ("points.csv", "points.geojson"), ("points.geojson", "points.csv"), ("points.csv", "a.png"),
    ("classes.yaml", "points.geojson"), ("classes.yaml", "run.ckpt"), ("run.ckpt", "a.jpg"), ("a.tfw", "a.png"),
    ("a.tif.aux.xml", "classes.yaml"), ("run.ckpt", "points.csv"),
)  # fmt: skip
"""A good file's name on another one's content."""
