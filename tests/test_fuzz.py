"""Whatever a file holds: a result, or one or two lines that name a file. No traceback, no hang, no gigabyte."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from fuzz import crafted
from fuzz.corpus import KINDS, damaged, good
from fuzz.jobs import Worker
from fuzz.placing import Place

from sparse_seg.networks.build import create

pytestmark = pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="measures memory as Linux says it")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of the smallest network there is."""
    torch.manual_seed(0)
    network = create("unet", "tu-test_resnet", None, classes=3)
    config = {"_target_": "sparse_seg.networks.create", "encoder": "tu-test_resnet", "encoder_weights": None}
    colours = [[226, 169, 41], [132, 41, 246], [110, 193, 228]]
    model = {"config": config, "classes": ["Water", "Land", "Road"], "colours": colours, "size": 64}
    path = tmp_path_factory.mktemp("run") / "run.ckpt"
    torch.save({"state_dict": network.state_dict(), "model": model, "epoch": 1, "val_miou": 0.5}, path)
    return path


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    with contextlib.closing(Worker(tmp_path_factory.mktemp("worker"))) as worker:
        yield worker


@pytest.fixture
def place(tmp_path: Path, checkpoint: Path) -> Place:
    return Place(tmp_path / "work", checkpoint)


def test_damaged_files_end_in_a_result_or_in_words(
    tmp_path: Path, checkpoint: Path, place: Place, worker: Worker
) -> None:
    good(tmp_path / "good", checkpoint)
    files, jobs = list(damaged(tmp_path / "good")), []
    assert len(files) >= 60
    assert {file.kind for file in files} == set(KINDS)
    for file in files:
        suffix = Path(file.kind).suffix
        if file.kind.startswith("points"):
            jobs += place.points_jobs(file.name, file.data, suffix)
        elif file.kind == "classes.yaml":
            jobs += place.classes_jobs(file.name, file.data)
        elif suffix == ".ckpt":
            jobs += place.checkpoint_jobs(file.name, file.data)
        elif suffix in (".tfw", ".xml"):
            jobs += place.beside_jobs(file.name, file.data, file.kind.removeprefix("a"))
        else:
            jobs += place.image_jobs(file.name, file.data, suffix)
            jobs += place.mask_jobs(file.name, file.data, suffix, tmp_path / "good" / file.kind)
    found = worker.faults(jobs)
    assert not found, "\n".join(found)


def test_crafted_texts_end_in_a_result_or_in_words(tmp_path: Path, place: Place, worker: Worker) -> None:
    jobs = []
    for name, data in crafted.all_of(crafted.GEOJSON):
        jobs += place.points_jobs(f"GeoJSON: {name}", data, ".geojson")
    for name, data in crafted.all_of(crafted.CSV):
        jobs += place.points_jobs(f"CSV: {name}", data, ".csv")
    for name, data in crafted.all_of(crafted.CLASSES):
        jobs += place.classes_jobs(f"classes: {name}", data)
    found = worker.faults(jobs)
    assert not found, "\n".join(found)
    assert not list(tmp_path.rglob("ran"))


def test_crafted_files_beside_images_end_in_a_result_or_in_words(tmp_path: Path, place: Place, worker: Worker) -> None:
    jobs = []
    for suffix in (".tif.aux.xml", ".png.aux.xml"):
        for name, data in crafted.all_of(crafted.AUX):
            jobs += place.beside_jobs(f"{suffix}: {name}", data, suffix)
    for suffix in (".tfw", ".pgw"):
        for name, data in crafted.all_of(crafted.WORLD):
            jobs += place.beside_jobs(f"{suffix}: {name}", data, suffix)
    for suffix in (".prj", ".tif.msk", ".tif.ovr"):
        jobs += place.beside_jobs(f"{suffix}: of a world file", b"2.0\n" * 6, suffix)
        jobs += place.beside_jobs(f"{suffix}: zeros", bytes(1000), suffix)
    found = worker.faults(jobs)
    assert not found, "\n".join(found)


def test_crafted_images_end_in_a_result_or_in_words(tmp_path: Path, place: Place, worker: Worker) -> None:
    jobs = []
    for path in crafted.images(tmp_path / "files"):
        labelled = not path.name.startswith(crafted.LARGE)
        jobs += place.image_jobs(path.stem, path.read_bytes(), path.suffix, labelled)
        jobs += place.mask_jobs(path.stem, path.read_bytes(), path.suffix, path, labelled)
    found = worker.faults(jobs)
    assert not found, "\n".join(found)


def test_crafted_checkpoints_end_in_words(tmp_path: Path, checkpoint: Path, place: Place, worker: Worker) -> None:
    jobs = []
    for path in crafted.checkpoints(tmp_path / "files", checkpoint, tmp_path / "ran"):
        jobs += place.checkpoint_jobs(path.stem, path.read_bytes())
    found = worker.faults(jobs)
    assert not found, "\n".join(found)
    assert not (tmp_path / "ran").exists()
