"""Fat roads, before and after: one validation image, its masks, and what two runs say of it.

    python docs/results/roads.py PLAIN CORRECTED OUT.png [IMAGE]

PLAIN, CORRECTED: folders of two finished runs with the same validation images; their `panels/` are read. IMAGE: the id
of one of these; by default a typical one for PLAIN: of the half with the most Road, the image whose predicted ÷ true
area of Road is nearest to that of all images together. Above are the class maps; below Road alone, with what is missed
and what is added; under each map stands predicted ÷ true area of Road, of the image and of all.
"""

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.patches import Patch
from PIL import Image

CLASS = "Road"
UNLABELLED, GREY = 255, (160, 160, 160)
ROAD, ADDED, MISSED, REST = (0x22, 0x22, 0x22), (0xD5, 0x5E, 0x00), (0xCC, 0x79, 0xA7), (240, 240, 240)
Array = np.ndarray[Any, Any]


def read(path: Path) -> Array:
    with Image.open(path) as picture:
        return np.asarray(picture)


def listed(run: Path) -> dict[str, Any]:
    if not (run / "result.json").is_file() or not (run / "panels" / "index.json").is_file():
        raise SystemExit(f"{run} has no result.json or no panels/index.json: it is not finished, or kept no pictures")
    return dict(json.loads((run / "panels" / "index.json").read_text(encoding="utf-8")))


def picture(run: Path, image: str, name: str) -> Array:
    folders = {str(item["id"]): item["folder"] for item in listed(run)["images"]}
    if image not in folders:
        raise SystemExit(f"{run} has no validation image {image}; there are {', '.join(folders)}")
    return read(run / "panels" / folders[image] / f"{name}.png")


def areas(run: Path, road: int) -> dict[str, tuple[int, int]]:
    """Image → pixels that are Road, and that are called so."""
    found = {}
    for image in (str(item["id"]) for item in listed(run)["images"]):
        truth, said = picture(run, image, "truth"), picture(run, image, "prediction")
        seen = truth != UNLABELLED
        found[image] = int((truth[seen] == road).sum()), int((said[seen] == road).sum())
    return found


def ratio(pairs: Iterable[tuple[int, int]]) -> float:
    true, called = map(sum, zip(*pairs, strict=True))
    return called / true if true else float("nan")


def typical(run: Path, road: int) -> str:
    found = {image: pair for image, pair in areas(run, road).items() if pair[0]}
    if not found:
        raise SystemExit(f"no validation image of {run} has any {CLASS}")
    whole = ratio(found.values())
    half = sorted(found, key=lambda image: -found[image][0])[: (len(found) + 1) // 2]
    return min(half, key=lambda image: abs(ratio([found[image]]) - whole))


def called(run: Path) -> str:
    """How a run learned: "teacher, prior estimated", and from what."""
    said = json.loads((run / "result.json").read_text(encoding="utf-8"))
    prior = [] if said.get("prior", "none") == "none" else [f"prior {said['prior']}"]
    points = "full masks" if said["points"] == "all" else f"{said['points']} points"
    return f"{', '.join([said.get('method', 'points'), *prior])}\n{points}"


def road_alone(truth: Array, said: Array, road: int) -> Array:
    out = np.empty((*truth.shape, 3), np.uint8)
    out[:] = REST
    out[(truth == road) & (said == road)] = ROAD
    out[(truth != road) & (said == road)] = ADDED
    out[(truth == road) & (said != road)] = MISSED
    out[truth == UNLABELLED] = GREY
    return out


def draw(plain: Path, corrected: Path, image: str | None) -> Figure:
    index = listed(plain)
    road = index["classes"].index(CLASS)
    image = image or typical(plain, road)
    truth = picture(plain, image, "truth")
    if not np.array_equal(truth, picture(corrected, image, "truth")):
        raise SystemExit(f"the two runs have other masks of {image}: they are of another size or data set")
    colours = np.full((256, 3), GREY, np.uint8)
    colours[: len(index["colours"])] = index["colours"]
    maps = [("ground truth", truth, "")]
    for run in (plain, corrected):
        found = areas(run, road)
        area = f"{ratio([found[image]]):.2f} times its area\n(all {len(found)} images: {ratio(found.values()):.2f})"
        maps.append((called(run), picture(run, image, "prediction"), area))
    figure = Figure(figsize=(9.2, 5.5), layout=ConstrainedLayoutEngine(h_pad=0.1), dpi=130)
    above, below = figure.subplots(2, 4)
    above[0].imshow(picture(plain, image, "image"))
    above[0].set_title(image, fontsize=9)
    for k, (title, said, area) in enumerate(maps, 1):
        above[k].imshow(colours[said], interpolation="nearest")
        above[k].set_title(title, fontsize=9)
        below[k].imshow(road_alone(truth, said, road), interpolation="nearest")
        below[k].set_xlabel(f"{CLASS}: {area or 'its true area'}", fontsize=9)
    for axes in (*above, *below[1:]):
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_visible(False)
    below[0].set_axis_off()
    classes = [_patch(c, n) for c, n in zip(index["colours"], index["classes"], strict=True)]
    alone = [_patch(ROAD, f"{CLASS}, found"), _patch(ADDED, "added"), _patch(MISSED, "missed")]
    below[0].legend(handles=[*classes, *alone], loc="center left", fontsize=8, frameon=False)
    return figure


def _patch(colour: Any, label: str) -> Patch:
    return Patch(facecolor=tuple(v / 255 for v in colour), edgecolor="black", linewidth=0.5, label=label)


if __name__ == "__main__":
    match sys.argv[1:]:
        case [plain, corrected, out, *rest] if len(rest) <= 1:
            draw(Path(plain), Path(corrected), rest[0] if rest else None).savefig(out)
        case _:
            sys.exit(__doc__)
