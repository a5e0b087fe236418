"""Shares of the ground: what finds them, what they move, and what they leave alone."""

import csv
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import PIL.Image
import pytest
import torch
from cli import BARE, TINY, train, trained

from sparse_seg.classes import LAND_COVER
from sparse_seg.data import synthetic
from sparse_seg.data.datamodule import SparsePointsDataModule
from sparse_seg.errors import UserError
from sparse_seg.losses import PartialCrossEntropy
from sparse_seg.networks.build import create
from sparse_seg.training.prior import estimated_prior, expectation_maximisation
from sparse_seg.training.share_picture import share_picture
from sparse_seg.training.shares import FLOOR, RunningShares, Shares, network_prior, own_shares, read_shares
from sparse_seg.training.task import SegmentationTask


def gaussians(shares: list[float], count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Numbers from a mixture of three normal densities, and each density at each of them."""
    rng = np.random.default_rng(seed)
    centres = torch.tensor([-1.5, 0.0, 2.0], dtype=torch.float64)
    x = torch.from_numpy(rng.normal(size=count)) + centres[torch.from_numpy(rng.choice(3, count, p=shares))]
    return x, torch.exp(-((x[:, None] - centres) ** 2) / 2)


@pytest.mark.parametrize("shares", [[0.7, 0.2, 0.1], [0.05, 0.05, 0.9], [1 / 3, 1 / 3, 1 / 3]])
def test_expectation_maximisation_finds_the_shares_of_a_mixture(shares: list[float]) -> None:
    _, density = gaussians(shares, 200_000, seed=0)
    own = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
    posterior = density * own / (density * own).sum(1, keepdim=True)
    found = expectation_maximisation(posterior, own)
    np.testing.assert_allclose(found, shares, atol=0.01)


def test_a_class_without_points_has_no_share() -> None:
    posterior = torch.tensor([[0.2, 0.5, 0.3], [0.1, 0.1, 0.8]], dtype=torch.float64)
    found = expectation_maximisation(posterior, torch.tensor([0.5, 0.0, 0.5]))
    assert found[1] == 0
    assert found.sum() == pytest.approx(1)


def shares_of(own: list[list[float]], ground: list[list[float]]) -> Shares:
    names = [str(k) for k in range(len(own))]
    given, known = (torch.tensor(t, dtype=torch.float64) for t in (own, ground))
    return Shares(names, given, known, torch.arange(len(own)))


def test_offsets_are_log_ratios_with_a_floor_and_leave_absent_classes_alone() -> None:
    shares = shares_of([[0.5, 0.5, 0.0]], [[0.9, 0.0, 0.1]])
    np.testing.assert_allclose(shares.offsets, [[np.log(0.5 / 0.9), np.log(0.5 / FLOOR), 0]], rtol=1e-6)
    assert shares.present.tolist() == [[True, True, False]]


def task_of(shares: Shares | None = None) -> SegmentationTask:
    torch.manual_seed(0)
    network = create("unet", "resnet18", None, classes=3).eval()
    task = SegmentationTask(network, PartialCrossEntropy(), class_names=["a", "b", "c"])
    if shares is not None:
        task.use_shares(shares)
    return task


def batch() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    target = torch.full((2, 32, 32), 255)
    target[:, ::5, ::7] = torch.randint(3, (2, 7, 5), generator=generator)
    return {"image": torch.rand(2, 3, 32, 32, generator=generator), "target": target, "index": torch.tensor([1, 0])}


def test_equal_shares_change_no_bit() -> None:
    even = [[0.2, 0.3, 0.5], [0.6, 0.4, 0.0]]
    assert torch.equal(task_of(shares_of(even, even)).training_loss(batch())[0], task_of().training_loss(batch())[0])


def test_each_image_has_its_own_offsets_and_what_is_predicted_has_none() -> None:
    shares = shares_of([[0.2, 0.3, 0.5], [0.6, 0.4, 0.0]], [[0.7, 0.2, 0.1], [0.3, 0.7, 0.0]])
    task, given = task_of(shares), batch()
    with torch.no_grad():
        logits = task.network(given["image"])
        moved = logits + shares.offsets[[1, 0]][..., None, None]
        expected = torch.nn.functional.cross_entropy(moved, given["target"], ignore_index=255)
        torch.testing.assert_close(task.training_loss(given)[0], expected)
        assert torch.equal(task(given["image"]), logits)


def data_of(points: int | str, tmp_path: Path, **options: object) -> SparsePointsDataModule:
    data = SparsePointsDataModule(
        synthetic(images=8, size=128), points=points, size=128, cache_dir=str(tmp_path), **options  # type: ignore[arg-type]
    )  # fmt: skip
    data.setup()
    return data


def truth_of(data: SparsePointsDataModule) -> np.ndarray:
    """(training images, C) shares of the full masks."""
    masks = [data.samples[i].read()[1] for i in data.train_indices]
    counts = np.stack([np.bincount(m.ravel(), minlength=256)[: len(data.classes)] for m in masks])
    return counts / counts.sum(1, keepdims=True)


def test_estimated_shares_are_nearer_to_the_ground_than_those_of_the_points(tmp_path: Path) -> None:
    data = data_of(20, tmp_path)
    torch.manual_seed(0)
    network = create("unet", "resnet18", None, classes=5)
    before = {k: v.clone() for k, v in network.state_dict().items()}
    shares = estimated_prior(network, data)
    truth = truth_of(data)
    off = [np.abs(table.numpy() - truth).mean() for table in (shares.own, shares.ground)]
    assert off[1] < 0.6 * off[0]
    np.testing.assert_allclose(shares.ground.sum(1), 1, atol=1e-6)
    assert not (shares.ground[shares.own == 0]).any()
    again = estimated_prior(network, data)
    assert torch.equal(again.ground, shares.ground)
    assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items())
    assert all(p.requires_grad for p in network.parameters())


def test_full_masks_have_nothing_to_be_corrected(tmp_path: Path) -> None:
    data = data_of("all", tmp_path)
    shares = estimated_prior(create("unet", "resnet18", None, classes=5), data)
    assert torch.equal(shares.own, shares.ground)
    assert not shares.offsets.any()


def test_windows_of_one_image_have_its_shares(tmp_path: Path) -> None:
    data = data_of(20, tmp_path)
    names = {data.samples[i].image_id: f"scene {k // 3}" for k, i in enumerate(data.train_indices)}
    examples = [(names[name], *rest) for name, *rest in data.training_examples()]
    data.training_examples = lambda: iter(examples)  # type: ignore[method-assign,assignment,return-value]
    shares = own_shares(data)
    assert list(shares.names) == ["scene 0", "scene 1"]
    assert shares.of.tolist() == [0, 0, 0, 1, 1, 1]
    assert shares.offsets.shape == (6, 5)


def test_a_run_writes_its_shares_and_is_another_run_than_without(tmp_path: Path) -> None:
    words = (*TINY, *BARE, "data.source.images=8", "points=20")
    for name in ("plain", "moved", "given"):
        (tmp_path / name).mkdir()
    plain, _ = trained(*words, cwd=tmp_path / "plain")
    folder, result = trained(*words, "prior=estimated", cwd=tmp_path / "moved")
    assert not (plain / "shares.csv").exists()
    assert (result["prior"], result["method"]) == ("estimated", "points")
    assert ",prior=estimated," in folder.name
    assert result["strength"] > 0
    assert result["features_seconds"] >= 0
    assert "prior" not in plain.name
    with (folder / "shares.csv").open(newline="") as f:
        rows = list(csv.DictReader(f))
    images = {row["image"] for row in rows}
    assert len(rows) == 5 * len(images)
    for image in images:
        mine = [row for row in rows if row["image"] == image]
        assert sum(float(row["points"]) for row in mine) == pytest.approx(1, abs=1e-4)
        assert sum(float(row["estimated"]) for row in mine) == pytest.approx(1, abs=1e-4)
    table = f"prior.shares='{folder / 'shares.csv'}'"
    _, given = trained(*words, "prior=given", table, cwd=tmp_path / "given")
    assert given["train_loss"] == pytest.approx(result["train_loss"], abs=1e-5)


def test_a_table_that_lacks_a_share_is_refused(tmp_path: Path) -> None:
    table = tmp_path / "shares.csv"
    for text, message in (
        (both(0.5, 0.5).replace("a,Land,0.5\n", ""), "has no share of Land in image a: 0 is one"),
        ("image,class,share\nc,Water,0.5\n", "has no shares of image a, nor of 1 more training images"),
        ("image,class,share\na,Water,1.5\n", "line 2: the share 1.5 must be a number from 0 to 1"),
        ("image,class,share\na,Water,nan\n", "line 2: the share nan must be a number from 0 to 1"),
        ("image,class,share\na,Forest,0.5\n", "line 2: class 'Forest' is none of Water, Land"),
        ("image,class,share\na,Water,half\n", "line 2: 'half' is no share"),
        ("image,class,share\na,Water\n", "line 2: None is no share"),
        ("image,class,share\na,Water,.5\na,Water,.5\n", "line 3: the share of Water in image a comes a second time"),
        ("image,kind,share\na,Water,0.5\n", "line 1: no column class; the first line must be image,class,share"),
        ("a,Water,0.5\n", "line 1: no column image; .* it is 'a,Water,0.5'"),
        ("", "line 1: no column image"),
        (both(0.5, 0.6), "the shares of image a add up to 1.100, not to 1"),
        ("image,class,share\na,Wäter,0.5\n".encode("latin-1"), "cannot be read as a UTF-8 table: line 2"),
    ):
        table.write_bytes(text if isinstance(text, bytes) else text.encode())
        with pytest.raises(UserError, match=message) as refused:
            read_shares(table, ["a", "b"], ["Water", "Land"])
        assert str(table) in str(refused.value)
        assert len(str(refused.value).splitlines()) == 1
    with pytest.raises(UserError, match="cannot be read: there is no such file"):
        read_shares(tmp_path / "none.csv", ["a"], ["Water"])
    with pytest.raises(UserError, match="cannot be read: Is a directory"):
        read_shares(tmp_path, ["a"], ["Water"])


def both(water: float, land: float) -> str:
    return "image,class,share\n" + "".join(f"{i},Water,{water}\n{i},Land,{land}\n" for i in ("a", "b"))


def test_given_shares_are_made_to_add_up_to_one(tmp_path: Path) -> None:
    (tmp_path / "shares.csv").write_text("\ufeff" + both(0.33, 0.66) + "elsewhere,Water,1\n")
    found = read_shares(tmp_path / "shares.csv", ["b"], ["Land", "Water"])
    np.testing.assert_allclose(found, [[2 / 3, 1 / 3]])


def test_a_table_of_shares_that_is_not_there_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    outcome = train(*TINY, *BARE, "prior=given", "prior.shares=no.csv", cwd=tmp_path)
    assert (outcome.code, outcome.err) == (1, "error: prior.shares=no.csv cannot be read: No such file or directory\n")
    assert not list(tmp_path.iterdir())


NO_ENCODER = "this network has none that a probe can read\nchoose prior=network"


@pytest.mark.parametrize("words", [("prior=estimated",), ("method=probe", "method.allow_random=true")])
def test_a_vit_is_no_encoder_to_be_probed(tmp_path: Path, words: tuple[str, ...]) -> None:
    vit = ("model.arch=dpt", "model.encoder=tu-vit_tiny_patch16_224", "data.size=64")
    outcome = train(*TINY, *BARE, *vit, *words, cwd=tmp_path)
    assert outcome.code == 1
    assert outcome.err.startswith(f"error: {words[0]} reads the encoder of model, and this network has none that")
    assert len(outcome.err.splitlines()) <= 2


def test_a_network_without_an_encoder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=NO_ENCODER):
        estimated_prior(torch.nn.Conv2d(3, 5, 1), data_of(5, tmp_path))
    assert estimated_prior(torch.nn.Conv2d(3, 5, 1), data_of("all", tmp_path)).is_known  # nothing is to be read


@pytest.mark.parametrize("rounds", [0, 1.5, True, "three"])
def test_a_number_of_rounds_that_is_none_is_refused(tmp_path: Path, rounds: Any) -> None:
    with pytest.raises(UserError, match=f"prior.rounds={rounds!r} must be a positive integer"):
        estimated_prior(torch.nn.Conv2d(3, 5, 1), data_of(5, tmp_path), rounds=rounds)


def running(tmp_path: Path) -> tuple[SparsePointsDataModule, RunningShares]:
    data = data_of(20, tmp_path, batch_size=2)
    return data, network_prior(torch.nn.Identity(), data)


def test_shares_that_follow_the_network_move_halfway_to_what_it_said(tmp_path: Path) -> None:
    _, shares = running(tmp_path)
    assert not shares.offsets.any()
    said = torch.zeros(len(shares.of), 5)
    said[1] = torch.tensor([0.1, 0.2, 0.3, 0.4, 0.0])
    after = shares.after(said).ground
    torch.testing.assert_close(after[1], 0.5 * shares.own[1] + 0.5 * said[1].double())
    assert torch.equal(after[[0, 2]], shares.own[[0, 2]])  # these were not shown


def test_windows_that_follow_the_network_have_the_mean_of_what_it_said() -> None:
    own = torch.tensor([[0.5, 0.5], [0.5, 0.5], [0.5, 0.5]], dtype=torch.float64)
    full = torch.tensor([False, True, False])
    shares = RunningShares(["a", "b", "c"], own, own, torch.tensor([0, 0, 1, 2]), full, past=0.0)
    said = torch.tensor([[1.0, 0.0], [0.5, 0.5], [1.0, 0.0], [0.0, 0.0]])
    np.testing.assert_allclose(shares.after(said).ground, [[0.75, 0.25], [0.5, 0.5], [0.5, 0.5]])


class Colours(torch.nn.Sequential):
    """A network without an encoder."""

    def __init__(self) -> None:
        super().__init__(torch.nn.Conv2d(3, 32, 5, padding=2), torch.nn.ReLU(), torch.nn.Conv2d(32, 5, 1))


@pytest.mark.filterwarnings("ignore:.*does not have many workers.*", "ignore:.*checkpoint.*")
def test_a_network_without_an_encoder_finds_the_shares_itself(tmp_path: Path) -> None:
    data, shares = running(tmp_path)
    torch.manual_seed(0)
    task = SegmentationTask(
        Colours(), PartialCrossEntropy(), class_names=data.classes.names, optimizer=lambda p: torch.optim.Adam(p, 1e-2)
    )
    task.use_shares(shares)
    moved = []

    class Watch(L.Callback):
        def on_train_batch_end(self, trainer: L.Trainer, *_: object) -> None:
            moved.append(task.offsets is not None)

    trainer = L.Trainer(
        accelerator="cpu", max_epochs=20, logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, num_sanity_val_steps=0, log_every_n_steps=1, callbacks=[Watch()],
    )  # fmt: skip
    trainer.fit(task, datamodule=data)
    assert moved == [False] * 12 + [True] * 48
    assert task.shares is not None
    truth = truth_of(data)
    off = [np.abs(table.numpy() - truth).mean() for table in (task.shares.own, task.shares.ground)]
    assert off[1] < 0.8 * off[0]
    np.testing.assert_allclose(task.shares.ground.sum(1), 1, atol=1e-6)
    assert not (task.shares.ground[shares.own == 0]).any()


def test_tau_moves_the_logits_less_and_leaves_the_shares() -> None:
    data = SparsePointsDataModule(synthetic(images=6, size=64), points=5, size=64)
    data.setup()
    torch.manual_seed(0)
    network = create("unet", "resnet18", None, classes=5)
    whole, half, none = (estimated_prior(network, data, tau=tau) for tau in (1.0, 0.5, 0.0))
    assert torch.equal(whole.ground, half.ground)
    torch.testing.assert_close(half.offsets, whole.offsets / 2)
    assert not none.offsets.any()
    assert whole.probe is not None
    assert half.probe is not None
    assert not torch.equal(whole.probe.weight, half.probe.weight)


def test_the_shares_that_the_network_found_are_written(tmp_path: Path) -> None:
    words = ("data.source.images=8", "prior=network", "method=teacher", "trainer.max_epochs=3")
    folder, result = trained(*TINY, *words, cwd=tmp_path)
    assert (result["prior"], result["method"]) == ("network", "teacher")
    with (folder / "shares.csv").open(newline="") as f:
        rows = list(csv.DictReader(f))
    assert any(row["points"] != row["estimated"] for row in rows)
    own, ground = (torch.tensor([float(row[key]) for row in rows]).double() for key in ("points", "estimated"))
    names = list(dict.fromkeys(row["image"] for row in rows))
    written = Shares(names, own.view(-1, 5), ground.view(-1, 5), torch.arange(len(names)))
    with PIL.Image.open(folder / "panels" / "shares.png") as picture:
        np.testing.assert_array_equal(np.asarray(picture), share_picture(written, LAND_COVER))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("prior=network", "prior.tau=3"), "prior.tau=3 must be a number from 0 to 2"),
        (("prior=network", "prior.start=1"), "prior.start=1 must be a number from 0 to below 1"),
        (("prior=network", "method=probe", "method.allow_random=true"), "prior=network needs epochs"),
    ],
)
def test_what_cannot_follow_a_network_is_refused(tmp_path: Path, words: tuple[str, ...], said: str) -> None:
    outcome = train(*TINY, *BARE, *words, cwd=tmp_path)
    assert outcome.code == 1
    assert outcome.err.startswith(f"error: {said}")
    assert len(outcome.err.splitlines()) == 1


def test_with_full_masks_there_is_nothing_to_correct_and_the_log_says_so(tmp_path: Path) -> None:
    found = []
    for prior in ("none", "estimated", "network"):
        (tmp_path / prior).mkdir()
        words = (*TINY, *BARE, "points=all", f"prior={prior}", "trainer.max_epochs=2")
        folder, result = trained(*words, cwd=tmp_path / prior)
        found.append({k: result[k] for k in ("train_loss", "val_miou", "confusion_matrix")})
        lines = (folder / "log.txt").read_text().splitlines()
        told = [line for line in lines if line.endswith(f"prior={prior} has nothing to correct: all training images "
                                                        "have their full masks")]  # fmt: skip
        assert len(told) == (prior != "none")
    assert found[0] == found[1] == found[2]
