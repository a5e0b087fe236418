"""Loss, schedule and scores of a task inside Lightning's own loop."""

import math

import lightning as L
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sparse_seg.classes import IGNORE_INDEX
from sparse_seg.errors import UserError
from sparse_seg.losses import PartialCrossEntropy, as_module
from sparse_seg.networks.build import create
from sparse_seg.training.schedules import one_cycle_cosine
from sparse_seg.training.task import SegmentationTask

pytestmark = pytest.mark.filterwarnings("ignore:.*does not have many workers.*")
CLASSES = 3
Batches = list[dict[str, Tensor]]


def batches(labelled: list[int], size: int = 8, seed: int = 0) -> Batches:
    """A batch of 2 images for each number of labelled pixels."""
    generator = torch.Generator().manual_seed(seed)
    made = []
    for n in labelled:
        target = torch.full((2 * size * size,), IGNORE_INDEX)
        target[torch.randperm(len(target), generator=generator)[:n]] = torch.randint(CLASSES, (n,), generator=generator)
        made.append({"image": torch.rand(2, 3, size, size, generator=generator), "target": target.view(2, size, size)})
    return made


class Watch(L.Callback):
    """Notes learning rates, and the loss of an epoch as the history does."""

    def __init__(self) -> None:
        self.lr: list[float] = []
        self.train_loss: list[float] = []

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self.lr.append(trainer.optimizers[0].param_groups[0]["lr"])

    def on_train_epoch_end(self, trainer, pl_module):
        self.train_loss.append(pl_module.train_loss())


def fit(task: SegmentationTask, train: Batches, val: Batches | None = None, epochs: int = 1) -> Watch:
    watch = Watch()
    trainer = L.Trainer(
        accelerator="cpu", max_epochs=epochs, logger=False, callbacks=[watch], enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=0, log_every_n_steps=1,
    )  # fmt: skip
    whole = [torch.utils.data.DataLoader(b, batch_size=None) for b in (train, val or train[:1])]
    trainer.fit(task, *whole)
    return watch


def task_of(
    network: nn.Module, loss: nn.Module | None = None, lr: float = 0.1, scheduler=None, seed: int = 0
) -> SegmentationTask:
    names = [f"class {c}" for c in range(CLASSES)]
    return SegmentationTask(
        network, loss or PartialCrossEntropy(), class_names=names, optimizer=lambda p: torch.optim.SGD(p, lr=lr),
        scheduler=scheduler, seed=seed,
    )  # fmt: skip


def convolution() -> nn.Module:
    torch.manual_seed(0)
    return nn.Conv2d(3, CLASSES, 3, padding=1)


def test_one_cycle_peaks_at_the_optimizers_rate_after_a_tenth_and_ends_at_zero():
    watch = fit(task_of(convolution(), lr=0.05, scheduler=one_cycle_cosine), batches([20] * 10), epochs=6)
    lr = torch.tensor(watch.lr)
    assert len(lr) == 60
    peak = int(lr.argmax())
    assert abs(peak - 6) <= 1
    assert lr[peak].item() == pytest.approx(0.05)
    assert 0 < lr[0] < 0.05 / 20
    assert lr[-1] < 0.05 / 1000
    assert (lr[: peak + 1].diff() > 0).all()
    assert (lr[peak:].diff() < 0).all()
    progress = (torch.arange(60) - peak) / (59 - peak)
    torch.testing.assert_close(lr[peak:], 0.025 * (1 + torch.cos(math.pi * progress[peak:])), atol=1e-4, rtol=0)


def test_warmup_is_a_share_of_the_steps():
    optimizer = torch.optim.Adam([nn.Parameter(torch.zeros(1))], lr=0.3)
    schedule = one_cycle_cosine(optimizer, total_steps=100, warmup=0.5)
    rates = []
    for _ in range(100):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    assert abs(rates.index(max(rates)) - 49) <= 1
    assert max(rates) == pytest.approx(0.3)
    assert optimizer.param_groups[0]["betas"][0] == 0.9


def test_a_warmup_of_one_step_starts_at_the_optimizers_rate():
    optimizer = torch.optim.Adam([nn.Parameter(torch.zeros(1))], lr=0.3)
    one_cycle_cosine(optimizer, total_steps=10, warmup=0.1)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.3, rel=1e-3)


def test_without_a_scheduler_the_rate_stays():
    assert fit(task_of(convolution(), lr=0.02), batches([9, 9])).lr == [0.02, 0.02]


def test_train_loss_is_the_mean_over_the_labelled_pixels_of_the_epoch():
    """With a rate of 0 every batch sees the same network, so the mean can be had in one go."""
    train, network = batches([1, 100, 7, 0], seed=1), convolution()
    watch = fit(task_of(network, lr=0.0), train, epochs=2)
    logits = torch.cat([network(b["image"]) for b in train])
    expected = F.cross_entropy(logits, torch.cat([b["target"] for b in train]), ignore_index=IGNORE_INDEX).item()
    assert watch.train_loss == pytest.approx([expected] * 2, rel=1e-6)
    means = [F.cross_entropy(network(b["image"]), b["target"], ignore_index=IGNORE_INDEX).item() for b in train[:3]]
    assert abs(sum(means) / 3 - expected) > 1e-2  # the mean over batches is another number


def test_an_epoch_without_labels_has_no_loss_and_changes_nothing():
    network = convolution()
    before = [p.clone() for p in network.parameters()]
    assert math.isnan(fit(task_of(network), batches([0, 0])).train_loss[0])
    assert all(torch.equal(a, b) for a, b in zip(before, network.parameters(), strict=True))


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_ends_training_and_names_the_step(bad):
    train = batches([5, 5, 5])
    train[1]["image"][:] = bad
    with pytest.raises(UserError, match=r"the loss is (nan|inf) at step 2 \(epoch 1\).*optimizer.lr"):
        fit(task_of(convolution()), train)


def test_validation_counts_every_labelled_pixel_of_all_batches_once():
    """The network says what the image's red channel says."""

    class Oracle(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(()))

        def forward(self, image: Tensor) -> Tensor:
            said = (image[:, 0] * CLASSES).long().clamp(max=CLASSES - 1)
            return self.scale * F.one_hot(said, CLASSES).movedim(-1, 1).float()

    val = batches([128, 60, 1], seed=3)
    task = task_of(Oracle())
    fit(task, batches([5]), val, epochs=2)
    expected = [[0] * CLASSES for _ in range(CLASSES)]
    for batch in val:
        for truth, red in zip(batch["target"].flatten().tolist(), batch["image"][:, 0].flatten().tolist(), strict=True):
            if truth != IGNORE_INDEX:
                expected[truth][min(int(torch.tensor(red) * CLASSES), CLASSES - 1)] += 1
    assert task.confusion_matrix == expected
    assert sum(map(sum, expected)) == 128 + 60 + 1


def test_channels_last_changes_the_layout_and_not_the_logits():
    torch.manual_seed(0)
    network, image = create("unet", "resnet18", None, classes=CLASSES).eval(), torch.rand(2, 3, 64, 64)
    layouts = []
    network.network.encoder.conv1.register_forward_pre_hook(
        lambda module, args: layouts.append(args[0].is_contiguous(memory_format=torch.channels_last))
    )
    logits = []
    with torch.inference_mode():
        for channels_last in (False, True):
            task = SegmentationTask(
                network, PartialCrossEntropy(), class_names=["a", "b", "c"], channels_last=channels_last
            )
            logits.append(task(image))
    assert layouts == [False, True]
    assert network.network.encoder.conv1.weight.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(*logits, atol=1e-4, rtol=1e-4)


class Temperature(nn.Module):
    """A loss of a user's own with something to learn."""

    def __init__(self) -> None:
        super().__init__()
        self.log_temperature = nn.Parameter(torch.zeros(()))

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        return F.cross_entropy(logits / self.log_temperature.exp(), target, ignore_index=IGNORE_INDEX)


def test_parameters_of_the_loss_are_trained_too():
    task = task_of(convolution(), as_module(Temperature()))
    fit(task, batches([50, 50]))
    assert task.loss.loss.log_temperature.item() != 0
    assert any("log_temperature" in key for key in task.state_dict())


def test_randomness_in_training_depends_on_seed_and_epoch_alone():
    """Whatever was drawn before an epoch, by validation or by nobody after a restart, does not matter."""
    drawn: dict[int, list[float]] = {0: [], 1: [], 2: []}

    class Drawing(nn.Module):
        def forward(self, logits: Tensor, target: Tensor, image: Tensor | None = None) -> Tensor:
            drawn[attempt].append(torch.rand(()).item())
            return logits.mean()

    for attempt in drawn:
        torch.manual_seed(attempt)
        fit(task_of(convolution(), Drawing(), seed=attempt // 2), batches([5, 5]), epochs=2)
    assert drawn[0] == drawn[1]
    assert len(set(drawn[0])) == 4
    assert not set(drawn[0]) & set(drawn[2])
