"""A checkpoint that was saved under older names is labelled with as before."""

import lzma
from pathlib import Path

import numpy as np
from PIL import Image

from sparse_seg.predict import __main__ as predict

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures"


def test_a_checkpoint_of_before_gives_its_map(tmp_path: Path) -> None:
    """before.ckpt names sparse_seg.model.unet; map.png is what the code that saved it made of scene.png."""
    run = tmp_path / "before.ckpt"
    run.write_bytes(lzma.decompress((FIXTURES / "before.ckpt.xz").read_bytes()))
    words = [str(run), str(FIXTURES / "scene.png"), "--out", str(tmp_path / "maps"), "--device", "cpu"]
    assert predict.main([*words, "--precision", "32"]) == 0
    said, before = (np.asarray(Image.open(p)) for p in (tmp_path / "maps" / "scene.png", FIXTURES / "map.png"))
    assert (np.unique(before)).tolist() == [0, 2, 3, 4]
    assert (said == before).mean() >= 0.999
