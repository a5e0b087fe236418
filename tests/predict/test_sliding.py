"""Blending windows is as if the network had seen the whole image, and holds no more of it than a row of windows."""

import itertools
import threading
import time
import tracemalloc

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sparse_seg.errors import UserError
from sparse_seg.predict.sliding import blend_weights, blended
from sparse_seg.predict.windows import Windows, column_blocks, starts

RNG = np.random.default_rng(0)


def reader(image: np.ndarray, valid: np.ndarray | None = None):
    def read(row, col, height, width):
        part = np.s_[row : row + height, col : col + width]
        return image[part], np.ones((height, width), bool) if valid is None else valid[part]

    return read


def whole(strips, height, width):
    """Strips put together; every pixel must come exactly once."""
    logits, valid, times = None, np.zeros((height, width), bool), np.zeros((height, width), int)
    for row, col, values, good in strips:
        part = np.s_[row : row + values.shape[1], col : col + values.shape[2]]
        logits = np.full((len(values), height, width), np.nan) if logits is None else logits
        logits[(slice(None), *part)], valid[part] = values.numpy(), good
        times[part] += 1
    assert (times == 1).all()
    return logits, valid


def pixelwise(batch: torch.Tensor) -> torch.Tensor:
    return batch[:, :2] * 255 - 100


@settings(max_examples=40, deadline=None)
@given(length=st.integers(1, 300), extent=st.integers(1, 80), step=st.integers(1, 80))
def test_windows_cover_everything_and_stay_inside(length, extent, step):
    step = min(step, extent)
    begins = starts(length, extent, step)
    assert begins == sorted(set(begins))
    assert begins[0] == 0
    assert begins[-1] + extent == max(length, extent)
    assert all(b - a <= step for a, b in itertools.pairwise(begins))


@settings(max_examples=30, deadline=None)
@given(height=st.integers(1, 60), width=st.integers(1, 60), overlap=st.integers(0, 15), batch_size=st.integers(1, 5))
def test_a_network_that_sees_one_pixel_gives_that_pixel_whatever_the_windows(height, width, overlap, batch_size):
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3)).astype(np.uint8)
    windows = Windows(16, overlap)
    logits, valid = whole(blended(reader(image), pixelwise, (height, width), 2, windows, batch_size), height, width)
    np.testing.assert_allclose(logits, image.transpose(2, 0, 1)[:2] - 100.0, atol=1e-3)
    assert valid.all()


def test_blocks_of_columns_join_without_a_seam():
    image = np.random.default_rng(0).integers(0, 256, (20, 1200, 3)).astype(np.uint8)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sparse_seg.predict.windows.MEMORY", 1)
        assert len(column_blocks(1200, 16, 2)) == 3
        logits, valid = whole(blended(reader(image), pixelwise, (20, 1200), 2, Windows(16, 5)), 20, 1200)
    np.testing.assert_allclose(logits, image.transpose(2, 0, 1)[:2] - 100.0, atol=1e-3)
    assert valid.all()


@pytest.mark.parametrize("scale", [0.25, 0.7, 1.0, 2.0])
def test_a_constant_stays_that_constant_at_every_scale(scale):
    image = np.full((90, 130, 3), 51, np.uint8)
    logits, _ = whole(blended(reader(image), pixelwise, (90, 130), 2, Windows(32, 8, scale)), 90, 130)
    np.testing.assert_allclose(logits, -49, atol=1e-3)


def test_a_scale_shows_the_network_that_much_smaller_an_image():
    image = np.repeat(np.repeat(RNG.integers(0, 256, (32, 32, 3)).astype(np.uint8), 4, 0), 4, 1)
    seen = []
    list(blended(reader(image), lambda b: seen.append(b) or b, (128, 128), 3, Windows(32, 0, 0.25)))
    assert [b.shape for b in seen] == [(1, 3, 32, 32)]
    small = image[::4, ::4].transpose(2, 0, 1) / 255  # no pixel of the small image is a mix of blocks' middles only
    assert np.corrcoef(seen[0][0].numpy().ravel(), small.ravel())[0, 1] > 0.9


def test_a_translation_equivariant_network_shows_no_seam():
    torch.manual_seed(0)
    conv = torch.nn.Conv2d(3, 4, 5, padding=2, padding_mode="reflect").requires_grad_(False)
    image = RNG.integers(0, 256, (150, 210, 3)).astype(np.uint8)
    expected = conv(torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255)[0].numpy()
    logits, _ = whole(blended(reader(image), conv, (150, 210), 4, Windows(64, 32)), 150, 210)
    # Two pixels at a window's edge are wrong; their weight is what is left of it.
    assert np.abs(logits - expected).max() < 0.01 * np.ptp(expected)
    assert (logits.argmax(0) == expected.argmax(0)).mean() > 0.999
    inner = np.s_[:, 3:12, 3:12]  # one window alone
    np.testing.assert_allclose(logits[inner], expected[inner], atol=1e-5)


def test_windows_without_image_are_skipped_and_the_rest_does_not_change():
    image = RNG.integers(0, 256, (96, 96, 3)).astype(np.uint8)
    valid = np.ones((96, 96), bool)
    valid[:40, :50] = False
    windows, seen = [], []
    logits, good = whole(
        blended(
            reader(image, valid), lambda b: windows.append(len(b)) or pixelwise(b), (96, 96), 2, Windows(32, 0),
            advance=seen.append,
        ),
        96, 96,
    )  # fmt: skip
    np.testing.assert_array_equal(good, valid)
    np.testing.assert_allclose(logits[:, valid], image.transpose(2, 0, 1)[:2, valid] - 100.0, atol=1e-3)
    assert sum(windows) == 8
    assert sum(seen) == 9 == Windows(32, 0).count(96, 96, 2)


def test_weights_are_positive_everywhere():
    for extent in (1, 2, 31, 512):
        weights = blend_weights(extent)
        assert weights.shape == (extent, extent)
        assert weights.min() > 0
        assert weights.max() <= 1


def test_an_image_smaller_than_a_window_is_continued_by_its_reflection():
    image = np.arange(12, dtype=np.uint8).reshape(3, 4, 1).repeat(3, 2)
    seen = []
    list(blended(reader(image), lambda b: seen.append(b) or b, (3, 4), 3, Windows(8, 0)))
    first = (seen[0][0, 0] * 255).round().int()
    assert first[0].tolist() == [0, 1, 2, 3, 2, 1, 0, 1]
    assert first[:, 0].tolist() == [0, 4, 8, 4, 0, 4, 8, 4]


def test_memory_does_not_grow_with_the_image():
    def peak(height: int, width: int) -> int:
        def read(row, col, h, w):
            return np.zeros((h, w, 3), np.uint8), np.ones((h, w), bool)

        largest = 0

        def network(batch):
            return torch.zeros(len(batch), 2, 64, 64)

        tracemalloc.start()
        for strip in blended(read, network, (height, width), 2, Windows(64, 16)):
            # Tensors are not in tracemalloc's books: a strip and the sums that it was cut from.
            largest = max(largest, strip.logits.untyped_storage().nbytes() + strip.valid.nbytes)
        python = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return largest + python

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sparse_seg.predict.windows.MEMORY", 4 * 3 * 64 * 512)
        assert column_blocks(1200, 64, 2) == [(0, 512), (512, 1024), (1024, 1200)]
        reference = peak(200, 512)
        assert peak(2000, 512) < 1.1 * reference
        assert peak(200, 3000) < 1.2 * reference


@pytest.mark.parametrize(
    ("values", "message"),
    [((32, 32), "overlap=32 must be"), ((32, -1), "overlap=-1"), ((32, 0, 0.0), "scale=0.0 must be a positive")],
)
def test_windows_that_do_not_advance_are_refused(values, message):
    with pytest.raises(UserError, match=message):
        Windows(*values)


def test_a_thread_reads_the_next_windows_and_no_more_than_that():
    image = RNG.integers(0, 256, (96, 160, 3)).astype(np.uint8)
    read, threads, done = [0], set(), [0]

    def counted(*window):
        threads.add(threading.get_ident())
        read[0] += 1
        return reader(image)(*window)

    def network(batch):
        time.sleep(0.01)
        assert read[0] <= done[0] + 2 * len(batch)
        done[0] += len(batch)
        return pixelwise(batch)

    for _ in blended(counted, network, (96, 160), 2, Windows(32, 0), batch_size=5):
        pass
    assert read[0] == 15
    assert len(threads) == 1
    assert threading.get_ident() not in threads


def test_an_error_of_reading_is_raised_where_strips_are_asked_for_and_ends_the_thread():
    def broken(row, *window):
        if row:
            raise UserError("the file is damaged")
        return reader(np.zeros((96, 96, 3), np.uint8))(row, *window)

    before = threading.active_count()
    with pytest.raises(UserError, match="damaged"):
        list(blended(broken, pixelwise, (96, 96), 2, Windows(32, 0)))
    assert threading.active_count() == before


def test_a_pass_that_is_given_up_ends_the_thread():
    before = threading.active_count()
    strips = blended(reader(np.zeros((960, 96, 3), np.uint8)), pixelwise, (960, 96), 2, Windows(32, 0))
    next(strips)
    del strips
    assert threading.active_count() == before
