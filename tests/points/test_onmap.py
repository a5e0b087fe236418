"""Points on the map: in a CRS, in the images' own coordinates, in tables, and what is said where neither is known."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import rasterio.warp
from affine import Affine
from folders import ORIGIN, PIXEL, UTM, make, picture, save_tif
from rasterio.crs import CRS

from sparse_seg.data.folder import folder
from sparse_seg.data.survey import inspect
from sparse_seg.errors import UserError

LOCAL = CRS.from_wkt('LOCAL_CS["site grid",UNIT["metre",1]]')
PIXELS = [("a", 3, 4), ("a", 39, 47), ("b", 0, 0), ("b", 17, 5)]


def placed(tmp_path: Path, crs: Any) -> Path:
    root = make(tmp_path / "own", [], masked=[])
    for k, name in enumerate("ab"):
        transform = Affine(PIXEL, 0, ORIGIN[0] + k * 48 * PIXEL, 0, -PIXEL, ORIGIN[1])
        image = picture(np.zeros((40, 48), np.uint8)).transpose(2, 0, 1)
        save_tif(root / "images" / f"{name}.tif", image, crs=crs, transform=transform)
    return root


def positions() -> list[tuple[float, float]]:
    return [
        (ORIGIN[0] + ("ab".index(image) * 48 + col + 0.5) * PIXEL, ORIGIN[1] - (row + 0.5) * PIXEL)
        for image, row, col in PIXELS
    ]


def write_geojson(root: Path, places: list[tuple[float, float]], named: bool = False, crs: str | None = None) -> None:
    features = [
        {
            "type": "Feature",
            "properties": {"class": "Road"} | ({"image": image} if named else {}),
            "geometry": {"type": "Point", "coordinates": place},
        }
        for place, (image, _, _) in zip(places, PIXELS, strict=True)
    ]
    member = {"crs": {"type": "name", "properties": {"name": crs}}} if crs else {}
    (root / "points.geojson").write_text(json.dumps({"type": "FeatureCollection", **member, "features": features}))


def found(root: Path, **options: Any) -> list[tuple[str, int, int]]:
    samples = folder(root, **options).samples
    return [(s.image_id, r, c) for s in samples if s.points is not None for r, c, _, _ in s.points.tolist()]


def refused(root: Path, **options: Any) -> str:
    with pytest.raises(UserError) as error:
        folder(root, **options)
    assert str(error.value).count("\n") < 2
    return str(error.value)


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("crs", [None, LOCAL, UTM])
def test_points_may_be_in_the_images_own_coordinates(tmp_path: Path, crs: Any, named: bool) -> None:
    root = placed(tmp_path, crs)
    write_geojson(root, positions(), named)
    assert found(root, points_crs="image") == found(root, points_crs="IMAGE") == PIXELS
    write_geojson(root, positions(), named, crs="image")
    assert found(root) == PIXELS


@pytest.mark.parametrize("crs", [None, LOCAL])
@pytest.mark.parametrize("named", [True, False])
def test_images_with_coordinates_but_no_crs_want_to_be_told(tmp_path: Path, crs: Any, named: bool) -> None:
    root = placed(tmp_path, crs)
    write_geojson(root, positions(), named)
    said = refused(root)
    assert "points.geojson does not say what its coordinates are in, and the images have some of their own" in said
    assert "data.points_crs=image" in said
    assert "data.points_crs=pixel" in said
    with pytest.raises(UserError, match=r"data\.points_crs=image"):
        list(inspect(root))
    assert "data.points_crs=image" in list(inspect(root, points_crs="image"))[-1]
    write_geojson(root, positions(), named, crs=UTM)
    assert "is in EPSG:32640, but the images have coordinates of their own, without a CRS" in refused(root)


def test_pixels_of_images_without_a_crs_stay_pixels(tmp_path: Path) -> None:
    root = placed(tmp_path, None)
    write_geojson(root, [(col + 0.5, row + 0.5) for _, row, col in PIXELS], named=True)
    assert found(root) == found(root, points_crs="pixel") == PIXELS


def test_no_image_has_coordinates(tmp_path: Path) -> None:
    root = make(tmp_path / "own", ["a.png", "b.png"], masked=[])
    write_geojson(root, positions())
    assert "is in image, but no image has a map position" in refused(root, points_crs="image")


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize(
    ("crs", "header"),
    [(UTM, "x,y"), (UTM, "Easting,Northing"), ("EPSG:4326", "lon,lat"), ("EPSG:4326", "x,y"), ("image", "x,y")],
)
def test_a_table_may_be_on_the_map(tmp_path: Path, crs: str, header: str, named: bool) -> None:
    root = placed(tmp_path, UTM)
    xs, ys = zip(*positions(), strict=True)
    if crs == "EPSG:4326":
        xs, ys = rasterio.warp.transform(UTM, crs, xs, ys)
    rows = [
        [*[image] * named, f"{x:.8f}", f"{y:.8f}", ("Road", "Land")[row % 2]]
        for (image, row, _), x, y in zip(PIXELS, xs, ys, strict=True)
    ]
    lines = ["image," * named + f"{header},class", *map(",".join, rows)]
    (root / "points.csv").write_text("\n".join(lines))
    assert found(root, points_crs=crs) == PIXELS
    (root / "classes.yaml").unlink()
    assert any(line.startswith("points    4 on 2 images") for line in inspect(root, points_crs=crs))


def test_a_table_of_degrees_says_how_to_read_it(tmp_path: Path) -> None:
    root = placed(tmp_path, UTM)
    xs, ys = rasterio.warp.transform(UTM, "EPSG:4326", *zip(*positions(), strict=True))
    lines = [f"{image},{x:.8f},{y:.8f},Road" for (image, _, _), x, y in zip(PIXELS, xs, ys, strict=True)]
    (root / "points.csv").write_text("\n".join(["image,x,y,class", *lines]))
    assert "look like longitude and latitude" in refused(root)
    assert "data.points_crs=EPSG:NUMBER" in refused(root)


def test_most_points_on_few_pixels_of_a_map_are_refused(tmp_path: Path) -> None:
    root = placed(tmp_path, UTM)
    features = [
        {"type": "Feature", "properties": {"class": "Road"}, "geometry": {"type": "Point", "coordinates": place}}
        for place in positions() * 10
    ]
    member = {"crs": {"type": "name", "properties": {"name": UTM}}}
    (root / "points.geojson").write_text(json.dumps({"type": "FeatureCollection", **member, "features": features}))
    said = refused(root)
    assert "36 of 40 points lie on a pixel that has one of the same class already" in said
    assert "say data.on_bad_point=skip" in said
    images = folder(root, on_bad_point="skip")
    assert any("36 of 40 points lie on a pixel" in note for note in images.notes)
    assert sum(len(s.points) for s in images.samples if s.points is not None) == 4


def test_a_point_on_the_transparent_part_of_a_placed_png_belongs_to_the_other(tmp_path: Path) -> None:
    root = make(tmp_path / "own", [], masked=[])
    pixels = np.dstack([picture(np.zeros((40, 48), np.uint8)), np.full((40, 48), 255, np.uint8)])
    for name, hole in (("a", slice(0, 20)), ("b", slice(20, 20))):
        shown = pixels.copy()
        shown[:, hole, 3] = 0
        PIL.Image.fromarray(shown).save(root / "images" / f"{name}.png")
        lines = (PIXEL, 0, 0, -PIXEL, ORIGIN[0] + PIXEL / 2, ORIGIN[1] - PIXEL / 2)
        (root / "images" / f"{name}.pgw").write_text("\n".join(map(str, lines)))
        (root / "images" / f"{name}.prj").write_text(CRS.from_string(UTM).to_wkt())
    write_geojson(root, [(ORIGIN[0] + (c + 0.5) * PIXEL, ORIGIN[1] - 5 * PIXEL) for c in (3, 30, 4, 31)], crs=UTM)
    assert sorted(found(root)) == [("a", 5, 30), ("a", 5, 31), ("b", 5, 3), ("b", 5, 4)]


DEEP = '{"type": "FeatureCollection", "features": ' + "[" * 10_000 + "]" * 10_000 + "}"
FEATURE = '{"type": "FeatureCollection", "features": [{"type": "Feature", "properties": %s, "geometry": %s}]}'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (DEEP, "is nested too deep to be GeoJSON"),
        (
            FEATURE % ("{}", '{"type": "Point", "coordinates": [1' + "0" * 5000 + ", 2]}"),
            "cannot be read: Exceeds the limit",
        ),
        (FEATURE % ("{}", '{"type": "Point", "coordinates": [1' + "0" * 400 + ", 2]}"), "must be two numbers"),
        (FEATURE % ("{}", '{"type": "Point", "coordinates": [NaN, 2]}'), "coordinates [nan, 2] must be two numbers"),
        (FEATURE % ("{}", '{"type": "Point", "coordinates": {"x": 1}}'), "must be two numbers"),
        (FEATURE % ("{}", '{"type": "Point", "coordinates": [[1, 2], 3]}'), "must be two numbers"),
        (FEATURE % ("{}", '{"type": ["Point"], "coordinates": [1, 2]}'), "must be a Point"),
        (FEATURE % ("{}", "[1, 2]"), "geometry None must be a Point"),
        (FEATURE % ("{}", "null"), "geometry None must be a Point"),
        (FEATURE % ("[1]", '{"type": "Point", "coordinates": [1, 2]}'), "no image"),
        ('{"features": [1]}', "feature 1: 1 is no feature"),
        ('{"features": {"a": 1}}', "is no GeoJSON FeatureCollection"),
        ("{'features': []}", "line 1: no JSON"),
    ],
)
def test_json_that_is_no_geojson_is_named(tmp_path: Path, text: str, message: str) -> None:
    root = make(tmp_path / "own", ["a.png"], masked=[])
    (root / "points.geojson").write_text(text)
    said = refused(root)
    assert said.startswith(str(root / "points.geojson"))
    assert message in said
    assert len(said) < 400
