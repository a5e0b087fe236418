"""What clicks are worth, by where they are placed: the page's state and its maps, with Dubai's masks as the person.

    python docs/results/loop.py WEIGHTS docs/results/loop.jsonl [POINTS]

It goes on where its lines end. WEIGHTS: of the encoder tu-tf_efficientnet_lite0. POINTS: a folder that gets the clicks
of each strategy after 200 of them, for data.points_file. A person labels images of 256×256 pixels; where the map leads,
the first ten clicks are one of each class on two images. "Next" is the page's, and every fifth place a check point,
which is a click and not trained on. The probe is fitted anew after every click up to 24, then after each 8 % more; the
image just clicked and two others are mapped anew each time. A line has the scores of the probe on the validation
images. loop_tables.py makes table and figure of the lines.
"""

import functools
import hashlib
import itertools
import json
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sparse_seg.classes import IGNORE_INDEX, LAND_COVER

COUNTS = (25, 50, 100, 200, 400)
KEPT = 200
"""Clicks after which the points are written."""
FIRST = 10
"""Clicks before the map leads."""
EVERY = 5
"""Each so many-th place is a check point, as in the page."""
APART = 12
"""Pixels between the least certain places."""
SIZE = 256
NAMES = LAND_COVER.names
SPLITS: dict[str, dict[str, Any]] = {"random": {}, "tile": {"val_tiles": [1, 5]}}
Place = tuple[str, int, int]


@dataclass(frozen=True)
class Strategy:
    """leads: "" for places that a person finds, "next" for the page's, "unsure" for the least certain pixel. shake: how
    many pixels a click lies off, at most. wrong: share of clicks of another class.
    """

    title: str
    leads: str = ""
    shake: int = 0
    wrong: float = 0.0


STRATEGIES = {
    "random": Strategy("random clicks of random classes"),
    "per-class": Strategy("one per class and image, image by image"),
    "next": Strategy("the page's next", "next"),
    "next-shaken": Strategy("next, 2 px of shake, 2 % wrong classes", "next", 2, 0.02),
    "unsure": Strategy("the least certain place", "unsure"),
}


class Scene:
    """Images of a split at SIZE × SIZE. train: id → image and mask. val: images, masks. native: id → height, width."""

    def __init__(self, split: str) -> None:
        from sparse_seg.data.datamodule import SparsePointsDataModule
        from sparse_seg.data.dubai import dubai

        images = dubai()
        data = SparsePointsDataModule(images, points="all", split=split, size=SIZE, **SPLITS[split])
        data.setup()
        self.train = {name: (image, mask) for name, image, mask, _ in data.training_examples()}
        self.val = [(np.array(image), np.array(mask)) for image, mask in zip(*data.validation_arrays(), strict=True)]
        self.native = {s.image_id: s.read()[1].shape for s in images.samples if s.image_id in self.train}


class Person:
    """Says the class of a pixel as the mask has it."""

    def __init__(self, scene: Scene, strategy: Strategy, seed: int) -> None:
        self.scene, self.strategy, self.draw = scene, strategy, np.random.default_rng([seed, 1])

    def clicks(self, place: Place) -> tuple[int, int, int] | None:
        """Row, column and class of a click at a place; None where the mask says nothing."""
        image, row, col = place
        label = int(self.scene.train[image][1][row, col])
        if label == IGNORE_INDEX:
            return None
        if self.draw.random() < self.strategy.wrong:
            label = (label + int(self.draw.integers(1, len(NAMES)))) % len(NAMES)
        reach = self.strategy.shake
        disc = [(i, j) for i in range(-reach, reach + 1) for j in range(-reach, reach + 1) if i * i + j * j <= reach**2]
        off = disc[self.draw.integers(len(disc))]
        row, col = (min(max(0, at + d), SIZE - 1) for at, d in zip((row, col), off, strict=True))
        return row, col, label


def at_random(scene: Scene, draw: np.random.Generator) -> Iterator[Place]:
    """A random pixel of a random class of a random image."""
    names = list(scene.train)
    while True:
        name = names[draw.integers(len(names))]
        mask = scene.train[name][1]
        label = draw.choice(np.setdiff1d(mask, IGNORE_INDEX))
        pixels = np.argwhere(mask == label)
        row, col = pixels[draw.integers(len(pixels))].tolist()
        yield name, row, col


def per_class(scene: Scene, draw: np.random.Generator) -> Iterator[Place]:
    """One pixel of each class that an image has, image after image, then once more."""
    while True:
        for name in draw.permutation(list(scene.train)).tolist():
            mask = scene.train[name][1]
            for label in np.setdiff1d(mask, IGNORE_INDEX).tolist():
                pixels = np.argwhere(mask == label)
                row, col = pixels[draw.integers(len(pixels))].tolist()
                yield name, row, col


class Remembered:
    """Levels of images, each computed once. features: what computes them."""

    def __init__(self, features: Any) -> None:
        self.features, self.levels = features, {}

    def __call__(self, image: Any) -> Any:
        key = hashlib.sha256(image.numpy().tobytes()).digest()
        if key not in self.levels:
            self.levels[key] = self.features(image)
        return self.levels[key]


class Loop:
    """One strategy on one split with one seed. features: of all images."""

    def __init__(self, root: Path, scene: Scene, strategy: Strategy, seed: int, network: Any, features: Any) -> None:
        import PIL.Image

        from sparse_seg.annotate.maps import Maps
        from sparse_seg.annotate.state import Annotation

        (root / "images").mkdir()
        self.scene, self.strategy, self.features = scene, strategy, features
        self.ids = {name.replace("/", "_"): name for name in scene.train}
        for key, name in self.ids.items():
            PIL.Image.fromarray(scene.train[name][0]).save(root / "images" / f"{key}.png")
        self.page = Annotation(root)
        for name, colour in zip(NAMES, LAND_COVER.colours, strict=True):
            self.page.add_class(name, colour)
        self.draw = np.random.default_rng([seed, 0])
        self.maps = Maps(self.page.imagery, network)
        self.maps.features = features
        self.person = Person(scene, strategy, seed)
        self.clicks = 0

    def places(self) -> Iterator[tuple[Place, Any]]:
        """Where the next click goes, and what the page offered there if it is a check point."""
        from sparse_seg.annotate.maps import WINDOW
        from sparse_seg.annotate.places import check_point, suggest

        assert SIZE == WINDOW
        own = at_random if self.strategy is STRATEGIES["random"] else per_class
        for place in own(self.scene, self.draw):
            if self.strategy.leads and self.clicks >= FIRST:
                break
            yield place, None
        turn = itertools.cycle(self.draw.permutation(list(self.ids)).tolist())
        fitted, offered, skipped = 0, 0, []
        last = next(turn)
        while True:
            if self.clicks - fitted >= max(1, self.clicks // 12):
                self.maps.learn(self.page.pixels("points"))
                again = [last, next(turn), next(turn)] if fitted else list(self.ids)
                self.maps.paint((key, 0, 0) for key in again)
                fitted = self.clicks
            points, checks = self.page.pixels("points"), self.page.pixels("checks")
            away = [*skipped, *((i, *at) for i, those in checks.items() for at in those)]
            offered += 1
            check = check_point(self.maps, [points, checks], self.draw) if offered % EVERY == 0 else None
            if check is None and self.strategy.leads == "unsure":
                found = self.least_certain(points, away)
            else:
                said = check or suggest(self.maps, points, NAMES, away, self.draw)
                found = said.image, said.row, said.col
            before, last = self.clicks, found[0]
            yield (self.ids[found[0]], *found[1:]), check
            if self.clicks == before:
                skipped.append(found)

    def least_certain(self, points: Any, away: list[Place]) -> Place:
        """The pixel of the map with the least confidence, APART from all that is placed or was passed."""
        by_image: dict[str, list[tuple[int, int]]] = {image: list(those) for image, those in points.items()}
        for image, *at in away:
            by_image.setdefault(image, []).append((at[0], at[1]))
        best: tuple[float, Place] | None = None
        for (image, _, _), there in self.maps.painted.items():
            if best is not None and there.confidence.min() >= best[0]:
                continue
            confidence = there.confidence.copy()
            for row, col in by_image.get(image, []):
                confidence[max(0, row - APART) : row + APART, max(0, col - APART) : col + APART] = 255
            at = np.flatnonzero(confidence == confidence.min())
            row, col = divmod(int(self.draw.choice(at)), SIZE)
            if best is None or confidence[row, col] < best[0]:
                best = confidence[row, col], (image, row, col)
        assert best is not None
        return best[1]

    def run(self) -> Iterator[dict[str, Any]]:
        """The lines of COUNTS."""
        from sparse_seg.errors import UserError

        for place, check in self.places():
            said = self.person.clicks(place)
            if said is None:
                continue
            row, col, label = said
            key = place[0].replace("/", "_")
            try:
                if check is None:
                    self.page.add(key, row, col, label)
                else:
                    self.page.check(key, place[1], place[2], label, check.predicted, check.weight)
            except UserError:  # there is a point at this pixel
                continue
            self.clicks += 1
            if self.clicks in COUNTS:
                yield self.line()
            if self.clicks == COUNTS[-1]:
                return

    def line(self) -> dict[str, Any]:
        """Scores on the validation images after a fit to all points."""
        import torch

        from sparse_seg import metrics
        from sparse_seg.tensors import to_float

        self.maps.learn(self.page.pixels("points"))
        fit, probe = self.maps.fit, self.maps.probe
        matrix = np.zeros((len(NAMES),) * 2, np.int64)
        with torch.no_grad():
            probe.weight.data, probe.bias.data = fit.weight, fit.bias
            for image, mask in self.scene.val:
                best = probe.logits([level[None] for level in self.features(to_float(image))])[0].argmax(0)
                matrix += metrics.confusion_matrix(mask, np.asarray(fit.present, np.uint8)[best.numpy()], len(NAMES))
        iou = metrics.iou_per_class(matrix).tolist()
        return {
            "clicks": self.clicks,
            "points": dict(zip(NAMES, self.page.counts(), strict=True)),
            "checks": sum(map(len, self.page.checks.values())),
            "strength": fit.strength,
            "miou": metrics.mean_iou(matrix),
            "accuracy": metrics.accuracy(matrix),
            "iou": {name: None if np.isnan(v) else v for name, v in zip(NAMES, iou, strict=True)},
        }

    def write(self, path: Path) -> None:
        """Write the points as data.points_file of Dubai wants them: in the images' own pixels."""
        from sparse_seg.points.draw import write_points

        found = {}
        for key, those in self.page.pixels("points").items():
            native = self.scene.native[self.ids[key]]
            rows = [
                (*(int((v + 0.5) * n / SIZE) for v, n in zip(at, native, strict=True)), s.label)
                for at, s in those.items()
            ]
            found[self.ids[key]] = np.array(rows, np.int64)
        write_points(path, found, NAMES)


def run(weights: str, lines: Path, points: Path | None) -> None:
    import torch

    from sparse_seg.networks.build import create
    from sparse_seg.networks.features import Features

    torch.set_num_threads(1)
    network = create("probe", "tu-tf_efficientnet_lite0", weights, classes=len(NAMES)).eval()
    features = Remembered(Features(network.network, network.mean, network.std, None))
    scene_of = functools.cache(Scene)
    done = {(d["split"], d["strategy"], d["seed"]) for d in read(lines) if d["clicks"] == COUNTS[-1]}
    for split, seed in itertools.product(SPLITS, range(3)):
        for name, strategy in STRATEGIES.items():
            if (split, name, seed) in done:
                continue
            scene = scene_of(split)
            with tempfile.TemporaryDirectory() as root:
                loop = Loop(Path(root), scene, strategy, seed, network, features)
                for line in loop.run():
                    said = {"split": split, "strategy": name, "seed": seed, **line}
                    with lines.open("a", encoding="utf-8") as file:
                        file.write(json.dumps(said, allow_nan=False) + "\n")
                    if points is not None and line["clicks"] == KEPT:
                        loop.write(points / f"{name}_{seed}{'' if split == 'random' else f'_{split}'}.csv")
                loop.page.close()


def read(lines: Path) -> list[dict[str, Any]]:
    """The lines there are; of two of one run and count, the last."""
    if not lines.is_file():
        return []
    found = [json.loads(line) for line in lines.read_text(encoding="utf-8").splitlines()]
    return list({(d["split"], d["strategy"], d["seed"], d["clicks"]): d for d in found}.values())


if __name__ == "__main__":
    match sys.argv[1:]:
        case [weights, lines, *points] if len(points) < 2:
            run(weights, Path(lines), Path(points[0]) if points else None)
        case _:
            sys.exit(__doc__)
