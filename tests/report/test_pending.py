"""Runs without a result are found by what they say of themselves."""

import os
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from studies import Write, leave_failed, leave_unfinished, load, made, run_main, whole_grid

from sparse_seg.report import status
from sparse_seg.report.tables.classes import table3
from sparse_seg.report.tables.density import table1
from sparse_seg.report.tables.losses import table2
from sparse_seg.runs.folder import held


def test_missing_and_failed_runs_are_named(tmp_path: Path, write: Write) -> None:
    whole_grid(write)
    study = tmp_path / "outputs" / "report"
    shutil.rmtree(study / "loss=ce,points=20,augment=report,split=random,seed=1")
    failed = study / "loss=focal,points=5,augment=report,split=random,seed=2"
    (failed / "result.json").unlink()
    leave_failed(failed, points=5, seed=2)
    for seed in range(3):
        shutil.rmtree(study / f"loss=focal,points=50,augment=report,split=random,seed={seed}")
    (block,) = load(tmp_path)
    one, three = made(table1(block)), made(table3(block))
    assert re.fullmatch(r"0\.4350 ± 0\.\d{4}", one["5"]["final mIoU"])
    assert one["5"]["seeds"] == "2/3 seeds, 1 failed"
    assert (one["50"]["final mIoU"], one["50"]["seeds"]) == ("—", "0/3 seeds")
    assert three["Water"]["CE"].endswith("(2/3 seeds)")
    assert three["Water"]["seeds in both"] == "2"


def test_a_cell_of_failed_runs_only_says_so(tmp_path: Path, write: Write) -> None:
    write(0.5, points=20)
    folder = tmp_path / "outputs/report/loss=focal,points=5,augment=report,split=random,seed=0"
    leave_failed(folder, points=5)
    (block,) = load(tmp_path)
    row = made(table1(block))["5"]
    assert (row["final mIoU"], row["seeds"]) == ("—", "0/1 seeds, 1 failed")


def test_status_tells_done_failed_running_and_unfinished_runs(
    tmp_path: Path, write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    study = write(0.5).parent
    # The third one's owner was killed; a process with its number lives.
    for seed, (name, content) in enumerate(
        [(".lock", ""), ("owner", f"{os.getpid()} on node7"), ("failed.json", '{"error": "out of memory"}')], 1
    ):
        folder = study / f"loss=focal,points=20,augment=report,split=random,seed={seed}"
        folder.mkdir()
        (folder / name).write_text(content)
        (folder / "history.csv").write_text("epoch,val_miou\n1,0.1\n2,0.2\n")
    (study / "stray").mkdir()
    with held(study / "loss=focal,points=20,augment=report,split=random,seed=1"):
        assert [r.state for r in status.runs_of(study)] == ["done", "running", "unfinished", "failed"]
        assert run_main(tmp_path, "--status", "report") == 0
    shown = capsys.readouterr().out
    assert re.search(r"seed=3 +failed +2 +out of memory", shown)
    assert "4 runs: 1 done, 1 running, 1 failed, 1 unfinished" in shown


@pytest.fixture
def cut(tmp_path: Path, write: Write) -> Path:
    """A study whose folders' names are cut to a hash: per loss a run that is finished, one that failed, two begun."""
    study = tmp_path / "outputs" / "report"
    axes: dict[str, Any] = {"data.size": 96}
    for seed, loss in enumerate(("focal", "ce")):
        folder = write(0.5, loss=loss, **axes)
        folder.rename(study / f"{'x' * 187}-{seed:012}")
        leave_failed(study / f"{'x' * 187}-{seed + 2:012}", loss=loss, seed=1, **axes)
        for more in (2, 3):
            leave_unfinished(study / f"{'x' * 187}-{seed + 2 * more:012}", loss=loss, seed=more, **axes)
    leave_failed(study / f"{'x' * 187}-other", seed=1, **{"data.size": 64})
    return study


def test_runs_whose_names_are_cut_are_found_in_tables_and_notes(
    tmp_path: Path, cut: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert all(len(p.name.encode()) > 190 and "=" not in p.name for p in cut.iterdir())
    with held(cut / f"{'x' * 187}-{4:012}"):
        (block,) = load(tmp_path)
        assert run_main(tmp_path, "report") == 0
    assert [r.state for r in block.pending] == ["failed", "failed", "running", "unfinished", "unfinished", "unfinished"]
    assert {(r.axes["loss"], r.axes["seed"]) for r in block.pending} == {
        (x, n) for x in ("focal", "ce") for n in (1, 2, 3)
    }
    assert block.seeds == [0, 1, 2, 3]
    assert block.failed(loss="focal", points=20, augment="report") == 1
    two = made(table2(block))
    assert two["partial focal"]["seeds"] == two["partial cross-entropy"]["seeds"] == "1/4 seeds, 1 failed"
    said = capsys.readouterr().out
    assert said.count("Failed: xxx") == 2
    assert said.count("Running: xxx") == 1
    assert said.count("Unfinished: xxx") == 3
    assert "study report: 1 failed in no table (no run of their configuration is finished" in said


def test_status_counts_runs_whose_names_are_cut(tmp_path: Path, cut: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with held(cut / f"{'x' * 187}-{4:012}"):
        assert run_main(tmp_path, "--status", "report") == 0
    assert "9 runs: 2 done, 1 running, 3 failed, 3 unfinished" in capsys.readouterr().out


def test_a_failed_run_counts_with_what_its_machine_made_of_auto(tmp_path: Path, write: Write) -> None:
    write(0.5)
    write(0.4, rest=",other", **{"trainer.precision": "32-true"})
    study = tmp_path / "outputs" / "report"
    leave_failed(study / "early", seed=1, **{"trainer.precision": "auto"})
    leave_unfinished(study / "late", seed=2, **{"trainer.precision": "32-true"})
    leave_failed(study / "late", seed=2, **{"trainer.precision": "auto"})
    found = {b.runs.iloc[0]["precision"]: [r.folder.name for r in b.pending] for b in load(tmp_path)}
    assert found == {"bf16-mixed": ["early"], "32-true": ["early", "late"]}


def test_a_failed_run_of_another_gamma_is_no_run_of_the_block(tmp_path: Path, write: Write) -> None:
    write(0.5)
    write(0.5, loss="ce")
    study = tmp_path / "outputs" / "report"
    leave_failed(study / "gamma", seed=1, **{"loss.gamma": 1.0})
    leave_failed(study / "dice", seed=1, loss="focal", augment="none")
    (block,) = load(tmp_path)
    assert [r.folder.name for r in block.pending] == ["dice"]


def test_a_failed_run_that_does_not_say_what_it_is_is_counted_apart(
    tmp_path: Path, write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write(0.5).with_name("loss=focal,points=20,augment=report,split=random,seed=1")
    folder.mkdir()
    (folder / "failed.json").write_text('{"error": "made by an older version"}')
    (folder / "config.yaml").write_text("figures: {")
    assert run_main(tmp_path, "report") == 0
    said = capsys.readouterr().out
    assert "study report: 1 failed in no table" in said
    assert "1/2 seeds" not in said
