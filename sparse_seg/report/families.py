"""Blocks that differ in how the network learns only, which tables of several methods put side by side."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from sparse_seg.report.blocks import Block
from sparse_seg.report.configuration import LEARNING, UNASKED, Flat, differing, keys, solves, spelled
from sparse_seg.report.groups import Group, groups


@dataclass(frozen=True)
class Family:
    """blocks: of one configuration but for method and prior."""

    blocks: tuple[Block, ...]

    @cached_property
    def whole(self) -> Block:
        """All their runs, for headings and notes. Its cells would mix methods: tables ask those of `groups`."""
        import pandas as pd

        if len(self.blocks) == 1:
            return self.blocks[0]
        runs = pd.concat([b.runs for b in self.blocks], ignore_index=True)
        return replace(self.blocks[0], title=f"every method: {self.blocks[0].setting}", runs=runs, pending=())

    @cached_property
    def groups(self) -> list[Group]:
        """The groups of each block. Where a prior has no full masks of its own, those without it stand in for them:
        with full masks there is nothing to correct.
        """
        found = [replace(g, mixed=len(self.blocks) > 1) for block in self.blocks for g in groups(block)]
        return [g if g.has_full else replace(g, full_of=_full_of(g, found)) for g in found]


def _full_of(group: Group, among: Sequence[Group]) -> Group | None:
    same = [g for g in among if (g.block.method, g.loss, g.augment) == (group.block.method, group.loss, group.augment)]
    return next((g for g in same if g.has_full and g.block.plain_prior), None)


def alone(block: Block) -> Family:
    """A block by itself."""
    return Family((block,))


def families(blocks: Sequence[Block]) -> list[Family]:
    """Put blocks together that differ in method and prior only, in the order of the first of each.

    A method that is solved for asks for less than the others do, and so belongs to every family that agrees with it on
    what it asks.
    """
    trained = [b for b in blocks if not solves(b.config)]
    solved = [b for b in blocks if solves(b.config)]
    whole = keys([_setting(b.config) for b in trained])
    part = keys([_setting(b.config, UNASKED_TOO) for b in [*trained, *solved]])
    of = dict(zip(map(id, [*trained, *solved]), part, strict=True))
    found: list[list[Block]] = []
    for key in dict.fromkeys(whole):
        mine = [b for b, k in zip(trained, whole, strict=True) if k == key]
        found.append(mine + [b for b in solved if of[id(b)] == of[id(mine[0])]])
    known = {of[id(b)] for b in trained}
    for key in dict.fromkeys(of[id(b)] for b in solved):
        found += [] if key in known else [[b for b in solved if of[id(b)] == key]]
    found.sort(key=lambda part: next(i for i, b in enumerate(blocks) if b is part[0]))
    return [Family(tuple(_told_apart(part))) for part in found]


UNASKED_TOO = (*UNASKED, "trainer.precision", "channels_last")
"""Of a network that is solved for, a bit or two may depend on these."""


def _setting(config: Flat, unasked: tuple[str, ...] = ()) -> Flat:
    """A configuration without how the network learns, and without what a method does not ask."""
    kept = {k: v for k, v in config.items() if not k.startswith((*LEARNING, *unasked))}
    if unasked:  # nor for the values inside a loss
        kept = {k: v for k, v in kept.items() if ": " not in k}
    return kept | {"method._target_": ""}


def _told_apart(blocks: Sequence[Block]) -> list[Block]:
    """The same blocks; those of one method and one prior say what sets them apart."""
    out = []
    for block in blocks:
        twins = [b for b in blocks if (b.method, b.prior) == (block.method, block.prior)]
        apart = differing([b.config for b in twins])
        said = [
            ", ".join(f"{k.removeprefix(start)}={spelled(block.config, k)}" for k in apart if k.startswith(start))
            for start in LEARNING
        ]
        rest = [f"{k}={spelled(block.config, k)}" for k in apart if not k.startswith(LEARNING)]
        out.append(replace(block, variant=(", ".join([*filter(None, said[:1]), *rest]), said[1])))
    return out
