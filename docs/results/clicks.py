"""Points for a second round of clicks on the Dubai images, chosen by a run of the first round.

    python docs/results/clicks.py RUN entropy|errors POINTS.csv

RUN was trained with points=N on data=dubai. POINTS.csv gets its points and as many new ones as points=2N would add,
chosen as `python -m sparse_seg.suggest` chooses them, over all training images together; the masks name their classes.
"""

import sys
from argparse import Namespace
from pathlib import Path

import numpy as np
from omegaconf import OmegaConf

from sparse_seg.clicks import choose
from sparse_seg.data.classes import LAND_COVER
from sparse_seg.data.dubai import dubai
from sparse_seg.data.points import read_points, sample_points, write_points
from sparse_seg.inference import Labeller
from sparse_seg.sliding import Windows
from sparse_seg.suggest import look_at


def main(run: Path, by: str, out: Path) -> None:
    cfg = OmegaConf.load(run / "config.yaml")
    root, first = Path(cfg.data.root), read_points(run / "points.csv", LAND_COVER.names)
    options = Namespace(run=run, final=True, window=None, overlap=None, scale=1.0, batch_size=4, device="auto")
    labeller = Labeller(Namespace(**vars(options), precision="auto"))
    samples = {s.image_id: s for s in dubai(root).samples}
    masks = {name: samples[name].read()[1] for name in first}
    wanted = sum(len(sample_points(masks[n], 2 * cfg.points, cfg.seed, n)) - len(p) for n, p in first.items())
    seen = []
    for name in first:
        tile, image = name.split("/")
        height, width = masks[name].shape
        labeller.windows = Windows(cfg.data.size, cfg.data.size // 4, cfg.data.size / (height * width) ** 0.5)
        path = root / tile / "images" / f"{image}.jpg"
        share = -(-wanted // len(first))
        seen.append(look_at(path, name, labeller, by, share, root / tile / "masks" / f"{image}.png"))
    added = choose([s.candidates for s in seen], wanted, [s.apart for s in seen])
    points = {name: list(rows) for name, rows in first.items()}
    for k, pixel in added:
        points[seen[k].name].append(np.array([pixel["row"], pixel["col"], pixel["truth"]], np.int64))
    write_points(out, {name: np.stack(rows) for name, rows in points.items()}, LAND_COVER.names)
    counts = np.bincount([int(p["truth"]) for _, p in added], minlength=len(LAND_COVER))
    wrong = np.mean([p["truth"] != p["predicted"] for _, p in added])
    print(f"{len(added)} of {wanted} clicks added, {wrong:.0%} where the network is wrong; per class", end=" ")
    print(", ".join(f"{n} {c}" for n, c in zip(LAND_COVER.names, counts, strict=True)))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))
