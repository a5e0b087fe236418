"""A trained network that labels arrays and files of any size."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple, TypedDict, Unpack

import numpy as np

from sparse_seg.classes import Classes, Image, Mask
from sparse_seg.errors import UserError
from sparse_seg.networks.found import find_checkpoint
from sparse_seg.networks.trained import Trained, load_trained
from sparse_seg.predict.areas import Area, areas, pixel_area
from sparse_seg.predict.arrays import ArrayRaster
from sparse_seg.predict.device import device_of, network_on
from sparse_seg.predict.inputs import find_images, find_masks
from sparse_seg.predict.labelling import Outputs, class_map, label
from sparse_seg.predict.progress import bar
from sparse_seg.predict.scoring import Scores, Truth
from sparse_seg.predict.sliding import Strip, blended
from sparse_seg.predict.task import Task, trained_of
from sparse_seg.predict.windows import Refused, windows_of
from sparse_seg.raster.hidden import warn_of_alpha
from sparse_seg.raster.readers import Raster, Undecided, open_raster

TARGETS = (".png", ".tif", ".tiff")
"""Suffixes of class maps."""


class How(TypedDict, total=False):
    """How a network goes over an image; see `Predictor`."""

    window: int | None
    overlap: int | None
    scale: float
    batch_size: int
    device: str
    precision: str
    flips: bool
    progress: bool


class Labelled(NamedTuple):
    """An image that was labelled: the areas of its classes, and its scores where it has a mask."""

    areas: list[Area]
    scores: Scores | None


class Predictor:
    """A trained network on its device, and how it goes over an image: in overlapping windows, blended without a seam.

    Args:
        trained: a `SegmentationTask` after `fit`, whose weights are copied as they are; or a `Trained`. `load` makes a
            Predictor of a run's folder or a checkpoint.
        window: side of a window in pixels of the network; None: the size that it was trained at.
        overlap: of neighbouring windows, likewise; None: a quarter of the window.
        scale: pixels of the network per pixel of the image. Training resizes whole images, so a network trained at 256
            on images of 800 pixels has seen everything at 0.32 of its size. 1 is right where they were not resized.
        batch_size: windows at a time.
        device: "auto", "cpu", "cuda", "cuda:1", "mps".
        precision: "32", "bf16", or "auto" for the fastest in hardware.
        flips: average the posterior over the eight flips and rotations of each window, which takes eight times as long.
        progress: show a bar on the terminal.

    Raises:
        UserError: a window, the device or the precision cannot be used.

    Example:
        >>> from sparse_seg.networks import create
        >>> classes = Classes(("Water", "Land"), ((0, 0, 255), (0, 255, 0)))
        >>> network = create("unet", "resnet18", None, classes=2).eval()
        >>> trained = Trained(network, classes, size=64, bands=None, scale=None, epoch=None)
        >>> Predictor(trained, device="cpu").predict(np.zeros((100, 70, 3), np.uint8)).shape
        (100, 70)
    """

    def __init__(
        self,
        trained: Trained | Task,
        *,
        window: int | None = None,
        overlap: int | None = None,
        scale: float = 1.0,
        batch_size: int = 4,
        device: str = "auto",
        precision: str = "auto",
        flips: bool = False,
        progress: bool = False,
    ) -> None:
        self.trained = trained if isinstance(trained, Trained) else trained_of(trained, window)
        multiple = getattr(self.trained.network, "size_multiple", 1)  # of a network of one's own it is not known
        self.windows = windows_of(window, overlap, scale, batch_size, self.trained.size, multiple)
        self.batch_size = batch_size
        self.device = device_of(device)
        self.progress = progress
        self.flips = flips
        self._network = network_on(self.trained.network, self.device, precision, flips)

    @property
    def classes(self) -> Classes:
        """What the indices of a class map mean."""
        return self.trained.classes

    def predict(self, image: Image) -> Mask:
        """Label an image, or several of one size.

        Args:
            image: uint8 (H, W, bands) or (N, H, W, bands), with the bands that the network takes.

        Returns:
            class index per pixel, uint8 (H, W) or (N, H, W).

        Raises:
            UserError: another shape or type.
        """
        if image.ndim == 4:
            labels = np.empty(image.shape[:3], np.uint8)
            for one, out in zip(image, labels, strict=True):
                out[:] = self.predict(one)
            return labels
        raster = ArrayRaster(image, self._bands)
        labels = np.empty((raster.height, raster.width), np.uint8)
        with self.strips(raster) as strips:
            for strip in strips:
                part = class_map(strip)
                labels[strip.row : strip.row + part.shape[0], strip.col : strip.col + part.shape[1]] = part
        return labels

    def predict_file(
        self,
        source: str | Path,
        target: str | Path,
        *,
        overlay: str | Path | None = None,
        confidence: str | Path | None = None,
        mask: str | Path | None = None,
    ) -> Labelled:
        """Label an image in a file, and write its class map; 255 is unlabelled.

        Args:
            source: GeoTIFF, JPEG 2000, VRT, PNG or JPEG. The first three are never whole in memory.
            target: the class map, in the colours of the classes: `.png`, or `.tif` for a cloud-optimised GeoTIFF with
                the CRS and the transform of the image.
            overlay: also the image under the colours, a PNG at most 4096 pixels wide or high.
            confidence: also the winning class's probability in percent, `.png` or `.tif`.
            mask: a mask to score against, as `predict --masks` reads it.

        Raises:
            UserError: the image or its mask cannot be read, or an output cannot be written.
        """
        outputs = Outputs(_target(target), _target(overlay, (".png",)), _target(confidence))
        with self.open(source) as raster, self.strips(raster, Path(source).name) as strips:
            truth = None if mask is None else Truth(Path(mask), raster, self.classes)
            counts, scores = label(strips, raster, self.classes, outputs, truth)
            return Labelled(areas(counts, self.classes, pixel_area(raster)), scores if truth is not None else None)

    def evaluate(
        self,
        images: str | Path | Sequence[str | Path | Image],
        masks: str | Path | Sequence[str | Path | Mask],
    ) -> dict[str, Any]:
        """Score class maps of images against masks, at the images' own resolution.

        Args:
            images: a folder, which is searched with all below it, files, or arrays (H, W, bands).
            masks: a folder with a mask for each image file, in the same sub-folder or all in one, of the same stem; or
                one for each image, in order: files, or arrays (H, W) of class index, 255 = unlabelled.

        Returns:
            what `predict --masks` writes to scores.json: `miou`, `accuracy`, `iou` per class, `scores` with
            `boundary_iou` and `boundary_iou_<class>`, `confusion_matrix` (rows truth, columns prediction), `classes`,
            `images`, and `flips` if they were averaged over. None for what is undefined.

        Raises:
            UserError: an image or a mask cannot be read, or there are not as many of one as of the other.
        """
        named = find_images([Path(images)]) if isinstance(images, str | Path) else {}
        every: list[str | Path | Image] = list(named) if isinstance(images, str | Path) else list(images)
        if isinstance(masks, str | Path):
            files = [Path(image) for image in every if isinstance(image, str | Path)]
            if len(files) < len(every):
                raise Refused("masks", masks, "is a folder, but images are arrays: give an array for each of them")
            found = find_masks(Path(masks), {file: named.get(file, file.name) for file in files})
            truths: Sequence[str | Path | Mask] = [found[file] for file in files]
        else:
            truths = masks
        if len(every) != len(truths):
            raise UserError(f"{len(every)} images but {len(truths)} masks: give one for each image, in the same order")
        total = Scores(self.classes, self.flips)
        for k, (image, mask) in enumerate(zip(every, truths, strict=True)):
            name = named.get(Path(image), Path(image).name) if isinstance(image, str | Path) else str(k)
            with self.open(image) as raster, self.strips(raster, name) as strips:
                truth = Truth(Path(mask) if isinstance(mask, str) else mask, raster, self.classes)
                total.include(name, label(strips, raster, self.classes, Outputs(), truth)[1])
        return total.as_dict()

    @property
    def _bands(self) -> int:
        return 3 if self.trained.bands is None else len(self.trained.bands)

    @contextmanager
    def open(self, image: str | Path | Image) -> Iterator[Raster]:
        if isinstance(image, str | Path):
            path, trained = Path(image), self.trained
            with ExitStack() as stack:
                try:
                    raster = stack.enter_context(open_raster(path, trained.bands, trained.scale, trained.alpha))
                except Undecided as error:
                    bands = "the usual bands" if trained.bands is None else f"bands {list(trained.bands)}"
                    scale = "uint8" if trained.scale is None else f"pixels from {trained.scale}"
                    raise UserError(
                        f"{error.has}, but the network was trained on {bands} of {scale}\n"
                        "give an image as those of its training, or train on such ones: data.bands, data.scale"
                    ) from error
                warn_of_alpha(path, raster, 0, 0, raster.height, raster.width)
                yield raster
        else:
            yield ArrayRaster(image, self._bands)

    @contextmanager
    def strips(self, raster: Raster, name: str = "image") -> Iterator[Iterator[Strip]]:
        """What `blended` yields of an image, beside a bar that is called `name` where progress is shown."""
        size, classes = (raster.height, raster.width), len(self.classes)
        with bar(name, self.windows.count(*size, classes), self.progress) as advance:
            yield blended(
                raster.read, self._network, size, classes, self.windows, self.batch_size, self.device, advance
            )


def load(run: str | Path, *, final: bool = False, **how: Unpack[How]) -> Predictor:
    """The trained network of a run.

    Args:
        run: a run's folder, or one of its checkpoints.
        final: the last epoch's weights instead of the best epoch's.
        how: as for `Predictor`.

    Returns:
        The network with all that it needs to label images.

    Raises:
        UserError: there is no such run, its checkpoint is damaged, or an argument cannot be used.

    Example:
        >>> load("outputs/none")
        Traceback (most recent call last):
            ...
        sparse_seg.errors.UserError: no such run or checkpoint: outputs/none
    """
    return Predictor(load_trained(find_checkpoint(Path(run), final)), **how)


def _target(path: str | Path | None, suffixes: Sequence[str] = TARGETS) -> Path | None:
    if path is not None and Path(path).suffix.lower() not in suffixes:
        raise UserError(f"{path} cannot be written: its name must end in {' or '.join(suffixes)}")
    return None if path is None else Path(path)
