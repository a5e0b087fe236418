"""Items and batches: their form, their order, and who gets which image in which epoch."""

import itertools

import albumentations as A
import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from sparse_seg.classes import IGNORE_INDEX
from sparse_seg.data.dataset import PADDING, EpochBatchSampler, SegmentationDataset
from sparse_seg.data.transforms import report_augmentation
from sparse_seg.errors import UserError

COUNT, SIDE = 7, 6
RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (COUNT, SIDE, SIDE, 3)).astype(np.uint8)
TARGETS = RNG.choice(np.array([0, 1, 2, IGNORE_INDEX], np.uint8), (COUNT, SIDE, SIDE))
sizes, counts, seeds = st.integers(1, 40), st.integers(1, 12), st.integers(0, 2**31)


def batches(size: int, batch_size: int, shuffle: bool = True, epoch: int = 0, **options: int) -> list[list[int]]:
    """Image indices of each batch of one epoch."""
    sampler = EpochBatchSampler(size, batch_size, shuffle, **options)
    sampler.set_epoch(epoch)
    found = list(sampler)
    assert len(found) == len(sampler)
    assert {e for batch in found for e, _ in batch} <= {epoch}
    return [[i for _, i in batch] for batch in found]


def dealt(size: int, per_rank: int, world: int, **options: int | bool) -> list[list[list[int]]]:
    """Of each global batch, what each rank gets."""
    ranks = [batches(size, per_rank * world, rank=r, world=world, **options) for r in range(world)]
    return [list(parts) for parts in zip(*ranks, strict=True)]


@pytest.mark.parametrize("transform", [None, report_augmentation()], ids=["plain", "augmented"])
def test_items_keep_the_contract(transform):
    item = SegmentationDataset(IMAGES, TARGETS, transform)[0, 3]
    assert item["image"].dtype == torch.float32
    assert item["image"].shape == (3, SIDE, SIDE)
    assert 0 <= item["image"].min() < item["image"].max() <= 1
    assert item["target"].dtype == torch.int64
    assert item["target"].shape == (SIDE, SIDE)
    assert item["index"] == 3
    assert sorted(item["target"].ravel().tolist()) == sorted(TARGETS[3].ravel().tolist())


def test_without_a_transform_an_item_is_the_stored_image_and_target():
    item = SegmentationDataset(IMAGES, TARGETS)[5, 2]
    np.testing.assert_array_equal(item["image"].movedim(0, -1), IMAGES[2].astype(np.float32) / np.float32(255))
    np.testing.assert_array_equal(item["target"], TARGETS[2])


def test_black_is_zero_and_white_is_one():
    images = np.stack([np.zeros_like(IMAGES[0]), np.full_like(IMAGES[0], 255)])
    dataset = SegmentationDataset(images, TARGETS[:2])
    assert (dataset[0, 0]["image"] == 0).all()
    assert (dataset[0, 1]["image"] == 1).all()


def test_augmentation_depends_on_seed_epoch_and_image_alone_and_leaves_the_store_as_it_is():
    stored = IMAGES.copy(), TARGETS.copy()
    dataset, other, third = (SegmentationDataset(IMAGES, TARGETS, report_augmentation(), seed) for seed in (4, 4, 5))
    first = {(epoch, i): dataset[epoch, i]["image"] for epoch in (0, 1) for i in (0, 1)}
    for key in reversed(first):
        assert torch.equal(other[key]["image"], first[key])
    assert not torch.equal(first[0, 0], first[1, 0])
    assert not torch.equal(third[0, 0]["image"], first[0, 0])
    np.testing.assert_array_equal(IMAGES, stored[0])
    np.testing.assert_array_equal(TARGETS, stored[1])


def test_a_crop_shows_a_window_of_image_and_target_alike():
    size, crop = 16, 6
    place = np.stack([RNG.permutation(size * size).reshape(size, size).astype(np.uint8) for _ in range(2)])
    images = np.repeat(place[..., None], 3, 3)
    flips = A.Compose([A.HorizontalFlip(p=0.5), A.RandomRotate90(p=1.0)])
    corners = set()
    for transform in (None, flips):
        dataset, other = (SegmentationDataset(images, place, transform, 3, 2, crop) for _ in range(2))
        for epoch in range(20):
            item = dataset[epoch, 1]
            shown = (item["image"] * 255).round().to(torch.int64)
            assert shown.shape == (3, crop, crop)
            assert torch.equal(shown[0], item["target"])
            assert torch.equal(item["image_strong"], item["image"])
            if transform is None:
                corner = int(item["target"][0, 0])
                row, col = (int(v) for v in np.argwhere(place[1] == corner)[0])
                np.testing.assert_array_equal(item["target"], place[1][row : row + crop, col : col + crop])
                corners.add((row, col))
            again = other[epoch, 1]
            assert all(torch.equal(again[key], item[key]) for key in item)
    assert len(corners) > 10
    assert max(max(corner) for corner in corners) <= size - crop


def test_a_crop_of_the_whole_and_none_are_the_same():
    plain, whole = (SegmentationDataset(IMAGES, TARGETS, report_augmentation(), crop=c) for c in (None, SIDE))
    for key in ((0, 1), (3, 2)):
        assert all(torch.equal(plain[key][name], whole[key][name]) for name in ("image", "target"))


def test_two_images_with_the_same_pixels_are_augmented_differently():
    dataset = SegmentationDataset(IMAGES[[0] * 8], TARGETS[[0] * 8], report_augmentation())
    assert len({dataset[0, i]["image"].numpy().tobytes() for i in range(8)}) == 8


def test_padding_has_no_label():
    item = SegmentationDataset(IMAGES, TARGETS)[0, PADDING]
    assert (item["target"] == IGNORE_INDEX).all()
    assert item["target"].dtype == torch.int64
    assert item["image"].shape == (3, SIDE, SIDE)


@given(sizes, seeds, st.integers(0, 100))
def test_a_training_epoch_is_a_permutation_of_the_images(size, seed, epoch):
    order = list(itertools.chain(*batches(size, 1, epoch=epoch, seed=seed)))
    assert sorted(order) == list(range(size))


def test_the_order_depends_on_seed_and_epoch_alone():
    orders = {(seed, epoch): batches(40, 8, seed=seed, epoch=epoch) for seed in (0, 1) for epoch in (0, 1, 2)}
    assert len({str(order) for order in orders.values()}) == 6
    sampler = EpochBatchSampler(40, 8, shuffle=True, seed=1)
    for epoch in (2, 0, 1):  # as after a restart, in any order, twice
        np.random.seed(epoch)
        torch.manual_seed(epoch)
        sampler.set_epoch(epoch)
        assert list(sampler) == list(sampler) == [[(epoch, i) for i in batch] for batch in orders[1, epoch]]


@given(sizes, counts)
def test_an_incomplete_training_batch_is_dropped_only_if_there_is_another(size, batch_size):
    lengths = [len(batch) for batch in batches(size, batch_size)]
    assert lengths == ([batch_size] * (size // batch_size) if size >= batch_size else [size])


@given(sizes, st.integers(1, 5), st.sampled_from([2, 3]), seeds)
def test_ranks_together_train_on_the_global_batches_of_one_process(size, per_rank, world, seed):
    assume(size >= world)  # fewer are refused
    alone = batches(size, per_rank * world, epoch=3, seed=seed)
    together = dealt(size, per_rank, world, epoch=3, seed=seed)
    assert [sorted(itertools.chain(*parts)) for parts in together] == [sorted(batch) for batch in alone]
    if size >= per_rank * world:
        assert {len(part) for parts in together for part in parts} == {per_rank}


@given(sizes, st.integers(1, 5), st.sampled_from([1, 2, 3]))
def test_validation_counts_each_image_once_and_ranks_run_equally_many_batches(size, per_rank, world):
    together = dealt(size, per_rank, world, shuffle=False)
    indices = [i for parts in together for part in parts for i in part]
    assert sorted(i for i in indices if i != PADDING) == list(range(size))
    assert indices.count(PADDING) == -size % world
    assert all(len({len(part) for part in parts}) == 1 and parts[0] for parts in together)


def test_validation_keeps_the_order_of_the_images():
    assert batches(5, 2, shuffle=False, epoch=9) == [[0, 1], [2, 3], [4]]


def test_fewer_training_images_than_devices_are_refused():
    with pytest.raises(UserError, match="3 training images cannot be divided among 4 devices"):
        EpochBatchSampler(3, 4, shuffle=True, world=4)


@pytest.mark.parametrize(("batch_size", "world"), [(8, 3), (1, 2), (5, 2)])
@pytest.mark.parametrize("shuffle", [True, False])
def test_a_batch_that_cannot_be_dealt_out_evenly_is_refused(batch_size, world, shuffle):
    message = f"data.batch_size={batch_size} must be a multiple of the number of devices, {world}"
    with pytest.raises(UserError, match=message):
        EpochBatchSampler(10, batch_size, shuffle, world=world)


def test_lightning_finds_where_to_set_the_epoch():
    loader = DataLoader(SegmentationDataset(IMAGES, TARGETS), batch_sampler=EpochBatchSampler(COUNT, 2, shuffle=True))
    loader.batch_sampler.sampler.set_epoch(5)
    assert list(loader.batch_sampler) == [[(5, i) for i in batch] for batch in batches(COUNT, 2, epoch=5)]


def epochs(num_workers: int) -> list[dict[str, torch.Tensor]]:
    """Batches of two epochs of training and one of validation with padding."""
    dataset = SegmentationDataset(IMAGES, TARGETS, report_augmentation(), seed=2)
    loader = DataLoader(
        dataset,
        batch_sampler=EpochBatchSampler(COUNT, 2, shuffle=True, seed=2),
        num_workers=num_workers,
        persistent_workers=num_workers > 0,
    )
    found = []
    for epoch in (0, 1):
        loader.batch_sampler.sampler.set_epoch(epoch)
        found += list(loader)
    return found


def test_batches_are_the_same_with_and_without_workers_over_epochs():
    alone, helped = epochs(0), epochs(2)
    assert len(alone) == len(helped) == 6
    for a, b in zip(alone, helped, strict=True):
        assert a.keys() == b.keys() == {"image", "target", "index"}
        assert all(torch.equal(a[key], b[key]) for key in a)
    first, second = ({int(i) for batch in alone[k : k + 3] for i in batch["index"]} for k in (0, 3))
    assert len(first) == len(second) == 6


@settings(deadline=None, max_examples=10)
@given(st.integers(1, COUNT))
def test_validation_of_two_ranks_shows_every_label_once(size):
    """What a confusion matrix would count, summed over both ranks, is what the full masks hold."""
    dataset = SegmentationDataset(IMAGES[:size], TARGETS[:size])
    labels = np.zeros(256, int)
    for rank in (0, 1):
        for batch in DataLoader(dataset, batch_sampler=EpochBatchSampler(size, 4, shuffle=False, rank=rank, world=2)):
            labels += np.bincount(batch["target"].ravel(), minlength=256)
            assert (batch["target"][batch["index"] == PADDING] == IGNORE_INDEX).all()
    expected = np.bincount(TARGETS[:size].ravel(), minlength=256)
    np.testing.assert_array_equal(labels[:IGNORE_INDEX], expected[:IGNORE_INDEX])


def test_a_second_view_has_the_same_place_other_colours_and_leaves_the_first_as_it_is():
    one, two = (SegmentationDataset(IMAGES, TARGETS, report_augmentation(), views=views) for views in (1, 2))
    for key in [(0, 0), (0, 3), (1, 3)]:
        plain, both = one[key], two[key]
        assert set(both) - set(plain) == {"image_strong"}
        assert all(torch.equal(plain[k], both[k]) for k in plain)
        assert not torch.equal(both["image"], both["image_strong"])
        assert torch.equal(both["image_strong"], two[key]["image_strong"])
    assert not torch.equal(two[0, 3]["image_strong"], two[1, 3]["image_strong"])


def test_both_views_are_moved_alike():
    """Without colours to draw the two views are one."""
    moved = report_augmentation(brightness=0, contrast=0, saturation=0, hue=0)
    for key in [(0, k) for k in range(COUNT)]:
        item = SegmentationDataset(IMAGES, TARGETS, moved, views=2)[key]
        assert torch.equal(item["image"], item["image_strong"])


def test_without_augmentation_the_second_view_is_the_first():
    item = SegmentationDataset(IMAGES, TARGETS, views=2)[0, 1]
    assert torch.equal(item["image"], item["image_strong"])
