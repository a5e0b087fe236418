"""Take the pictures of docs/own-imagery.md from what its commands wrote in the working folder."""

from pathlib import Path

from PIL import Image

HERE = Path(__file__).resolve().parent
SOURCES = {
    "panel.png": ["outputs/clicks/*points=8,*/panels/panel.png"],
    "overlay.png": ["example/images/clicked/01.tif", "maps/01.overlay.png"],
    "suggest.png": ["next/suggest.png"],
    "01.suggest.png": ["next/01.suggest.png"],
}
WIDTH = 800  # pixels; larger pictures are made smaller

for name, patterns in SOURCES.items():
    pictures = [Image.open(next(Path().glob(pattern))).convert("RGB") for pattern in patterns]
    sheet = Image.new("RGB", (sum(p.width for p in pictures), pictures[0].height))
    for k, picture in enumerate(pictures):
        sheet.paste(picture, (k * picture.width, 0))
    sheet.thumbnail((WIDTH, WIDTH))
    # Median cut, the default, would lose the few pixels of the rings and of the legend.
    sheet.quantize(256, Image.Quantize.FASTOCTREE).save(HERE / name, optimize=True)
