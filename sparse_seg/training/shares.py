"""Shares of the classes: those of an image's points, those of its ground, and the logits moved by their ratio.

Points are drawn, and clicked, per class; so a network that learns from them learns their shares, not the ground's. A
network that is trained with its logits moved by log(points' share ÷ ground's share) says the ground's posterior
without them (Menon et al. 2021, arXiv 2007.07314). Moved by tau times that, it says something in between: mIoU asks
for more of the rare classes than the posterior does. Where the ground's shares come from is a prior: a function of
the network and the data.
"""

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sparse_seg.data.datamodule import SparsePointsDataModule
from sparse_seg.errors import UserError, check_number
from sparse_seg.files import replacing
from sparse_seg.networks.probe import Fit
from sparse_seg.points.text import nfc, read_text

FLOOR = 0.005
"""No share is taken to be less."""
ROUNDED = 0.02
"""By which the given shares of an image may miss 1."""


@dataclass(frozen=True)
class Shares:
    """Shares of the classes in N images.

    With `data.crop` they are still those of the whole image: how many points of a class there are for its area is a
    matter of the image, and a crop shows some of both.

    Args:
        names: of the images; the windows of one image are one.
        own: (N, C) float64, of the labelled pixels.
        ground: likewise, of all pixels, as far as known; equal to `own` where an image has its full mask.
        of: index of each training sample → row.
        full: (N,) bool, which images have their full masks; None: not one of them.
        tau: what the logits are moved by is multiplied by it; 1 gives the ground's posterior, 0 the points'.
        probe: that estimated them, if one did.
    """

    names: Sequence[str]
    own: Tensor
    ground: Tensor
    of: Tensor
    full: Tensor | None = None
    tau: float = 1.0
    probe: Fit | None = None

    @property
    def is_known(self) -> bool:
        """Whether all images have their full masks, so that nothing is to be corrected."""
        return self.full is not None and bool(self.full.all())

    @property
    def per_image(self) -> Tensor:
        """(N, C) float32: tau · log(own ÷ ground), 0 for a class that an image has no labelled pixel of."""
        has = self.own > 0
        ratio = torch.where(has, self.own, 1.0) / torch.where(has, self.ground.clamp(min=FLOOR), 1.0)
        if self.full is not None:
            ratio[self.full] = 1.0
        return (self.tau * ratio.log()).float()

    @property
    def offsets(self) -> Tensor:
        """(training samples, C) float32: `per_image` of each sample's image."""
        return self.per_image[self.of]

    @property
    def present(self) -> Tensor:
        """(training samples, C) bool: which classes an image has a labelled pixel of."""
        return (self.own > 0)[self.of]

    def write(self, path: Path, class_names: Sequence[str]) -> None:
        """Write shares.csv: image, class, points' share, ground's share. Raises UserError if it cannot be written."""
        with replacing(path) as beside, beside.open("w", newline="", encoding="utf-8") as f:
            writer = csv.writer(f)
            writer.writerow(["image", "class", "points", "estimated"])
            for name, own, ground in zip(self.names, self.own.tolist(), self.ground.tolist(), strict=True):
                writer.writerows(
                    [name, c, f"{o:.6f}", f"{g:.6f}"] for c, o, g in zip(class_names, own, ground, strict=True)
                )


@dataclass(frozen=True)
class RunningShares(Shares):
    """Shares of the ground that follow what the network says of the training images while it learns.

    Args:
        names, own, ground, of, full, tau, probe: as for `Shares`.
        start: share of all steps before which they move nothing.
        past: what an estimate weighs in the next one, which is made at each epoch's end.
    """

    start: float = 0.2
    past: float = 0.5

    def after(self, said: Tensor) -> "RunningShares":
        """The shares after an epoch.

        Args:
            said: (training samples, C), of each sample the mean posterior over its view's pixels, among the classes
                that its image has labelled pixels of; 0 where the epoch did not show it.
        """
        said = said.to("cpu", torch.float64)
        shown = said.sum(1) > 0
        rows = self.of[shown]
        count = torch.bincount(rows, minlength=len(self.names))
        mean = torch.zeros_like(self.ground).index_add_(0, rows, said[shown]) / count.clamp(min=1)[:, None]
        moves = count > 0
        if self.full is not None:
            moves &= ~self.full
        ground = torch.where(moves[:, None], self.past * self.ground + (1 - self.past) * mean, self.ground)
        return replace(self, ground=ground)


def network_prior(
    network: nn.Module, data: SparsePointsDataModule, *, start: float = 0.2, past: float = 0.5, tau: float = 1.0
) -> RunningShares:
    """Shares of the ground from the network itself, for one without an encoder that a probe could read.

    They begin as those of the labelled pixels. After each epoch they move towards the mean posterior that the network
    had on the image's view, which costs no further pass.

    Args:
        network: not needed.
        data: set up.
        start: share of all steps before the logits are moved.
        past: weight of the estimate so far in the next one.
        tau: as for `Shares`.

    Returns:
        The shares of each training image, as they begin.

    Raises:
        UserError: start or past is no share, or tau no number from 0 to 2.
    """
    check_number("prior.tau", tau, most=2)
    for name, value in (("start", start), ("past", past)):
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1:
            raise UserError(f"prior.{name}={value!r} must be a number from 0 to below 1")
    own = own_shares(data)
    return RunningShares(own.names, own.own, own.ground, own.of, own.full, tau, start=start, past=past)


def given_prior(network: nn.Module, data: SparsePointsDataModule, *, shares: str, tau: float = 1.0) -> Shares:
    """Shares of the ground from a table that the user gives.

    Args:
        network: not needed.
        data: set up.
        shares: a file as `read_shares` reads it.
        tau: as for `Shares`.

    Returns:
        The shares of each training image.

    Raises:
        UserError: no such file, it lacks a share, or tau is no number from 0 to 2.
    """
    check_number("prior.tau", tau, most=2)
    own = own_shares(data)
    ground = torch.from_numpy(read_shares(Path(shares), own.names, data.classes.names))
    assert own.full is not None
    return replace(own, ground=torch.where(own.full[:, None], own.own, ground), tau=tau)


def own_shares(data: SparsePointsDataModule) -> Shares:
    """The shares of the labelled pixels alone, in place of the ground's.

    Args:
        data: set up.

    Returns:
        The shares of each training image.
    """
    names: dict[str, int] = {}
    counts: list[NDArray[np.int64]] = []
    of, full = [], []
    for name, _, target, whole_mask in data.training_examples():
        row = names.setdefault(name, len(names))
        found = np.bincount(target.ravel(), minlength=256)[: len(data.classes)]
        if row == len(counts):
            counts.append(found)
            full.append(whole_mask)
        else:
            counts[row] = counts[row] + found
            full[row] = full[row] and whole_mask
        of.append(row)
    table = torch.from_numpy(np.stack(counts)).double()
    own = table / table.sum(1, keepdim=True).clamp(min=1)
    return Shares(list(names), own, own, torch.tensor(of), torch.tensor(full))


def read_shares(path: Path, names: Sequence[str], class_names: Sequence[str]) -> NDArray[np.float64]:
    """Read shares from a table as `Shares.write` writes it: image, class, and the column `estimated` or `share`.

    Images that are none of `names` are left out: a table of the whole data set serves every split.

    Args:
        path: CSV in UTF-8, with a header.
        names: of the images.
        class_names: C names.

    Returns:
        (images, C) in the order of `names`, each row with the sum 1.

    Raises:
        UserError: no such file or column, an unknown class, a share that is none, that is missing or comes twice, or
            shares of an image that do not add up to 1 within rounding.
    """
    out = np.full((len(names), len(class_names)), np.nan)
    at, label = ({nfc(n): k for k, n in enumerate(every)} for every in (names, class_names))
    for where, image, name, share in _rows(path):
        if nfc(name) not in label:
            raise UserError(f"{where}: class {name!r} is none of {', '.join(class_names)}")
        if not 0 <= share <= 1:
            raise UserError(f"{where}: the share {share:g} must be a number from 0 to 1")
        if nfc(image) not in at:
            continue
        here = at[nfc(image)], label[nfc(name)]
        if not np.isnan(out[here]):
            raise UserError(f"{where}: the share of {name} in image {image} comes a second time")
        out[here] = share
    without = [name for name, row in zip(names, out, strict=True) if np.isnan(row).all()]
    if without:
        more = f", nor of {len(without) - 1} more training images" if len(without) > 1 else ""
        raise UserError(f"prior.shares={path} has no shares of image {without[0]}{more}")
    if np.isnan(out).any():
        row, col = np.argwhere(np.isnan(out))[0]
        raise UserError(f"prior.shares={path} has no share of {class_names[col]} in image {names[row]}: 0 is one")
    sums = out.sum(1)
    if (wrong := np.abs(sums - 1) > ROUNDED).any():
        row = int(wrong.argmax())
        raise UserError(f"prior.shares={path}: the shares of image {names[row]} add up to {sums[row]:.3f}, not to 1")
    return np.asarray(out / sums[:, None])


def _rows(path: Path) -> Iterator[tuple[str, str, str, float]]:
    """Where it stands, image, class and share of each line."""
    try:
        text = read_text(path, "table")
    except FileNotFoundError:
        raise UserError(f"prior.shares={path} cannot be read: there is no such file") from None
    reader = csv.DictReader(io.StringIO(text, newline=""))
    try:
        header = reader.fieldnames or []
        column = next((name for name in ("estimated", "share") if name in header), "share")
        if lacking := [name for name in ("image", "class", column) if name not in header]:
            raise UserError(
                f"{path}, line 1: no column {lacking[0]}; the first line must be image,class,share, and it is "
                f"{','.join(header)[:80]!r}"
            )
        for record in reader:
            where = f"{path}, line {reader.line_num}"
            try:
                yield where, record["image"].strip(), record["class"].strip(), float(record[column])
            except (AttributeError, TypeError, ValueError):
                raise UserError(f"{where}: {record[column]!r} is no share; a line is image, class, share") from None
    except csv.Error as e:
        raise UserError(f"{path}, line {reader.line_num + 1}: cannot be read as a table: {e}") from e
