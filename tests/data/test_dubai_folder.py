"""A messy folder of one's own, made from real images: inspected, trained on, mapped, and asked where to click next."""

import csv
import os
from pathlib import Path

import numpy as np
import pytest
from cli import SMALL, train
from folders import decode_mask
from PIL import Image

from sparse_seg.classes import LAND_COVER
from sparse_seg.data.__main__ import main as data_main
from sparse_seg.data.dubai import find_root
from sparse_seg.predict import __main__ as predict
from sparse_seg.suggest import __main__ as suggest

pytestmark = pytest.mark.skipif(not os.environ.get("SPARSE_SEG_DATA"), reason="SPARSE_SEG_DATA is not set")
PARTS = ("Tile 1/1", "Tile 2/2", "Tile 2/5", "Tile 3/1", "Tile 3/4", "Tile 4/3", "Tile 6/7")


def another_encoding(k: int, source: Path, target: Path) -> None:
    """RGB, the palette in another order, RGB with alpha, or as it is."""
    mask, _ = decode_mask(source, LAND_COVER)
    order = np.random.default_rng(k).permutation(6)
    colours = np.array([*LAND_COVER.colours, *LAND_COVER.unlabelled], np.uint8)
    index = np.where(mask == 255, 5, mask)
    if k % 4 == 0:
        Image.fromarray(colours[index]).save(target)
    elif k % 4 == 1:
        image = Image.fromarray(np.argsort(order).astype(np.uint8)[index])
        image.putpalette(colours[order].tobytes())
        image.save(target)
    elif k % 4 == 2:
        Image.fromarray(colours[index]).convert("RGBA").save(target)
    else:
        target.write_bytes(source.read_bytes())


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    folder, dubai = tmp_path_factory.mktemp("messy") / "my data", find_root(None)
    (folder / "images").mkdir(parents=True)
    (folder / "masks").mkdir()
    for k, part in enumerate(PARTS):
        tile, number = part.split("/")
        name = f"{tile.replace(' ', '_')} part {number}"
        source = dubai / tile / "images" / f"image_part_00{number}.jpg"
        if k % 3 == 2:
            Image.open(source).save(folder / "images" / f"{name}.PNG")
        else:
            suffix = (".JPG", ".Jpeg")[k % 3]
            (folder / "images" / f"{name}{suffix}").write_bytes(source.read_bytes())
        another_encoding(
            k,
            dubai / tile / "masks" / f"image_part_00{number}.png",
            folder / "masks" / f"{name}{'.PNG' if k % 2 else '.png'}",
        )
    whole = (dubai / "Tile 5" / "images" / "image_part_001.jpg").read_bytes()
    (folder / "images" / "cut.JPG").write_bytes(whole[: len(whole) // 2])
    another_encoding(0, dubai / "Tile 5" / "masks" / "image_part_001.png", folder / "masks" / "cut.PNG")
    return folder


WORDS = (*(w for w in SMALL if "size" not in w and "epochs" not in w), "data=folder", "data.size=64",
         "trainer.max_epochs=2", "data.batch_size=4", "points=20")  # fmt: skip


def test_from_a_messy_folder_to_a_map_and_the_next_clicks(root, tmp_path, capsys):
    assert data_main(["inspect", str(root)]) == 0
    out = capsys.readouterr().out
    assert "cut.JPG" in out
    assert "images    8 in" in out
    for name, colour in zip(LAND_COVER.names, LAND_COVER.colours, strict=True):
        assert name in out
        assert "#{:02X}{:02X}{:02X}".format(*colour) in (root / "classes.yaml").read_text().upper()

    refused = train(*WORDS, f"data.root={root}", cwd=tmp_path)
    assert refused.code == 1
    assert "cut.JPG" in refused.err
    assert "Traceback" not in refused.err
    assert len(refused.err.strip().splitlines()) <= 3
    (root / "images" / "cut.JPG").rename(tmp_path / "cut.JPG")
    (root / "masks" / "cut.PNG").rename(tmp_path / "cut.PNG")
    ended = train(*WORDS, f"data.root={root}", cwd=tmp_path)
    assert ended.code == 0, ended.err

    (run,) = (p for p in (tmp_path / "outputs" / "runs").iterdir() if (p / "result.json").exists())
    (tmp_path / "cut.JPG").rename(root / "images" / "cut.JPG")
    device = ("--device", "cpu", "--scale", "0.25", "--window", "128")
    maps = tmp_path / "maps"
    assert predict.main([str(run), str(root / "images"), "--out", str(maps), "--overlay", *device]) == 1
    said = capsys.readouterr()
    assert "cut.JPG" in said.err
    assert f"{len(PARTS)} of {len(PARTS) + 1} images labelled" in said.out
    for image in (root / "images").glob("Tile*"):
        with Image.open(image) as original, Image.open(maps / f"{image.stem}.png") as written:
            assert written.size == original.size
            assert written.mode == "P"

    scored = [str(p) for p in sorted((root / "images").glob("Tile*"))]
    masks = ("--masks", str(root / "masks"))
    assert predict.main([str(run), *scored, "--out", str(maps), *masks, *device]) == 0
    assert (maps / "scores.json").exists()

    clicks = tmp_path / "next"
    assert suggest.main([str(run), str(root / "images"), "--n", "14", "--out", str(clicks), *device]) == 1
    assert "cut.JPG" in capsys.readouterr().err
    with (clicks / "suggest.csv").open() as f:
        rows = list(csv.DictReader(f))
    assert len(rows) == 14
    assert len({r["image"] for r in rows}) == len(PARTS)
