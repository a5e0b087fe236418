"""Runs are read from folders and from kept lines, and go back into those."""

import csv
import io
import shutil
from pathlib import Path

import pytest
from studies import (
    Write,
    load,
    make_result,
    run_main,
    store_panels,
    whole_grid,
)

from sparse_seg.classes import LAND_COVER
from sparse_seg.errors import UserError
from sparse_seg.report import results

RESULTS = Path(__file__).parents[2] / "docs" / "results"
CSV_COLUMNS = (
    "study encoder weights loss points augment split fold seed epochs size miou_final miou_best one iou_ per class "
    "loss_at_epoch_25 seconds device precision commit"
)


def test_lines_hold_a_run_once_and_the_csv_has_the_named_columns(tmp_path: Path, write: Write) -> None:
    write(0.47)
    write(0.48, loss="ce")
    path = tmp_path / "docs" / "runs.jsonl"
    found = results.read_folder(tmp_path / "outputs" / "report")
    assert results.keep(found, path) == 2
    assert results.keep(found[:1], path) == 2
    lines = results.read_lines(path)
    assert [r["fingerprint"] for r in lines] == [r["fingerprint"] for r in found]
    assert "folder" not in lines[0]
    assert lines[0] == {k: v for k, v in found[0].items() if k != "folder"}
    rows = list(csv.DictReader(io.StringIO(path.with_suffix(".csv").read_text())))
    before, after = CSV_COLUMNS.split(" one iou_ per class ")
    iou = [f"iou_{name}" for name in LAND_COVER.names]
    assert list(rows[0]) == [*before.split(), *iou, *after.split()]
    assert {r["loss"]: r["miou_final"] for r in rows} == {"focal": "0.47", "ce": "0.48"}


def test_a_study_without_folder_is_read_from_the_lines(
    tmp_path: Path, write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    whole_grid(write)
    assert run_main(tmp_path, "report", "--keep", str(tmp_path / "runs.jsonl")) == 0
    assert run_main(tmp_path) == 0
    printed = capsys.readouterr().out
    assert f"42 runs read from {tmp_path}/outputs/report" in printed
    shutil.rmtree(tmp_path / "outputs")
    assert run_main(tmp_path) == 0
    again = capsys.readouterr().out
    assert f"42 runs read from {tmp_path}/runs.jsonl" in again
    assert again.split("\n", 1)[1] == printed.split("\n", 1)[1]
    for number in range(1, 6):
        assert f"Table {number}: " in again


def test_after_keeping_all_kept_runs_are_shown(
    tmp_path: Path, write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    whole_grid(write)
    words = ["report", "--keep", str(tmp_path / "runs.jsonl"), "--out", str(tmp_path), "--figures", str(tmp_path)]
    assert run_main(tmp_path, *words) == 0
    tables = (tmp_path / "tables.txt").read_text()
    shutil.rmtree(tmp_path / "outputs")
    store_panels(write(0.48, points=20, seed=1))
    assert run_main(tmp_path, *words) == 0
    again = (tmp_path / "tables.txt").read_text()
    assert f"42 runs read from {tmp_path}/runs.jsonl" in again
    assert again.count("\n") == tables.count("\n")
    assert len(list(tmp_path.glob("figure2-*.png"))) == 1


def test_a_broken_result_is_named(tmp_path: Path, write: Write) -> None:
    folder = write(0.5)
    (folder / "result.json").write_text('{"miou_final": ')
    with pytest.raises(UserError, match=r"result\.json is not JSON"):
        load(tmp_path)
    (folder / "result.json").write_text("{}")
    with pytest.raises(UserError, match=r"fingerprint, .* missing"):
        load(tmp_path)


def test_a_run_made_again_takes_the_place_of_its_line_whatever_names_it_had(tmp_path: Path) -> None:
    old = [make_result(0.40 + seed / 100, seed=seed, **{"model._target_": "sparse_seg.model.unet"}) for seed in (0, 1)]
    path = tmp_path / "runs.jsonl"
    assert results.keep(old, path) == 2
    today = {"model._target_": "sparse_seg.networks.create", "model.arch": "unet", "content": "4f"}
    again, other = make_result(0.5, seed=0, **today), make_result(0.6, seed=0, **today | {"model.arch": "fpn"})
    assert again["fingerprint"] != old[0]["fingerprint"]
    assert results.keep([again, other], path) == 3
    assert [r["miou_final"] for r in results.read_lines(path)] == [0.5, pytest.approx(0.41), 0.6]


def test_the_kept_lines_are_as_many_runs_as_before(tmp_path: Path) -> None:
    for name, count in (("runs", 138), ("cpu", 46), ("splits", 4), ("causes", 2), ("clicks", 12)):
        copy = Path(shutil.copy(RESULTS / f"{name}.jsonl", tmp_path))
        assert results.keep([], copy) == count
        assert copy.read_bytes() == (RESULTS / f"{name}.jsonl").read_bytes()
