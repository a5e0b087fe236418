"""Which images train and which validate."""

from collections.abc import Sequence

import numpy as np

from sparse_seg.data.sample import Sample
from sparse_seg.errors import UserError
from sparse_seg.points.text import nfc


def split_indices(
    samples: Sequence[Sample],
    split: str,
    val_fraction: float = 0.2,
    split_seed: int = 0,
    val_tiles: Sequence[str | int] | None = None,
    fold: int | None = None,
) -> tuple[list[int], list[int]]:
    """Return the indices of the training and the validation samples, each sorted.

    split="random": `val_fraction` of the images, drawn with `split_seed` from the sorted image names; never from the
    run's seed, so that every cell of a study is scored on the same images. split="tile": the groups in `val_tiles`,
    or the `fold`-th group (from 0) when they are sorted. Raises UserError for an unknown group, a fold out of range,
    or a side without images.

    Windows of one image stay together. Images without a mask never validate if others have one; of those with, the
    ones that the user put no point into validate, or where there are none, `val_fraction` of them. With no mask at all
    split="random" gives every image to both sides: their points are divided instead, by `divide_points`.
    """
    masked = any(s.has_mask for s in samples) or not samples
    if split == "random" and not masked:
        return list(range(len(samples))), list(range(len(samples)))
    if split == "random":
        chosen, count = _random_images(samples, val_fraction, split_seed)
        held_out = {i for i, s in enumerate(samples) if s.whole in chosen}
        detail = f"data.val_fraction={val_fraction} of {count} images"
    elif split == "tile":
        groups = sorted({s.group for s in samples}, key=lambda g: (len(g), g))
        chosen = _held_out_groups(groups, val_tiles, fold)
        held_out = {i for i, s in enumerate(samples) if s.group in chosen}
        detail = f"data.val_tiles={','.join(sorted(chosen))} of {len(groups)} tiles"
    else:
        raise UserError(f"split={split!r} is unknown; choose random or tile")
    train = [i for i, s in enumerate(samples) if i not in held_out and (s.points is None or len(s.points) or s.scene)]
    held_out = {i for i in held_out if samples[i].has_mask or not masked}
    for side, indices in (("validation", held_out), ("training", train)):
        if not indices:
            raise UserError(f"split={split} with {detail} leaves no {side} image")
    return train, sorted(held_out)


def _random_images(samples: Sequence[Sample], val_fraction: float, split_seed: int) -> tuple[set[str], int]:
    """The whole images that validate, and the number of those that could."""
    names = sorted({s.whole for s in samples if s.has_mask})
    pointed = {s.whole for s in samples if s.points is not None and len(s.points)}
    given = any(s.points is not None for s in samples)
    if given and (blank := set(names) - pointed):
        return blank, len(names)
    n_val = round(len(names) * val_fraction)
    if given:
        n_val = max(n_val, 1)
    return {names[k] for k in np.random.default_rng(split_seed).permutation(len(names))[:n_val].tolist()}, len(names)


def _held_out_groups(groups: list[str], val_tiles: Sequence[str | int] | None, fold: int | None) -> set[str]:
    if (val_tiles is None) == (fold is None):
        raise UserError("split=tile needs one of data.val_tiles=[...] and data.fold=k")
    if fold is not None:
        if not 0 <= fold < len(groups):
            raise UserError(f"data.fold={fold} is out of range; there are {len(groups)} tiles: 0 to {len(groups) - 1}")
        return {groups[fold]}
    if wrong := [t for t in val_tiles or () if not isinstance(t, str | int) or isinstance(t, bool)]:
        raise UserError(f"data.val_tiles: {wrong[0]} is no name; quote what may be one: \"data.val_tiles=['1.10']\"")
    chosen = {nfc(str(t)) for t in val_tiles or ()}
    if unknown := sorted(chosen - set(groups)):
        raise UserError(f"data.val_tiles: no tile {', '.join(unknown)}; there are {', '.join(groups)}")
    return chosen
