"""One image's way from the network's strips into files and scores."""

from collections.abc import Iterable
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from sparse_seg.classes import Classes, Mask
from sparse_seg.predict.boundaries import KeptMap, image_boundaries
from sparse_seg.predict.scoring import Scores, Truth
from sparse_seg.predict.sliding import Strip
from sparse_seg.raster.readers import Raster
from sparse_seg.raster.write import NODATA, Map, Overlay, new_map


@dataclass(frozen=True)
class Outputs:
    """Files to write: the class map, the image under its colours, the winning class's probability in percent."""

    target: Path | None = None
    overlay: Path | None = None
    confidence: Path | None = None


def label(
    strips: Iterable[Strip], raster: Raster, classes: Classes, outputs: Outputs, truth: Truth | None = None
) -> tuple[NDArray[np.int64], Scores]:
    """Write what there is to write of one image, and count.

    Args:
        strips: what the network says of it.
        raster: the image.
        classes: the network's.
        outputs: files to write; each is there whole or not at all.
        truth: its mask, to score against.

    Returns:
        pixels per class index, (256,), and the image's scores, which are empty without a mask.

    Raises:
        UserError: the image or its mask is damaged, or an output cannot be written.
    """
    counts, scores = np.zeros(256, np.int64), Scores(classes)
    size = raster.height, raster.width
    with ExitStack() as stack:
        maps: list[Map] = []
        if outputs.target is not None:
            maps.append(stack.enter_context(new_map(outputs.target, raster, classes)))
        kept = stack.enter_context(closing(KeptMap(*size))) if truth is not None else None
        overlay = Overlay(raster, classes) if outputs.overlay is not None else None
        maps += [sink for sink in (kept, overlay) if sink is not None]
        confidence = stack.enter_context(new_map(outputs.confidence, raster)) if outputs.confidence else None
        for strip in strips:
            labels = class_map(strip)
            counts += np.bincount(labels.ravel(), minlength=256)
            for sink in maps:
                sink.write(strip.row, strip.col, labels)
            if confidence is not None:
                confidence.write(strip.row, strip.col, _percent(strip))
            if truth is not None:
                scores.add(truth.read(strip.row, strip.col, *labels.shape), labels)
        if truth is not None and kept is not None:
            truth.check()
            scores.boundaries += image_boundaries(kept.read, truth.read, size, len(classes))
        if overlay is not None and outputs.overlay is not None:
            overlay.save(outputs.overlay)
    return counts, scores


def class_map(strip: Strip) -> Mask:
    """(h, w): the class with the highest logit, 255 where there is no image."""
    best = strip.logits[0].clone()
    labels_of = torch.zeros(best.shape, dtype=torch.uint8, device=best.device)
    for k, logits in enumerate(strip.logits[1:], start=1):  # several times as fast as argmax over the first axis
        labels_of.masked_fill_(logits > best, k)
        torch.maximum(best, logits, out=best)
    labels: Mask = labels_of.cpu().numpy()
    labels[~strip.valid] = NODATA
    return labels


def _percent(strip: Strip) -> Mask:
    percent: Mask = (100 * strip.logits.softmax(0).amax(0)).round().to(torch.uint8).cpu().numpy()
    percent[~strip.valid] = NODATA
    return percent
