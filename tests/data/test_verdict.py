"""What `inspect` accepts trains; what it refuses is refused by training in the same sentence, which names the file."""

import re
import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest
from fuzz.imagery import Spec, specs, write
from hypothesis import HealthCheck, given, note, settings

from sparse_seg.classes import Classes
from sparse_seg.data.datamodule import SparsePointsDataModule
from sparse_seg.data.folder import folder
from sparse_seg.data.survey import inspect
from sparse_seg.errors import UserError

EXAMPLES = 80


def first(error: UserError) -> str:
    return str(error).split("\n")[0]


def looked(root: Path) -> tuple[list[str], list[str]]:
    """What `inspect` prints, and the sentences by which it refuses."""
    lines: list[str] = []
    refused = []
    try:
        lines.extend(inspect(root))
    except UserError as error:
        refused.append(first(error))
    refused += [line.partition(" ")[2].strip() for line in lines if line.startswith(("damaged ", "refused "))]
    refused += [line.split("; the first: ")[1] for line in lines if "; the first: " in line]
    return lines, refused


def trained(root: Path) -> tuple[SparsePointsDataModule | None, str]:
    """What training makes of the folder before its first step; and the sentence by which it refuses."""
    try:
        data = SparsePointsDataModule(folder(root), points=4, size=32, cache_dir=str(root / "cache"))
        data.setup()
    except UserError as error:
        return None, first(error)
    return data, ""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("folders")


@settings(
    max_examples=EXAMPLES, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck), database=None
)
@given(spec=specs())
def test_inspect_and_training_agree(place: Path, spec: Spec) -> None:
    root = place / "own"
    shutil.rmtree(root, ignore_errors=True)
    write(spec, root)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # the product's, which go to a run's log
        lines, refused = looked(root)
        data, why = trained(root)
        found = pixels(root, data.classes) if data is not None and any(s.has_mask for s in data.samples) else None
    note("\n".join(lines))
    note(f"inspect refuses: {refused}\ntraining refuses: {why}")
    assert bool(refused) == bool(why)
    if why and (root / "classes.yaml").exists():  # else it is missing, says training, and inspect why it cannot be told
        assert sentence(why) in map(sentence, refused)
        assert str(root) in why or "labelled pixel" in why  # of a class all files are at fault
    if data is not None and found is not None:
        assert counted(lines, data.classes) == found


def sentence(said: str) -> str:
    """Without the images that were looked at: all of them, or those of a run's split."""
    return re.sub(r" in any of the \d+ (training )?images.*|training ", "", said).split(" (points=")[0]


def counted(lines: list[str], classes: Classes) -> list[int]:
    """Pixels per class, as `inspect` prints them."""
    found = []
    for name in classes.names:
        match = next(m for line in lines if (m := re.match(rf" +{name} .* ([\d,]+) pixels ", line)))
        found.append(int(match[1].replace(",", "")))
    return found


def pixels(root: Path, classes: Classes) -> list[int]:
    """Pixels per class in the masks that training reads."""
    total = np.zeros(256, np.int64)
    for sample in folder(root).samples:
        if sample.has_mask:
            total += np.bincount(sample.read()[1].ravel(), minlength=256)
    return total[: len(classes)].tolist()
