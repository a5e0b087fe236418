"""classes.yaml: every value is text, what YAML would lose or explode is refused in one line with the way out."""

import unicodedata
from pathlib import Path

import pytest

from sparse_seg.classes import Classes
from sparse_seg.data.classfile import read_classes, write_classes
from sparse_seg.errors import UserError


def write(folder: Path, text: str | bytes) -> Path:
    path = folder / "classes.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def refused(path: Path) -> str:
    with pytest.raises(UserError) as error:
        read_classes(path)
    said = str(error.value)
    assert said.startswith(str(path))
    assert said.count("\n") < 2
    return said


NAMES = ["No", "Yes", "Off", "on", "1.10", "2.10", "null", "~", "0x10", "010", "1e3", "2024-01-31", "True", "y", ".nan"]
NAMES += ["12:30:45", "=", "1_000", "+1", "é"]


@pytest.mark.parametrize("style", ["flow", "block", "list"])
def test_names_are_text_whatever_yaml_takes_them_for(tmp_path: Path, style: str) -> None:
    entry = {"flow": "  - {{name: {}}}\n", "block": "  - name: {}\n    colour: null\n", "list": "  - {}\n"}[style]
    assert read_classes(write(tmp_path, "classes:\n" + "".join(map(entry.format, NAMES)))).names == tuple(NAMES)


def test_names_written_are_the_names_read(tmp_path: Path) -> None:
    names = (*NAMES, "a: b", "#3C1098", "'", '"', "[x]", "&a", "*a", "Straße")
    classes = Classes(names, tuple((k, 0, 0) for k in range(len(names))), indices=tuple(range(len(names))), blank=(99,))
    write_classes(tmp_path / "classes.yaml", classes)
    assert read_classes(tmp_path / "classes.yaml") == classes


def test_names_are_compared_in_one_unicode_form(tmp_path: Path) -> None:
    parts = [unicodedata.normalize(form, "Gebäude") for form in ("NFC", "NFD")]
    assert read_classes(write(tmp_path, f"classes: [{parts[1]}, Boden]")).names == (parts[0], "Boden")
    assert "the name 'Gebäude' belongs to two classes" in refused(write(tmp_path, f"classes: [{', '.join(parts)}]"))


@pytest.mark.parametrize("index", ["1", '"1"', "'1'", "1.0", '"1.0"'])
def test_an_index_may_be_quoted_and_end_in_point_zero(tmp_path: Path, index: str) -> None:
    text = (
        f"classes: [{{name: A, index: {index}}}, {{name: B, index: 2}}]\nunlabelled: [{index.replace('1', '7')}, -9999]"
    )
    classes = read_classes(write(tmp_path, text))
    assert (classes.indices, classes.blank) == ((1, 2), (7, -9999))


@pytest.mark.parametrize(
    "colour",
    ['"#0A0B0C"', "'#0a0b0c'", "0A0B0C", "[10, 11, 12]", '["10", "11", "12"]', "\n      - 10\n      - 11\n      - 12"],
)
@pytest.mark.parametrize("key", ["colour", "color"])
def test_a_colour_may_be_written_in_many_ways(tmp_path: Path, colour: str, key: str) -> None:
    text = f"classes:\n  - name: A\n    {key}: {colour}\n  - name: B\n"
    assert read_classes(write(tmp_path, text)).colours[0] == (10, 11, 12)


def test_a_colour_of_digits_is_a_colour(tmp_path: Path) -> None:
    text = 'classes: [{name: A, colour: 008000}, {name: B, colour: "800000"}]\nunlabelled: ["000000", 100000]'
    classes = read_classes(write(tmp_path, text))
    assert classes.colours == ((0, 128, 0), (128, 0, 0))
    assert (classes.unlabelled, classes.blank) == (((0, 0, 0),), (100000,))


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("classes:\n  - name: A\n    colour: #3C1098\n  - name: B\n", 3),
        ("classes:\n  - name: A\n    colour:   #3C1098   # dark\n    index: 0\n  - name: B\n    index: 1\n", 3),
        ("classes:\n  - {name: A, colour: #3C1098}\n  - {name: B}\n", 2),
        ("classes:\n  - {name: A, colour: #3C1098,\n     index: 3}\n  - {name: B, index: 4}\n", 2),
        ("classes:\n  - {name: A, colour: #3C1098\n    }\n  - {name: B}\n", 2),
        ("classes: [A, B]\nunlabelled: #3C1098\n", 2),
        ("classes: [A, B]\nunlabelled:\n  - #3C1098\n", 3),
        ("classes: [A, B]\nunlabelled: [#3C1098]\n", 2),
        ('classes: [A, B]\nunlabelled: ["#000000", #3C1098\n  ]\n', 2),
        ("classes:\n  - #3C1098\n  - B\n", 2),
    ],
)
def test_a_colour_that_yaml_takes_for_a_comment_needs_quotes(tmp_path: Path, text: str, line: int) -> None:
    said = refused(write(tmp_path, text))
    assert f'line {line}: YAML takes #3C1098 for a comment; put quotes around it: "#3C1098"' in said


def test_comments_that_lose_nothing_are_comments(tmp_path: Path) -> None:
    text = """# colours: #3C1098 is violet, [#000000 is black
classes:   # the classes, #3C1098
  - {name: A, colour: "#3C1098"}   # violet: #3C1098
  - name: B  # , #000000
    colour: [1, 2, 3]  #010203
unlabelled: ["#9B9B9B"]  # - #9B9B9B
"""
    assert read_classes(write(tmp_path, text)).colours == ((0x3C, 0x10, 0x98), (1, 2, 3))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("classes:\n  - name: A\n    colour:\n  - name: B\n", "class 1: its colour is empty"),
        ("classes:\n  - name: A\n    name: B\n  - C\n", "line 3: 'name' is there twice"),
        ("classes: [{name: A, colour: '#000000', color: '#111111'}, B]", "colour is given twice, as color, too"),
        ("classes: [A, B]\nclasses: [C, D]", "line 2: 'classes' is there twice"),
        ("classes: [A, B]\nnolabel: [0]", "'nolabel' is unknown; there are classes, unlabelled and ignore"),
        ("classes: [{name: A, index: 010}, {name: B, index: 1}]", "index '010' must be a whole number from 0 to 254"),
        ("classes: [{name: A, index: 0x10}, {name: B, index: 1}]", "index '0x10' must be a whole number"),
        ("classes: [{name: A, index: true}, {name: B, index: 1}]", "index 'true' must be a whole number"),
        ("classes: [{name: A, index: 1.0}, {name: B, index: 1}]", "the index 1 belongs to two classes"),
        ("classes: [{name: A, index: -1}, {name: B, index: 1}]", "index -1 must be a whole number from 0 to 254"),
        ("classes: [{name: ''}, B]", "class 1: {'name': ''} has no name"),
        ("classes: [[A, B], C]", "class 1: ['A', 'B'] has no name"),
        ("classes: &a [A, B]", "line 1: references (& and *) are not read"),
        ("classes: [A, B]\nunlabelled: *a", "line 2: references (& and *) are not read"),
        ("a: &a [x, x]\nb: &b [*a, *a]\nclasses: [*b, *b]", "line 1: references"),
        ("classes: " + "[" * 10_000 + "]" * 10_000, "line 1: nested deeper than 8 levels"),
        ("classes: " + "{a: " * 10_000, "line 1: nested deeper than 8 levels"),
        ("- " * 10_000 + "a", "line 1: nested deeper than 8 levels"),
        ("classes: [a,\n" + "a, " * 20_000 + "a]", "line 2: more than 20000 values, which no list of classes needs"),
        ("classes: [" + "A, " * 400_000 + "]", "is too large for a YAML file: more than 1 MiB"),
        ("classes: [A, B]\n---\nclasses: [C, D]", "cannot be read as YAML"),
        ("classes: [{[a]: b}, c]", "line 1: a key must be a word"),
        ("", "there must be a list `classes:`"),
        ("classes: A", "there must be a list `classes:`"),
        ("classes: [A, B]\nunlabelled: 0", "unlabelled='0' must be a list of colours or numbers"),
        ("classes: [A, B]\nunlabelled: [grey]", "unlabelled: colour 'grey' must be"),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_refused(tmp_path: Path, text: str, message: str) -> None:
    assert message in refused(write(tmp_path, text))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_encodings_that_say_so_are_read(tmp_path: Path, encoding: str) -> None:
    assert read_classes(write(tmp_path, "classes:\r\n- Gebäude\r\n- Straße\r\n".encode(encoding))).names[1] == "Straße"


@pytest.mark.parametrize(
    ("encoding", "message"),
    [
        ("cp1252", "line 3 is in another encoding, in Windows-1252 it would be '- Straße'"),
        ("utf-16-le", "UTF-16 without a mark"),
    ],
)
def test_other_encodings_are_named(tmp_path: Path, encoding: str, message: str) -> None:
    said = refused(write(tmp_path, "classes:\n- Boden\n- Straße\n".encode(encoding)))
    assert message in said
    assert "save it as UTF-8" in said
    assert "\n" not in said


def test_255_is_a_class_where_another_number_is_to_be_ignored(tmp_path: Path) -> None:
    text = "classes: [{name: Ground, index: 0}, {name: Building, index: 255}]\n"
    assert "say so on a line of its own: ignore: 254" in refused(write(tmp_path, text))
    for ignore in ("254", '"254"', "-1"):
        classes = read_classes(write(tmp_path, text + f"ignore: {ignore}"))
        assert (classes.indices, classes.blank) == ((0, 255), (int(ignore.strip('"')),))
    assert "255 is the index of a class and unlabelled or to ignore, too" in refused(
        write(tmp_path, text + "ignore: 255")
    )
    assert "0 is the index of a class" in refused(write(tmp_path, text + "ignore: 0"))
    assert "ignore [" in refused(write(tmp_path, text + "ignore: [1]"))
    assert "index 256 must be a whole number from 0 to 255" in refused(
        write(tmp_path, text.replace("255", "256") + "ignore: 9")
    )
    written = tmp_path / "written"
    written.mkdir()
    write_classes(written / "classes.yaml", classes)
    assert read_classes(written / "classes.yaml") == classes
