"""The pages say what holds: every command is run or read by its own parser, links lead somewhere, words exist.

A command for which there is no rule fails. docs/own-imagery.md is run by test_tutorial.py, from its first line to its
last one.
"""

import argparse
import importlib
import importlib.util
import lzma
import math
import re
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from cli import Configured, configuration
from folders import index_map, picture, save_tif
from hydra.core.override_parser.overrides_parser import OverridesParser
from pages import PAGES, ROOT, blocks, checkout, commands, prose, shell

from sparse_seg import __version__
from sparse_seg.runs import schema

NOT_RUN = {
    "python3 -m venv .venv": "makes an environment",
    "pip install torch torchvision --index-url https://download.pytorch.org/whl/cpu": "downloads",
    "pip install -e .[geo]": "installs",
    "pip install -e .[annotate]": "installs",
    "pip install -e .[slurm]": "installs",
    "pip install -e .[ray]": "installs",
    "pip install pre-commit": "installs",
    "pre-commit install": "changes the checkout's hooks",
    "tensorboard --logdir outputs": "opens a page and stays",
    "SPARSE_SEG_SIDE=20000 python -m pytest -s tests/predict/test_predict.py -k large": "half an hour",
    "python docs/results/clicks.py choose outputs/clicks/RUN_WITH_5_POINTS_AND_SEED_0 entropy entropy-0.csv":
        "needs trained networks",
}  # fmt: skip
"""Command → why no test runs it. Each must stand on some page."""
SCRIPTS = (
    "docs/words.py",
    "docs/results/clicks.py compare",
    "docs/results/pairs.py",
    "docs/results/roads.py",
    "docs/results/flips.py",
    "docs/results/shares.py",
    "docs/results/loop.py",
    "docs/results/loop_runs.py",
    "docs/results/loop_tables.py",
)
"""Scripts that tests run: test_words_are_those_of_conf here, and test_measured.py."""
COMMAND = re.compile(r"(\.venv/bin/)?(python3? |make |pip |train\.py )")
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def written(page: Path) -> list[list[str]]:
    """Every command of a page, in its fences and in its sentences."""
    inline = [code for code in re.findall(r"`([^`]+)`", prose(page)) if COMMAND.match(code)]
    scripts = ["\n".join(blocks(page, "bash")), *(" ".join(code.split()) for code in inline)]
    found = [words for script in scripts for words in commands(script)]
    return [[word.removeprefix(".venv/bin/") for word in words] for words in found]


COMMANDS = list(dict.fromkeys(tuple(c) for page in PAGES if page.name != "own-imagery.md" for c in written(page)))


class Parsed(Exception):
    """The words of a command are those that it knows."""


@pytest.fixture
def reading(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every command stops once it has read its words."""
    parse = argparse.ArgumentParser.parse_args

    def stop(self: argparse.ArgumentParser, *arguments: Any) -> None:
        parse(self, *arguments)
        raise Parsed

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", stop)


@pytest.fixture(scope="module")
def configured() -> Iterator[Configured]:
    with configuration() as function:
        yield function


@pytest.fixture(scope="module")
def own_conf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The YAMLs that docs/extending.md writes, where it says."""
    folder = tmp_path_factory.mktemp("own")
    for block in blocks(ROOT / "docs" / "extending.md", "yaml"):
        path = folder / block.splitlines()[0].removeprefix("# ")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block)
    return folder


def compose_and_check(words: list[str], configured: Configured, own_conf: Path) -> None:
    """Compose the first and the last job of a grid and check their values; nothing is built."""
    words = [word for word in words if word not in ("-m", "--help")]
    for option in ("--config-dir", "--cfg"):
        if option in words:
            place = words.index(option)
            name = words[place + 1]
            words[place : place + 2] = [f"hydra.searchpath=[file://{own_conf / name}]"] * (option == "--config-dir")
    choices = []
    for override in OverridesParser.create().parse_overrides(words):
        values = override.sweep_string_iterator() if override.is_sweep_override() else ()
        choices.append([f"{override.key_or_group}={value}" for value in values] or [str(override.input_line)])
    grid = any(len(values) > 1 for values in choices)
    for job in (0, -1) if grid else (0,):
        cfg, _ = configured(*(values[job] for values in choices))
        schema.check(cfg)


@pytest.mark.filterwarnings("ignore:[\\s\\S]*hydra/launcher/ray' is validated:UserWarning")  # by the plugin itself
@pytest.mark.parametrize("command", [c for c in COMMANDS if " ".join(c) not in NOT_RUN], ids=" ".join)
def test_a_command_is_one(command: tuple[str, ...], configured: Configured, own_conf: Path, reading: None) -> None:
    program, *words = command
    if program == "train.py":
        program, words = "python", ["train.py", *words]
    if program == "make":
        subprocess.run(["make", "-n", *words], cwd=ROOT, check=True, capture_output=True)
    elif program == "python" and words[0] == "train.py":
        compose_and_check(words[1:], configured, own_conf)
    elif program == "python" and words[0] == "-m" and words[1].startswith("sparse_seg."):
        main = importlib.import_module(f"{words[1]}.__main__").main
        if not words[2:]:
            return  # a sentence that names the command
        with pytest.raises(SystemExit if "--help" in words else Parsed) as raised:
            main(words[2:])
        assert not isinstance(raised.value, SystemExit) or raised.value.code == 0
    else:
        line = " ".join(words)
        assert program == "python", "no rule covers this command"
        assert line.startswith(SCRIPTS), "no rule covers this command"
        assert (ROOT / words[0]).is_file()


def test_what_is_not_run_stands_on_a_page_and_exists() -> None:
    assert set(NOT_RUN) <= {" ".join(command) for command in COMMANDS}
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert {e for line in NOT_RUN for e in re.findall(r"\.\[(\w+)\]", line)} <= set(extras)
    paths = [word for line in NOT_RUN for word in line.split() if word.endswith(".py")]
    assert len(paths) == 2
    assert all((ROOT / path).is_file() for path in paths)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_is_no_command_is_fenced_as_something_else(page: Path) -> None:
    kinds = re.findall(r"^ *```(\w*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    assert set(kinds[::2]) <= {"bash", "text", "python", "yaml"}
    assert set(kinds[1::2]) <= {""}
    assert not re.search(r"\n\n {4,}\S", prose(page)), "an indented block escapes this test"
    for block in blocks(page, "text"):
        assert not COMMAND.match(block)
    for block in blocks(page, "yaml"):
        assert yaml.safe_load(block)


def words_of_conf() -> Any:
    """docs/words.py as a module."""
    spec = importlib.util.spec_from_file_location("words", ROOT / "docs" / "words.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_words_are_those_of_conf() -> None:
    words = words_of_conf()
    assert words.PAGE.read_text(encoding="utf-8") == words.page(), "run `python docs/words.py`"


def test_words_in_sentences_exist() -> None:
    """`key=value` and `key=` of a sentence or a table are words of train.py."""
    known = set(re.findall(r"^\| `([\w./]+)`", (ROOT / "docs" / "words.md").read_text(), re.MULTILINE))
    known |= {path.relative_to(ROOT / "conf").as_posix() for path in (ROOT / "conf").rglob("*") if path.is_dir()}
    unknown = {}
    for page in PAGES:
        words = re.findall(r"`\+?([a-z][\w./]*)=[^`]*`", prose(page))
        unknown[page.name] = [word for word in words if word not in known and word not in OTHER_WORDS]
    assert not any(unknown.values()), unknown


OTHER_WORDS = {
    "key", "group", "group.key",                                     # words.md on how a word is written
    "trainer.gradient_clip_val", "callbacks.NAME._target_", "scores.NAME._target_", "callbacks.panels",
    "data.source._target_", "loss.alpha",
    "callbacks.mine._target_", "hydra.launcher.jobs",
    "classes", "in_channels", "total_steps",                         # arguments in Python
    "alpha",
}  # fmt: skip


SMALL = {
    "ss.data.synthetic()": "ss.data.synthetic(images=5, size=64)",
    "points=20)": "points=20, size=64)",
    '"resnet34", classes=5': '"resnet18", None, classes=5',
    "max_epochs=50": 'max_epochs=1, accelerator="cpu", logger=False, enable_checkpointing=False',
    "outputs/mine/RUN": "run.ckpt",
}
"""What a page says → what its test runs."""


@pytest.mark.parametrize("name", ["README.md", "docs/python.md", "docs/extending.md"])
def test_python_on_a_page_runs(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the order of the page, with a small network; files and a run that it names are there."""
    fixtures = ROOT / "tests" / "fixtures"
    monkeypatch.chdir(tmp_path)
    Path("run.ckpt").write_bytes(lzma.decompress((fixtures / "before.ckpt.xz").read_bytes()))
    scene = index_map(0, (64, 64))
    save_tif(Path("scene.tif"), np.moveaxis(picture(scene), 2, 0))
    for folder, content in {"images": "scene.png", "masks": "map.png"}.items():
        Path(folder).mkdir()
        shutil.copy(fixtures / content, Path(folder) / "one.png")
    script = "\n".join(blocks(ROOT / name, "python"))
    for said, small in SMALL.items():
        script = script.replace(said, small)
    names: dict[str, Any] = {}
    exec(compile(script, name, "exec"), names)
    if "predictor" in names:
        assert names["labels"].shape == names["mask"].shape
        assert Path("map.tif").is_file()
        assert Path("map.png").is_file()
        assert 0 <= names["scores"]["miou"] <= 1
    elif "task" in names:
        assert names["task"].trainer.current_epoch == 1
    else:
        logits, target = torch.zeros(1, 2, 2, 2, requires_grad=True), torch.full((1, 2, 2), 255)
        assert names["my_loss"](logits, target).item() == 0
        target[0, 0, 0] = 1
        assert names["my_loss"](logits, target).item() == pytest.approx(math.log(2))


def slug(heading: str) -> str:
    """The anchor that GitHub makes of a heading."""
    plain = re.sub(r"[`*]|\]\([^)]*\)|\[", "", heading).strip().lower()
    return re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")


def anchors(page: Path) -> set[str]:
    return {slug(h) for h in re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE)}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in LINK.findall(prose(page)):
        if target.startswith("https://"):
            continue
        path, _, anchor = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        assert there.exists(), target
        assert not anchor or anchor in anchors(there), target


def test_every_page_is_linked_from_the_first_one() -> None:
    readme = ROOT / "README.md"
    linked = {(ROOT / target.partition("#")[0]).resolve() for target in LINK.findall(prose(readme))}
    assert {page for page in PAGES if page != readme} <= linked


def test_the_first_page_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").split()) <= 900
    pictures = [ROOT / name for name in re.findall(r"!\[[^\]]*\]\(([^)]+)\)", prose(ROOT / "README.md"))]
    assert [path.relative_to(ROOT).as_posix() for path in pictures] == ["docs/map.png", "docs/annotate/next.png"]
    assert all(path.stat().st_size < 300_000 for path in pictures)


def test_the_first_page_quotes_the_tables() -> None:
    tables = (ROOT / "docs" / "results" / "tables.md").read_text(encoding="utf-8")
    rows = [line for line in prose(ROOT / "README.md").splitlines() if line.startswith("|")]
    quoted = [figure for row in rows for figure in re.findall(r"\d+\.\d+ ± \d+\.\d+|\b0\.\d{4}", row)]
    assert len(quoted) == 10
    assert not [figure for figure in quoted if not re.search(rf"(?<![\d.]){re.escape(figure)}(?!\d)", tables)]


@pytest.mark.slow
def test_four_commands_go_from_geotiffs_to_a_map(tmp_path: Path) -> None:
    """The README's own, on the tutorial's example, with a small network and one epoch."""
    (script,) = [block for block in blocks(ROOT / "README.md", "bash") if "my_data" in block]
    small = "data.tile=96 data.size=96 model.encoder=resnet18 model.encoder_weights=null trainer.max_epochs=1"
    assert script.count("data.tile=256") == 1
    assert script.count("my_data/images ") == 2
    script = script.replace("data.tile=256", small).replace("my_data/images ", "my_data/images/clicked ")
    checkout(tmp_path)
    done = shell(f".venv/bin/python docs/own-imagery/make_example.py my_data\n{script}", tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    images = sorted(path.name for path in (tmp_path / "my_data" / "images" / "clicked").iterdir())
    assert sorted(path.name for path in (tmp_path / "maps").glob("*.tif")) == images
    assert len((tmp_path / "next" / "suggest.csv").read_text().splitlines()) == 21


def test_what_precommit_runs_is_named_with_its_version() -> None:
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
    assert all(re.fullmatch(r"v\d+\.\d+\.\d+", repo["rev"]) for repo in hooks["repos"])
    names = {hook["id"] for repo in hooks["repos"] for hook in repo["hooks"]}
    assert names == {"ruff-check", "ruff-format", "codespell", "check-added-large-files"}


def test_the_citation_names_this_version_and_its_authors() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert citation["cff-version"] == "1.2.0"
    assert citation["license"] == project["license"]
    assert str(citation["version"]) == __version__
    assert citation["authors"][0]["name"] in (ROOT / "LICENSE").read_text()
    changes = (ROOT / "CHANGELOG.md").read_text()
    assert f"## [{__version__}]" in changes
    assert "### Figures change" in changes
