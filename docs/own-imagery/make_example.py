"""Write the example folder of docs/own-imagery.md: `python docs/own-imagery/make_example.py FOLDER`."""

import json
import sys
from pathlib import Path

import numpy as np
import rasterio
from affine import Affine
from rasterio.transform import xy
from rasterio.warp import transform as move

from sparse_seg.data.synthetic import synthetic_samples
from sparse_seg.points.draw import sample_points

SIZE, PIXEL, UTM = 192, 0.5, "EPSG:32640"
NAMES = ("Water", "Land", "Road", "Building", "Vegetation")
COLOURS = ((59, 125, 216), (214, 190, 150), (120, 120, 120), (192, 57, 43), (76, 154, 42))
CLICKS = 8


def save(path: Path, values: np.ndarray, place: Affine) -> None:
    """values: (H, W, 3) uint8."""
    path.parent.mkdir(parents=True, exist_ok=True)
    options = {"driver": "GTiff", "count": 3, "dtype": "uint8", "crs": UTM, "compress": "deflate"}
    with rasterio.open(path, "w", width=SIZE, height=SIZE, transform=place, **options) as file:
        file.write(values.transpose(2, 0, 1))


root = Path(sys.argv[1])
features = []
for k, sample in enumerate(synthetic_samples(images=9, size=256, groups=1)):
    image, mask = (array[:SIZE, :SIZE] for array in sample.read())
    colours = np.full((256, 3), 155, np.uint8)  # unlabelled pixels are grey
    colours[: len(COLOURS)] = COLOURS
    kind, name = ("clicked" if k < 6 else "checked"), f"{k + 1:02d}.tif"
    place = Affine(PIXEL, 0, 325_000 + 200 * (k // 3), 0, -PIXEL, 2_780_000 - 200 * (k % 3))
    save(root / "images" / kind / name, image, place)
    save(root / ("answers" if kind == "clicked" else "painted/checked") / name, colours[mask], place)
    if kind == "clicked":
        for row, col, label in sample_points(mask, CLICKS, 0, name).tolist():
            east, north = xy(place, row, col)
            (x,), (y,) = move(UTM, "OGC:CRS84", [east], [north])
            geometry = {"type": "Point", "coordinates": [round(x, 8), round(y, 8)]}
            features.append({"type": "Feature", "properties": {"class": NAMES[label]}, "geometry": geometry})
(root / "points.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": features}, indent=1))
print(f"9 images and {len(features)} points in {root}")
