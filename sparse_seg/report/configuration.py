"""Which runs are of one configuration, whatever names it had when they were made.

Configurations are compared in today's names (`names.canonical`). What is printed of one keeps the run's own spelling.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from sparse_seg.names import canonical

AXES = ("seed", "points", "data.fold")
VARIED = ("loss", "augment")
"""Groups of the configuration that tables compare."""
METHOD = {"method": "points", "prior": "none"}
"""Columns that say how a network learns, with what runs of older code have without saying so."""
LEARNING = ("method.", "prior.")
"""How the keys begin that do."""
CONTENT = "data.content"
"""What the images were; older runs do not say it, and jobs that failed before they were read."""
OPEN = (CONTENT, "trainer.precision", "channels_last")
"""Keys of which a job that failed may say nothing, or `auto`, since a machine decides them."""
SOLVERS = ("sparse_seg.training.ProbeTask",)
"""Methods that solve for a linear layer, and ask for neither loss, augmentation nor optimizer."""
UNASKED = (
    "loss.", "augment.", "optimizer.", "scheduler.", "trainer.max_epochs", "data.batch_size", "model.arch",
)  # fmt: skip
"""How the keys begin that change no figure of theirs."""
Flat = dict[str, Any]


def solves(figures: Mapping[str, Any]) -> bool:
    """True if the run's method is one of `SOLVERS`."""
    return figures.get("method._target_") in SOLVERS


def asked(figures: Mapping[str, Any]) -> Flat:
    """A configuration in today's names, without what its method does not ask."""
    today = canonical(figures)
    return {k: v for k, v in today.items() if not k.startswith(UNASKED)} if solves(today) else today


def axes_of(axes: Mapping[str, Any], figures: Mapping[str, Any]) -> Flat:
    """Where a run stands in the tables: one that is solved for has the loss of its solver, and no augmentation."""
    return {**axes, **({"loss": "logistic", "augment": "none"} if axes and solves(figures) else {})}


def figures_key(figures: Mapping[str, Any]) -> str:
    """A configuration as text; 224 and 224.0 are one value."""
    return json.dumps({k: _plain(v) for k, v in figures.items()}, sort_keys=True)


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(v) for v in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def shared(figures: Mapping[str, Any]) -> Flat:
    """What the runs of a block have in common: the figures without the axes of the tables and what these compare."""
    return {k: _plain(v) for k, v in figures.items() if k not in AXES and k.split(".")[0] not in VARIED}


def inner(figures: Mapping[str, Any], group: str) -> Flat:
    """The values inside a loss or an augmentation."""
    return {} if solves(figures) else {k: _plain(v) for k, v in figures.items() if k.split(".")[0] == group}


def keys(configurations: Sequence[Mapping[str, Any]]) -> list[str]:
    """A text for each configuration, the same for two that are one.

    One that does not say what its images were is one with those that are equal otherwise, if these all say the same.

    Example:
        >>> old, new = {"seed": 0}, {"seed": 0, "data.content": "4f"}
        >>> len(set(keys([old, new]))), len(set(keys([old, new, new | {"data.content": "a0"}])))
        (1, 3)
    """
    bare = [figures_key({k: v for k, v in asked(c).items() if k != CONTENT}) for c in configurations]
    contents: dict[str, set[str]] = {}
    for key, configuration in zip(bare, configurations, strict=True):
        contents.setdefault(key, set()).update({configuration[CONTENT]} if configuration.get(CONTENT) else ())
    said = [c.get(CONTENT) or "" for c in configurations]
    return [f"{key} {content}" if len(contents[key]) > 1 else key for key, content in zip(bare, said, strict=True)]


def agree(a: Mapping[str, Any], b: Mapping[str, Any]) -> bool:
    """True if two configurations are one as far as both say: what `OPEN` names counts only where both state it."""
    a, b = asked(a), asked(b)
    unsaid = [k for k in OPEN if "auto" in (a.get(k, "auto"), b.get(k, "auto"))]
    left, right = ({k: v for k, v in c.items() if k not in unsaid} for c in (a, b))
    return figures_key(left) == figures_key(right)


def differing(configurations: Sequence[Mapping[str, Any]]) -> list[str]:
    """Keys on which configurations differ; a key that one of them lacks differs from any value, but for `CONTENT`."""
    today = [canonical(c) for c in configurations]
    found = []
    for key in sorted({k for c in today for k in c}):
        values = {figures_key({key: c[key]} if key in c else {}) for c in today if key in c or key != CONTENT}
        found += [key] if len(values) > 1 else []
    return found


def spelled(configuration: Mapping[str, Any], key: str) -> str:
    """A value as it is printed, in the run's own spelling where it states the key."""
    value = configuration[key] if key in configuration else _plain(canonical(configuration).get(key))
    text = ("unknown" if key == CONTENT else "none") if value is None else str(value)
    long = text.startswith("sha256:") or key == CONTENT
    return text[:19] + "…" if long and len(text) > 19 else text
