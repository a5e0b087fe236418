"""Where to click next, as files: each can be filled in and given back as points."""

import csv
import json

import numpy as np
import pytest
from folders import CLASSES, picture, save_tif
from labelled import checkpoint
from PIL import Image

from sparse_seg.data.folder import folder
from sparse_seg.suggest import __main__ as suggest
from sparse_seg.suggest.tables import unique_names

NAMES = ["Water", "Land", "Road"]
RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def _the_same_pictures_whatever_ran_before() -> None:
    RNG.bit_generator.state = np.random.default_rng(0).bit_generator.state


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    return checkpoint(tmp_path_factory.mktemp("network") / "best.ckpt")


@pytest.fixture
def root(tmp_path):
    """Two GeoTIFFs of other sizes, with masks of class numbers and the classes."""
    (tmp_path / "data" / "images").mkdir(parents=True)
    (tmp_path / "data" / "masks").mkdir()
    (tmp_path / "data" / "classes.yaml").write_text(CLASSES)
    for name, shape in (("a", (96, 128)), ("b", (128, 80))):
        index = RNG.integers(0, 3, shape).astype(np.uint8)
        save_tif(tmp_path / "data" / "images" / f"{name}.TIF", picture(index).transpose(2, 0, 1))
        mask = Image.fromarray(index)
        mask.putpalette([v for colour in ((226, 169, 41), (132, 41, 246), (110, 193, 228)) for v in colour])
        mask.save(tmp_path / "data" / "masks" / f"{name}.png")
    return tmp_path / "data"


def run(*words: object) -> int:
    return suggest.main([*map(str, words), "--device", "cpu", "--precision", "32"])


def rows_of(out) -> list[dict[str, str]]:
    with (out / "suggest.csv").open(newline="") as f:
        return list(csv.DictReader(f))


def masks_in_colours_of(network, root):
    """The network has other colours than the folder."""
    for path in (root / "masks").iterdir():
        index = np.asarray(Image.open(path))
        Image.fromarray(np.array([[0, 0, 255], [0, 255, 0], [255, 0, 0]], np.uint8)[index]).save(path)


def test_suggestions_lie_in_the_images_and_nothing_else_is_written(tmp_path, network, root, capsys):
    out, before = tmp_path / "out", {p: p.read_bytes() for p in root.rglob("*.*")}
    assert run(network, root / "images", "--n", 11, "--out", out) == 0
    assert {p: p.read_bytes() for p in root.rglob("*.*")} == before
    rows = rows_of(out)
    assert list(rows[0]) == ["image", "row", "col", "class", "predicted", "entropy", "confidence"]
    assert len({(r["image"], r["row"], r["col"]) for r in rows}) == 11
    assert sorted({r["image"] for r in rows}) == ["a.TIF", "b.TIF"]
    size = {"a.TIF": (96, 128), "b.TIF": (128, 80)}
    assert all(0 < int(r["row"]) < size[r["image"]][0] and 0 < int(r["col"]) < size[r["image"]][1] for r in rows)
    assert all(r["class"] == "" and r["predicted"] in NAMES and 0 < float(r["entropy"]) <= 1 for r in rows)
    files = {"suggest.csv", "suggest.geojson", "suggest.png", "a.suggest.png", "b.suggest.png"}
    assert {p.name for p in out.iterdir()} == files
    assert all(np.asarray(Image.open(out / name)).std() > 10 for name in files if name.endswith(".png"))
    assert "Fill in class" in capsys.readouterr().out


def test_filled_in_both_tables_are_points_of_the_same_pixels(tmp_path, network, root):
    out = tmp_path / "out"
    assert run(network, root / "images", "--n", 12, "--out", out) == 0
    rows = rows_of(out)
    collection = json.loads((out / "suggest.geojson").read_text())
    for k, feature in enumerate(collection["features"]):
        feature["properties"]["class"] = NAMES[k % 3]
    (root / "more.geojson").write_text(json.dumps(collection))
    lines = (out / "suggest.csv").read_text().splitlines()
    # Below a table that has just the four columns, as points.csv of a run.
    filled = [line.replace(",,", f",{NAMES[k % 3]},") for k, line in enumerate(lines[1:])]
    (root / "more.csv").write_text("\n".join(["image,row,col,class", "a,0,0,Road", *filled]) + "\n")
    by_file = {}
    for name in ("more.geojson", "more.csv"):
        samples = folder(root, points_file=name).samples
        by_file[name] = {(s.image_id, *map(int, p[:3])) for s in samples for p in s.points}
    expected = {(r["image"][0], int(r["row"]), int(r["col"]), k % 3) for k, r in enumerate(rows)}
    assert by_file["more.geojson"] == expected
    assert by_file["more.csv"] == expected | {("a", 0, 0, 2)}


def test_longitude_and_latitude_are_where_the_pixel_is(tmp_path, network, root):
    from rasterio.warp import transform

    assert run(network, root / "images" / "a.TIF", "--n", 3, "--out", tmp_path) == 0
    features = json.loads((tmp_path / "suggest.geojson").read_text())["features"]
    for row, feature in zip(rows_of(tmp_path), features, strict=True):
        (x,), (y,) = transform("OGC:CRS84", "EPSG:32640", *([v] for v in feature["geometry"]["coordinates"]))
        assert (x - 325_000) / 2 == pytest.approx(int(row["col"]) + 0.5, abs=1e-3)
        assert (2_780_000 - y) / 2 == pytest.approx(int(row["row"]) + 0.5, abs=1e-3)


def test_plain_images_have_their_points_in_pixels(tmp_path, network):
    Image.fromarray(RNG.integers(0, 256, (70, 90, 3)).astype(np.uint8)).save(tmp_path / "a.png")
    assert run(network, tmp_path / "a.png", "--n", 4, "--out", tmp_path / "out") == 0
    features = json.loads((tmp_path / "out" / "suggest.geojson").read_text())["features"]
    places = [[int(r["col"]) + 0.5, int(r["row"]) + 0.5] for r in rows_of(tmp_path / "out")]
    assert [f["geometry"]["coordinates"] for f in features] == places


def test_masks_name_the_classes_and_errors_are_errors(tmp_path, network, root):
    masks_in_colours_of(network, root)
    for by in ("entropy", "errors"):
        out = tmp_path / by
        assert run(network, root / "images", "--n", 9, "--out", out, "--by", by, "--masks", root / "masks") == 0
        for row in rows_of(out):
            with Image.open(root / "masks" / f"{row['image'][0]}.png") as mask:
                colour = mask.convert("RGB").getpixel((int(row["col"]), int(row["row"])))
            assert row["class"] == {(0, 0, 255): "Water", (0, 255, 0): "Land", (255, 0, 0): "Road"}[colour]
            assert by == "entropy" or row["class"] != row["predicted"]


def test_a_damaged_image_is_named_and_the_others_are_done(tmp_path, network, root, capsys):
    (root / "images" / "bad.jpg").write_bytes(b"\xff\xd8\xff no picture")
    assert run(network, root / "images", "--n", 4, "--out", tmp_path / "out") == 1
    assert "bad.jpg" in capsys.readouterr().err
    assert len(rows_of(tmp_path / "out")) == 4


def test_more_than_there_are_is_said(tmp_path, network, capsys):
    Image.fromarray(RNG.integers(0, 256, (8, 8, 3)).astype(np.uint8)).save(tmp_path / "a.png")
    assert run(network, tmp_path / "a.png", "--n", 99, "--out", tmp_path / "out") == 0
    assert "of 99 pixels found: there are no more candidates in what could be read" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--n", 0], "--n 0 must be at least 1"),
        (["--by", "errors"], "--by errors needs --masks DIR"),
        (["--masks", "nowhere"], "--masks nowhere is no folder"),
        (["--window", 33], "--window 33 must be a multiple of 32: 32 or 64"),
    ],
)
def test_what_cannot_be_is_refused(tmp_path, network, root, capsys, words, message):
    assert run(network, root / "images", "--out", tmp_path / "out", *words) == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_classes_that_were_filled_in_are_not_written_over(tmp_path, network, root, capsys):
    assert run(network, root / "images", "--n", 3, "--out", tmp_path / "out") == 0
    before = (tmp_path / "out" / "suggest.csv").read_text()
    assert run(network, root / "images", "--n", 5, "--out", tmp_path / "out") == 1
    assert "suggest.csv is there already and may hold classes" in capsys.readouterr().err
    assert (tmp_path / "out" / "suggest.csv").read_text() == before


def test_the_folder_of_the_images_takes_no_pictures(network, root, capsys):
    before = sorted(root.rglob("*"))
    assert run(network, root / "images", "--out", root / "images") == 1
    assert "holds the images" in capsys.readouterr().err
    assert sorted(root.rglob("*")) == before


def test_an_image_on_a_map_of_its_own_has_its_points_in_pixels(tmp_path, network):
    save_tif(
        tmp_path / "a.tif", RNG.integers(0, 256, (3, 64, 64)).astype(np.uint8), crs='LOCAL_CS["local",UNIT["metre",1]]'
    )
    assert run(network, tmp_path / "a.tif", "--n", 2, "--out", tmp_path / "out") == 0
    collection = json.loads((tmp_path / "out" / "suggest.geojson").read_text())
    assert collection["crs"]["properties"]["name"] == "pixel"
    places = [[int(r["col"]) + 0.5, int(r["row"]) + 0.5] for r in rows_of(tmp_path / "out")]
    assert [f["geometry"]["coordinates"] for f in collection["features"]] == places


def test_an_image_without_a_pixel_is_an_error(tmp_path, network, capsys):
    save_tif(tmp_path / "a.tif", np.zeros((3, 64, 64), np.uint8), nodata=0)
    assert run(network, tmp_path / "a.tif", "--out", tmp_path / "out") == 1
    assert "none of 1 images has a pixel to suggest" in capsys.readouterr().err


def test_two_images_never_share_a_mask_or_a_picture(tmp_path, network, root, capsys):
    Image.fromarray(RNG.integers(0, 256, (64, 64, 3)).astype(np.uint8)).save(root / "images" / "a.png")
    assert run(network, root / "images", "--n", 6, "--out", tmp_path / "out") == 0
    pictures = {p.name for p in (tmp_path / "out").glob("*.suggest.png")}
    assert pictures == {"a.TIF.suggest.png", "a.png.suggest.png", "b.suggest.png"}
    assert run(network, root / "images", "--out", tmp_path / "two", "--masks", root / "masks") == 1
    assert "2 images are called a" in capsys.readouterr().err


def test_a_link_is_called_what_it_is_called(tmp_path):
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "4f2a.png").touch()
    (tmp_path / "b.png").symlink_to(tmp_path / "store" / "4f2a.png")
    assert list(unique_names([tmp_path / "b.png"]).values()) == ["b.png"]


def test_images_of_the_same_name_are_told_apart(tmp_path):
    paths = [tmp_path / tile / "images" / "part.jpg" for tile in ("Tile 1", "Tile 2")]
    assert list(unique_names(paths).values()) == ["Tile 1/images/part.jpg", "Tile 2/images/part.jpg"]
    assert list(unique_names([tmp_path / "x" / "a.png", tmp_path / "y" / "b.png"]).values()) == ["a.png", "b.png"]
