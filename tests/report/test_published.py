"""The published figures agree with each other, and the grid of experiments is theirs."""

import itertools
from pathlib import Path

import numpy as np
import pytest
import yaml

from sparse_seg.report import published


def test_the_reports_classes_average_to_its_final_miou() -> None:
    for loss in ("focal", "ce"):
        mean = np.mean([row[loss] for row in published.TABLE3.values()])
        assert mean == pytest.approx(published.TABLE2[loss]["miou_final"], abs=1e-4)
    for row in published.TABLE3.values():
        assert row["focal"] - row["ce"] == pytest.approx(row["difference"], abs=6e-4)
    assert published.TABLE1[20]["miou_final"] == published.TABLE2["focal"]["miou_final"]


def grid(experiment: str) -> set[tuple[str, ...]]:
    """The runs of an experiment of study report, as (seed, augment, points, loss)."""
    path = Path(__file__).parents[2] / "conf" / "experiment" / f"{experiment}.yaml"
    config = yaml.safe_load(path.read_text())
    assert config["study"] == "report"
    assert config["hydra"]["mode"] == "MULTIRUN"
    params = config["hydra"]["sweeper"]["params"]
    return set(itertools.product(*(str(params[k]).split(",") for k in ("seed", "augment", "points", "loss"))))


def test_the_reports_grid_is_the_union_of_its_tables() -> None:
    parts = {name: grid(name) for name in ("table1", "table2", "table3", "augmentation", "upper_bound")}
    assert {name: len(cells) for name, cells in parts.items()} == {
        "table1": 9, "table2": 6, "table3": 6, "augmentation": 36, "upper_bound": 6,
    }  # fmt: skip
    assert grid("report") == set.union(*(parts[n] for n in ("table1", "table2", "table3", "augmentation")))
