"""The cache: made once per content and size, whole or not there, by however many processes."""

import dataclasses
import multiprocessing
import os
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from sparse_seg.classes import IGNORE_INDEX
from sparse_seg.data.cache import Arrays, default_cache_dir, prepare
from sparse_seg.data.sample import ImageSet, Sample
from sparse_seg.data.transforms import resize_image, resize_mask
from sparse_seg.errors import UserError
from sparse_seg.raster.warned import OffPaletteWarning

SIZE = 8
fork = multiprocessing.get_context("fork")  # `read` of these samples cannot be pickled


@pytest.fixture
def samples(make_images: Callable[..., ImageSet]) -> Sequence[Sample]:
    return make_images(4).samples


def with_read(samples: Sequence[Sample], before: Callable[[], object]) -> list[Sample]:
    """The same samples, calling `before` before each reading."""

    def wrap(sample: Sample) -> Sample:
        return dataclasses.replace(sample, read=lambda: (before(), sample.read())[1])

    return [wrap(sample) for sample in samples]


def entries(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir() if p.is_dir())


def check(arrays: Arrays, samples: Sequence[Sample], size: int = SIZE) -> None:
    """Every array against the samples themselves."""
    for i, sample in enumerate(samples):
        image, mask = sample.read()
        np.testing.assert_array_equal(arrays.images[i], resize_image(image, size))
        np.testing.assert_array_equal(arrays.masks[i], resize_mask(mask, size))
        np.testing.assert_array_equal(arrays.native_mask(i), mask)
        assert arrays.shapes[i] == mask.shape
    assert len(arrays.images) == len(arrays.masks) == len(arrays.shapes) == len(samples)
    assert arrays.images.dtype == arrays.masks.dtype == arrays.native.dtype == np.uint8


def test_arrays_are_the_resized_images_and_masks_and_the_native_masks(tmp_path: Path, samples):
    assert len({s.read()[1].shape for s in samples}) == 4
    check(prepare(samples, SIZE, tmp_path / "new" / "cache"), samples)


def test_the_second_call_reads_no_sample(tmp_path: Path, samples):
    read: list[int] = []
    counted = with_read(samples, lambda: read.append(1))
    prepare(counted, SIZE, tmp_path)
    assert len(read) == 4
    check(prepare(counted, SIZE, tmp_path), samples)
    assert len(read) == 4


def test_the_arrays_cannot_be_written_by_accident(tmp_path: Path, samples):
    arrays = prepare(samples, SIZE, tmp_path)
    for array in (arrays.images, arrays.masks, arrays.native):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0


def test_another_size_content_or_order_is_another_entry(tmp_path: Path, make_images):
    images, others = make_images(4).samples, make_images(4, seed=1).samples
    for wanted, size in [(images, 8), (images, 9), (others, 8), (images[:3], 8), (images[::-1], 8)]:
        check(prepare(wanted, size, tmp_path), wanted, size)
    assert len(entries(tmp_path)) == 5
    check(prepare(images, 8, tmp_path), images)
    assert len(entries(tmp_path)) == 5


def _prepare_in_step(samples: Sequence[Sample], cache: Path, barrier, out: Path) -> None:
    def note() -> None:
        with out.with_suffix(".reads").open("a") as f:
            f.write("read\n")
        time.sleep(0.05)  # long enough for the other process to come

    barrier.wait(30)
    arrays = prepare(with_read(samples, note), SIZE, cache)
    np.savez(out, images=arrays.images, masks=arrays.masks, native=arrays.native)


def test_two_processes_at_once_make_one_entry_and_get_the_same(tmp_path: Path, samples):
    cache, barrier = tmp_path / "cache", fork.Barrier(2)
    outs = [tmp_path / "a.npz", tmp_path / "b.npz"]
    processes = [fork.Process(target=_prepare_in_step, args=(samples, cache, barrier, out)) for out in outs]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0]
    reads = [len(p.read_text().splitlines()) for p in tmp_path.glob("*.reads")]
    assert reads == [4]  # the other process waited
    assert len(entries(cache)) == 1
    expected = prepare(with_read(samples, lambda: pytest.fail("a sample was read again")), SIZE, cache)
    for out in outs:
        with np.load(out) as found:
            for name in ("images", "masks", "native"):
                np.testing.assert_array_equal(found[name], getattr(expected, name))


def test_a_failing_sample_leaves_nothing_and_its_error_comes_through(tmp_path: Path, samples):
    def fail() -> None:
        raise UserError("mask.png is damaged")

    with pytest.raises(UserError, match=r"^mask\.png is damaged$"):
        prepare([*samples[:2], *with_read(samples[2:], fail)], SIZE, tmp_path)
    assert entries(tmp_path) == []
    check(prepare(samples, SIZE, tmp_path), samples)


def test_a_full_disk_leaves_nothing_and_says_what_to_do(tmp_path: Path, samples, monkeypatch: pytest.MonkeyPatch):
    def full(path: Path, array: np.ndarray) -> None:
        if path.name == "masks.npy":
            raise OSError(28, "No space left on device")
        path.touch()

    with monkeypatch.context() as patch:
        patch.setattr(np, "save", full)
        with pytest.raises(UserError, match=r"No space left.*data\.cache_dir="):
            prepare(samples, SIZE, tmp_path)
    assert entries(tmp_path) == []
    check(prepare(samples, SIZE, tmp_path), samples)


def _die_midway(samples: Sequence[Sample], cache: Path) -> None:
    save = np.save
    np.save = lambda path, array: os._exit(9) if path.name == "native.npy" else save(path, array)  # type: ignore[assignment, misc]
    prepare(samples, SIZE, cache)


def test_what_a_killed_process_left_is_not_taken_for_complete(tmp_path: Path, samples):
    process = fork.Process(target=_die_midway, args=(samples, tmp_path))
    process.start()
    process.join(60)
    assert process.exitcode == 9
    assert len(entries(tmp_path)) == 1  # half-made, under another name
    check(prepare(samples, SIZE, tmp_path), samples)
    assert len(entries(tmp_path)) == 2


def test_off_palette_warnings_are_summed_into_one_and_others_pass(tmp_path: Path, samples):
    counts = iter([3, 1_200, 0, 7])

    def warn() -> None:
        count = next(counts)
        if count:
            warnings.warn(
                OffPaletteWarning(Path(f"{count}.png"), count, {(255, 0, 0): count // 2}),
                stacklevel=1,
            )
        else:
            warnings.warn("of another kind", RuntimeWarning, stacklevel=1)

    with pytest.warns() as caught:
        arrays = prepare(with_read(samples, warn), SIZE, tmp_path)
    assert [str(w.message) for w in caught] == ["of another kind"]
    assert arrays.seen.notes == [
        "1,210 pixels of 3 masks (most in 1200.png: 1,200) hold no class and count as unlabelled, mostly #FF0000 (604)"
    ]
    assert prepare(samples, SIZE, tmp_path).seen == arrays.seen  # of the cache


def test_a_clean_data_set_gives_no_warning(tmp_path: Path, samples):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        prepare(samples, SIZE, tmp_path)
    assert not caught


def test_a_cache_that_cannot_be_written_is_named_with_the_way_out(tmp_path: Path, samples):
    (tmp_path / "file").touch()
    cache = tmp_path / "file" / "cache"
    with pytest.raises(UserError) as error:
        prepare(samples, SIZE, cache)
    assert f"the cache {cache} cannot be written" in str(error.value)
    assert "set data.cache_dir=" in str(error.value)


def test_unlabelled_pixels_stay_unlabelled(tmp_path: Path, make_images):
    arrays = prepare(make_images(2, labelled=False).samples, SIZE, tmp_path)
    assert (arrays.masks == IGNORE_INDEX).all()
    assert (arrays.native == IGNORE_INDEX).all()


def test_the_cache_lies_where_the_environment_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SPARSE_SEG_CACHE", str(tmp_path / "own"))
    assert default_cache_dir() == tmp_path / "own"
    monkeypatch.delenv("SPARSE_SEG_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert default_cache_dir() == tmp_path / "xdg" / "sparse_seg"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_cache_dir() == tmp_path / ".cache" / "sparse_seg"
