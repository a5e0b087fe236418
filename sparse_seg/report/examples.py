"""Figure 2: image, points, ground truth, prediction and error map, from a run's panels/.

`panels/index.json` lists what lies there: {"classes": names, "colours": [[r, g, b], …], "images": [{"id", "folder"}]},
and each image's folder below `panels/` holds image.png (RGB), truth.png and prediction.png (class index, 255 =
unlabelled) and, if there are any, points.png (class index, 255 elsewhere), all of one size. A run without that list is
shown by its sheet, panel.png.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from PIL import Image

from sparse_seg import metrics
from sparse_seg.errors import UserError
from sparse_seg.report.blocks import Block

UNLABELLED = 255
GREY = (160, 160, 160)
RIGHT, WRONG = (235, 235, 235), (0xD5, 0x5E, 0x00)
RULE = "the validation images with the lowest, the median and the highest mIoU"
POINTS = "; their points show the density, and were not trained on"
Array = np.ndarray[Any, Any]
Picture = dict[str, Array]


def examples(block: Block) -> tuple[str, str, Figure] | None:
    """Pictures of the 20-point focal model of the lowest seed that has any; None if there is none."""
    for seed, run in block.cell(loss="focal", points=20, augment="report").iterrows():
        panels = Path(str(run["folder"])) / "panels"
        if (panels / "index.json").exists():
            index = _read(panels / "index.json")
            drawn = all((panels / item["folder"] / "points.png").exists() for item in index["images"])
            return "figure2", _caption(seed, RULE + (POINTS if drawn else "")), _figure(panels, index)
        if (panels / "panel.png").exists():
            said = "the first training images with their points, then the first validation images, which have none"
            return "figure2", _caption(seed, said), _sheet(panels / "panel.png")
    return None


def _caption(seed: Any, rule: str) -> str:
    return f"Figure 2: the model of partial focal loss with 20 points per class (seed {seed}). Shown are {rule}."


def _read(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as e:
        raise UserError(f"{path} cannot be read: {e}") from e


def _sheet(path: Path) -> Figure:
    pixels = np.asarray(Image.open(path))
    figure = Figure(figsize=(7.2, 7.2 * pixels.shape[0] / pixels.shape[1]))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.imshow(pixels)
    axes.set_axis_off()
    return figure


def _figure(panels: Path, index: dict[str, Any]) -> Figure:
    chosen = lowest_median_highest(panels, index)
    colours = np.full((256, 3), GREY, np.uint8)
    colours[: len(index["colours"])] = index["colours"]
    with_points = all("points" in picture for _, _, picture in chosen)
    titles = ["image", *(["points"] if with_points else []), "ground truth", "prediction", "errors"]
    figure = Figure(figsize=(7.2, 7.2 / len(titles) * len(chosen) + 0.9), layout="constrained")
    grid = figure.subplots(len(chosen), len(titles), squeeze=False)
    for row, (name, score, picture) in zip(grid, chosen, strict=True):
        shown = [picture["image"], colours[picture["truth"]], colours[picture["prediction"]], _errors(picture)]
        if with_points:
            shown.insert(1, picture["image"])
            _draw_points(row[1], picture["points"], colours)
        for axes, pixels in zip(row, shown, strict=True):
            axes.imshow(pixels)
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set_visible(False)
            axes.grid(visible=False)
        row[0].set_ylabel(f"{name}\nmIoU {score:.3f}", fontsize=8)
    for axes, title in zip(grid[0], titles, strict=True):
        axes.set_title(title, fontsize=9)
    patches = [_patch(c, n) for c, n in zip(index["colours"], index["classes"], strict=True)]
    patches += [_patch(GREY, "unlabelled"), _patch(RIGHT, "right"), _patch(WRONG, "wrong")]
    figure.legend(handles=patches, loc="outside lower center", ncols=(len(patches) + 1) // 2, fontsize=8)
    return figure


def lowest_median_highest(panels: Path, index: dict[str, Any]) -> list[tuple[str, float, Picture]]:
    """(name, mIoU, pictures) of those three images, or of all if there are fewer; of images with a label, if any."""
    scored = []
    for item in index["images"]:
        picture = _pictures(panels / item["folder"])
        scored.append((str(item["id"]), _score(picture, len(index["classes"])), picture))
    scored = [s for s in scored if not np.isnan(s[1])] or scored
    scored.sort(key=lambda s: (s[1], s[0]))
    return [scored[i] for i in sorted({0, len(scored) // 2, len(scored) - 1})] if scored else []


def _pictures(folder: Path) -> Picture:
    names = [n for n in ("image", "points", "truth", "prediction") if n != "points" or (folder / "points.png").exists()]
    try:
        return {n: np.asarray(Image.open(folder / f"{n}.png")) for n in names}
    except OSError as e:
        raise UserError(f"{folder} has no readable pictures: {e}") from e


def _score(picture: Picture, classes: int) -> float:
    return metrics.mean_iou(metrics.confusion_matrix(picture["truth"], picture["prediction"], classes))


def _errors(picture: Picture) -> Array:
    truth = picture["truth"]
    out = np.empty((*truth.shape, 3), np.uint8)
    out[:] = RIGHT
    out[truth != picture["prediction"]] = WRONG
    out[truth == UNLABELLED] = GREY
    return out


def _draw_points(axes: Axes, points: Array, colours: Array) -> None:
    rows, columns = np.nonzero(points != UNLABELLED)
    axes.scatter(columns, rows, s=7, c=colours[points[rows, columns]] / 255, edgecolors="white", linewidths=0.4)


def _patch(colour: Any, label: str) -> Patch:
    return Patch(facecolor=tuple(v / 255 for v in colour), edgecolor="black", linewidth=0.5, label=label)
