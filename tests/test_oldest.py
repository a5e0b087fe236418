"""The oldest versions that are tested are the lower bounds that pyproject.toml states."""

import tomllib
from importlib.metadata import version
from pathlib import Path

from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).resolve().parent.parent
UNTESTED = {"torch", "torchvision", "ruff", "mypy", "codespell", "pre-commit"}
"""torch's old wheels are gigabytes: tested by hand. The others check the code and never run it."""


def stated() -> dict[str, Requirement]:
    """Package → requirement, of all that pyproject.toml asks for with a bound."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    texts = [*project["dependencies"], *(text for group in project["optional-dependencies"].values() for text in group)]
    found = [Requirement(text) for text in texts]
    return {r.name: r for r in found if r.specifier}


def test_every_lower_bound_is_a_version_that_is_tested() -> None:
    bounds = {
        name: Version(bound.version)
        for name, requirement in stated().items()
        for bound in requirement.specifier
        if bound.operator == ">=" and name not in UNTESTED
    }
    lines = (ROOT / "tests/oldest.txt").read_text(encoding="utf-8").splitlines()
    pins = [Requirement(line) for line in lines if line and not line.startswith("#")]
    assert {pin.name: Version(str(pin.specifier).removeprefix("==")) for pin in pins} == bounds


def test_what_is_installed_is_allowed() -> None:
    assert [str(r) for name, r in stated().items() if name not in UNTESTED and version(name) not in r.specifier] == []
