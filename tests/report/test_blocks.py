"""Runs of one configuration stand together, others apart."""

from pathlib import Path

import pytest
from studies import Write, load, made, run_main

from sparse_seg.report import results
from sparse_seg.report.tables.density import table1
from sparse_seg.report.tables.losses import table2


def test_runs_of_other_configurations_stand_apart_and_their_keys_are_named(tmp_path: Path, write: Write) -> None:
    for seed in range(2):
        write(0.47, seed=seed)
        write(0.60, rest=",optimizer.lr=0.001", seed=seed, **{"optimizer.lr": 1e-3})
        write(0.70, rest=",model.encoder=lite0", seed=seed, **{"model.encoder": "lite0"})
    found = load(tmp_path)
    assert sorted(made(table1(b))["20"]["final mIoU"][:6] for b in found) == ["0.4700", "0.6000", "0.7000"]
    assert sorted(b.title.split("split")[1] for b in found) == ["", ", optimizer.lr=0.0001", ", optimizer.lr=0.001"]
    assert {d.split(":")[0] for b in found for d in b.differs} == {"optimizer.lr", "model.encoder"}


def test_another_gamma_is_another_configuration_that_shares_the_ce_runs(tmp_path: Path, write: Write) -> None:
    write(0.47)
    write(0.55, rest=",loss.gamma=1", **{"loss.gamma": 1.0})
    write(0.48, loss="ce")
    found = load(tmp_path)
    values = [{k: v["final mIoU"] for k, v in made(table2(b)).items()} for b in found]
    assert sorted(v["partial focal"] for v in values) == ["0.4700", "0.5500"]
    assert {v["partial cross-entropy"] for v in values} == {"0.4800"}
    assert all("loss.gamma=" in b.title for b in found)


def test_a_run_that_lies_in_two_studies_counts_once(tmp_path: Path, write: Write) -> None:
    write(0.47)
    write(0.47, study="again")
    runs = results.load(["report", "again"], tmp_path / "outputs", tmp_path / "none")
    assert len(runs.results) == 2
    assert len(runs.frame) == 1


def test_a_title_names_the_tiles_held_out(tmp_path: Path, write: Write) -> None:
    write(0.5, split="tile", **{"data.val_tiles": [1, 5]})
    (block,) = load(tmp_path)
    assert block.title.endswith("tile split (held out: 1, 5)")


NOW = {"model._target_": "sparse_seg.networks.create", "model.arch": "unet"}
BEFORE = {"model._target_": "sparse_seg.model.unet"}


def test_runs_of_before_a_name_changed_stand_with_those_of_after(tmp_path: Path, write: Write) -> None:
    for seed in range(2):
        write(0.47, seed=seed, **BEFORE)
        write(0.47, rest=",now", seed=seed + 2, content="4f", **NOW)
        write(0.60, rest=",other", seed=seed, content="4f", **NOW, **{"optimizer.lr": 1e-3})
    found = load(tmp_path)
    assert sorted(b.seeds for b in found) == [[0, 1], [0, 1, 2, 3]]
    (apart,) = (b.differs for b in found if b.differs)
    assert [d.split(":")[0] for d in apart] == ["optimizer.lr"]
    assert not any(b.notes for b in found)


def test_a_configuration_is_printed_in_the_names_that_its_run_had(tmp_path: Path, write: Write) -> None:
    write(0.5, **{"scheduler._target_": "sparse_seg.task.one_cycle_cosine"})
    write(0.6, rest=",now", **{"scheduler._target_": "torch.optim.lr_scheduler.ConstantLR"}, **NOW)
    first, second = load(tmp_path)
    assert "scheduler._target_=sparse_seg.task.one_cycle_cosine" in f"{first.title} {second.title}"


def test_the_same_run_under_old_and_new_names_counts_once(tmp_path: Path, write: Write) -> None:
    write(0.47, **BEFORE)
    write(0.48, rest=",again", content="4f", **NOW)
    (block,) = load(tmp_path)
    assert len(block.runs) == 1


def test_runs_that_do_not_say_their_images_are_averaged_with_neither_of_two_data_sets(
    tmp_path: Path, write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    write(0.47)
    write(0.48, rest=",a", content="4f" * 32)
    write(0.49, rest=",b", content="a0" * 32)
    found = load(tmp_path)
    assert sorted(b.title.split("split")[1] for b in found) == [
        ", data.content=4f4f4f4f4f4f4f4f4f4…", ", data.content=a0a0a0a0a0a0a0a0a0a…", ", data.content=unknown",
    ]  # fmt: skip
    assert [len(b.notes) for b in found if "unknown" in b.title] == [1]
    assert sum(len(b.notes) for b in found) == 1
    assert run_main(tmp_path, "report") == 0
    said = " ".join(capsys.readouterr().out.split())
    assert said.count("These runs do not say what their images were") == 1


def test_another_method_is_another_configuration_and_the_title_names_it(tmp_path: Path, write: Write) -> None:
    write(0.47)
    write(0.49, rest=",teacher", method="teacher", **{"method._target_": "pkg.Teacher"})
    found = load(tmp_path)
    assert [b.title.startswith("method teacher, resnet34") for b in found].count(True) == 1
    assert [len(b.runs) for b in found] == [1, 1]
