"""Pictures of what a run sees and says: image, points, prediction, truth."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import cv2
import lightning as L
import numpy as np
import torch
from lightning.pytorch.loggers import TensorBoardLogger
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from sparse_seg.classes import IGNORE_INDEX, Classes
from sparse_seg.data.datamodule import SparsePointsDataModule
from sparse_seg.palette import colour, rgb_of
from sparse_seg.tensors import to_float
from sparse_seg.training.share_picture import share_picture
from sparse_seg.training.shares import Shares

RGB = NDArray[np.uint8]
GAP, HEADER = 4, 18


def draw_points(image: RGB, target: NDArray[np.integer], classes: Classes, radius: int = 3) -> RGB:
    """The image with a ringed dot for each labelled pixel of (H, W) `target`."""
    out = np.ascontiguousarray(image).copy()
    for row, col in np.argwhere(target != IGNORE_INDEX).tolist():
        rgb = tuple(int(v) for v in classes.colours[int(target[row, col])])
        cv2.circle(out, (col, row), radius + 1, (255, 255, 255), -1, cv2.LINE_AA)
        cv2.circle(out, (col, row), radius, rgb, -1, cv2.LINE_AA)
    return out


def panel(columns: list[tuple[str, list[RGB]]], classes: Classes) -> RGB:
    """Titled columns of equal pictures side by side, a legend of the classes below."""
    height, width = columns[0][1][0].shape[:2]
    rows = len(columns[0][1])
    size = (len(columns) * (width + GAP) - GAP, HEADER + rows * (height + GAP) + HEADER)
    sheet = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(sheet)
    for c, (title, pictures) in enumerate(columns):
        draw.text((c * (width + GAP) + 2, 3), title, fill="black")
        for r, picture in enumerate(pictures):
            sheet.paste(Image.fromarray(picture), (c * (width + GAP), HEADER + r * (height + GAP)))
    x = 2
    for name, rgb in zip(classes.names, classes.colours, strict=True):
        draw.rectangle((x, size[1] - 14, x + 10, size[1] - 4), fill=rgb, outline="black")
        draw.text((x + 14, size[1] - 16), name, fill="black")
        x += 26 + int(draw.textlength(name))
    return np.asarray(sheet)


class Panels(L.Callback):
    """A panel on the dashboard every few epochs, and the last epoch's pictures in `panels/` of the run folder.

    A panel shows the first `images` training images with the points that the network is given, and the first `images`
    validation images, which it never trains on and which have no points. `panels/` holds the last panel and, for each
    validation image, image.png, truth.png and prediction.png (class index, 255 = unlabelled), listed in index.json,
    and points.png, what points of this density would be in it. Of more than three bands, pictures show the first three.

    With a prior, shares.png has the shares of the classes that it says of each training image, and those of its points;
    the dashboard has it, too, whenever they have changed.

    Args:
        every_n_epochs: how often the dashboard gets a panel; the first and the last epoch do always.
        images: of training, and as many of validation.
    """

    def __init__(self, every_n_epochs: int = 10, images: int = 2) -> None:
        self.every_n_epochs = every_n_epochs
        self.images = images
        self._saved: int | None = None
        self._shares: Shares | None = None
        """Those that the dashboard has."""

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        epoch = trainer.current_epoch + 1
        last = epoch == trainer.max_epochs
        if getattr(pl_module, "scored_epoch", None) != epoch:  # nothing new was scored
            return
        if last or epoch == 1 or epoch % self.every_n_epochs == 0:
            self._draw(trainer, pl_module, epoch, last)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        epoch = getattr(pl_module, "scored_epoch", None)
        if epoch is not None and epoch != self._saved:  # stopped before the last epoch
            self._draw(trainer, pl_module, epoch, last=True)

    def _draw(self, trainer: L.Trainer, task: L.LightningModule, epoch: int, last: bool) -> None:
        if last:
            self._saved = epoch
        if not trainer.is_global_zero:
            return
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        pictures = self._pictures(data, task)
        sheet = panel(list(pictures.items()), data.classes)
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                logger.experiment.add_image("panels", sheet, epoch, dataformats="HWC")
        shares = getattr(task, "shares", None)
        if shares is not None and bool((shares.per_image != 0).any()):
            self._draw_shares(trainer, shares, data.classes, epoch, last)
        if last:
            folder = Path(trainer.default_root_dir) / "panels"
            folder.mkdir(exist_ok=True)
            Image.fromarray(sheet).save(folder / "panel.png")
            _save_validation(folder, data, task)

    def _draw_shares(self, trainer: L.Trainer, shares: Shares, classes: Classes, epoch: int, last: bool) -> None:
        new, self._shares = shares is not self._shares, shares
        if not (new or last):
            return
        picture = share_picture(shares, classes)
        for logger in trainer.loggers:
            if new and isinstance(logger, TensorBoardLogger):
                logger.experiment.add_image("shares", picture, epoch, dataformats="HWC")
        if last:
            folder = Path(trainer.default_root_dir) / "panels"
            folder.mkdir(exist_ok=True)
            Image.fromarray(picture).save(folder / "shares.png")

    def _pictures(self, data: SparsePointsDataModule, task: L.LightningModule) -> dict[str, list[RGB]]:
        images, truths, targets = data.examples(self.images)
        said = list(_predict(task, images))
        shown = [rgb_of(image) for image in images]
        return {
            "image": shown,
            "points": [draw_points(i, t, data.classes) for i, t in zip(shown, targets, strict=True)],
            "prediction": [colour(p, data.classes.colours) for p in said],
            "truth": [colour(t, data.classes.colours) for t in truths],
        }


def _predict(task: Any, images: Iterable[NDArray[np.uint8]]) -> Iterator[NDArray[np.uint8]]:
    """Images (H, W, bands) → class maps (H, W), by the weights that were scored last.

    One by one: a picture must not depend on how many there are.
    """
    was_training = task.training
    task.eval()
    for image in images:
        with torch.inference_mode():
            said = task.scored_logits(to_float(image).contiguous()[None].to(task.device)).max(1).indices[0]
        yield said.to(torch.uint8).cpu().numpy()
    task.train(was_training)


def _save_validation(folder: Path, data: SparsePointsDataModule, task: L.LightningModule) -> None:
    images, truths = data.validation_arrays()
    listed, points = [], data.validation_points()
    for k, said in enumerate(_predict(task, images)):
        image_id = data.samples[data.val_indices[k]].image_id
        (folder / f"{k:03d}").mkdir(exist_ok=True)
        pictures = {"image": rgb_of(images[k]), "truth": truths[k], "prediction": said}
        for name, picture in (pictures | ({"points": points[k]} if points is not None else {})).items():
            Image.fromarray(picture).save(folder / f"{k:03d}" / f"{name}.png")
        listed.append({"id": image_id, "folder": f"{k:03d}"})
    classes = {"classes": list(data.classes.names), "colours": [list(c) for c in data.classes.colours]}
    (folder / "index.json").write_text(json.dumps(classes | {"images": listed}, indent=1), encoding="utf-8")
