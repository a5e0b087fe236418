"""Training and labelling as child processes of the page, without a browser."""

import sys
import threading
import time
from pathlib import Path

import pytest
from browsing import until
from cli import configuration

from sparse_seg.annotate.jobs import Jobs
from sparse_seg.annotate.state import Annotation
from sparse_seg.errors import UserError


def test_a_job_outlives_the_thread_that_asked_for_it_and_can_be_stopped(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Linux ends a child with the thread that started it, and a server's threads come and go."""
    state = Annotation(root)
    jobs = Jobs(state, "resnet18", "null")
    program = "import time; print('on', flush=True); time.sleep(60)"
    monkeypatch.setattr(jobs, "command_of", lambda _: [sys.executable, "-c", program])
    asking = threading.Thread(target=jobs.start, args=("train",))
    asking.start()
    asking.join()
    until(lambda: list(jobs.lines), ["on"])
    time.sleep(0.3)
    assert jobs.status == "train: running"
    with pytest.raises(UserError, match="stop it first"):
        jobs.start("predict")
    jobs.stop()
    assert jobs.status == "train: stopped, the same button goes on"
    jobs.start("predict")
    assert jobs.status == "write maps: running", "as its button says"
    jobs.stop()
    state.close()


def test_a_class_that_has_no_point_yet_does_not_stop_the_training(root: Path) -> None:
    state = Annotation(root)
    jobs, word = Jobs(state, "resnet18", "null"), "data.allow_empty_classes=true"
    assert jobs.shown("train") == "", "there is nothing to train on"
    state.add("b", 1, 1, 0)
    state.add("b", 1, 300, 1)
    assert word in jobs.command_of("train")
    state.add("b", 1, 200, 2)
    assert word not in jobs.command_of("train")
    state.close()


def test_few_points_train_without_a_correction_of_shares(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = Annotation(root)
    jobs = Jobs(state, "resnet18", "null")
    for count, prior in ((499, "prior=none"), (500, "prior.tau=0.5"), (2_499, "prior.tau=0.5"), (2_500, None)):
        monkeypatch.setattr(state, "counts", lambda count=count: [1, count - 1])
        assert [word for word in jobs.command_of("train") if word.startswith("prior")] == [prior] * (prior is not None)
    own = Jobs(state, "resnet18", "null", ("prior=given",))
    monkeypatch.setattr(state, "counts", lambda: [1, 9])
    assert [word for word in own.command_of("train") if word.startswith("prior")] == ["prior=given"]
    with configuration() as configured:
        best, _ = configured("prior=none", "experiment=best")
    assert best.prior == {}
    assert best.method._target_ == "sparse_seg.training.TeacherTask"
    state.close()


def test_a_command_that_is_not_there_is_said(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = Annotation(root)
    jobs = Jobs(state, "resnet18", "null")
    monkeypatch.setattr(jobs, "command_of", lambda _: [str(root / "nothing")])
    with pytest.raises(UserError, match="train cannot be started: No such file"):
        jobs.start("train")
    assert not jobs.running
    state.close()
