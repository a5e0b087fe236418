"""Small folders of any make: kinds of images, masks, points and classes.yaml, as people combine them."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import PIL.Image
from affine import Affine
from folders import COLOURS, ORIGIN, PIXEL, index_map, save_mask, save_tif
from folders import picture as coloured
from hypothesis import strategies as st

SHAPE = (32, 40)
NAMES = ("Water", "Land", "Road")
IMAGES = ("png", "grey png", "rgba png", "jpg", "tif", "north-up tif", "damaged", "empty")
MASKS = (
    "colours", "palette", "numbers", "1-bit", "0/255", "16-bit numbers", "grey + alpha", "rgba", "clear palette",
    "jpg", "tif colours", "tif numbers", "float tif", "float64 tif", "fractions", "value+alpha tif", "int16 nodata",
    "nodata 0", "south-up", "shifted", "elsewhere", "other size", "damaged", "cut", "none", "blank", "foreign",
    "two bands", "nan",
)  # fmt: skip
CLASSFILES = ("none", "colours", "numbers", "both", "one more", "wrong colours", "broken")
POINTS = (
    "none", "commas", "semicolons", "tabs", "decimal commas", "geojson", "indices", "one outside", "unknown class",
    "unknown image", "no header", "on maps",
)  # fmt: skip


@dataclass(frozen=True)
class Spec:
    """images, masks: the kind of each image and of its mask."""

    images: tuple[str, ...]
    masks: tuple[str, ...]
    classes: str
    points: str


@st.composite
def specs(draw: st.DrawFn) -> Spec:
    """Mostly one kind of image and mask, as in a real folder, with one that is another."""
    count = 5
    image, mask = draw(st.sampled_from(IMAGES[:-2])), draw(st.sampled_from(MASKS))
    images, masks = [image] * count, [mask] * count
    if draw(st.booleans()):
        images[draw(st.integers(0, count - 1))] = draw(st.sampled_from(IMAGES))
    if draw(st.booleans()):
        masks[draw(st.integers(0, count - 1))] = draw(st.sampled_from(MASKS))
    return Spec(tuple(images), tuple(masks), draw(st.sampled_from(CLASSFILES)), draw(st.sampled_from(POINTS)))


def write(spec: Spec, root: Path) -> None:
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True)
    names = []
    for k, (image, mask) in enumerate(zip(spec.images, spec.masks, strict=True)):
        index = index_map(k, SHAPE)
        names.append(_image(root / "images", f"i{k}", image, index))
        _mask(root / "masks", f"i{k}", mask, index)
    if not any((root / "masks").iterdir()):
        (root / "masks").rmdir()
    _classes(root / "classes.yaml", spec.classes)
    _points(root, spec.points, names)


def _image(folder: Path, stem: str, kind: str, index: np.ndarray) -> str:
    rgb = coloured(index)
    name = f"{stem}.{'tif' if kind.endswith('tif') else 'jpg' if kind == 'jpg' else 'png'}"
    path = folder / name
    if kind.endswith("tif"):
        save_tif(path, rgb.transpose(2, 0, 1))
    elif kind == "grey png":
        PIL.Image.fromarray(rgb[..., 0]).save(path)
    elif kind == "rgba png":
        PIL.Image.fromarray(np.dstack([rgb, np.full(SHAPE, 255, np.uint8)])).save(path)
    else:
        PIL.Image.fromarray(rgb).save(path)
    if kind == "damaged":
        path.write_bytes(path.read_bytes()[:60])
    if kind == "empty":
        path.write_bytes(b"")
    return name


def _mask(folder: Path, stem: str, kind: str, index: np.ndarray) -> None:
    png, tif = folder / f"{stem}.png", folder / f"{stem}.tif"
    rgb = np.array(COLOURS, np.uint8)[index]
    opaque = np.where(index == 2, 0, 255).astype(np.uint8)
    up = {"transform": Affine(PIXEL, 0, ORIGIN[0], 0, PIXEL, ORIGIN[1] - PIXEL * SHAPE[0])}
    east = {"transform": Affine(PIXEL, 0, ORIGIN[0] + 8 * PIXEL, 0, -PIXEL, ORIGIN[1])}
    away = {"transform": Affine(PIXEL, 0, ORIGIN[0] + 9e5, 0, -PIXEL, ORIGIN[1])}
    if kind in ("colours", "palette", "numbers"):
        save_mask(png, index, {"colours": "RGB", "palette": "P", "numbers": "L"}[kind])
    elif kind == "1-bit":
        PIL.Image.fromarray(index > 0).save(png)
    elif kind == "0/255":
        PIL.Image.fromarray(np.where(index > 0, 255, 0).astype(np.uint8)).save(png)
    elif kind == "16-bit numbers":
        PIL.Image.fromarray(index.astype(np.uint16)).save(png)
    elif kind == "grey + alpha":
        PIL.Image.fromarray(np.dstack([index, opaque])).save(png)
    elif kind == "rgba":
        PIL.Image.fromarray(np.dstack([rgb, opaque])).save(png)
    elif kind == "clear palette":
        image = PIL.Image.fromarray(index)
        image.putpalette([v for colour in COLOURS for v in colour])
        image.save(png, transparency=2)
    elif kind == "jpg":
        PIL.Image.fromarray(rgb).save(folder / f"{stem}.jpg", quality=95)
    elif kind in ("damaged", "cut"):
        save_mask(png, index)
        png.write_bytes(png.read_bytes()[: 60 if kind == "damaged" else -40])
    elif kind == "blank":
        PIL.Image.fromarray(np.full_like(index, 255)).save(png)
    elif kind == "foreign":
        PIL.Image.fromarray(rgb // 3 + 7).save(png)
    elif kind == "other size":
        save_mask(png, index[:-8])
    elif kind != "none":
        values, options = {
            "tif colours": (rgb.transpose(2, 0, 1), {}),
            "tif numbers": (index[None], {}),
            "float tif": (index[None].astype(np.float32), {}),
            "float64 tif": (index[None].astype(np.float64), {"nodata": -9999}),
            "fractions": (index[None] + np.float32(0.25), {}),
            "value+alpha tif": (np.stack([index, opaque]), {"alpha": "yes"}),
            "int16 nodata": (np.where(index == 2, -1, index)[None].astype(np.int16), {"nodata": -1}),
            "nodata 0": (index[None], {"nodata": 0}),
            "south-up": (index[None, ::-1], up),
            "shifted": (index[None], east),
            "elsewhere": (index[None], away),
            "two bands": (np.stack([index, index]), {}),
            "nan": (np.where(index == 2, np.nan, index)[None].astype(np.float32), {}),
        }[kind]
        save_tif(tif, values, **options)


def _classes(path: Path, kind: str) -> None:
    used = list(COLOURS)
    names = list(NAMES)
    if kind == "one more":
        used, names = [*used, (1, 2, 3)], [*names, "Ice"]
    if kind == "wrong colours":
        used[1] = (9, 9, 9)
    lines = []
    for k, (name, colour) in enumerate(zip(names, used, strict=True)):
        said = f"  - {{name: {name}"
        said += f", index: {k}" if kind in ("numbers", "both", "one more") else ""
        said += f", colour: {list(colour)}" if kind != "numbers" else ""
        lines.append(said + "}")
    if kind == "broken":
        path.write_text("classes: [{name: Water}, {nam: Land}]\n")
    elif kind != "none":
        path.write_text("\n".join(["classes:", *lines]) + "\n")


def _points(root: Path, kind: str, names: list[str]) -> None:
    if kind == "none":
        return
    rows: list[tuple[str, float, float, str]] = []
    for k, name in enumerate(names):
        index = index_map(k, SHAPE)
        for label, title in enumerate(NAMES):
            for y, x in np.argwhere(index == label)[:6].tolist():
                rows.append((name, x + 0.5, y + 0.5, str(label) if kind == "indices" else title))
    if kind == "one outside":
        rows.append((names[0], 4000.0, 1.0, "Water"))
    if kind == "unknown class":
        rows.append((names[0], 3.0, 1.0, "Moor"))
    if kind == "unknown image":
        rows.append(("elsewhere.png", 3.0, 1.0, "Water"))
    if kind in ("geojson", "on maps"):
        features = [
            {"type": "Feature", "geometry": {"type": "Point", "coordinates": _place(x, y, kind)},
             "properties": {"image": name, "class": label}}
            for name, x, y, label in rows
        ]  # fmt: skip
        crs = (
            {"crs": {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::32640"}}}
            if kind == "on maps"
            else {}
        )
        content = {"type": "FeatureCollection", "features": features} | crs
        (root / "points.geojson").write_text(json.dumps(content))
        return
    between = {"semicolons": ";", "decimal commas": ";", "tabs": "\t"}.get(kind, ",")
    lines = [] if kind == "no header" else [between.join(("image", "x", "y", "class"))]
    for name, x, y, said in rows:
        line = between.join((name, str(x), str(y), said))
        lines.append(line.replace(".5", ",5") if kind == "decimal commas" else line)
    (root / "points.csv").write_text("\n".join(lines) + "\n")


def _place(x: float, y: float, kind: str) -> list[float]:
    return [ORIGIN[0] + PIXEL * x, ORIGIN[1] - PIXEL * y] if kind == "on maps" else [x, y]
