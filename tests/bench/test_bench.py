"""The benchmark measures what it says: sane figures in a tiny configuration, no bounds on time."""

from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

from sparse_seg.bench import __main__ as bench
from sparse_seg.classes import IGNORE_INDEX
from sparse_seg.losses import partial_cross_entropy, partial_focal


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    values = {"ENCODER": "resnet18", "SIZE": 64, "BATCH": 2, "IMAGES": 8, "VAL_IMAGES": 2, "LABELS": 10}
    rounds = {"EPOCHS": 2, "EPOCH_STEPS": 1, "LOSS_ROUNDS": 1, "LOSS_CALLS": 1}
    for name, value in (values | rounds).items():
        monkeypatch.setattr(bench, name, value)


@pytest.mark.parametrize("last", [True, False])
def test_dense_references_are_the_same_losses(tiny: None, last: bool) -> None:
    logits, target = bench.sparse_batch(last)
    assert ((target != IGNORE_INDEX).sum((1, 2)) == bench.LABELS).all()
    assert logits.is_contiguous(memory_format=torch.channels_last) == last
    for mine, dense in bench.LOSS_PAIRS:
        if (mine, dense) != ("partial_focal", "F.cross_entropy"):  # different losses, compared for their time alone
            assert_close(bench.LOSSES[mine](logits, target), bench.LOSSES[dense](logits, target))
    assert partial_focal(logits, target) < partial_cross_entropy(logits, target)


@pytest.mark.filterwarnings("ignore")
def test_overhead_losses_and_epoch_come_out_as_positive_seconds(tiny: None, tmp_path: Path) -> None:
    data = bench.build_data(tmp_path)
    overhead = bench.lightning_overhead(data, tmp_path)
    losses = bench.loss_speed(data, tmp_path)
    *parts, rest = bench.epoch_shares(data, tmp_path)
    assert len(overhead) == 1 and len(losses) == 2 * len(bench.LOSS_PAIRS)
    for row in (*overhead, *losses, *parts, rest):
        assert row.value > 0 and row.reference and row.ratio == row.value / row.reference
    by_name = {row.what.removeprefix("(d) ").split(" vs ")[0]: row.value for row in parts}
    assert set(by_name) == {*bench.BUCKETS, "other"}  # each pattern still finds its name in Lightning's profiler
    assert sum(by_name.values()) == pytest.approx(rest.reference)
    assert rest.value + by_name["training step"] + by_name["validation forward"] == pytest.approx(rest.reference)


@pytest.mark.slow
def test_sweeps_come_out_as_positive_seconds(tiny: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "JOBS", 2)
    monkeypatch.setattr(bench, "RUN_IMAGES", 10)
    monkeypatch.setattr(bench, "ALONE", 1)
    data = bench.build_data(tmp_path)
    rows = [*bench.resuming(data, tmp_path), *bench.job_cost(data, tmp_path), *bench.at_once(data, tmp_path)]
    rows += bench.freed_memory(data, tmp_path)
    assert len(rows) == 4 and all(row.value > 0 for row in rows)
    assert [row.reference is None or row.reference > 0 for row in rows] == [True] * 4


def test_nested_profiler_actions_count_once() -> None:
    recorded = {
        "[Callback]RunCheckpoint.on_train_epoch_end": [2.0, 3.0],
        "save_checkpoint": [1.0],
        "[Callback]History.on_save_checkpoint": [1.0],
        "[Callback]History.on_train_epoch_end": [0.5],
        "run_training_epoch": [9.0],
        "run_training_batch": [4.0],
        "[_TrainingEpochLoop].train_dataloader_next": [0.25],
    }
    parts = bench.split_durations(recorded)
    assert parts["checkpoint"] == 5 and parts["history, TensorBoard"] == 0.5
    assert parts["training step"] == 4 and parts["data loading"] == 0.25


def test_row_says_whether_the_wish_is_met() -> None:
    assert bench.Row("a", 1.02, 1.0, max_ratio=1.03).met is True
    assert bench.Row("a", 1.04, 1.0, max_ratio=1.03).met is False
    assert bench.Row("a", 11.0, max_seconds=10).cells()["met"] == "no"
    assert bench.Row("a", 0.002, 0.01).cells() == {
        "what": "a", "value": "2.0 ms", "reference": "10.0 ms", "ratio": "0.200", "wanted": "", "met": "",
    }  # fmt: skip
