"""Do suggested clicks beat random ones? A second round of clicks on the Dubai images, with the masks as the person.

    python docs/results/clicks.py choose RUN entropy|errors POINTS.csv
    python docs/results/clicks.py compare docs/results/clicks.jsonl > docs/results/clicks.md

choose: RUN was trained with points=N on data=dubai. POINTS.csv gets its points and as many new ones as points=2N would
add, chosen as `python -m sparse_seg.suggest` chooses them, over all training images together.
compare: the runs of study clicks (points=N and 2N, drawn at random), clicks-entropy and clicks-errors.
"""

import sys
from pathlib import Path

from sparse_seg.classes import LAND_COVER

ARMS = {"clicks": "random", "clicks-entropy": "highest entropy", "clicks-errors": "most confident errors"}


def choose(run: Path, by: str, out: Path) -> None:
    import numpy as np
    from omegaconf import OmegaConf

    from sparse_seg.data.dubai import dubai
    from sparse_seg.networks.found import find_checkpoint
    from sparse_seg.networks.trained import load_trained
    from sparse_seg.points.draw import sample_points, write_points
    from sparse_seg.points.formats import label_names, read_own_points
    from sparse_seg.points.records import Bad, Place
    from sparse_seg.predict import Predictor
    from sparse_seg.suggest import choice as clicks
    from sparse_seg.suggest.look import look_at

    cfg = OmegaConf.load(run / "config.yaml").config
    root = Path(cfg.data.root)
    trained = load_trained(find_checkpoint(run, final=True))
    samples = {s.image_id: s for s in dubai(root).samples}
    ids, places = {name: name for name in samples}, dict.fromkeys(samples, Place(2**31, 2**31))
    labels = label_names(LAND_COVER.names, LAND_COVER.indices)
    read = read_own_points(run / "points.csv", ids, places, labels, Bad())
    first = {name: rows[:, :3] for name, rows in read.items()}
    masks = {name: samples[name].read()[1] for name in first}
    wanted = sum(len(sample_points(masks[n], 2 * cfg.points, cfg.seed, n)) - len(p) for n, p in first.items())
    seen = []
    for name in first:
        tile, image = name.split("/")
        height, width = masks[name].shape
        # Training saw whole images at data.size.
        predictor = Predictor(trained, window=cfg.data.size, scale=cfg.data.size / (height * width) ** 0.5)
        path, mask = root / tile / "images" / f"{image}.jpg", root / tile / "masks" / f"{image}.png"
        seen.append(look_at(path, name, predictor, by, -(-wanted // len(first)), mask))
    added = clicks.choose([s.candidates for s in seen], wanted, [s.apart for s in seen])
    points = {name: list(rows) for name, rows in first.items()}
    for k, pixel in added:
        points[seen[k].name].append(np.array([pixel["row"], pixel["col"], pixel["truth"]], np.int64))
    write_points(out, {name: np.stack(rows) for name, rows in points.items()}, LAND_COVER.names)
    truth = [int(p["truth"]) for _, p in added]
    counts = ", ".join(f"{n} {truth.count(k)}" for k, n in enumerate(LAND_COVER.names))
    wrong = sum(int(p["truth"]) != int(p["predicted"]) for _, p in added)
    print(f"{len(added)} of {wanted} clicks: {counts}; the network was wrong at {wrong}")


def compare(lines: Path) -> None:
    import pandas as pd
    from tabulate import tabulate

    from sparse_seg.report.intervals import estimate, paired
    from sparse_seg.report.results import frame, read_lines

    runs = frame(read_lines(lines))
    runs["arm"] = runs["study"].map(ARMS) + ", " + runs["points"].astype(str) + " per class"
    few = int(pd.to_numeric(runs["points"]).min())
    names = ["miou_final", "miou_best", *(f"iou_{n}" for n in LAND_COVER.names)]
    arms = {arm: part.set_index("seed") for arm, part in runs.groupby("arm", sort=False)}
    start, base = arms.pop(f"random, {few} per class"), arms[f"random, {2 * few} per class"]
    rows = []
    for arm, part in {f"random, {few} per class": start, **arms}.items():
        means = [estimate(part[n]) for n in names]
        rows.append([arm, len(part), *(f"{100 * m.mean:.1f} ± {100 * m.half:.1f}" for m in means)])
    headers = ["points of an image", "seeds", "final mIoU", "best mIoU", *LAND_COVER.names]
    print(tabulate(rows, headers, "github"))
    print()
    for arm, part in arms.items():
        for other, against in ((start, f"the start, random {few} per class"), (base, "as many random points")):
            if part is base and other is base:
                continue
            d = paired(part["miou_final"], other["miou_final"]).times(100)
            verdict = "" if d.shown else ": no difference shown"
            print(
                f"- {arm}, against {against}: {d.mean:+.1f} points of final mIoU, 95 % interval {d.low:+.1f} to "
                f"{d.high:+.1f}, p = {d.p:.2g}, {d.n} seeds{verdict}."
            )


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["choose", run, ("entropy" | "errors") as by, out]:
            choose(Path(run), by, Path(out))
        case ["compare", lines]:
            compare(Path(lines))
        case _:
            sys.exit(__doc__)
