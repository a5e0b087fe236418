"""Numbers that are no pixels are refused with what they look like; honest points of any kind are believed."""

import csv
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from folders import make
from numpy.typing import NDArray

from sparse_seg.data.folder import folder
from sparse_seg.data.synthetic import synthetic
from sparse_seg.errors import UserError
from sparse_seg.points.draw import sample_points
from sparse_seg.points.formats import label_names, read_own_points
from sparse_seg.points.records import PIXEL, Bad, Place

Array = NDArray[np.float64]
LABELS = label_names(("A", "B"), None)


def read(
    tmp_path: Path, points: Sequence[tuple[str, float, float]], sizes: dict[str, tuple[int, int]], **options: object
) -> tuple[dict[str, NDArray[np.int64]], Bad]:
    """points: image, x, y. sizes: columns and rows."""
    path = tmp_path / "points.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([("image", "x", "y", "class"), *((*p, "A") for p in points)])
    bad = Bad(skip=bool(options.pop("skip", False)))
    places = {key: Place(height, width) for key, (width, height) in sizes.items()}
    names = {key: key for key in sizes}
    return read_own_points(path, names, places, LABELS, bad, **options), bad  # type: ignore[arg-type]


def spread(count: int, size: tuple[int, int], seed: int = 0) -> Array:
    return np.random.default_rng(seed).random((count, 2)) * size


def on(points: Array, *images: str) -> list[tuple[str, float, float]]:
    """The points on images in turn."""
    return [(images[k % len(images)], round(float(x), 6), round(float(y), 6)) for k, (x, y) in enumerate(points)]


Make = Callable[[int, tuple[int, int]], Array]


def lon_lat(count: int, size: tuple[int, int]) -> Array:
    return np.array([55.2708, 25.2048]) + spread(count, (0.002, 0.002))


def brasilia(count: int, size: tuple[int, int]) -> Array:
    return np.array([-47.88, -15.79]) + spread(count, (0.01, 0.01))


def lat_lon(count: int, size: tuple[int, int]) -> Array:
    return lon_lat(count, size)[:, ::-1]


def south_east(count: int, size: tuple[int, int]) -> Array:
    return np.array([133.2, -25.3]) + spread(count, (0.01, 0.01))


def fractions(count: int, size: tuple[int, int]) -> Array:
    return spread(count, (1, 1))


def percent(count: int, size: tuple[int, int]) -> Array:
    return spread(count, (100, 100))


def metres(count: int, size: tuple[int, int]) -> Array:
    return np.array([325_000, 2_780_000]) + spread(count, (500, 500))


def kilometres(count: int, size: tuple[int, int]) -> Array:
    return np.array([325.1, 278.2]) + spread(count, (0.2, 0.2))


def thumbnail(count: int, size: tuple[int, int]) -> Array:
    return spread(count, size) / 10


def exchanged(count: int, size: tuple[int, int]) -> Array:
    return np.column_stack([spread(count, (10, size[0]))[:, 0], spread(count, (10, size[0]))[:, 1]])


DEGREES = "look like longitude and latitude, not like pixels"


@pytest.mark.parametrize("images", [("a",), ("a", "b", "c")])
@pytest.mark.parametrize(
    ("kind", "count", "size", "said"),
    [
        (lon_lat, 40, (96, 96), DEGREES), (lon_lat, 12, (5000, 4000), DEGREES), (lat_lon, 40, (256, 256), DEGREES),
        (brasilia, 40, (256, 256), DEGREES), (brasilia, 3, (256, 256), DEGREES), (south_east, 20, (256, 256), DEGREES),
        (fractions, 30, (96, 96), "look like fractions of the image"),
        (fractions, 2, (600, 400), "look like fractions"),
        (percent, 30, (96, 96), "look like percent of the image"), (percent, 30, (800, 600), "look like percent"),
        (percent, 12, (5000, 5000), "look like percent"),
        (metres, 3, (256, 256), "look like map coordinates in metres"),
        (metres, 40, (5000, 5000), "map coordinates in metres"),
        (kilometres, 40, (512, 512), "look like map coordinates"),
        (thumbnail, 20, (4000, 3000), "all 20 points lie in the upper left corner"),
        (exchanged, 20, (400, 100), "would lie inside with x and y exchanged"),
    ],
)  # fmt: skip
def test_numbers_that_are_no_pixels_are_refused_with_a_guess(
    tmp_path: Path, kind: Make, count: int, size: tuple[int, int], said: str, images: tuple[str, ...]
) -> None:
    points, sizes = on(kind(count, size), *images), dict.fromkeys(images, size)
    for skip in (False, True):
        if skip and kind is percent and size[0] < 100:
            continue  # those that lie outside are left out; the others are where they are, but for a few pixels
        with pytest.raises(UserError) as error:
            read(tmp_path, points, sizes, skip=skip)
        assert said in str(error.value)
        assert str(error.value).startswith(f"{tmp_path / 'points.csv'}: x ")
        assert "data.points_crs=pixel" in str(error.value)
        assert str(error.value).count("\n") == 1


@pytest.mark.parametrize("kind", [lon_lat, lat_lon, fractions, kilometres, thumbnail])
def test_whoever_is_sure_of_pixels_says_so(tmp_path: Path, kind: Make) -> None:
    points = on(kind(40, (4000, 4000)), "a")
    found, bad = read(tmp_path, points, {"a": (4000, 4000)}, crs=PIXEL)
    pixels = list(dict.fromkeys((int(y), int(x)) for _, x, y in points))
    assert [tuple(p) for p in found["a"][:, :2].tolist()] == pixels
    assert (len(pixels) < 40) == ("lie on a pixel" in bad.note(tmp_path / "points.csv"))


def test_thousands_written_with_a_point_are_refused(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 4000, (40, 2))
    lines = [f"a;{x:,};{y:,};A".replace(",", ".") for x, y in values.tolist()]
    (tmp_path / "points.csv").write_text("\n".join(["image;x;y;class", *lines]))
    with pytest.raises(UserError, match="beside whole numbers below 1000 looks like a thousands separator"):
        read_own_points(tmp_path / "points.csv", {"a": "a"}, {"a": Place(4000, 4000)}, LABELS, Bad())


CORNER = np.random.default_rng(0).permutation(900)[:40, None] // [1, 30] % 30
HONEST: list[tuple[str, Array, tuple[int, int], tuple[str, ...]]] = [
    ("one click in the middle of a pixel", np.array([[0.5, 0.5]]), (96, 96), ("a",)),
    ("one click anywhere", np.array([[0.37, 0.21]]), (96, 96), ("a",)),
    ("two clicks", np.array([[10.3, 20.2], [55.27, 25.2]]), (96, 96), ("a",)),
    ("three clicks side by side", np.array([[50.25, 25.1], [50.75, 25.9], [51.4, 25.3]]), (96, 96), ("a",)),
    ("the first pixel of each image", np.full((10, 2), 0.5), (96, 96), tuple("abcdefghij")),
    ("integers at the first pixels", np.array([[0, 0], [0, 1], [1, 0], [1, 1]]), (96, 96), ("a",)),
    ("a corner of one of many", CORNER, (600, 600), ("a",)),
    ("clicks between pixels in a quarter", spread(12, (48, 48)), (96, 96), ("a",)),
    ("tiny images", spread(12, (4, 4)), (4, 4), ("a", "b", "c")),
    ("small images", spread(40, (16, 16)), (16, 16), ("a", "b")),
    ("images of 100 pixels", spread(200, (100, 100)), (100, 100), ("a", "b")),
    ("images a little above 100 pixels", spread(12, (100, 100)), (112, 112), ("a",)),
    ("a column of pixels", np.column_stack([np.full(20, 3.5), np.arange(20) + 0.5]), (96, 96), ("a",)),
    ("one click in each image, at one place", np.full((20, 2), 47.3), (96, 96), tuple("abcdefghijklmnopqrst")),
]  # fmt: skip


@pytest.mark.parametrize(("points", "size", "images"), [case[1:] for case in HONEST], ids=[case[0] for case in HONEST])
def test_honest_points_are_believed(
    tmp_path: Path, points: Array, size: tuple[int, int], images: tuple[str, ...]
) -> None:
    sizes = dict.fromkeys((*images, "other", "another"), size)
    found, bad = read(tmp_path, on(points, *images), sizes)
    assert sum(map(len, found.values())) == len({(i, int(x), int(y)) for i, x, y in on(points, *images)})
    assert not bad.counts


@pytest.mark.parametrize("count", [1, 5, 20, 50])
def test_points_drawn_from_masks_are_believed(tmp_path: Path, count: int) -> None:
    images = synthetic(images=4, size=64)
    sizes, points = {}, []
    for sample in images.samples:
        mask = sample.read()[1]
        sizes[sample.image_id] = (mask.shape[1], mask.shape[0])
        drawn = sample_points(mask, count, 0, sample.image_id)
        points += [(sample.image_id, c, r) for r, c, _ in drawn.tolist()]
    found, bad = read(tmp_path, points, sizes)
    assert sum(map(len, found.values())) == len(points)
    assert bad.note(tmp_path) == ""


def test_points_that_share_a_pixel_are_counted_and_said(tmp_path: Path) -> None:
    points = [("a", 3, 4), ("a", 3.5, 4.5), ("a", 9, 9), ("b", 3, 4), ("b", 5, 5)]
    found, bad = read(tmp_path, points, {"a": (96, 96), "b": (96, 96)})
    assert sum(map(len, found.values())) == 4
    said = "1 of 5 points lie on a pixel that has one of the same class already, and count once"
    assert bad.note(tmp_path / "points.csv") == f"{tmp_path / 'points.csv'}: {said}"


@pytest.mark.parametrize("repeat", [2, 3])
def test_most_points_on_few_pixels_are_refused(tmp_path: Path, repeat: int) -> None:
    points = [("a", x, 5) for x in range(6)] * repeat  # lines that come twice are half of all
    if repeat == 2:
        found, bad = read(tmp_path, points, {"a": (96, 96)})
        assert len(found["a"]) == 6
        assert "6 of 12 points lie on a pixel" in bad.note(tmp_path)
        return
    with pytest.raises(UserError, match=r"12 of 18 points lie on a pixel .*\n.*say data\.points_crs=pixel"):
        read(tmp_path, points, {"a": (96, 96)})
    assert len(read(tmp_path, points, {"a": (96, 96)}, crs=PIXEL)[0]["a"]) == 6


@pytest.mark.parametrize("suffix", ["csv", "geojson"])
def test_rows_counted_upwards_by_qgis_are_understood_once(tmp_path: Path, suffix: str) -> None:
    root = make(tmp_path / "own", ["a.png", "b.png"], masked=[])
    points = [("a", 3.2, -0.4), ("a", 40.9, -39.5), ("b", 7.5, 0.0), ("b", 20.0, -11.0)]
    if suffix == "csv":
        lines = [f"{i},{x},{y},Land" for i, x, y in points]
        (root / "points.csv").write_text("\n".join(["image,x,y,class", *lines]))
    else:
        features = [
            {
                "type": "Feature",
                "properties": {"image": i, "class": "Land"},
                "geometry": {"type": "Point", "coordinates": [x, y]},
            }
            for i, x, y in points
        ]
        (root / "points.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    for crs in (None, "pixel"):
        images = folder(root, points_crs=crs)
        found = {s.image_id: s.points[:, :2].tolist() for s in images.samples if s.points is not None}
        assert found == {"a": [[0, 3], [39, 40]], "b": [[0, 7], [11, 20]]}
        (note,) = (n for n in images.notes if "QGIS" in n)
        assert note.count("row = -y") == 1


def test_one_row_below_zero_among_others_is_no_row_of_qgis(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"line 3: x=5, y=-3 \(column, row\) lies outside"):
        read(tmp_path, [("a", 5, 3), ("a", 5, -3)], {"a": (96, 96)})


def test_a_run_on_another_data_set_has_the_same_way_out(tmp_path: Path) -> None:
    from sparse_seg.data.datamodule import SparsePointsDataModule

    images = synthetic(images=4, size=64)
    ids = [s.image_id for s in images.samples]
    path = tmp_path / "points.csv"
    lines = [f"{ids[k % 4]},{0.013 * k:.3f},{0.011 * k:.3f},{images.classes.names[0]}" for k in range(1, 40)]
    path.write_text("\n".join(["image,x,y,class", *lines]))

    def module(crs: str | None) -> SparsePointsDataModule:
        data = SparsePointsDataModule(
            images,
            points=5,
            size=32,
            points_file=str(path),
            points_crs=crs,
            allow_empty_classes=True,
            cache_dir=str(tmp_path / "cache"),
        )
        data.setup()
        return data

    with pytest.raises(UserError, match=r"look like fractions .*\n.* say data\.points_crs=pixel"):
        module(None)
    with pytest.warns(UserWarning, match="no labelled pixel"):
        assert "35 of 39 points lie on a pixel" in module("pixel").bad.note(path)


@pytest.mark.skipif(not os.environ.get("SPARSE_SEG_DATA"), reason="SPARSE_SEG_DATA is not set: no Dubai data")
@pytest.mark.parametrize("count", [5, 20, 50])
def test_points_drawn_on_dubai_are_believed(tmp_path: Path, count: int) -> None:
    from sparse_seg.data.dubai import dubai

    points, sizes = [], {}
    for sample in dubai().samples[:9]:
        mask = sample.read()[1]
        sizes[sample.image_id] = (mask.shape[1], mask.shape[0])
        points += [(sample.image_id, c, r) for r, c, _ in sample_points(mask, count, 0, sample.image_id).tolist()]
    found, bad = read(tmp_path, points, sizes)
    assert sum(map(len, found.values())) == len(points)
    assert bad.note(tmp_path) == ""


def test_an_image_that_cannot_be_opened_says_nothing(tmp_path: Path) -> None:
    PIL.Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    found, _ = read(tmp_path, on(lon_lat(20, (0, 0)), "a"), {"a": (2**31, 2**31)}, crs=PIXEL)
    assert len(found["a"]) < 20
