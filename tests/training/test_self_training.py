"""Self-training: what the teacher says, what is learned of it, and whom it refuses."""

from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
from cli import BARE, SMALL, TINY, train, trained
from folders import index_map, make, save_mask
from torch import nn

import sparse_seg
from sparse_seg.losses import PartialCrossEntropy
from sparse_seg.training.self_training import SelfTrainingTask, soft_targets
from sparse_seg.training.shares import Shares

FROM_PROBE = ("method=self_training", "method.allow_random=true")
KEPT = ("train_loss", "val_miou", "confusion_matrix")


class Corner(nn.Module):
    """Sure of class 1 in the upper left pixel of what it is shown, of class 0 elsewhere, and a bit of class 2."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        logits = torch.zeros(len(image), 3, *image.shape[-2:])
        logits[:, 0] = 10.0
        logits[:, :, 0, 0] = torch.tensor([0.0, 10.0, 0.0])
        logits[:, 2] += 9.0
        return logits


def test_targets_are_the_average_over_eight_views_among_the_classes_of_the_image() -> None:
    image, target = np.zeros((4, 4, 3), np.uint8), np.full((4, 4), 255, np.uint8)
    examples = [("a", image, target, False), ("b", image, target, False), ("c", image, target, True)]
    present = torch.tensor([[True, True, False], [True, True, True], [True, True, True]])
    made = soft_targets(Corner(), examples, present, 4)
    assert made.shape == (3, 4, 4, 3)
    assert (made[0].astype(int).sum(-1) - 255 <= 1).all()
    assert not made[0][..., 2].any()
    assert np.array_equal(made[0], made[0][::-1])
    assert np.array_equal(made[0], made[0].swapaxes(0, 1))
    assert made[0][1, 1].tolist() == [255, 0, 0]
    assert made[0][0, 0].tolist() == [191, 64, 0]  # two of the eight views have their upper left pixel there
    assert made[1][1, 1, 2] == pytest.approx(255 / (1 + np.e), abs=1)
    assert not made[2].any()


def task() -> SelfTrainingTask:
    own = torch.full((2, 3), 1 / 3, dtype=torch.float64)
    made = SelfTrainingTask(
        nn.Conv2d(3, 3, 1), PartialCrossEntropy(), class_names=["a", "b", "c"], teacher="run", weight=0.5
    )
    made.use_shares(Shares(["0", "1"], own, own, torch.arange(2)))
    return made


def test_the_loss_is_that_of_the_points_and_of_what_was_said_of_the_other_pixels() -> None:
    torch.manual_seed(0)
    soft = torch.randint(256, (2, 3, 8, 8)).to(torch.uint8) // 3
    target = torch.full((2, 8, 8), 255)
    target[:, 0, :3] = torch.arange(3)
    batch = {"image": torch.rand(2, 3, 8, 8), "target": target, "soft": soft, "index": torch.arange(2)}
    soft[:, :, 7] = 255  # filled in by a transform
    made = task()
    loss, n_labelled, taught = made.training_loss(batch)
    posterior = made.network(batch["image"]).log_softmax(1)
    rest = sum(
        -(soft[b, :, r, c] / 255 * posterior[b, :, r, c]).sum()
        for b in range(2) for r in range(7) for c in range(8) if target[b, r, c] == 255
    )  # fmt: skip
    torch.testing.assert_close(taught, 0.5 * rest / (2 * 8 * 8))
    torch.testing.assert_close(loss, nn.functional.cross_entropy(posterior, target, ignore_index=255))
    assert n_labelled == 6
    batch["target"] = torch.zeros_like(target)
    assert made.training_loss(batch)[2] == 0  # full masks leave nothing to be said


def test_a_run_teaches_the_next_one_wherever_it_lies(tmp_path: Path) -> None:
    words = (*TINY, "logger=none", "callbacks.panels=null", "points=20")
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
    first, result = trained(*words, *FROM_PROBE, "prior=estimated", cwd=tmp_path / "first")
    assert result["method"] == "self_training"
    assert result["targets_megabytes"] == pytest.approx(result["train_images"] * 32 * 32 * 5 / 1e6, abs=0.05)
    assert "probe labelled 5 training images" in (first / "log.txt").read_text()
    assert sparse_seg.load(first).predict(np.zeros((64, 64, 3), np.uint8)).shape == (64, 64)
    moved = first.rename(tmp_path / "teacher")
    again = ("method=self_training", f"method.teacher={moved}", "prior=estimated")
    second, _ = trained(*words, *again, cwd=tmp_path / "second")
    assert f"{moved} labelled 5 training images" in (second / "log.txt").read_text()
    (tmp_path / "refused").mkdir()
    own = ("data=folder", f"data.root={make(tmp_path / 'own', [f'{k}.png' for k in range(6)])}", *SMALL)
    for extra, said in (
        ((*words, "data.size=64"), "was trained at 32 pixels, and data.size is 64"),
        ((*own, "points=20"), "was trained on the classes"),
    ):
        outcome = train(*extra, *BARE, *again, cwd=tmp_path / "refused")
        assert outcome.code == 1
        assert outcome.err.startswith(f"error: method.teacher={moved} {said}"), outcome.err
        assert len(outcome.err.splitlines()) == 1
    content = torch.load(moved / "checkpoints" / "best.ckpt", weights_only=True)
    content["model"]["bands"] = [3, 2, 1]
    torch.save(content, tmp_path / "other.ckpt")
    outcome = train(*words, *BARE, *again, f"method.teacher={tmp_path / 'other.ckpt'}", cwd=tmp_path / "refused")
    assert "was trained on bands (3, 2, 1), and these images have the usual ones" in outcome.err
    assert len(outcome.err.splitlines()) == 1


def test_an_encoder_that_knows_nothing_is_no_teacher(tmp_path: Path) -> None:
    outcome = train(*TINY, *BARE, "method=self_training", cwd=tmp_path)
    assert outcome.code == 1
    assert "method.teacher=probe with model.encoder_weights=null" in outcome.err
    assert "method.allow_random=true" in outcome.err


def test_no_other_pixel_of_a_training_mask_is_read(tmp_path: Path) -> None:
    """Points from a file, and then the masks of the training images are painted over."""
    names = [f"{k}.png" for k in range(6)]
    root = make(tmp_path / "own", names, points=4)
    small = (*SMALL[2:], "data.size=32", "data.batch_size=4", *BARE, "points=4")
    words = ("data=folder", f"data.root={root}", *small, *FROM_PROBE, "prior=estimated")
    found = []
    for name in ("before", "after"):
        (tmp_path / name).mkdir()
        _, result = trained(*words, cwd=tmp_path / name)
        found.append({key: result[key] for key in KEPT})
        held_out = {Path(image).stem for image in result["val_images"]}
        points = [line.split(",") for line in (root / "points.csv").read_text().splitlines()[1:]]
        for k, image in enumerate(names):
            if Path(image).stem in held_out:
                continue
            other = np.random.default_rng(99 + k).integers(0, 3, index_map(k).shape, np.uint8)
            for _, x, y, title in (line for line in points if line[0] == image):
                other[int(y), int(x)] = ("Water", "Land", "Road").index(title)
            (mask,) = (root / "masks").glob(f"{Path(image).stem}.*")
            save_mask(mask, other)
            assert (np.asarray(PIL.Image.open(mask).convert("RGB")) != 0).any()
    assert found[0] == found[1]
