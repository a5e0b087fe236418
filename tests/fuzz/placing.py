"""A file under test in a folder of good ones, in every role that it can have, and the jobs that read it."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from folders import index_map, make, picture, save_mask, save_tif
from fuzz.jobs import Job

POINTS = "image,x,y,class\n" + "".join(
    f"{i},{3 + 5 * k},4,{c}\n" for i in "abcd" for k, c in enumerate(("Water", "Land"))
)


@dataclass
class Place:
    """Where folders are made, one for each file and role. checkpoint: a good one."""

    folder: Path
    checkpoint: Path
    count: int = 0

    def __post_init__(self) -> None:
        self.folder.mkdir()
        self.base = make(self.folder / "base", ["b.png", "c.png", "d.png", "e.png"])
        (self.base / "points.csv").write_text(POINTS.replace("a,", "b,"))
        self.image = self.base / "images" / "b.png"

    def put(self, data: bytes | None, *where: str, drop: tuple[str, ...] = ()) -> tuple[Path, Path]:
        """A new folder, and the file in it."""
        self.count += 1
        root = self.folder / f"{self.count:03d}"
        shutil.copytree(self.base, root)
        for name in drop:
            (root / name).unlink()
        path = root.joinpath(*where)
        if path.exists():
            path.unlink()
        if data is None:
            path.mkdir()
        else:
            path.write_bytes(data)
        return root, path

    def image_jobs(self, name: str, data: bytes | None, suffix: str, labelled: bool = True) -> Iterator[Job]:
        """labelled: whether a network goes over it, too, which takes minutes where it is large."""
        root, path = self.put(data, "images", f"a{suffix}", drop=("points.csv",))
        (root / "points.csv").write_text(POINTS)
        yield from _folder(f"{name} as image", root)
        if not labelled:
            return
        out = str(root / "out")
        yield Job(
            f"{name} as image", "predict", (str(self.checkpoint), str(path), "--out", out, "--overlay"), str(root)
        )

    def mask_jobs(
        self, name: str, data: bytes | None, suffix: str, image: Path | None = None, labelled: bool = True
    ) -> Iterator[Job]:
        """image: the one that the mask belongs to; a good one of (40, 48) pixels without."""
        root, _ = self.put(data, "masks", f"a{suffix}")
        own = root / "images" / f"a{(image or self.image).suffix}"
        shutil.copy(image or self.image, own)
        yield from _folder(f"{name} as mask", root)
        if labelled:
            words = (str(self.checkpoint), str(own), "--out", str(root / "out"), "--masks", str(root / "masks"))
            yield Job(f"{name} as mask", "predict", words, str(root))
        (bare := self.folder / f"{root.name}-bare").mkdir()
        shutil.copytree(root / "masks", bare / "masks")
        (bare / "images").mkdir()
        shutil.copy(own, bare / "images")
        yield Job(f"{name} as the only mask", "inspect", (str(bare),), str(bare))

    def points_jobs(self, name: str, data: bytes | None, suffix: str) -> Iterator[Job]:
        root, path = self.put(data, f"points{suffix}", drop=("points.csv",))
        yield from _folder(name, root)
        bare, _ = self.put(data, f"points{suffix}", drop=("points.csv", "classes.yaml"))
        shutil.rmtree(bare / "masks")
        yield Job(f"{name} alone", "inspect", (str(bare),), str(bare))
        own, path = self.put(data, f"mine{suffix}", drop=("points.csv",))
        yield Job(f"{name} of a run", "set_up", (str(own), str(path)), str(own))

    def classes_jobs(self, name: str, data: bytes | None) -> Iterator[Job]:
        root, _ = self.put(data, "classes.yaml")
        yield from _folder(name, root)

    def checkpoint_jobs(self, name: str, data: bytes | None) -> Iterator[Job]:
        root, path = self.put(data, "run.ckpt")
        yield Job(name, "predict", (str(path), str(self.image), "--out", str(root / "out")), str(root))

    def beside_jobs(self, name: str, data: bytes | None, suffix: str) -> Iterator[Job]:
        """A file beside image and mask, of a GeoTIFF or, where the suffix is a PNG's, of PNGs. suffix: with a's own."""
        root, path = self.put(data, "images", f"a{suffix}")
        if ".p" in suffix and suffix != ".prj":
            shutil.copy(self.image, root / "images" / "a.png")
            save_mask(root / "masks" / "a.png", index_map(0))
        else:
            save_tif(root / "images" / "a.tif", picture(index_map(0)).transpose(2, 0, 1))
            save_tif(root / "masks" / "a.tif", index_map(0)[None].astype(np.uint8))
            (root / "classes.yaml").write_text("classes: [{name: Water, index: 0, colour: '#E2A929'}, "
                "{name: Land, index: 1, colour: '#8429F6'}, {name: Road, index: 2, colour: '#6EC1E4'}]\n")  # fmt: skip
        if data is not None:
            shutil.copy(path, root / "masks" / path.name)
        yield from _folder(name, root)
        image = next(p for p in (root / "images").iterdir() if p.name in ("a.tif", "a.png"))
        words = (str(self.checkpoint), str(image), "--out", str(root / "out"), "--masks", str(root / "masks"))
        yield Job(name, "predict", words, str(root))


def _folder(name: str, root: Path) -> Iterator[Job]:
    for entry in ("inspect", "set_up"):
        yield Job(name, entry, (str(root),), str(root))
