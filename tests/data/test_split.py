"""Which images validate: the same for every run, whole tiles where asked, and a message for what cannot be."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparse_seg.data.sample import Sample
from sparse_seg.data.split import split_indices
from sparse_seg.errors import UserError


def samples(count: int = 72, tiles: int = 8) -> list[Sample]:
    def unread() -> None:
        raise AssertionError("a split needs no pixels")

    return [Sample(f"Tile {i % tiles + 1}/{i:03}", str(i % tiles + 1), "", unread) for i in range(count)]


def names(images: list[Sample], indices: list[int]) -> set[str]:
    return {images[i].image_id for i in indices}


@given(st.integers(2, 100), st.floats(0.01, 0.99), st.integers(0, 99))
def test_a_random_split_parts_the_images_by_the_fraction(count, fraction, split_seed):
    held_out = round(count * fraction)
    if held_out in (0, count):
        with pytest.raises(UserError, match="leaves no"):
            split_indices(samples(count), "random", fraction, split_seed)
        return
    train, val = split_indices(samples(count), "random", fraction, split_seed)
    assert (train, val) == (sorted(train), sorted(val))
    assert sorted(train + val) == list(range(count))
    assert len(val) == held_out


@pytest.mark.parametrize(("count", "expected"), [(72, 14), (10, 2), (100, 20), (5, 1)])
def test_80_to_20_is_the_default(count, expected):
    train, val = split_indices(samples(count), "random")
    assert (len(train), len(val)) == (count - expected, expected)


def test_the_random_split_is_the_one_of_the_published_runs():
    """Every run of a study is scored on these images, whatever its seed: they may not change."""
    assert split_indices(samples(20), "random")[1] == [2, 9, 15, 16]


@given(st.permutations(range(12)))
def test_a_random_split_does_not_depend_on_the_order_of_the_samples(order):
    images = samples(12)
    shuffled = [images[i] for i in order]
    held_out = [names(some, split_indices(some, "random", 0.25)[1]) for some in (images, shuffled)]
    assert held_out[0] == held_out[1]


def test_another_split_seed_is_another_split():
    assert len({tuple(split_indices(samples(), "random", split_seed=s)[1]) for s in range(10)}) == 10


@pytest.mark.parametrize("val_tiles", [[1, 5], ["1", "5"], ("5", 1)])
def test_val_tiles_are_held_out_whole(val_tiles):
    images = samples()
    train, val = split_indices(images, "tile", val_tiles=val_tiles)
    assert {images[i].group for i in val} == {"1", "5"}
    assert {images[i].group for i in train} == set("234678")
    assert sorted(train + val) == list(range(72))
    assert len(val) == 18


def test_folds_part_the_images_into_the_tiles_in_their_order():
    images = samples(60, tiles=12)
    held_out = [split_indices(images, "tile", fold=k)[1] for k in range(12)]
    assert sorted(itertools.chain(*held_out)) == list(range(60))
    assert [{images[i].group for i in val} for val in held_out] == [{str(k + 1)} for k in range(12)]


def test_the_fraction_and_the_split_seed_do_not_matter_to_a_tile_split():
    assert split_indices(samples(), "tile", 0.5, 3, fold=2) == split_indices(samples(), "tile", fold=2)


@pytest.mark.parametrize(
    ("split", "options", "message"),
    [
        ("tiles", {}, "split='tiles' is unknown; choose random or tile"),
        ("tile", {"val_tiles": [1, 9]}, "data.val_tiles: no tile 9; there are 1, 2, 3, 4, 5, 6, 7, 8"),
        ("tile", {"fold": 8}, "data.fold=8 is out of range; there are 8 tiles: 0 to 7"),
        ("tile", {"fold": -1}, "data.fold=-1 is out of range"),
        ("tile", {}, "split=tile needs one of data.val_tiles=[...] and data.fold=k"),
        ("tile", {"val_tiles": [1], "fold": 0}, "split=tile needs one of data.val_tiles=[...] and data.fold=k"),
        ("tile", {"val_tiles": []}, "leaves no validation image"),
        ("tile", {"val_tiles": range(1, 9)}, "leaves no training image"),
        ("random", {"val_fraction": 0.001}, "data.val_fraction=0.001 of 72 images leaves no validation image"),
        ("random", {"val_fraction": 0.999}, "data.val_fraction=0.999 of 72 images leaves no training image"),
    ],
)
def test_what_cannot_be_split_is_refused(split, options, message):
    with pytest.raises(UserError) as error:
        split_indices(samples(), split, **options)
    assert message in str(error.value)


@pytest.mark.parametrize(("count", "side"), [(0, "validation"), (1, "validation")])
def test_too_few_images_are_refused(count, side):
    with pytest.raises(UserError, match=f"of {count} images leaves no {side} image"):
        split_indices(samples(count), "random")


def test_a_single_tile_cannot_be_held_out():
    with pytest.raises(UserError, match="leaves no training image"):
        split_indices(samples(5, tiles=1), "tile", fold=0)


def test_names_of_tiles_are_text_in_any_unicode_form():
    images = [Sample(name, name, "", samples()[0].read) for name in ("1.1", "1.10", "S\u00fcd")]
    assert names(images, split_indices(images, "tile", val_tiles=["1.10", "Su\u0308d"])[1]) == {"1.10", "S\u00fcd"}
    for wrong in (1.1, True, None):  # as YAML reads 1.10, yes and ~
        with pytest.raises(UserError, match=r"data\.val_tiles: .* is no name; quote"):
            split_indices(images, "tile", val_tiles=[wrong])  # type: ignore[list-item]
