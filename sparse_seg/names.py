"""Names that configurations give to what they build: those exported today, and those that older runs have for them.

A run's figures say what it is; they must say the same after a function has moved. So YAMLs name what packages export,
and what was called otherwise once is listed here: for the identity of runs, for the report and for checkpoints.
"""

from collections.abc import Mapping
from importlib import import_module
from typing import Any

RENAMED = {
    "sparse_seg.data.datamodule.SparsePointsDataModule": "sparse_seg.data.SparsePointsDataModule",
    "sparse_seg.data.dubai.dubai": "sparse_seg.data.dubai",
    "sparse_seg.data.own.folder": "sparse_seg.data.folder",
    "sparse_seg.data.synthetic.synthetic": "sparse_seg.data.synthetic",
    "sparse_seg.data.transforms.report_augmentation": "sparse_seg.data.report_augmentation",
    "sparse_seg.model.unet": "sparse_seg.networks.create",
    "sparse_seg.task.one_cycle_cosine": "sparse_seg.training.one_cycle_cosine",
    "sparse_seg.progress.Progress": "sparse_seg.training.Progress",
    "sparse_seg.history.History": "sparse_seg.training.History",
    "sparse_seg.checkpoint.RunCheckpoint": "sparse_seg.training.RunCheckpoint",
    "sparse_seg.panels.Panels": "sparse_seg.training.Panels",
}
"""Old name → exported name."""

ONCE = ("sparse_seg.data.folder",)
"""Data sources whose options older runs state twice: `data.bands` and, the same, `data.source.bands`."""

ADDED: dict[str, dict[str, Any]] = {
    "sparse_seg.networks.create": {"arch": "unet"},
    "sparse_seg.data.SparsePointsDataModule": {
        "on_bad_point": "error",
        "points_crs": None,
        "alpha": "auto",
        "crop": None,
    },
    "sparse_seg.training.estimated_prior": {"tau": 1.0},
    "sparse_seg.training.network_prior": {"tau": 1.0},
    "sparse_seg.training.given_prior": {"tau": 1.0},
}
"""Exported name → arguments that it has got since, with the value that older runs had without saying so."""

METHOD = {"method._target_": "sparse_seg.training.SegmentationTask", "method._partial_": True}
"""What runs trained by when there was one method."""


def current(name: str) -> str:
    """The exported name of what an older run called `name`; any other name as it is."""
    return RENAMED.get(name, name)


def canonical(figures: Mapping[str, Any]) -> dict[str, Any]:
    """Flat figures of a run in today's names, with the arguments and the method that it did not need to say.

    Example:
        >>> canonical({"model._target_": "sparse_seg.model.unet", "method._target_": "pkg.Mine"})
        {'model._target_': 'sparse_seg.networks.create', 'method._target_': 'pkg.Mine', 'model.arch': 'unet'}
    """
    out = {key: current(value) if key.endswith("_target_") else value for key, value in figures.items()}
    if out.get("data.source._target_") in ONCE:
        for key in [key for key in out if key.startswith("data.source.")]:
            shared = f"data.{key.removeprefix('data.source.')}"
            if shared in out and out[shared] == out[key]:
                del out[key]
    for key, value in list(out.items()):
        if key.endswith("._target_"):
            for name, usual in ADDED.get(str(value), {}).items():
                out.setdefault(f"{key.removesuffix('_target_')}{name}", usual)
    return out if any(key.startswith("method.") for key in out) else out | METHOD


def export(package: str, modules: Mapping[str, str], name: str) -> Any:
    """What `package` exports as `name`, imported when asked for; a package's `__getattr__` calls this.

    modules: exported name → module within the package. Raises AttributeError for any other name.
    """
    if name not in modules:
        raise AttributeError(f"module {package!r} has no attribute {name!r}")
    return getattr(import_module(f"{package}.{modules[name]}"), name)
