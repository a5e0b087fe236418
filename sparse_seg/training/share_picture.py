"""A picture of the shares that a prior says of each image's ground, against those of its points."""

import io
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sparse_seg.classes import Classes
from sparse_seg.training.shares import Shares

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLUMNS = 5
"""Classes side by side."""
DPI = 110


def share_figure(shares: Shares, classes: Classes) -> "Figure":
    """A small chart per class: each image's share of area as a bar, that of its points as a line across.

    Bars are sorted by height. Titles have the means over the images.

    Args:
        shares: of the training images.
        classes: whose names and colours are drawn.
    """
    # Slow to import, and wanted by runs with a prior alone.
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    own, ground = shares.own.numpy(), shares.ground.numpy()
    width = min(len(classes), COLUMNS)
    height = -(-len(classes) // width)
    figure = Figure(figsize=(2.3 * width + 0.4, 2.1 * height + 0.7), dpi=DPI, layout="constrained")
    grid = figure.subplots(height, width, squeeze=False, sharey=True).ravel()
    places = np.arange(len(shares.names))
    for k, axes in enumerate(grid):
        if k >= len(classes):
            axes.set_axis_off()
            continue
        order = np.argsort(ground[:, k], kind="stable")
        axes.bar(places, ground[order, k], width=1.0, color=[v / 255 for v in classes.colours[k]])
        axes.step(places, own[order, k], where="mid", color="black", linewidth=1)
        axes.set_title(f"{classes.names[k]}\npoints {own[:, k].mean():.2f}, area {ground[:, k].mean():.2f}", fontsize=9)
        axes.set(xticks=[], ylim=(0, 1))
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=8)
    grid[0].set_ylabel("share", fontsize=8)
    figure.supxlabel(
        f"{len(places)} training images, in each class sorted by their share of area as the prior says it", fontsize=8
    )
    handles = [
        Patch(color="0.6", label="share of an image's area"),
        Line2D([], [], color="black", label="of its points"),
    ]
    figure.legend(handles=handles, loc="outside upper right", ncols=2, fontsize=8, frameon=False)
    return figure


def share_picture(shares: Shares, classes: Classes) -> NDArray[np.uint8]:
    """`share_figure` as (H, W, 3) RGB."""
    content = io.BytesIO()
    share_figure(shares, classes).savefig(content, format="png", dpi=DPI)
    with Image.open(content) as picture:
        return np.asarray(picture.convert("RGB"))
