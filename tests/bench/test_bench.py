"""The benchmark measures what it says: sane figures in a tiny configuration, no bounds on time."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

from sparse_seg.bench import FirstStep, probe
from sparse_seg.bench.__main__ import LETTERS, main
from sparse_seg.bench.epochs import BUCKETS, epoch_shares, split_durations
from sparse_seg.bench.losses import LOSS_PAIRS, LOSSES, loss_speed, sparse_batch
from sparse_seg.bench.methods import maps, probe_run, step_with_shares
from sparse_seg.bench.overhead import lightning_overhead
from sparse_seg.bench.page import page
from sparse_seg.bench.plan import Plan
from sparse_seg.bench.precision import freed_memory
from sparse_seg.bench.run import SECTIONS, measure
from sparse_seg.bench.start import COMMANDS, answers, resuming
from sparse_seg.bench.sweeps import at_once, job_cost
from sparse_seg.bench.table import Row
from sparse_seg.bench.training import build_data
from sparse_seg.classes import IGNORE_INDEX
from sparse_seg.losses import partial_cross_entropy, partial_focal

TINY = Plan(
    encoder="resnet18", probe_encoder="resnet18", size=64, batch=2, images=8, val_images=2, labels=10, epochs=2,
    epoch_steps=1, loss_rounds=1, loss_calls=1, alone=1, run_images=10, jobs=2, rounds=1, step_rounds=1, side=200,
    answers=1, page_size=300, page_points=30, page_clicks=2, page_side=1500,
)  # fmt: skip


@pytest.mark.parametrize("last", [True, False])
def test_dense_references_are_the_same_losses(last: bool) -> None:
    logits, target = sparse_batch(TINY, last)
    assert ((target != IGNORE_INDEX).sum((1, 2)) == TINY.labels).all()
    assert logits.is_contiguous(memory_format=torch.channels_last) == last
    for mine, dense in LOSS_PAIRS:
        if (mine, dense) != ("partial_focal", "F.cross_entropy"):  # different losses, compared for their time alone
            assert_close(LOSSES[mine](logits, target), LOSSES[dense](logits, target))
    assert partial_focal(logits, target) < partial_cross_entropy(logits, target)


@pytest.mark.filterwarnings("ignore")
def test_overhead_losses_and_epoch_come_out_as_positive_seconds(tmp_path: Path) -> None:
    data = build_data(TINY, tmp_path)
    overhead = lightning_overhead(TINY, data, tmp_path)
    losses = loss_speed(TINY, data, tmp_path)
    *parts, rest = epoch_shares(TINY, data, tmp_path)
    assert len(overhead) == 1
    assert len(losses) == 2 * len(LOSS_PAIRS)
    for row in (*overhead, *losses, *parts, rest):
        assert row.value > 0
        assert row.reference
        assert row.ratio == row.value / row.reference
    by_name = {row.what.removeprefix("(d) ").split(" vs ")[0]: row.value for row in parts}
    assert set(by_name) == {*BUCKETS, "other"}  # each pattern still finds its name in Lightning's profiler
    assert sum(by_name.values()) == pytest.approx(rest.reference)
    assert rest.value + by_name["training step"] + by_name["validation forward"] == pytest.approx(rest.reference)


def test_probe_shares_and_map_come_out_as_positive_seconds(tmp_path: Path) -> None:
    data = build_data(TINY, tmp_path)
    rows = [row for section in (probe_run, step_with_shares, maps) for row in section(TINY, data, tmp_path)]
    assert [row.what[:3] for row in rows] == ["(i)", "(i)", "(i)", "(j)", "(j)", "(k)"]
    assert all(row.value > 0 for row in rows)
    assert len(list((tmp_path / "features").iterdir())) == TINY.run_images


def test_every_commands_help_comes_out_as_positive_seconds(tmp_path: Path) -> None:
    rows = answers(TINY, build_data(TINY, tmp_path), tmp_path)
    assert [row.what.split()[1] for row in rows] == list(COMMANDS)
    assert all(row.value > 0 and row.ratio for row in rows)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("chromium") is None, reason="wants chromium: apt-get install chromium")
def test_the_page_comes_out_as_positive_seconds_and_memory(tmp_path: Path) -> None:
    pytest.importorskip("playwright", reason="needs pip install -e '.[dev]'")
    rows = page(TINY, build_data(TINY, tmp_path), tmp_path)
    assert [row.cells()["value"].split()[1][-1] for row in rows] == ["s"] * 5 + ["B"]
    assert all(row.value > 0 for row in rows)


@pytest.mark.slow
def test_sweeps_come_out_as_positive_seconds(tmp_path: Path) -> None:
    data = build_data(TINY, tmp_path)
    rows = [row for section in (resuming, job_cost, at_once, freed_memory) for row in section(TINY, data, tmp_path)]
    assert len(rows) == 4
    assert all(row.value > 0 for row in rows)
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
    parts = split_durations(recorded)
    assert parts["checkpoint"] == 5
    assert parts["history, TensorBoard"] == 0.5
    assert parts["training step"] == 4
    assert parts["data loading"] == 0.25


def test_row_says_whether_the_wish_is_met() -> None:
    assert Row("a", 1.02, 1.0, max_ratio=1.03).met is True
    assert Row("a", 1.04, 1.0, max_ratio=1.03).met is False
    assert Row("a", 11.0, max_seconds=10).cells()["met"] == "no"
    assert Row("a", 2.5, max_gigabytes=2).cells()["met"] == "no"
    assert Row("a", 1.5, max_gigabytes=2).cells()["value"] == "1.50 GB"
    assert Row("a", 0.002, 0.01).cells() == {
        "what": "a", "value": "2.0 ms", "reference": "10.0 ms", "ratio": "0.200", "wanted": "", "met": "",
    }  # fmt: skip


def test_help_lists_the_sections_and_starts_none() -> None:
    command = [sys.executable, "-X", "importtime", "-m", "sparse_seg.bench", "--help"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert [line.split()[0] for line in done.stdout.partition("sections:\n")[2].splitlines()] == list(SECTIONS)
    assert list(LETTERS) == list(SECTIONS)
    assert " torch\n" not in done.stderr


def test_a_letter_of_no_section_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["a", "x"])
    assert "'x' is no section: they are a, b, c" in capsys.readouterr().err


@pytest.mark.filterwarnings("ignore")
def test_only_the_sections_asked_for_are_measured(tmp_path: Path) -> None:
    assert {row.what[:3] for row in measure(TINY, ["b"], tmp_path)} == {"(b)"}


def test_the_probe_of_a_first_step_is_exported() -> None:
    assert FirstStep is probe.FirstStep
