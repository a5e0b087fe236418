"""The jobs that a sweep's words stand for, known before the first one starts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hydra import compose
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, open_dict

from sparse_seg.errors import UserError
from sparse_seg.runs import schema
from sparse_seg.runs.folder import FAILED, run_folder
from sparse_seg.runs.sources import taken


@dataclass
class Job:
    """One cell of a sweep."""

    overrides: list[str]
    folder: Path
    cfg: DictConfig
    choices: Mapping[str, str]

    @property
    def succeeded(self) -> bool:
        return (self.folder / "result.json").exists() and not (self.folder / FAILED).exists()


def narrow(config: DictConfig) -> None:
    """A value on the command line replaces the experiment's grid of that key; Hydra would combine the two."""
    given = {o.lstrip("+~").split("=")[0] for o in config.hydra.overrides.task}
    with open_dict(config):
        for key in [k for k in config.hydra.sweeper.params or {} if k in given]:
            del config.hydra.sweeper.params[key]


def expand(config: DictConfig) -> list[Job]:
    """The jobs that Hydra's own sweeper will make of the command line; none for another sweeper."""
    if not config.hydra.sweeper._target_.endswith("BasicSweeper"):
        return []
    given = config.hydra.sweeper.params or {}
    words = [*(f"{k}={v}" for k, v in given.items()), *config.hydra.overrides.task]
    batches = BasicSweeper.split_arguments(OverridesParser.create().parse_overrides(words), None)
    jobs = []
    for overrides in (list(job) for batch in batches for job in batch):
        cfg = compose(config.hydra.job.config_name, overrides=overrides, return_hydra_config=True)
        choices = dict(cfg.hydra.runtime.choices)
        with open_dict(cfg):
            del cfg["hydra"]
        try:
            schema.check(cfg)
        except UserError as e:
            raise UserError(f"{e} (in the run {' '.join(overrides)})") from None
        jobs.append(Job(overrides, run_folder(cfg, choices), cfg, choices))
    _check_points_files(jobs)
    return jobs


def _check_points_files(jobs: Sequence[Job]) -> None:
    """Refuse runs that differ in points= alone and train on the same file of points, all of them on all of it."""
    counts: dict[str, set[str]] = {}
    for job in jobs:
        if job.cfg.data.points_file is not None and "points_file" not in taken(job.cfg.data):
            counts.setdefault(str(job.cfg.data.points_file), set()).add(str(job.cfg.points))
    for path, values in counts.items():
        if len(values) > 1:
            raise UserError(
                f"all points of data.points_file={path} are used, whatever points= says: "
                f"points={','.join(sorted(values, key=int))} would be one and the same run; give one value"
            )
