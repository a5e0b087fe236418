"""The map that follows from the points placed so far: a probe, fitted anew after each click, on windows of the view."""

import math
import threading
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sparse_seg.annotate.imagery import Imagery
from sparse_seg.annotate.journal import Pixels
from sparse_seg.classes import IGNORE_INDEX
from sparse_seg.networks.build import NormalisedNetwork
from sparse_seg.networks.features import Features
from sparse_seg.networks.probe import Probe, choose_strength, read_at, solve
from sparse_seg.tensors import to_float

WINDOW = 256
"""Side of what is mapped at a time, in pixels of the image."""
MARGIN = 64
"""What the encoder sees around it."""
PAINTED = 1_000
"""Windows whose map is held, the last ones; 128 KiB each."""
MEMORY = 600 * 2**20
"""Bytes of features that are held."""
STRENGTHS = (10.0, 3.0, 1.0, 0.3, 0.1)
"""Of the L2 term, to choose from: a few clicks are to be held more strongly than many drawn points."""
FEWEST = 8
"""Points that choose a strength."""
GROWN = 1.25
"""Growth of the number of points after which the strength of the L2 term is chosen anew."""

Key = tuple[str, int, int]
"""Image, and row and column of a window, counted in windows."""


@dataclass
class Painted:
    """A window's map. version: of the fit. label: (h, w) class, 255 = nothing there. confidence: (h, w) percent.
    counts: (256,) pixels of each label.
    """

    version: int
    label: NDArray[np.uint8]
    confidence: NDArray[np.uint8]
    counts: NDArray[np.int64]


@dataclass
class Fit:
    """present: the classes that have points. weight, bias: of the probe, a row for each of them."""

    version: int
    present: list[int]
    weight: Tensor
    bias: Tensor
    strength: float
    count: int = field(default=0)


class Maps:
    """Features, fit and maps. One thread computes at a time.

    Args:
        imagery: the images.
        network: `create("probe", …)`, whose encoder is read.
        memory: bytes of features to hold.
    """

    def __init__(self, imagery: Imagery, network: NormalisedNetwork, memory: int = MEMORY) -> None:
        probe = network.network
        assert isinstance(probe, Probe)
        self.imagery, self.probe, self.memory = imagery, probe, memory
        self.features = Features(probe, network.mean, network.std, None)
        self.multiple = network.size_multiple
        self.fit: Fit | None = None
        self.painted: OrderedDict[Key, Painted] = OrderedDict()
        self._levels: OrderedDict[Key, tuple[list[Tensor], NDArray[np.bool_]]] = OrderedDict()
        self._held = 0
        self._points: dict[tuple[str, int, int], Tensor] = {}
        self.lock = threading.RLock()

    # Windows and features

    def windows(self, image: str) -> list[Key]:
        """All windows of an image."""
        rows, cols = self._shape(image)
        return [(image, i, j) for i in range(rows) for j in range(cols)]

    def in_view(self, image: str, row: int, col: int, height: int, width: int) -> list[Key]:
        """The windows of a part of an image, those around its middle first."""
        rows, cols = self.imagery.size(image)
        first = max(0, row) // WINDOW, max(0, col) // WINDOW
        last = min(rows - 1, row + height - 1) // WINDOW, min(cols - 1, col + width - 1) // WINDOW
        middle = (row + height / 2) / WINDOW - 0.5, (col + width / 2) / WINDOW - 0.5
        found = [(image, i, j) for i in range(first[0], last[0] + 1) for j in range(first[1], last[1] + 1)]
        return sorted(found, key=lambda key: math.hypot(key[1] - middle[0], key[2] - middle[1]))

    def ahead(self, image: str, count: int) -> list[Key]:
        """Windows to map where nobody looks: half of them in an image, half in the others; always the same.

        Each half is a random sample: every window of its images is as likely as every other one.
        """
        draw = np.random.default_rng(0)
        shapes = {name: self._shape(name) for name in self.imagery.pictures}
        rows, cols = shapes.pop(image, (0, 1))
        here = [(image, *divmod(k, cols)) for k in _sample(draw, rows * cols, count)]
        names, ends = list(shapes), np.cumsum([math.prod(shape) for shape in shapes.values()], dtype=np.int64)
        others = []
        for k in _sample(draw, int(ends[-1]), count) if names else []:
            n = int(np.searchsorted(ends, k, side="right"))
            name = names[n]
            others.append((name, *divmod(k - int(ends[n - 1]) if n else k, shapes[name][1])))
        mine = here[: max(count // 2, count - len(others))]
        return [*mine, *others[: count - len(mine)]]

    def mapped(self, image: str | None = None) -> tuple[int, int]:
        """How many windows of an image or of all are mapped, and how many there are."""
        done = sum(image in (None, key[0]) for key in list(self.painted))
        return done, sum(math.prod(self._shape(name)) for name in self.imagery.pictures if image in (None, name))

    def _shape(self, image: str) -> tuple[int, int]:
        """Windows of an image along its height and its width."""
        height, width = self.imagery.size(image)
        return -(-height // WINDOW), -(-width // WINDOW)

    def _part(self, key: Key) -> tuple[int, int, int, int]:
        """Row, column, height and width of what is read for a window."""
        height, width = self.imagery.size(key[0])
        top, left = max(0, key[1] * WINDOW - MARGIN), max(0, key[2] * WINDOW - MARGIN)
        bottom, right = (min(n, (k + 1) * WINDOW + MARGIN) for n, k in ((height, key[1]), (width, key[2])))
        return top, left, bottom - top, right - left

    def _read(self, key: Key) -> tuple[list[Tensor], NDArray[np.bool_]]:
        """Levels of a window's part, float16, and which of the window's own pixels hold something."""
        if key in self._levels:
            self._levels.move_to_end(key)
            return self._levels[key]
        top, left, height, width = part = self._part(key)
        image, valid = self.imagery.read(key[0], *part)
        rows, cols = key[1] * WINDOW - top, key[2] * WINDOW - left
        valid = valid[rows : rows + WINDOW, cols : cols + WINDOW].copy()
        down, right = -height % self.multiple, -width % self.multiple
        mode = "reflect" if down < height and right < width else "edge"
        image = np.pad(image, ((0, down), (0, right), (0, 0)), mode=mode)  # type: ignore[call-overload]
        levels = [level.half() for level in self.features(to_float(image))]
        self._levels[key] = levels, valid
        self._held += _bytes(levels)
        while self._held > self.memory and len(self._levels) > 1:
            self._held -= _bytes(self._levels.popitem(last=False)[1][0])
        return levels, valid

    def _read_at(self, image: str, pixels: Sequence[tuple[int, int]]) -> None:
        """Read what features of points are missing."""
        for key, those in self._missing(image, pixels).items():
            top, left, _, _ = self._part(key)
            levels = [level.float() for level in self._read(key)[0]]
            rows, cols = (torch.tensor([p[k] - (top, left)[k] for p in those]) for k in (0, 1))
            for at, values in zip(those, read_at(levels, rows, cols), strict=True):
                self._points[image, *at] = values

    def unread(self, points: Pixels) -> dict[Key, list[tuple[int, int]]]:
        """Window → its points whose features are not read yet."""
        return {key: those for image in points for key, those in self._missing(image, points[image]).items()}

    def _missing(self, image: str, pixels: Iterable[tuple[int, int]]) -> dict[Key, list[tuple[int, int]]]:
        found: dict[Key, list[tuple[int, int]]] = {}
        for row, col in pixels:
            if (image, row, col) not in self._points:
                found.setdefault((image, row // WINDOW, col // WINDOW), []).append((row, col))
        return found

    @torch.no_grad()
    def read(self, image: str, pixels: Sequence[tuple[int, int]]) -> None:
        """Read the features of points, as `learn` does of those that are not read. Raises UserError if it cannot."""
        with self.lock:
            self._read_at(image, pixels)

    def forget(self) -> None:
        """Forget all that was read of the images, which look otherwise now."""
        with self.lock:
            for held in (self._levels, self._points, self.painted):
                held.clear()
            self._held, self.fit = 0, None

    # The fit

    def learn(self, points: Pixels) -> bool:
        """Fit the probe to the points, beginning with the last fit. Returns False if there are not two classes."""
        with self.lock, torch.no_grad():
            labels, places = [], []
            for image, those in points.items():
                if image in self.imagery.pictures:
                    self._read_at(image, list(those))
                    places += [(image, *at) for at in those]
                    labels += [said.label for said in those.values()]
            present = sorted(set(labels))
            if len(present) < 2:
                self.fit = None
                self.painted.clear()
                return False
            x = torch.stack([self._points[place] for place in places])
            y = torch.tensor([present.index(label) for label in labels])
            last = self.fit
            strength, count = (0.0, 0) if last is None else (last.strength, last.count)
            if not (last and last.present == present and count <= len(y) < GROWN * count):
                strength, count = choose_strength(x, y, len(present), _held_out(places), STRENGTHS), len(y)
            # As if each class had as many points: then none is forgotten because it was clicked less.
            shares = torch.bincount(y).double() / len(y)
            start = (last.weight, last.bias) if last and last.present == present else None
            weight, bias = solve(x, y, len(present), strength, shares.log().expand(len(y), -1), start)
            version = 1 if last is None else last.version + 1
            self.fit = Fit(version, present, weight, bias, strength, count)
            return True

    # Maps

    def paint(self, keys: Iterable[Key], most: int | None = None) -> int:
        """Map windows that the last fit has not mapped yet, `most` of them. Returns how many."""
        done = 0
        for key in keys:
            if most is not None and done >= most:
                break
            with self.lock:
                fit = self.fit
                if fit is None:
                    break
                if key not in self.painted or self.painted[key].version != fit.version:
                    self._paint(key, fit)
                    done += 1
        return done

    @torch.inference_mode()
    def _paint(self, key: Key, fit: Fit) -> None:
        _, i, j = key
        top, left, height, width = self._part(key)
        held, valid = self._read(key)
        levels = [level.float()[None] for level in held]
        with torch.no_grad():
            self.probe.weight.data, self.probe.bias.data = fit.weight, fit.bias
            logits = self.probe.logits(levels)[0]
        rows, cols = i * WINDOW - top, j * WINDOW - left
        own = logits[:, rows : min(rows + WINDOW, height), cols : min(cols + WINDOW, width)]
        probability, best = own.softmax(0).max(0)
        label = np.asarray(fit.present, np.uint8)[best.numpy()]
        label[~valid] = IGNORE_INDEX
        confidence = (probability.numpy() * 100).round().astype(np.uint8)
        self.painted[key] = Painted(fit.version, label, confidence, np.bincount(label.ravel(), minlength=256))
        self.painted.move_to_end(key)
        while len(self.painted) > PAINTED:
            self.painted.popitem(last=False)

    def tile(self, image: str, factor: int, row: int, col: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]] | None:
        """What is mapped of (256, 256) pixels that begin at (row, col), each of factor × factor of the image's.

        Returns label and confidence (256, 256), 255 where nothing is mapped; None if all of it is.
        """
        label = np.full((WINDOW, WINDOW), IGNORE_INDEX, np.uint8)
        confidence = np.zeros((WINDOW, WINDOW), np.uint8)
        found = False
        for i in range(row // WINDOW, row // WINDOW + factor):
            for j in range(col // WINDOW, col // WINDOW + factor):
                there = self.painted.get((image, i, j))
                if there is None:
                    continue
                found = True
                values = there.label[::factor, ::factor]
                y, x = (i * WINDOW - row) // factor, (j * WINDOW - col) // factor
                here = slice(y, y + values.shape[0]), slice(x, x + values.shape[1])
                label[here], confidence[here] = values, there.confidence[::factor, ::factor]
        return (label, confidence) if found else None

    def areas(self, classes: int, image: str | None = None) -> list[int]:
        """Pixels of each class in what is mapped, of one image or all."""
        counts = sum(self.counts(image).values(), np.zeros(256, np.int64))
        return [int(n) for n in counts[:classes]]

    def counts(self, image: str | None = None) -> dict[Key, NDArray[np.int64]]:
        """Window → pixels of each label, of what is mapped of one image or all."""
        return {key: there.counts for key, there in list(self.painted.items()) if image in (None, key[0])}

    def label_at(self, image: str, row: int, col: int) -> int | None:
        """The map's class of a pixel; None where there is none."""
        there = self.painted.get((image, row // WINDOW, col // WINDOW))
        label = IGNORE_INDEX if there is None else int(there.label[row % WINDOW, col % WINDOW])
        return None if label == IGNORE_INDEX else label

    def posterior(self, image: str, row: int, col: int) -> list[tuple[int, float]]:
        """(class, probability) of a pixel, the likeliest first. Raises ValueError without a fit."""
        with self.lock, torch.no_grad():
            if self.fit is None:
                raise ValueError("there is no fit yet")
            self._read_at(image, [(row, col)])
            values = self._points[image, row, col]
            p = (values @ self.fit.weight.T + self.fit.bias).softmax(0)
            order = p.argsort(descending=True)
            return [(self.fit.present[int(k)], float(p[k])) for k in order]


def _held_out(places: Sequence[tuple[str, int, int]]) -> NDArray[np.bool_]:
    """Which points choose the strength: those of every fifth window, as points of one window are alike; a few of them
    choose nothing.
    """
    windows = [(image, row // WINDOW, col // WINDOW) for image, row, col in places]
    number = {window: k for k, window in enumerate(dict.fromkeys(windows))}
    held = np.array([number[window] % 5 == 4 for window in windows])
    return held if held.sum() >= FEWEST else np.zeros_like(held)


def _sample(draw: np.random.Generator, of: int, count: int) -> list[int]:
    """Some of the numbers below `of`, in random order."""
    found: list[int] = draw.choice(of, min(of, count), replace=False).tolist()
    return found


def _bytes(levels: Iterable[Tensor]) -> int:
    return sum(level.numel() * level.element_size() for level in levels)
