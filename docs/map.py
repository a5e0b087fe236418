"""Put docs/map.png together: one tile of the Dubai set, the map of it, and its mask.

The run held the tile out: `python train.py points=20 loss=ce split=tile 'data.val_tiles=[3]' trainer.max_epochs=20
model.encoder=tu-tf_efficientnet_lite0 model.encoder_weights=FILE optimizer.lr=1e-3 scheduler=cosine`. Its maps are
those of `python -m sparse_seg.predict --final RUN "TILE/images" --scale 0.375 --out MAPS`, since its images are 682
pixels wide and were trained at 256. Then `python docs/map.py TILE MAPS`.
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image

COLOURS = {
    (226, 169, 41): (59, 125, 216),  # water
    (132, 41, 246): (214, 190, 150),  # land
    (110, 193, 228): (120, 120, 120),  # road
    (60, 16, 152): (192, 57, 43),  # building
    (254, 221, 58): (76, 154, 42),  # vegetation
}
"""Of the data set → of the picture, where water is blue; any other colour is unlabelled, and white."""
WIDTH = 420  # pixels of each of the three pictures
GAP = 6


def mosaic(folder: Path, pattern: str) -> Image.Image:
    """The nine parts of a tile, three by three in the order of their names."""
    parts = [Image.open(path).convert("RGB") for path in sorted(folder.glob(pattern))]
    width, height = (min(part.size[k] for part in parts) for k in (0, 1))
    whole = Image.new("RGB", (3 * width, 3 * height))
    for k, part in enumerate(parts):
        whole.paste(part, (k % 3 * width, k // 3 * height))
    return whole


def natural(picture: Image.Image) -> Image.Image:
    """The classes of a map or mask in the colours of the picture."""
    given = np.asarray(picture)
    out = np.full_like(given, 255)
    for theirs, ours in COLOURS.items():
        out[(given == theirs).all(-1)] = ours
    return Image.fromarray(out)


if __name__ == "__main__":
    tile, maps = Path(sys.argv[1]), Path(sys.argv[2])
    image = mosaic(tile / "images", "*.jpg")
    size = WIDTH, round(WIDTH * image.height / image.width)
    sheet = Image.new("RGB", (3 * WIDTH + 2 * GAP, size[1]), "white")
    sheet.paste(image.resize(size, Image.Resampling.LANCZOS))
    for k, (folder, pattern) in enumerate(((maps, "image_part_???.png"), (tile / "masks", "*.png")), start=1):
        classes = mosaic(folder, pattern).resize(size, Image.Resampling.NEAREST)
        sheet.paste(natural(classes), (k * (WIDTH + GAP), 0))
    sheet.quantize(128).save(Path(__file__).with_suffix(".png"), optimize=True)
