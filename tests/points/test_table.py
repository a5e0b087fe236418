"""Points of one's own: both header styles, map coordinates, and every bad one named by file and line or counted."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio.warp
from affine import Affine
from folders import ORIGIN, PIXEL, UTM, make, picture, save_tif
from hypothesis import given
from hypothesis import strategies as st

from sparse_seg.data.folder import folder
from sparse_seg.data.sample import Sample
from sparse_seg.errors import UserError
from sparse_seg.points.formats import label_names, read_own_points
from sparse_seg.points.holdout import divide_points, rest
from sparse_seg.points.records import Bad, Place

LABELS = label_names(("Water", "Land", "Road"), None)
PLAIN = {"a": Place(40, 48), "b": Place(10, 10)}
NAMES = {"a": "a", "a.jpg": "a", "images/a.jpg": "a", "b": "b"}


def read(tmp_path: Path, text: str, bad: Bad | None = None, suffix: str = "csv", **options: Any) -> dict[str, Any]:
    path = tmp_path / f"points.{suffix}"
    path.write_text(text)
    places = options.pop("places", PLAIN)
    found = read_own_points(path, NAMES, places, LABELS, bad or Bad(), **options)
    return {key: points.tolist() for key, points in found.items()}


@pytest.mark.parametrize(
    "text",
    [
        "image,row,col,class\na,2,1,Land\na,4,3,0\nb,5,6,Land\n",
        "image,x,y,class\na.jpg,1,2,Land\nimages/a.jpg,3.9,4.2,Water\nb,6,5,1\n",
        "Class;Y;X;Image\nLand;2;1;a\nWater;4;3;a\n\nLand;5;6;b\n",
        "\ufefflabel\tfile\tcol\trow\textra\nLand\ta\t1\t2\t\nWater\ta\t3\t4\t\nLand\tb\t6\t5\tx\nLand\tb\t6\t5\tx\n",
    ],
)
def test_headers_of_either_style_mean_the_same(tmp_path: Path, text: str) -> None:
    assert read(tmp_path, text) == {"a": [[2, 1, 1, 0], [4, 3, 0, 0]], "b": [[5, 6, 1, 0]]}


def test_a_class_may_be_the_index_that_masks_use() -> None:
    assert label_names(("A", "B"), (10, 20)) == {"A": 0, "B": 1, "10": 0, "20": 1}
    assert label_names(("1", "0"), None) == {"1": 0, "0": 1}  # names win


HEAD = "image,x,y,class\n"
BAD = [
    ("a,48,0,Land\n", "line 2: x=48, y=0 (column, row) lies outside image 'a', which has 48 columns and 40 rows"),
    ("a,1,2,Land\na,-0.5,0,Land\n", "line 3: x=-0.5, y=0 (column, row) lies outside image 'a'"),
    ("c,1,2,Land\n", "line 2: no image 'c'; names look like a, b"),
    (",1,2,Land\n", "line 2: no image"),
    ("a,1,2,Forest\n", "line 2: unknown class 'Forest'; classes are Water, Land, Road"),
    ("a,1,2,3\n", "line 2: unknown class '3'"),
    ("a,x,2,Land\n", "line 2: x 'x', y '2' must be numbers"),
    ("a,nan,2,Land\n", "line 2: x 'nan', y '2' must be numbers"),
    ("a,1\n", "line 2: x '1', y '' must be numbers"),
    ("a,1,2,Land\na,3,3,Road\na,1,2,Road\n", "line 4: row 2, column 1 of image 'a' is Road here and Land in line 2"),
]


@pytest.mark.parametrize(("text", "message"), BAD)
def test_a_bad_point_is_refused_with_file_and_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UserError) as error:
        read(tmp_path, HEAD + text)
    assert str(error.value).startswith(f"{tmp_path / 'points.csv'}, {message}")
    assert "data.on_bad_point=skip" in str(error.value)


@pytest.mark.parametrize("text", [text for text, _ in BAD])
def test_bad_points_can_be_left_out_and_counted(tmp_path: Path, text: str) -> None:
    bad = Bad(skip=True)
    points = read(tmp_path, HEAD + "b,1,1,Road\n" + text, bad)
    contradicting = text.count("\n") == 3
    assert points["b"] == [[1, 1, 2, 0]]
    assert sum(bad.counts.values()) == (2 if contradicting else 1)  # neither of two is to be believed
    assert points.get("a", []) in ([], [[2, 1, 1, 0]], [[3, 3, 2, 0]])
    assert f"points.csv: {sum(bad.counts.values())} bad points left out: " in bad.note(tmp_path / "points.csv")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1: no column image/file and no row/y and no col/column and no class/label; it has nothing"),
        ("image,row,class\n", "line 1: no column col/column; it has image, row, class"),
        ("image,row,y,col,class\n", "line 1: the columns row and y mean the same; leave one out"),
    ],
)
def test_a_header_that_lacks_something_is_refused_also_where_points_are_skipped(
    tmp_path: Path, text: str, message: str
) -> None:
    with pytest.raises(UserError) as error:
        read(tmp_path, text, Bad(skip=True))
    assert message in str(error.value)


def test_a_file_that_is_no_table_is_named(tmp_path: Path) -> None:
    (tmp_path / "points.csv").write_bytes("image,x,y,class\nGröße,1,2,Land\n".encode("latin-1"))
    with pytest.raises(UserError, match=r"points\.csv cannot be read as a UTF-8 table"):
        read_own_points(tmp_path / "points.csv", NAMES, PLAIN, LABELS, Bad())


def geojson(points: list[tuple[float, float, dict[str, Any]]], crs: str | None = None) -> str:
    features = [
        {"type": "Feature", "properties": p, "geometry": {"type": "Point", "coordinates": [x, y]}} for x, y, p in points
    ]
    named = {"crs": {"type": "name", "properties": {"name": crs}}} if crs else {}
    return json.dumps({"type": "FeatureCollection", **named, "features": features}, indent=1)


def map_position(row: float, col: float) -> tuple[float, float]:
    """Of the middle of a pixel, in UTM."""
    return ORIGIN[0] + (col + 0.5) * PIXEL, ORIGIN[1] - (row + 0.5) * PIXEL


@pytest.mark.parametrize(
    "crs", [None, "EPSG:4326", "urn:ogc:def:crs:OGC:1.3:CRS84", UTM, "urn:ogc:def:crs:EPSG::32640"]
)
@pytest.mark.parametrize("named", [True, False])
def test_map_coordinates_find_image_and_pixel(tmp_path: Path, crs: str | None, named: bool) -> None:
    root = make(tmp_path / "own", [], masked=[])
    index = np.zeros((40, 48), np.uint8)
    save_tif(root / "images" / "a.tif", picture(index).transpose(2, 0, 1))
    east = Affine(PIXEL, 0, ORIGIN[0] + 48 * PIXEL, 0, -PIXEL, ORIGIN[1])
    save_tif(root / "images" / "b.tif", picture(index).transpose(2, 0, 1), transform=east)
    pixels = [(0, 0, "a"), (39, 47, "a"), (17, 48 + 5, "b")]
    points = []
    for row, col, image in pixels:
        x, y = map_position(row, col)
        if crs is None or "32640" not in crs:
            (x,), (y,) = rasterio.warp.transform(UTM, "EPSG:4326", [x], [y])
        points.append((x, y, {"class": "Road"} | ({"image": image} if named else {})))
    (root / "points.geojson").write_text(geojson(points, crs))
    found = {s.image_id: s.points.tolist() for s in folder(root).samples if s.points is not None}
    assert found == {"a": [[0, 0, 2, 0], [39, 47, 2, 1]], "b": [[17, 5, 2, 0]]}


def test_a_point_on_the_nodata_of_one_image_belongs_to_the_other_that_overlaps(tmp_path: Path) -> None:
    root = make(tmp_path / "own", [], masked=[])
    pixels = picture(np.zeros((40, 48), np.uint8)).transpose(2, 0, 1)
    hole = pixels.copy()
    hole[:, :, :20] = 0
    save_tif(root / "images" / "a.tif", hole, nodata=0)
    save_tif(root / "images" / "b.tif", pixels)
    places = [map_position(3, 4), map_position(3, 30)]
    (root / "points.geojson").write_text(geojson([(*p, {"class": "Road"}) for p in places], UTM))
    found = {s.image_id: s.points.tolist() for s in folder(root).samples if s.points is not None}
    assert found == {"a": [[3, 30, 2, 0]], "b": [[3, 4, 2, 0]]}


def test_the_crs_can_be_said_on_the_command_line(tmp_path: Path) -> None:
    root = make(tmp_path / "own", [], masked=[])
    save_tif(root / "images" / "a.tif", picture(np.zeros((40, 48), np.uint8)).transpose(2, 0, 1))
    (root / "points.geojson").write_text(geojson([(*map_position(3, 4), {"class": "Road"})]))
    (sample,) = folder(root, points_crs=UTM).samples
    assert sample.points is not None
    assert sample.points.tolist() == [[3, 4, 2, 0]]
    with pytest.raises(UserError, match=r"the CRS 'EPSG:1' cannot be used .* data\.points_crs=EPSG:NUMBER"):
        folder(root, points_crs="EPSG:1")
    with pytest.raises(UserError, match=r"points\.geojson, line 4, feature 1: .* lies on none of the images"):
        folder(root)
    (root / "points.geojson").write_text(geojson([(4, 3, {"class": "Road", "image": "a"})]))
    (sample,) = folder(root, points_crs="pixel").samples
    assert sample.points is not None
    assert sample.points.tolist() == [[3, 4, 2, 0]]


def test_geojson_of_plain_images_is_in_pixels(tmp_path: Path) -> None:
    text = geojson([(1, 2, {"image": "a", "class": 1}), (3, 4, {"Image": "a.jpg", "Label": "Water"})])
    assert read(tmp_path, text, suffix="geojson") == {"a": [[2, 1, 1, 0], [4, 3, 0, 0]]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "line 1: no JSON"),
        ("[]", "is no GeoJSON FeatureCollection"),
        (geojson([(1, 2, {"image": "a", "class": "Land"})], "EPSG:4326"), "no image has a map position"),
        (
            geojson([(99, 2, {"image": "a", "class": "Land"})]),
            "line 4, feature 1: x=99, y=2 (column, row) lies outside",
        ),
        (
            geojson([(1, 2, {"image": "a", "class": "Land"}), (1, 2, {"image": "a", "class": "Road"})]),
            "feature 2: row 2",
        ),
        (geojson([(1, 2, {"image": "a", "class": "Sea"})]), "feature 1: unknown class 'Sea'"),
        (geojson([(1, 2, {"class": "Land"})]), "feature 1: no image"),
        (geojson([(1, None, {"image": "a"})]), "feature 1: coordinates [1, None] must be two numbers"),  # type: ignore[list-item]
        (geojson([(1, 2, {})]).replace('"Point"', '"Polygon"'), "feature 1: geometry 'Polygon' must be a Point"),
        (geojson([(1, 2, {})]).replace('"features"', '"crs": 5, "features"'), "the CRS 5 cannot be understood"),
    ],
)
def test_wrong_geojson_is_refused_with_file_and_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UserError) as error:
        read(tmp_path, text, suffix="geojson")
    assert str(error.value).startswith(str(tmp_path / "points.geojson"))
    assert message in str(error.value)


def sample(image_id: str, counts: list[int]) -> Sample:
    points = [(k, n, k, n) for k, count in enumerate(counts) for n in range(count)]

    def unread() -> Any:
        raise AssertionError("dividing points needs no pixels")

    return Sample(image_id, "1", "", unread, np.array(points, np.int64).reshape(-1, 4), has_mask=False)


@given(st.lists(st.integers(0, 30), min_size=1, max_size=4), st.floats(0.05, 0.95), st.integers(0, 9))
def test_every_point_validates_or_trains(counts: list[int], fraction: float, seed: int) -> None:
    samples = [sample("x", counts), sample("y", counts)]
    held = divide_points(samples, fraction, seed)
    kept = rest(samples, held, None)
    for i, whole in enumerate(samples):
        assert whole.points is not None
        together = [*held[i].tolist(), *kept[i].tolist()]
        assert sorted(together) == sorted(whole.points.tolist())
        for k, count in enumerate(counts):
            assert abs((held[i][:, 2] == k).sum() - count * fraction) <= 1
    few = rest(samples, held, 3)
    assert all(
        (few[i][:, 2] == k).sum() == min(3, (kept[i][:, 2] == k).sum()) for i in (0, 1) for k in range(len(counts))
    )


def test_a_single_point_of_a_class_validates_in_the_share_of_images(tmp_path: Path) -> None:
    samples = [sample(f"image {k}", [1]) for k in range(400)]
    held = divide_points(samples, 0.3, 0)
    assert 0.2 < np.mean([len(held[k]) for k in range(400)]) < 0.4


def test_what_is_held_out_depends_on_the_image_and_the_split_seed_alone() -> None:
    x, y = sample("x", [9, 9]), sample("y", [9, 9])
    alone, beside = divide_points([x], 0.3, 0)[0], divide_points([y, x], 0.3, 0)[1]
    np.testing.assert_array_equal(alone, beside)
    assert {tuple(divide_points([x], 0.3, seed)[0][:, 3].tolist()) for seed in range(5)} != {
        tuple(alone[:, 3].tolist())
    }
