"""Which options of `data` a source is given, and which the data module: each is written once."""

import inspect
from pathlib import Path

import pytest
from cli import BARE, ROOT, TINY, configuration, train, trained
from folders import make
from omegaconf import DictConfig, OmegaConf

from sparse_seg.data.folder import folder
from sparse_seg.runs.identity import CONTENT
from sparse_seg.runs.sources import image_set, of_data_module, taken

FOLDER = DictConfig(OmegaConf.load(ROOT / "conf" / "data" / "folder.yaml"))


def test_each_argument_of_folder_is_one_key_of_its_yaml_with_the_same_default() -> None:
    parameters = inspect.signature(folder).parameters
    assert taken(FOLDER) == set(parameters)
    for name, parameter in parameters.items():
        assert FOLDER[name] == parameter.default


def test_the_data_module_is_given_the_rest() -> None:
    usual = {"_target_", "size", "crop", "batch_size", "val_fraction", "split_seed", "val_tiles", "fold", "num_workers"}
    assert set(of_data_module(FOLDER)) == usual | {"cache_dir", "allow_empty_classes"}


def test_what_the_source_states_itself_comes_first() -> None:
    with configuration() as configured:
        cfg, _ = configured(*TINY)
    assert (cfg.data.size, cfg.data.source.size) == (32, 64)
    assert image_set(cfg).samples[0].read()[0].shape[0] == 64
    assert of_data_module(cfg.data)["size"] == 32
    assert "points_file" in of_data_module(cfg.data)


def test_a_source_of_before_that_refers_to_a_key_of_data_still_takes_it(tmp_path: Path) -> None:
    data = OmegaConf.merge(FOLDER, {"root": str(make(tmp_path / "own", ["a.png"])), "source": {"root": "${data.root}"}})
    cfg = OmegaConf.create({"data": data})
    assert "root" not in of_data_module(cfg.data)
    assert len(image_set(cfg).samples) == 1


@pytest.mark.parametrize("name", ["nowhere.at_all", "sparse_seg.data.nothing"])
def test_a_source_that_there_is_not_takes_nothing(name: str) -> None:
    assert taken(OmegaConf.create({"source": {"_target_": name}, "root": 1})) == set()


def test_another_folder_of_a_source_of_ones_own_is_another_run(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "seed").write_text(str(ord(name)))
    words = (*TINY, *BARE, "data.source._target_=scenes.picked", "~data.source.seed")
    there = f"+data.source.root={tmp_path}"
    folder, result = trained(*words, f"{there}/a", cwd=tmp_path)
    assert train(*words, f"{there}/a", cwd=tmp_path).out.startswith("done already")
    refused = train(*words, f"{there}/b", cwd=tmp_path)
    assert refused.code == 1
    assert f"it differs in data.content: '{result['figures'][CONTENT]}' → " in refused.err
    (tmp_path / "b" / "seed").write_text(str(ord("a")))
    assert train(*words, f"{there}/b", cwd=tmp_path).out.startswith(f"done already: {folder.relative_to(tmp_path)}")
