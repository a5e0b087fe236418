"""The picture of shares: what it draws, and where a run leaves it."""

from pathlib import Path

import numpy as np
import PIL.Image
import torch
from cli import TINY, trained
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from sparse_seg.classes import LAND_COVER
from sparse_seg.training.share_picture import COLUMNS, share_figure, share_picture
from sparse_seg.training.shares import Shares

OWN = torch.tensor([[0.2, 0.2, 0.2, 0.2, 0.2], [0.5, 0.5, 0, 0, 0]], dtype=torch.float64)
GROUND = torch.tensor([[0.4, 0.3, 0.1, 0.1, 0.1], [0.1, 0.9, 0, 0, 0]], dtype=torch.float64)
SHARES = Shares(["a", "b"], OWN, GROUND, torch.arange(2))


def test_each_class_has_its_images_by_their_share_and_the_means_in_its_title() -> None:
    water, land, *_ = share_figure(SHARES, LAND_COVER).axes
    assert [bar.get_height() for bar in water.patches] == [0.1, 0.4]  # type: ignore[attr-defined]
    assert water.lines[0].get_ydata().tolist() == [0.5, 0.2]  # type: ignore[union-attr]
    assert [bar.get_height() for bar in land.patches] == [0.3, 0.9]  # type: ignore[attr-defined]
    assert water.get_title() == "Water\npoints 0.35, area 0.25"


def test_the_picture_holds_every_class() -> None:
    picture = share_picture(SHARES, LAND_COVER)
    assert picture.dtype == np.uint8
    assert picture.shape[2] == 3
    colours = {tuple(rgb) for rgb in picture.reshape(-1, 3).tolist()}
    assert colours >= {tuple(c) for c in LAND_COVER.colours}
    assert len(share_figure(SHARES, LAND_COVER).axes) == COLUMNS


def test_a_run_with_a_prior_leaves_the_picture_and_the_dashboard_has_it_once(tmp_path: Path) -> None:
    words = ("prior=estimated", "trainer.max_epochs=2", "callbacks.checkpoint=null")
    folder, _ = trained(*TINY, *words, cwd=tmp_path)
    with PIL.Image.open(folder / "panels" / "shares.png") as picture:
        assert picture.width > 500
    events = EventAccumulator(str(folder), size_guidance={"images": 0}).Reload()
    assert [event.step for event in events.Images("shares")] == [1]
