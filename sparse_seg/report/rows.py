"""Which rows a table has: the published ones and every other that has a run."""

import math
from collections.abc import Sequence
from typing import Any

from sparse_seg.report import published
from sparse_seg.report.blocks import Block

FULL = "all"
GIVEN = "all given"
"""points=all where a training image has no mask: its points, not full masks."""
SATURATING_FROM = 3
"""Densities that fix the power law's three parameters. Its accuracy comes from the seeds, not from what it misses."""
TESTED_FROM = 4
"""Densities that leave one to contradict it."""


def densities(block: Block, **axes: Any) -> list[int]:
    """Points per class to show: the published ones and every other that has a run."""
    return sorted({*published.TABLE1, *(p for p in block.cell(**axes)["points"] if isinstance(p, int))})


def losses(block: Block, **axes: Any) -> list[str]:
    """Losses to show: the published ones and every other that has a run."""
    return list(dict.fromkeys([*published.TABLE2, *sorted(set(block.cell(**axes)["loss"]))]))


def more_densities(points: Sequence[int], below: int | None = None) -> list[int]:
    """Densities that make them four: doublings and halvings of the largest, nearest first; all `below`, if given."""
    largest = max(points, default=20)
    candidates = [largest, 2 * largest, largest // 2, largest // 4, 4 * largest, 8 * largest]
    new = [n for n in dict.fromkeys(candidates) if 1 <= n < (below or math.inf) and n not in points]
    return sorted(new[: max(TESTED_FROM - len(points), 0)])
