"""docs/own-imagery.md does what it says: its commands run as they stand there, in one shell, in an empty folder.

Only the settings file that the page writes asks for one epoch here: importing torch eight times takes long enough.
"""

import csv
import json
import re
from pathlib import Path

import pytest
import rasterio
from pages import ROOT, blocks, checkout, shell

PAGE = ROOT / "docs" / "own-imagery.md"
BLOCKS = blocks(PAGE, "bash")
COMMANDS = [
    "make_example.py", "sparse_seg.data", "sparse_seg.data", "train.py", "sparse_seg.predict", "sparse_seg.predict",
    "sparse_seg.suggest", "train.py", "train.py", "sparse_seg.report",
]  # fmt: skip
MARK = "=== end of block"
EPOCHS = ("max_epochs: 40", "max_epochs: 1")


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """The folder in which all blocks ran, and what each of them printed."""
    folder = tmp_path_factory.mktemp("checkout")
    called = checkout(folder)
    script = "".join(f"{block}\necho '{MARK}'\n" for block in BLOCKS)
    assert script.count(EPOCHS[0]) == 1
    done = shell(script.replace(*EPOCHS), folder)
    said = done.stdout.split(f"{MARK}\n")
    assert done.returncode == 0, f"in block {len(said)}:\n{BLOCKS[len(said) - 1]}\n{done.stdout[-2000:]}\n{done.stderr}"
    assert [first_word(line) for line in called.read_text().splitlines()] == COMMANDS
    return folder, said


def first_word(line: str) -> str:
    """Script or module of a command line of Python."""
    return Path(line.strip().removeprefix("-m ").split()[0]).name


def result(folder: Path, pattern: str) -> dict:
    (path,) = folder.glob(f"outputs/{pattern}/result.json")
    return json.loads(path.read_text(encoding="utf-8"))


def table(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))


@pytest.mark.slow
def test_every_command_of_the_tutorial_runs(work: tuple[Path, list[str]]) -> None:
    _, said = work
    assert len(said) == len(BLOCKS) + 1
    assert "classes   wrote example/classes.yaml" in said[1]
    assert "python train.py data=folder" in said[1]
    assert "masks     3, of which 3 belong to an image by name" in said[3]


@pytest.mark.slow
def test_maps_lie_where_their_images_do_and_are_scored(work: tuple[Path, list[str]]) -> None:
    folder, _ = work
    images = sorted((folder / "example" / "images" / "clicked").iterdir())
    assert len(images) == 6
    for image in images:
        assert (folder / "maps" / f"{image.stem}.overlay.png").is_file()
        with rasterio.open(image) as there:
            for name in (image.name, f"{image.stem}.confidence.tif"):
                with rasterio.open(folder / "maps" / name) as here:
                    assert (here.crs, here.transform, here.shape) == (there.crs, there.transform, there.shape)
            assert there.crs.to_epsg() == 32640
    areas = table(folder / "maps" / "areas.csv")
    assert {row["image"] for row in areas} == {image.name for image in images}
    assert sum(float(row["m2"]) for row in areas if row["m2"]) >= 6 * (192 * 0.5) ** 2 * 0.999
    scores = json.loads((folder / "scored" / "scores.json").read_text())
    assert scores["images"] == ["07.tif", "08.tif", "09.tif"]
    assert 0 < scores["miou"] < 1
    assert len(scores["confusion_matrix"]) == 5


@pytest.mark.slow
def test_the_second_run_uses_the_suggested_points_too(work: tuple[Path, list[str]]) -> None:
    folder, _ = work
    rows = table(folder / "next" / "suggest.csv")
    assert len(rows) == 20
    assert all(row["class"] for row in rows)
    first, second = result(folder, "clicks/*points=8,*"), result(folder, "more/*")
    assert sum(first["labelled_pixels"].values()) == 240
    assert 240 < sum(second["labelled_pixels"].values()) <= 260
    assert first["val_images"] == second["val_images"]
    assert first["scored_on"] == second["scored_on"] == "masks"


@pytest.mark.slow
def test_three_densities_are_compared(work: tuple[Path, list[str]]) -> None:
    folder, said = work
    for points in (2, 4, 8):
        assert sum(result(folder, f"clicks/*points={points},*")["labelled_pixels"].values()) == 30 * points
    assert "3 runs, 1 of them done already" in said[-2]
    assert re.search(r"\b2\b.*\b4\b.*\b8\b", said[-2], re.DOTALL)
    assert list(folder.glob("outputs/clicks/*points=8,*/panels/panel.png"))
    assert list(folder.glob("outputs/clicks/*points=8,*/events.out.tfevents*"))


def test_the_page_has_its_ten_commands() -> None:
    lines = [line for block in BLOCKS for line in block.splitlines() if ".venv/bin/python" in line]
    assert [first_word(line.removeprefix(".venv/bin/python")) for line in lines] == COMMANDS


def test_the_pictures_of_the_page_are_there_and_small() -> None:
    names = re.findall(r"^!\[[^]]+\]\((.+?)\)", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    sizes = [(PAGE.parent / name).stat().st_size for name in names]
    assert len(sizes) == 4
    assert max(sizes) < 150_000
    assert sum(sizes) < 600_000
