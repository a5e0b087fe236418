"""Tables as spreadsheets of all countries and computers write them: read if that is sure, else the true reason."""

from pathlib import Path
from typing import Any

import pytest

from sparse_seg.errors import UserError
from sparse_seg.points.formats import label_names, read_own_points, used_labels
from sparse_seg.points.records import Bad, Place

PLACES = {"a": Place(400, 500), "Übersicht": Place(400, 500)}
NAMES = {"a": "a", "a.png": "a", "Übersicht": "Übersicht", "Übersicht.png": "Übersicht"}
LABELS = label_names(("Land", "Gebäude"), (1, 2))
WANTED = {"a": [[20, 10, 0, 0], [31, 12, 1, 0]], "Übersicht": [[5, 4, 1, 0]]}


def read(tmp_path: Path, content: str | bytes, bad: Bad | None = None, **options: Any) -> dict[str, Any]:
    path = tmp_path / "points.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    found = read_own_points(path, NAMES, PLACES, LABELS, bad or Bad(), **options)
    return {key: points.tolist() for key, points in found.items()}


def refused(tmp_path: Path, content: str | bytes, skip: bool = False) -> str:
    with pytest.raises(UserError) as error:
        read(tmp_path, content, Bad(skip=skip))
    said = str(error.value)
    assert said.startswith(str(tmp_path / "points.csv"))
    assert said.count("\n") < 2
    return said


COMMAS = "image,x,y,class\na.png,10,20,Land\na,12.7,31.5,2\nÜbersicht,4.0,5,Gebäude\n"


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_delimiters_line_ends_and_encodings(tmp_path: Path, delimiter: str, encoding: str, end: str) -> None:
    assert read(tmp_path, COMMAS.replace(",", delimiter).replace("\n", end).encode(encoding)) == WANTED


@pytest.mark.parametrize("mark", ["le", "be"])
def test_utf_16_is_known_by_its_mark_alone(tmp_path: Path, mark: str) -> None:
    data = ("\ufeff" + COMMAS).encode(f"utf-16-{mark}")
    assert read(tmp_path, data) == WANTED
    assert "UTF-16 without a mark; save it as UTF-8" in refused(tmp_path, data[2:])


@pytest.mark.parametrize(
    "text",
    [
        "sep=;\n" + COMMAS.replace(",", ";"),
        '"sep=,"\r\n' + COMMAS.replace("\n", "\r\n"),
        "SEP=\t\n\n" + COMMAS.replace(",", "\t"),
        "\n\n" + COMMAS + "\n\n,,,\n ,\n",
        "Image, X, Y, Class\n a.png , 10, 20 , Land\na, 12.7, 31.5, 2\nÜbersicht, 4.0,5, Gebäude \n",
        'image, x, y, class\n"a.png", 10, 20, "Land"\n"a",   12.7, "31.5", "2"\n"Übersicht", 4.0,5, "Gebäude"\n',
        '"image","x","y","class"\n"a.png","10","20","Land"\n"a","12.7","31.5","2.0"\n"Übersicht","4.0","5","Gebäude"\n',
        "image,x,y,class,\na.png,10,20,Land,\na,12.7,31.5,2,\nÜbersicht,4.0,5,Gebäude,\n",
        ",image,x,y,class\n0,a.png,10,20,Land\n1,a,12.7,31.5,2\n2,Übersicht,4.0,5,Gebäude\n",
        "image,x,y,class\na.png,1e1,+20.,1.0\na,12.7,31.5,2.00\nÜbersicht,4.0,5,2.\n",
        "image,x,y,class\nA.PNG,10,20,1\nD:\\data\\a.png,12.7,31.5,2\nübersicht.PNG,4.0,5,2\n",
    ],
)
def test_what_is_sure_is_read(tmp_path: Path, text: str) -> None:
    assert read(tmp_path, text) == WANTED


COMMA = (
    "a decimal comma or a thousands separator\nsave the table with a point for decimals and nothing between thousands"
)


@pytest.mark.parametrize("skip", [False, True])
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image;x;y;class\na;10,5;20;Land\n", f"line 2: x '10,5' has {COMMA}"),
        ('image,x,y,class\na,"10,5","20,25",Land\n', "line 2: x '10,5' has a decimal comma"),
        ("image\tx\ty\tclass\na\t10\t20,25\tLand\n", "line 2: y '20,25' has a decimal comma"),
        ("sep=;\nimage;x;y;class\na;1;2;Land\na;10,5;20;Land\n", "line 4: x '10,5' has a decimal comma"),
        ("image,x,y,class\na,10,5,20,25,Land\n", "line 2: 6 cells, but the header has 4: are there decimal commas?"),
        ("image,row,col,class\na,10,5,20,Land\n", "line 2: 5 cells, but the header has 4: are there decimal commas?"),
        ("image;x;y;class\na;1.234,5;20;Land\n", "x '1.234,5' has a decimal comma or a thousands separator"),
        ('image,x,y,class\na,"1,234.5",20,Land\n', "x '1,234.5' has a decimal comma or a thousands separator"),
        ('image,x,y,class\na,"1,234",20,Land\n', "x '1,234' has a decimal comma or a thousands separator"),
        ("image,x,y,class\na,1'234,20,Land\n", "has a decimal comma or a thousands separator"),
        ("image,x,y,class\na,1 234.5,20,Land\n", "has a decimal comma or a thousands separator"),
        ("image,x,y,class\na,1\u202f234,20,Land\n", "has a decimal comma or a thousands separator"),
        ("image,x,y,class\na,1_234,20,Land\n", "has a decimal comma or a thousands separator"),
        ("image,x,y,class\na,10%,20%,Land\n", "line 2: x '10%' is a percentage"),
        ("image,x,y,class\na,55°12'30\",25°3',Land\n", "line 2: x '55°12\\'30\"' is in degrees"),
        ("image,x,y,class\na,55.2 E,25.1 N,Land\n", "line 2: x '55.2 E' is in degrees"),
        ("image|x|y|class\na|1|2|Land\n", "line 1: the columns are separated by '|'; save the table with commas"),
        ("image x y class\na 1 2 Land\n", "line 1: the columns are separated by blanks"),
        ("image   row   col   class\na   1   2   Land\n", "line 1: the columns are separated by blanks"),
        ("sep=|\nimage|x|y|class\na|1|2|Land\n", "line 2: the columns are separated by '|'"),
        ("image,x,y,class,Class\na,1,2,Land,Land\n", "line 1: the column Class is there twice; leave one out"),
        ("image,x,y,x,class\na,1,2,3,Land\n", "line 1: the column x is there twice"),
        ("a,1,2,Land\na,3,4,Land\n", "line 1: no column image/file and no row/y"),
        ("image,lon,lat,class\na,1,2,Land\n", "data.points_crs=EPSG:4326 reads longitude and latitude"),
        ("WKT,image,class\nPOINT (1 2),a,Land\n", "export the layer as GeoJSON, or with its geometry as x and y"),
        ('image,x,y,class\n"a,3,4,Land\na,5,6,Land\na,7,8,Land\n', "a quote that is opened before this line"),
        ("image,x,y,class\na,1,2,La\0nd\n", "line 2: a zero byte"),
        ("image,x,y,class\na,1,2,Geb\udce4ude\n".encode("utf-8", "surrogateescape"), "line 2 is in another encoding"),
    ],
)  # fmt: skip
def test_the_true_reason_is_said(tmp_path: Path, text: str | bytes, message: str, skip: bool) -> None:
    assert message in refused(tmp_path, text, skip)


@pytest.mark.parametrize(
    ("row", "message", "reason"),
    [
        ("image,x,y,class", "line 3: the header comes again", "that repeat the header"),
        ("a,1", "line 3: x '1', y '' must be numbers", "without a position"),
        ("a,1,2", "line 3: no class; classes are Land, Gebäude", "of unknown classes"),
        ("a,,,Land", "line 3: x '', y '' must be numbers", "without a position"),
        ("a,1e999,2,Land", "line 3: x '1e999', y '2' must be numbers", "without a position"),
        ("a,inf,2,Land", "line 3: x 'inf', y '2' must be numbers", "without a position"),
        ("a,0x10,2,Land", "line 3: x '0x10', y '2' must be numbers", "without a position"),
        ("a,١,2,Land", "line 3: x '١', y '2' must be numbers", "without a position"),
        (",1,2,Land", "line 3: no image", "of unknown images"),
        ("a,1,2,land", "line 3: unknown class 'land'; classes are Land, Gebäude", "of unknown classes"),
    ],
)
def test_a_row_that_cannot_be_used_is_named_or_counted(tmp_path: Path, row: str, message: str, reason: str) -> None:
    text = f"image,x,y,class\na,7,8,Land\n{row}\na,9,9,Land\n"
    assert message in refused(tmp_path, text)
    bad = Bad(skip=True)
    assert read(tmp_path, text, bad) == {"a": [[8, 7, 0, 0], [9, 9, 0, 1]]}
    assert bad.counts == {reason: 1}


def test_cells_beyond_the_header_are_counted(tmp_path: Path) -> None:
    bad = Bad()
    text = "image,row,col,class\na,1,2,Land\na,78,2,Land,Land,0.0219,0.9964\na,5,6,2,1,0.5,0.25\na,7,8,Land,,\n"
    assert len(read(tmp_path, text, bad)["a"]) == 4
    assert bad.said == ["2 lines have more cells than the header, which are not read"]


def test_names_that_fit_but_for_their_letters_are_said_once(tmp_path: Path) -> None:
    bad = Bad()
    read(tmp_path, "image,x,y,class\nA.PNG,1,2,Land\nA.PNG,3,4,Land\nC:\\x\\a.png,5,6,Land\na,7,8,Land\n", bad)
    assert bad.said == ["2 names of images are not written as the files are: 'A.PNG' is taken for a"]


@pytest.mark.parametrize(
    ("labels", "found"),
    [
        (["1.0", "2.0", "1.0"], ["1", "2"]),
        (["1.0", "2.5"], ["1.0", "2.5"]),
        (["1.10", "1.20"], ["1.10", "1.20"]),
        (["u\u0308", "\u00fc"], ["\u00fc"]),
    ],
)
def test_labels_of_a_file_are_indices_or_names(tmp_path: Path, labels: list[str], found: list[str]) -> None:
    lines = [f"a,{k},{k},{label}" for k, label in enumerate(labels)]
    (tmp_path / "points.csv").write_text("\n".join(["image,x,y,class", *lines]))
    assert used_labels(tmp_path / "points.csv") == found


def test_a_class_called_1_0_is_not_the_index_1(tmp_path: Path) -> None:
    (tmp_path / "points.csv").write_text("image,x,y,class\na,1,2,1.0\na,3,4,1\n")
    labels = label_names(("x", "y", "1.0"), None)
    found = read_own_points(tmp_path / "points.csv", NAMES, PLACES, labels, Bad())
    assert found["a"][:, 2].tolist() == [2, 1]


MAGIC = {
    "gpkg": b"SQLite format 3\0", "shp": b"\0\0'\n", "kml": b"<?xml version='1.0'?><kml>", "gpx": b"<?xml?><gpx>",
    "xlsx": b"PK\x03\x04", "xls": b"\xd0\xcf\x11\xe0", "parquet": b"PAR1", "fgb": b"fgb\x03", "ods": b"PK\x03\x04",
}  # fmt: skip


@pytest.mark.parametrize("suffix", MAGIC)
def test_files_of_other_programs_are_told_what_to_become(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"my clicks.{suffix}"
    path.write_bytes(MAGIC[suffix] + b"\0" * 100)
    with pytest.raises(UserError) as error:
        read_own_points(path, NAMES, PLACES, LABELS, Bad())
    first, second = str(error.value).split("\n")
    assert first == f"{path} is no file of points that can be read: a table or .csv, .geojson, .json"
    if suffix in ("gpkg", "shp", "kml", "gpx", "fgb"):
        assert second.endswith(f"by `ogr2ogr -f GeoJSON points.geojson '{path}'`")
    else:
        assert "CSV" in second


@pytest.mark.parametrize("magic", MAGIC.values())
def test_a_suffix_does_not_make_a_table(tmp_path: Path, magic: bytes) -> None:
    assert "is no file of points that can be read" in refused(tmp_path, magic + b"\0" * 100)
    assert "it is a web page" in refused(tmp_path, "\n<!DOCTYPE html><html>404</html>")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("image,x,y,class\na,1,2," + "x" * 2_000_000, ", line 2: it has more than 1,048,576 characters"),
        ("image,x,y,class\r\na,1,2,Land\r\n" + "," * 2_000_000, ", line 3: it has more than 1,048,576 characters"),
        ("image,x,y,class" + ",x" * 5_000_000 + "\na,1,2,Land\n", ", line 1: it has more than 1,048,576 characters"),
        ("x" * 200_000 + "\na,1,2,Land\n", ", line 1: cannot be read as the header of a table"),
        ("image,x,y,class\na,1,2," + "x" * 200_000, ", line 2: cannot be read as a table"),
        ("image,x,y,class\n" + "\n" * 2_000_000, " has 2,000,001 lines, more than 1,048,576"),
    ],
)
def test_a_line_of_megabytes_and_millions_of_lines_are_told(tmp_path: Path, text: str, why: str) -> None:
    path = tmp_path / "points.csv"
    path.write_bytes(text.encode())
    with pytest.raises(UserError) as error:
        used_labels(path)
    assert str(error.value).startswith(f"{path}{why}")
    assert len(str(error.value)) < 400
    assert "\n" not in str(error.value)
