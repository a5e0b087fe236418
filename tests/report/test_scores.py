"""Further scores pass through: runs.csv, and Table 11 in every format."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from studies import Write, load, made, run_main

from sparse_seg.report.tables import tables_of


def score(folder: Path, **scores: Any) -> None:
    path = folder / "result.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"scores": scores}))


@pytest.fixture
def scored(tmp_path: Path, write: Write) -> Path:
    for seed in range(3):
        score(write(0.5, seed=seed), boundary_iou=0.2 + seed / 100, boundary_iou_Water=None, loss=1.5)
        score(write(0.5, seed=seed, points=5), boundary_iou=0.1, boundary_iou_Water=None, loss=2.5)
    write(0.5, loss="ce")
    return tmp_path


def test_further_scores_have_a_table_with_intervals(scored: Path) -> None:
    (block,) = load(scored)
    (table,) = tables_of(block, {"11"})
    rows = made(table)
    row = rows["boundary_iou partial focal report 20"]
    assert (row["mean"], row["seeds"]) == ("0.2100 ± 0.0248", "3")
    assert rows["boundary_iou partial focal report 5"]["mean"] == "0.1000 ± 0.0000"
    assert rows["boundary_iou partial cross-entropy report 20"]["mean"] == "—"
    assert not any("Water" in name for name in rows)
    assert table.labels == 4
    assert len(table.notes) == 1


def test_tiles_stand_in_for_seeds_in_the_table_of_scores(tmp_path: Path, write: Write) -> None:
    for fold in range(3):
        score(write(0.5, split="tile", **{"data.fold": fold}), boundary_iou=0.2 + fold / 100)
    (block,) = load(tmp_path)
    (table,) = tables_of(block, {"11"})
    assert made(table)["boundary_iou partial focal report 20"] == {
        "score": "boundary_iou", "loss": "partial focal", "augment": "report", "points per class": "20",
        "mean": "0.2100 ± 0.0248", "tiles": "3",
    }  # fmt: skip
    assert "over held-out tiles" in table.notes[0]


def test_without_further_scores_there_is_no_table_of_them(tmp_path: Path, write: Write) -> None:
    write(0.5)
    (block,) = load(tmp_path)
    assert [t.number for t in tables_of(block)] == ["1", "2", "3", "9"]


@pytest.mark.parametrize("form", ["text", "markdown", "latex", "csv"])
def test_the_table_of_scores_is_printed_in_every_format(
    form: str, scored: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_main(scored, "report", "--format", form) == 0
    said = capsys.readouterr().out
    assert "boundary_iou" in said.replace("\\", "")
    assert "0.2100" in said
    assert run_main(scored, "report", "--html", str(scored / "page.html")) == 0
    assert "Table 11: further scores" in (scored / "page.html").read_text()


def test_runs_csv_has_the_scores_after_its_columns(scored: Path) -> None:
    assert run_main(scored, "report", "--keep", str(scored / "runs.jsonl")) == 0
    rows = list(csv.DictReader(io.StringIO((scored / "runs.csv").read_text())))
    assert list(rows[0])[-4:] == ["commit", "boundary_iou", "boundary_iou_Water", "score_loss"]
    found = {(r["loss"], r["points"], r["seed"]): (r["boundary_iou"], r["score_loss"]) for r in rows}
    assert found["focal", "20", "2"] == ("0.22", "1.5")
    assert found["ce", "20", "0"] == ("", "")
    assert {r["boundary_iou_Water"] for r in rows} == {""}
