"""Imports go one way: a folder may use those below it, and no file looks at what another one keeps to itself."""

import ast
import importlib
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
BOTTOM = ("errors", "classes", "files", "palette", "metrics", "names", "boundary", "tensors")
BELOW = {
    "raster": BOTTOM,
    "points": ("raster", *BOTTOM),
    "data": ("points", "raster", *BOTTOM),
    "losses": BOTTOM,
    "networks": ("data", "points", "raster", *BOTTOM),
    "training": ("networks", "losses", "data", "points", "raster", *BOTTOM),
    "runs": ("training", "networks", "losses", "data", "points", "raster", *BOTTOM),
    "predict": ("training", "networks", "data", "raster", *BOTTOM),
    "suggest": ("predict", "training", "networks", "data", "raster", *BOTTOM),
    "annotate": ("suggest", "runs", "predict", "training", "networks", "data", "points", "raster", *BOTTOM),
    "report": BOTTOM,
    "bench": ("runs", "predict", "training", "networks", "losses", "data", "points", "raster", *BOTTOM),
}
"""Folder → what it may import of the package. Files at the bottom may use those before them."""
FILES = sorted((ROOT / "sparse_seg").rglob("*.py"))


def imported(path: Path) -> Iterator[tuple[str, str]]:
    """(module of this package, name taken from it) of every import in a file, also of one within a function."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "sparse_seg":
            yield from ((node.module, alias.name) for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names if alias.name.split(".")[0] == "sparse_seg")


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_imports_go_one_way(path: Path) -> None:
    parts = path.relative_to(ROOT / "sparse_seg").parts
    own = parts[0].removesuffix(".py")
    if own == "__init__":
        return  # the package's public names come from everywhere
    allowed = {own, *(BELOW[own] if own in BELOW else BOTTOM[: BOTTOM.index(own)])}
    for module, name in imported(path):
        used = module.split(".")[1] if "." in module else name
        assert used in allowed, f"{own} must not import {module} ({name})"
        assert not name.startswith("_"), f"{name} is {module}'s own"


def test_the_rule_knows_every_folder() -> None:
    folders = {p.name for p in (ROOT / "sparse_seg").iterdir() if p.is_dir() and p.name != "__pycache__"}
    assert folders == set(BELOW)


EXPORTING = ("sparse_seg", "sparse_seg.data", "sparse_seg.losses", "sparse_seg.networks", "sparse_seg.training")
WITHOUT_EXAMPLE = {
    "Sample", "ImageSet",  # plain values
    "dubai", "folder",  # need files
    "SegmentationTask", "History", "Panels", "Progress", "RunCheckpoint",
    # need a trainer: the package has the example
    "ProbeTask", "TeacherTask", "estimated_prior", "given_prior", "network_prior",
    "Shares", "RunningShares", "own_shares",
}  # fmt: skip


def exported() -> dict[str, Any]:
    found = {}
    for package in map(importlib.import_module, EXPORTING):
        found |= {name: getattr(package, name) for name in package.__all__}
    return {n: v for n, v in found.items() if (inspect.isclass(v) or inspect.isfunction(v)) and n != "UserError"}


def test_what_is_exported_says_what_it_takes_and_gives() -> None:
    for name, value in exported().items():
        said = inspect.getdoc(value) or ""
        if inspect.signature(value).parameters.keys() - {"args", "kwargs"}:
            assert "Args:" in said, name
        if inspect.isfunction(value):
            assert "Returns:" in said, name
        assert "Example:" in said or name in WITHOUT_EXAMPLE, name
