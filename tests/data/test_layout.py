"""Which files belong together: names in any Unicode form, and what lies there and is not used."""

import unicodedata
from collections.abc import Callable
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from folders import index_map, make, picture, save_mask

from sparse_seg.data.folder import folder
from sparse_seg.data.layout import by_name, existing, find
from sparse_seg.errors import UserError
from sparse_seg.points.formats import label_names, read_own_points
from sparse_seg.points.records import Bad, Place


def nfc(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def nfd(name: str) -> str:
    return unicodedata.normalize("NFD", name)


Form = Callable[[str], str]
FORMS: list[tuple[Form, Form]] = [(nfc, nfd), (nfd, nfc)]


@pytest.mark.parametrize(("disk", "typed"), FORMS)
def test_names_match_whatever_their_unicode_form(tmp_path: Path, disk: Form, typed: Form) -> None:
    root = tmp_path / disk("Übung")
    (root / disk("Luftbilder_ä") / disk("Süd")).mkdir(parents=True)
    index = index_map(0)
    PIL.Image.fromarray(picture(index)).save(root / disk("Luftbilder_ä") / disk("Süd") / disk("Straße é.png"))
    save_mask(root / typed("Masken_ö") / typed("Süd") / typed("Straße é.png"), index, "L")
    (root / disk("Klassen_ß.yaml")).write_text(
        "classes:\n"
        + "".join(f"- {{name: {n}, index: {k}}}\n" for k, n in enumerate((typed("Gebäude"), "Boden", "Weg")))
    )
    rows = [(typed("Süd/Straße é"), 1, 2, disk("Gebäude")), (typed("Straße é.png"), 5, 3, typed("Gebäude"))]
    lines = [",".join(map(str, row)) for row in (("image", "x", "y", "class"), *rows)]
    (root / disk("Klicks_ü.csv")).write_text("\n".join(lines))
    images = folder(
        tmp_path / typed("Übung"),
        images=typed("Luftbilder_ä"),
        masks=disk("Masken_ö"),
        points_file=typed("Klicks_ü.csv"),
        classes=typed("Klassen_ß.yaml"),
    )
    (sample,) = images.samples
    assert (sample.image_id, sample.group, sample.has_mask) == (nfc("Süd/Straße é"), nfc("Süd"), True)
    assert images.classes.names == (nfc("Gebäude"), "Boden", "Weg")
    assert sample.points is not None
    assert sample.points.tolist() == [[2, 1, 0, 0], [3, 5, 0, 1]]
    np.testing.assert_array_equal(sample.read()[1], index)


@pytest.mark.parametrize(("disk", "typed"), FORMS)
def test_patterns_match_whatever_their_unicode_form(tmp_path: Path, disk: Form, typed: Form) -> None:
    for name in ("ä1", "ä2", "b"):
        path = tmp_path / disk(f"Süd {name[-1]}") / disk("Bilder ü") / disk(f"{name}_é.png")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert list(find(tmp_path, typed("Süd */Bilder ü/ä*_é.png"))) == [nfc("Süd 1/1"), nfc("Süd 2/2")]
    assert list(find(tmp_path, typed("Süd [12]/Bilder ü"))) == [nfc("Süd 1/ä1_é"), nfc("Süd 2/ä2_é")]
    assert find(tmp_path, typed("Süd 3")) == {}


def test_two_files_that_differ_in_unicode_form_only_are_refused_with_both(tmp_path: Path) -> None:
    root = make(tmp_path / "own", [nfc("ü.png"), nfd("ü.png")], masked=[])
    with pytest.raises(UserError) as error:
        folder(root)
    first, second = sorted([root / "images" / nfc("ü.png"), root / "images" / nfd("ü.png")])
    assert f"{first} and {second} are both called" in str(error.value)
    assert "their names differ in Unicode form only" in str(error.value)


def test_two_folders_that_differ_in_unicode_form_only_are_one_group(tmp_path: Path) -> None:
    for form, name in ((nfc, "a.png"), (nfd, "b.png")):
        (tmp_path / "images" / form("ü")).mkdir(parents=True)
        (tmp_path / "images" / form("ü") / name).touch()
    assert sorted(find(tmp_path, "images")) == [nfc("ü/a"), nfc("ü/b")]


def test_a_path_is_found_below_folders_of_another_form(tmp_path: Path) -> None:
    (tmp_path / nfd("ü") / "plain" / nfd("é.csv")).mkdir(parents=True)
    assert existing(tmp_path / nfc("ü") / "plain" / nfc("é.csv")) == tmp_path / nfd("ü") / "plain" / nfd("é.csv")
    assert existing(tmp_path / nfc("ö") / "plain") == tmp_path / nfc("ö") / "plain"
    assert existing(tmp_path / nfc("ü" * 300)) == tmp_path / nfc("ü" * 300)


IMAGES = ["north/01.png", "south/01.png", "south/02.PNG", "Übersicht.tif"]


def pixel_of(tmp_path: Path, name: str) -> str:
    """The id that a name in a table leads to."""
    paths = {str(Path(image).with_suffix("")): tmp_path / "images" / image for image in IMAGES}
    (tmp_path / "points.csv").write_text(f'image,x,y,class\n"{name}",1,2,A\n')
    names, places = by_name(paths, tmp_path), dict.fromkeys(paths, Place(9, 9))
    (key,) = read_own_points(tmp_path / "points.csv", names, places, label_names(("A",), None), Bad())
    return key


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("north/01", "north/01"), ("NORTH/01.png", "north/01"), ("images/south/01.PNG", "south/01"), ("02", "south/02"),
        ("02.png", "south/02"), ("  02.PNG ", "south/02"), (r"south\02.PNG", "south/02"),
        (r"images\north\01.png", "north/01"),
        (r"C:\data\images\north\01.png", "north/01"), (r"\\server\share\south\01.png", "south/01"),
        ("/home/me/south/02.png", "south/02"), ("./images/south/02.png", "south/02"),
        ("own/images/south/02.png", "south/02"),
        ("D:/Übersicht.TIF", "Übersicht"), ("übersicht", "Übersicht"), (nfd("ÜBERSICHT.tif"), "Übersicht"),
    ],
)  # fmt: skip
def test_images_are_found_by_the_paths_and_letters_of_other_computers(tmp_path: Path, said: str, meant: str) -> None:
    assert pixel_of(tmp_path, said) == meant


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ("01.png", "line 2: the image '01.png' may be north/01 or south/01: name its sub-folder, too"),
        ("01", "line 2: the image '01' may be north/01 or south/01"),
        (r"C:\data\01.png", "may be north/01 or south/01"),
        ("east/01.png", "may be north/01 or south/01"),
        (r"C:\data\north\02.png", "line 2: no image 'C:\\\\data\\\\north\\\\02.png'; names look like north/01"),
        ("north/02.png", "no image 'north/02.png'"),
        ("other/Übersicht.tif", "no image"),
        ("03", "no image '03'"),
    ],
)
def test_a_name_that_fits_no_image_or_two_is_refused(tmp_path: Path, said: str, message: str) -> None:
    with pytest.raises(UserError) as error:
        pixel_of(tmp_path, said)
    assert message in str(error.value)
