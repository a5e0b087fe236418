"""A run that was interrupted, in whatever way, ends with the figures of one that was not."""

import csv
import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from processes import TINY, Ended, train, warm_train
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from sparse_seg.errors import UserError
from sparse_seg.training.checkpoint import resume_point, save_atomically

EPOCHS = 4
WORDS = (
    *TINY, f"trainer.max_epochs={EPOCHS}", "scheduler=cosine", "optimizer.lr=1e-3", "data.source.images=12",
    "loss=custom", "loss._target_=probes.random_loss", "+callbacks.fate._target_=probes.Fate",
)  # fmt: skip
FIGURES = (
    "train_loss", "val_miou", "miou_final", "miou_best", "epoch_best", "iou", "f1", "accuracy", "confusion_matrix",
    "fingerprint",
)  # fmt: skip


def run(cwd: Path, fate: str | None = None, workers: int = 0) -> Ended:
    cwd.mkdir(exist_ok=True)
    (cwd / "fate").unlink(missing_ok=True)
    if fate:
        (cwd / "fate").write_text(fate)
    return warm_train(*WORDS, f"data.num_workers={workers}", cwd=cwd)


def folder(cwd: Path) -> Path:
    (found,) = (cwd / "outputs" / "runs").iterdir()
    return found


def result(cwd: Path) -> dict:
    return json.loads((folder(cwd) / "result.json").read_text())


def epochs(cwd: Path) -> list[int]:
    with (folder(cwd) / "history.csv").open() as f:
        return [int(row["epoch"]) for row in csv.DictReader(f)]


@dataclass
class Chain:
    """The ends of the parts of one run, and what was there between them."""

    ends: list[Ended]
    epochs: list[list[int]]
    last: list[int | None]
    """Epochs in last.ckpt."""


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("resume")


@pytest.fixture(scope="module")
def whole(base) -> Path:
    """A run without interruption, in this folder."""
    ended = run(base / "whole")
    assert ended.code == 0, ended.err
    return base / "whole"


@pytest.fixture(scope="module")
def chain(base) -> Chain:
    """Stopped in epoch 2, killed in epoch 3 (and this state copied), killed before result.json, and then finished."""
    chain, cwd = Chain([], [], []), base / "broken"
    for fate, workers in (("SIGTERM 2", 0), ("SIGKILL 3", 2), ("SIGKILL 0", 2), (None, 0)):
        chain.ends.append(run(cwd, fate, workers))
        chain.epochs.append(epochs(cwd))
        point = resume_point(folder(cwd))
        chain.last.append(point and point[1])
        if fate == "SIGKILL 3":
            for copy in ("cut", "damaged", "twice"):
                shutil.copytree(cwd, base / copy)
    return chain


def test_the_parts_of_the_run_ended_as_meant(chain):
    assert [end.code for end in chain.ends] == [143, -9, -9, 0], chain.ends[-1].err
    assert chain.epochs == [[1], [1, 2], [1, 2, 3, 4], [1, 2, 3, 4]]
    assert chain.last == [1, 2, 4, None]
    assert "goes on after epoch 1 of 4" in chain.ends[1].out
    assert "goes on after epoch 2 of 4" in chain.ends[2].out


def test_sigterm_ends_with_a_message_and_no_traceback(chain):
    stopped = chain.ends[0]
    assert "was stopped by SIGTERM; the same command goes on" in stopped.err
    assert "Traceback" not in stopped.err + stopped.out


def test_ctrl_c_ends_with_a_message_and_the_same_command_goes_on(base, whole):
    cwd = base / "ctrl-c"
    cwd.mkdir()
    (cwd / "fate").write_text("SIGINT 2")
    stopped = train(*WORDS, "data.num_workers=0", cwd=cwd)  # whose Ctrl-C is not ignored, whoever started the tests
    assert stopped.code == 130, stopped.err
    assert "was stopped by Ctrl-C; the same command goes on from its last whole epoch" in stopped.err
    assert "Traceback" not in stopped.err + stopped.out
    assert epochs(cwd) == [1]
    assert run(cwd).code == 0
    assert {k: result(cwd)[k] for k in FIGURES} == {k: result(whole)[k] for k in FIGURES}


@pytest.mark.parametrize(
    "method",
    [("prior=network", "prior.start=0.25", "method=teacher"),
     ("prior=estimated", "method=teacher", "data.size=64", "data.crop=32")],
    ids=["network", "estimated"],
)  # fmt: skip
def test_a_killed_run_goes_on_with_the_shares_that_it_had(tmp_path, method):
    words = (*WORDS, "data.num_workers=0", *method)
    for cwd, fates in ((tmp_path / "whole", [None]), (tmp_path / "killed", ["SIGKILL 3", None])):
        cwd.mkdir()
        for fate in fates:
            (cwd / "fate").write_text(fate) if fate else (cwd / "fate").unlink(missing_ok=True)
            ended = warm_train(*words, cwd=cwd)
            assert ended.code == (-9 if fate else 0), ended.err
    assert "goes on after epoch 2 of 4" in ended.out
    mine, expected = (result(tmp_path / name) for name in ("killed", "whole"))
    assert {k: mine[k] for k in FIGURES} == {k: expected[k] for k in FIGURES}
    shares, others = ((folder(tmp_path / name) / "shares.csv").read_text() for name in ("killed", "whole"))
    assert shares == others
    rows = list(csv.DictReader(others.splitlines()))
    assert any(row["points"] != row["estimated"] for row in rows)


def test_a_probe_that_was_killed_before_its_result_says_what_it_found(tmp_path):
    words = (*WORDS, "data.num_workers=0", "method=probe", "method.allow_random=true", "trainer.max_epochs=1")
    (tmp_path / "fate").write_text("SIGKILL 0")
    assert warm_train(*words, cwd=tmp_path).code == -9
    (tmp_path / "fate").unlink()
    ended = warm_train(*words, cwd=tmp_path)
    assert (ended.code, "goes on after epoch 1 of 1" in ended.out) == (0, True), ended.err
    assert result(tmp_path)["strength"] > 0
    assert result(tmp_path)["features_seconds"] >= 0


CUT = {"broken": [], "cut": ["last.ckpt"], "damaged": ["last.ckpt", "previous.ckpt"]}


@pytest.fixture(params=list(CUT))
def again(request, base, whole, chain) -> Path:
    """The folder of a run that was killed; in two of them the newest or both resume checkpoints were then cut."""
    cwd, cut = base / request.param, CUT[request.param]
    if cut and not (folder(cwd) / "result.json").exists():
        for name in cut:
            path = folder(cwd) / "checkpoints" / name
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        ended = run(cwd)
        assert ended.code == 0, ended.err
        goes_on = "goes on after epoch 1 of 4" if len(cut) == 1 else "starts again from epoch 1"
        assert all(f"{name} is damaged" in ended.out for name in cut)
        assert goes_on in ended.out
        assert goes_on in (folder(cwd) / "log.txt").read_text()
    return cwd


def test_killed_run_resumes_to_the_same_figures(again, whole):
    mine, expected = result(again), result(whole)
    assert {k: mine[k] for k in FIGURES} == {k: expected[k] for k in FIGURES}
    assert len(set(expected["train_loss"])) == EPOCHS


def test_killed_run_resumes_to_the_same_weights(again, whole):
    paths = sorted(p.name for p in (folder(whole) / "checkpoints").iterdir())
    assert sorted(p.name for p in (folder(again) / "checkpoints").iterdir()) == paths
    assert not {"last.ckpt", "previous.ckpt"} & set(paths)
    assert "best.ckpt" in paths
    for name in paths:
        mine, expected = (torch.load(folder(f) / "checkpoints" / name, weights_only=True) for f in (again, whole))
        assert mine["epoch"] == expected["epoch"]
        assert mine["model"] == expected["model"]
        assert all(torch.equal(v, expected["state_dict"][k]) for k, v in mine["state_dict"].items())


def test_no_epoch_comes_twice(again):
    assert epochs(again) == [1, 2, 3, 4]
    events = EventAccumulator(str(folder(again))).Reload()
    for tag in ("loss/train", "miou/val", "optimizer/lr"):
        assert [e.step for e in events.Scalars(tag)] == [1, 2, 3, 4], tag
    assert [e.value for e in events.Scalars("loss/train")] == pytest.approx(result(again)["train_loss"])


def test_a_damaged_checkpoint_never_takes_the_place_of_a_good_one(base, chain):
    cwd = base / "twice"
    checkpoints = folder(cwd) / "checkpoints"
    good = (checkpoints / "previous.ckpt").read_bytes()
    (checkpoints / "last.ckpt").write_bytes(b"cut")
    ended = run(cwd, "SIGKILL 3")
    assert ended.code == -9, ended.err
    assert "goes on after epoch 1 of 4" in ended.out
    assert resume_point(folder(cwd)) == (checkpoints / "last.ckpt", 2)
    assert (checkpoints / "previous.ckpt").read_bytes() == good


def test_nothing_half_written_is_left(again):
    assert not list(folder(again).rglob("*.tmp"))


@pytest.mark.parametrize("keep", [0, 1000, 0.5])
def test_a_damaged_checkpoint_means_a_fresh_start_and_says_so(tmp_path, keep):
    path = tmp_path / "checkpoints" / "last.ckpt"
    content = {"callbacks": {"History": {"rows": [{"epoch": 1}, {"epoch": 2}]}}, "weights": torch.ones(10_000)}
    assert resume_point(tmp_path) is None
    save_atomically(content, path)
    assert resume_point(tmp_path) == (path, 2)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(keep * len(whole) if keep < 1 else keep)])
    with pytest.warns(UserWarning, match="last.ckpt is damaged .* goes on from an earlier state"):
        assert resume_point(tmp_path) is None
    assert path.exists()


def test_the_checkpoint_before_a_missing_or_damaged_one_is_used(tmp_path):
    for name, epoch in (("previous.ckpt", 1), ("last.ckpt", 2)):
        save_atomically({"callbacks": {"History": {"rows": [{"epoch": epoch}]}}}, tmp_path / "checkpoints" / name)
    previous, last = tmp_path / "checkpoints" / "previous.ckpt", tmp_path / "checkpoints" / "last.ckpt"
    assert resume_point(tmp_path) == (last, 2)
    last.write_bytes(b"")
    with pytest.warns(UserWarning, match="last.ckpt is damaged"):
        assert resume_point(tmp_path) == (previous, 1)
    last.unlink()  # killed between the two renames
    assert resume_point(tmp_path) == (previous, 1)


def test_a_failed_write_leaves_the_old_checkpoint_and_no_rest(tmp_path, monkeypatch):
    path = tmp_path / "last.ckpt"
    save_atomically({"epoch": 1}, path)

    def full(content, file):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(UserError, match="No space left on device; free some space"):
        save_atomically({"epoch": 2}, path)
    assert torch.load(path, weights_only=True) == {"epoch": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["last.ckpt"]
