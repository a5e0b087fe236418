"""The data module: what the network is given of the masks, and what it is scored on."""

import itertools
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import CLASSES

from sparse_seg.classes import IGNORE_INDEX
from sparse_seg.data.datamodule import SparsePointsDataModule
from sparse_seg.data.sample import ImageSet
from sparse_seg.data.transforms import report_augmentation, resize_image, resize_mask
from sparse_seg.errors import UserError
from sparse_seg.points.draw import points_to_mask, sample_points, write_points

SIZE = 8


@pytest.fixture(scope="module")
def build(make_images: Callable[..., ImageSet]) -> Callable[..., SparsePointsDataModule]:
    """A data module that is set up; images and groups as `make_images` has them."""

    def build(images: ImageSet | None = None, **options: object) -> SparsePointsDataModule:
        given = {"points": 5, "split": "tile", "fold": 1, "seed": 0, "size": SIZE, "batch_size": 2} | options
        data = SparsePointsDataModule(images or make_images(), **given)
        data.setup()
        return data

    return build


def targets(data: SparsePointsDataModule, training: bool = True) -> dict[str, np.ndarray]:
    """Of each image, the target that a loader hands out (without augmentation)."""
    loader = data.train_dataloader() if training else data.val_dataloader()
    indices = data.train_indices if training else data.val_indices
    return {
        data.samples[indices[i]].image_id: target.numpy()
        for batch in loader
        for i, target in zip(batch["index"].tolist(), batch["target"], strict=True)
    }


def cells(data: SparsePointsDataModule, image_id: str) -> dict[tuple[int, int], int]:
    """Where an image's points go, by the contract: by coordinate, the first one wins."""
    (sample,) = (s for s in data.samples if s.image_id == image_id)
    height, width = sample.read()[1].shape
    found: dict[tuple[int, int], int] = {}
    for row, col, label in data.train_points[image_id].tolist():
        found.setdefault((row * SIZE // height, col * SIZE // width), label)
    return found


@pytest.mark.parametrize("points", [1, 5, 20])
def test_a_training_target_holds_the_points_and_no_other_pixel(build, points):
    data = build(points=points)
    assert set(data.train_points) == {data.samples[i].image_id for i in data.train_indices}
    for image_id, target in targets(data).items():
        places = np.argwhere(target != IGNORE_INDEX).tolist()
        assert {(row, col): target[row, col] for row, col in places} == cells(data, image_id)


def test_points_are_those_drawn_on_the_native_mask(build):
    data = build(seed=3)
    for i in data.train_indices:
        image_id = data.samples[i].image_id
        expected = sample_points(data.samples[i].read()[1], 5, 3, image_id)
        np.testing.assert_array_equal(data.train_points[image_id], expected)
        assert len(expected) == 15


def test_class_counts_are_what_is_left_after_mapping(build):
    data = build(points=20)
    left = Counter(label for image_id in data.train_points for label in cells(data, image_id).values())
    assert data.class_counts == [left[k] for k in range(3)]
    assert sum(data.class_counts) < sum(len(p) for p in data.train_points.values())  # some did fall together


def test_points_depend_on_neither_split_nor_order_nor_other_images(build, make_images):
    images = make_images(6)
    fewer = ImageSet(images.classes, images.samples[4::-1])
    some, others = build(images, fold=1).train_points, build(fewer, fold=0).train_points
    assert len(some.keys() & others.keys()) == 1  # group 3 trains in both; its second image is left out of one
    for image_id in some.keys() & others.keys():
        np.testing.assert_array_equal(some[image_id], others[image_id])


def test_another_seed_has_other_points_and_the_same_validation_images(build):
    a, b = (build(split="random", fold=None, val_fraction=0.4, seed=seed) for seed in (0, 1))
    assert a.val_indices == b.val_indices
    assert all((a.train_points[i] != b.train_points[i]).any() for i in a.train_points)


@pytest.mark.parametrize("points", [5, "all"])
def test_validation_is_scored_on_full_masks(build, points):
    data = build(points=points, augment=report_augmentation())
    found = targets(data, training=False)
    assert set(found) == {data.samples[i].image_id for i in data.val_indices}
    assert len(found) == 2
    for i in data.val_indices:
        np.testing.assert_array_equal(found[data.samples[i].image_id], resize_mask(data.samples[i].read()[1], SIZE))
    batch = next(iter(data.val_dataloader()))
    expected = resize_image(data.samples[data.val_indices[0]].read()[0], SIZE).astype(np.float32) / np.float32(255)
    np.testing.assert_array_equal(batch["image"][0].movedim(0, -1), expected)


def test_points_all_trains_on_full_masks(build):
    data = build(points="all")
    masks = {data.samples[i].image_id: resize_mask(data.samples[i].read()[1], SIZE) for i in data.train_indices}
    found = targets(data)
    assert set(found) == set(masks)
    assert data.train_points == {}
    assert all((found[image_id] == masks[image_id]).all() for image_id in masks)
    assert data.class_counts == [sum(int((m == k).sum()) for m in masks.values()) for k in range(3)]


def test_augmentation_reaches_training_and_keeps_the_number_of_labels(build):
    plain, moved = build(), build(augment=report_augmentation())
    for a, b in zip(plain.train_dataloader(), moved.train_dataloader(), strict=True):
        assert torch.equal(a["index"], b["index"])
        assert not torch.equal(a["image"], b["image"])
        for x, y in zip(a["target"], b["target"], strict=True):
            assert torch.equal(torch.bincount(x.ravel()), torch.bincount(y.ravel()))


def test_setting_up_again_changes_nothing(build):
    data = build()
    before = data.train_points, targets(data)
    data.setup("fit")
    assert data.train_points is before[0]
    assert all((target == before[1][image_id]).all() for image_id, target in targets(data).items())


def test_a_file_of_points_is_used_instead_of_drawing(build, tmp_path: Path):
    given = {"1/image 0": np.array([[0, 0, 2], [19, 33, 1], [19, 32, 0]]), "2/image 1": np.array([[1, 1, 1]])}
    write_points(tmp_path / "p.csv", given, CLASSES.names)
    data = build(points_file=str(tmp_path / "p.csv"))
    found = targets(data)
    # Image 1 validates: its point is not trained on. Two points of image 0 share the last cell.
    assert data.class_counts == [0, 1, 1]
    assert (found["1/image 0"][0, 0], found["1/image 0"][7, 7]) == (2, 1)
    assert {len(points) for image_id, points in data.train_points.items() if image_id != "1/image 0"} == {0}


def test_the_points_of_a_run_read_back_give_the_same_targets(build, tmp_path: Path):
    drawn = build(points=20)
    write_points(tmp_path / "points.csv", drawn.train_points, CLASSES.names)
    read = build(points=1, seed=9, points_file=str(tmp_path / "points.csv"))
    assert read.class_counts == drawn.class_counts
    expected = targets(drawn)
    assert all((target == expected[image_id]).all() for image_id, target in targets(read).items())


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("1/image 0,20,0,Land", "x=0, y=20 (column, row) lies outside image '1/image 0', which has 34 columns"),
        ("1/image 0,0,34,Land", "x=34, y=0 (column, row) lies outside image '1/image 0'"),
        ("1/image 0,-1,0,Land", "x=0, y=-1 (column, row) lies outside image '1/image 0'"),
        ("2/image 1,99,0,Land", "x=0, y=99 (column, row) lies outside image '2/image 1'"),  # of a validation image
        ("image 0,0,0,Land", "no image 'image 0'; names look like 1/image 0"),
        ("1/image 0,0,0,Forest", "unknown class 'Forest'"),
    ],
)
def test_points_that_fit_no_image_are_refused(build, tmp_path: Path, row, message):
    path = tmp_path / "p.csv"
    path.write_text(f"image,row,col,class\n1/image 0,19,33,Land\n{row}\n")
    with pytest.raises(UserError) as error:
        build(points_file=str(path))
    assert str(error.value).startswith(str(path))
    assert message in str(error.value)


@pytest.mark.parametrize("points", [5, "all"])
def test_nothing_labelled_is_refused(build, make_images, points):
    with pytest.raises(UserError, match=rf"no training image has a labelled pixel \(points={points}, 4 images\)"):
        build(make_images(labelled=False), points=points)


def test_points_in_validation_images_only_are_refused(build, tmp_path: Path):
    (tmp_path / "p.csv").write_text("image,row,col,class\n2/image 1,0,0,Land\n")
    with pytest.raises(UserError, match="no training image has a labelled pixel"):
        build(points_file=str(tmp_path / "p.csv"))


def test_a_split_that_cannot_be_is_refused_before_an_image_is_read(make_images):
    with pytest.raises(UserError, match=r"data\.fold=3 is out of range"):
        SparsePointsDataModule(make_images(), points=5, split="tile", fold=3, seed=0)


@pytest.mark.parametrize("count", [1, 2, 9])
def test_examples_are_images_full_masks_and_what_the_network_is_given(build, count):
    data = build(augment=report_augmentation())
    images, masks, given = data.examples(count)
    chosen = data.train_indices[:count] + data.val_indices[:count]
    assert len(images) == len(masks) == len(given) == len(chosen)
    for image, mask, i in zip(images, masks, chosen, strict=True):
        expected_image, expected_mask = data.samples[i].read()
        np.testing.assert_array_equal(image, resize_image(expected_image, SIZE))
        np.testing.assert_array_equal(mask, resize_mask(expected_mask, SIZE))
    training = len(data.train_indices[:count])
    assert (given[training:] == IGNORE_INDEX).all()
    for target, i in zip(given[:training], data.train_indices, strict=False):
        assert (target != IGNORE_INDEX).sum() == len(cells(data, data.samples[i].image_id)) > 0


def test_loaders_deal_out_images_by_the_trainers_ranks(build):
    data = build(batch_size=4)
    seen = {True: [], False: []}
    for rank in (0, 1):
        data.trainer = SimpleNamespace(global_rank=rank, world_size=2)
        for training, loader in ((True, data.train_dataloader()), (False, data.val_dataloader())):
            seen[training] += [batch["index"].tolist() for batch in loader]
    assert sorted(itertools.chain(*seen[True])) == [0, 1, 2, 3]
    assert {len(part) for part in seen[True]} == {2}
    assert seen[False] == [[0], [1]]


def test_the_last_incomplete_training_batch_is_dropped_and_no_validation_image_is(build):
    data = build(batch_size=3)
    assert len(data.train_indices) == 4
    assert [len(batch["index"]) for batch in data.train_dataloader()] == [3]
    assert len(targets(build(batch_size=1), training=False)) == 2


def test_validation_images_have_points_for_pictures_alone(build):
    data = build(points=5)
    shown = data.validation_points()
    for k, i in enumerate(data.val_indices):
        sample = data.samples[i]
        mask = sample.read()[1]
        drawn = sample_points(mask, 5, 0, sample.image_id)
        np.testing.assert_array_equal(shown[k], points_to_mask(drawn, mask.shape, (SIZE, SIZE)))
        assert sample.image_id not in data.train_points
    assert build(points="all").validation_points() is None


def test_points_and_a_data_set_are_all_that_must_be_said(make_images):
    data = SparsePointsDataModule(make_images(), points=5)
    assert len(data.val_indices) == 1
    assert data.seed == 0


def test_two_views_reach_training_batches_alone(build):
    data = build(augment=report_augmentation(), views=2)
    batch = next(iter(data.train_dataloader()))
    assert batch["image_strong"].shape == batch["image"].shape
    assert "image_strong" not in next(iter(data.val_dataloader()))
    with pytest.raises(UserError, match="views=3 must be 1 or 2"):
        build(views=3)


def test_crops_are_for_training_and_whole_images_validate(build):
    data = build(size=16, crop=8)
    assert next(iter(data.train_dataloader()))["image"].shape[-2:] == (8, 8)
    assert next(iter(data.val_dataloader()))["image"].shape[-2:] == (16, 16)


def test_bad_points_of_a_file_can_be_left_out(build, tmp_path: Path):
    (tmp_path / "p.csv").write_text("image,x,y,label\n1/image 0,3,4,Land\n1/image 0,99,0,Land\nnowhere,0,0,Land\n")
    with pytest.raises(UserError, match=r"line 3: x=99, y=0 [^$]*data\.on_bad_point=skip"):
        build(points_file=str(tmp_path / "p.csv"))
    with pytest.warns(UserWarning, match="classes Water, Road have no labelled pixel"):
        data = build(points_file=str(tmp_path / "p.csv"), on_bad_point="skip", allow_empty_classes=True)
    assert data.class_counts == [0, 1, 0]
    assert data.bad.counts == {"outside of their image": 1, "of unknown images": 1}


def test_a_file_of_points_may_be_geojson_in_pixels(build, tmp_path: Path):
    feature = {"type": "Feature", "properties": {"image": "1/image 0", "class": "Road"}}
    feature["geometry"] = {"type": "Point", "coordinates": [5, 6]}
    (tmp_path / "p.json").write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}))
    with pytest.warns(UserWarning, match="classes Water, Land have no labelled pixel"):
        data = build(points_file=str(tmp_path / "p.json"), allow_empty_classes=True)
    assert data.train_points["1/image 0"].tolist() == [[6, 5, 2]]
