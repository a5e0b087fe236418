"""Tables, one file each: a file of this folder that registers a table is all that a new one takes.

    @table("12", "seconds per run")
    def seconds(block: Block) -> Table | None: ...

With `methods=True` it gets a `Family`, blocks of several methods, and stands once for all of them.

What they need that is slow to import they import when they are made, since --help lists them.
"""

import pkgutil
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any, TypeVar

from sparse_seg.report.blocks import Block
from sparse_seg.report.cells import Table
from sparse_seg.report.families import Family, alone

Make = Callable[[Any], Table | None]
"""The table of a `Block` or, with `methods=True`, of a `Family`; None if it has no run for it."""


M = TypeVar("M", bound=Make)


@dataclass(frozen=True)
class Registered:
    """A table as `table` registers it."""

    name: str
    about: str
    make: Make
    folds: bool | None
    budget: bool
    words: tuple[str, ...]
    methods: bool


_REGISTERED: dict[str, Registered] = {}


def table(
    name: str,
    about: str,
    *,
    folds: bool | None = False,
    budget: bool = False,
    words: tuple[str, ...] = (),
    methods: bool = False,
) -> Callable[[M], M]:
    """Register a table; a decorator of the function that makes it.

    Args:
        name: what `--tables` calls it; its number, as a rule.
        about: what it is on, for --help.
        folds: True for blocks with tiles held out in turn, False for others, None for both.
        budget: True for a table that `--budget` prints instead of the usual ones.
        words: experiments of study `report`, beside `table<name>`, that stand for it on the command line.
        methods: True for a table that puts several methods side by side; others have a block of one each.

    Raises:
        ValueError: the name is another table's.
    """

    def register(make: M) -> M:
        other = _REGISTERED.get(name)
        if other is not None and other.make.__module__ != make.__module__:
            raise ValueError(f"table {name} is registered by {other.make.__module__} and by {make.__module__}")
        _REGISTERED[name] = Registered(name, about, make, folds, budget, words, methods)
        return make

    return register


def registered() -> dict[str, Registered]:
    """Every table by its name, in the order in which they are printed: numbers, then words."""
    for module in pkgutil.iter_modules(__path__):
        import_module(f"{__name__}.{module.name}")
    return {name: _REGISTERED[name] for name in sorted(_REGISTERED, key=lambda n: (not n.isdigit(), n.zfill(4)))}


def words() -> dict[str, str]:
    """Words of the command line for tables of study `report` → the table's name."""
    usual = [t for t in registered().values() if not t.budget and t.folds is not True]
    return {word: t.name for t in usual for word in (f"table{t.name}", *t.words)}


def tables_of(
    runs: Block | Family, names: Collection[str] | None = None, budget: bool = False, methods: bool = True
) -> list[Table]:
    """Every table that a block, or a family of blocks, has runs for.

    Args:
        runs: of one configuration, or of several that differ in method and prior only. Of several, tables of one
            configuration are left out.
        names: the tables wanted; all by default.
        budget: those of `--budget` instead of the usual ones.
        methods: False leaves out tables that put several methods side by side.
    """
    family = runs if isinstance(runs, Family) else alone(runs)
    wanted = [t for t in registered().values() if t.budget == budget and (names is None or t.name in names)]
    wanted = [t for t in wanted if (methods if t.methods else len(family.blocks) == 1)]
    fitting = [t for t in wanted if t.folds is None or t.folds == family.whole.has_folds]
    made = [(t.name, t.make(family if t.methods else family.whole)) for t in fitting]
    return [replace(table, number=name) for name, table in made if table is not None]
