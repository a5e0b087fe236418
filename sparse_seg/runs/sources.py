"""The data set that a configuration names."""

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from importlib import import_module
from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from sparse_seg.data.sample import ImageSet
from sparse_seg.errors import UserError

OF_POINTS = ("points_file", "on_bad_point", "points_crs")
"""What a source that takes it reads instead of the data module."""


def image_set(cfg: DictConfig) -> ImageSet:
    """Build the data set of a configuration; asked for again, as for each job of a sweep, the same one till `forget`.

    Raises UserError if it cannot be built.
    """
    return _image_set(OmegaConf.to_yaml(cfg.data, resolve=True))


def forget() -> None:
    """Have `image_set` look at the files again: whoever starts a run or a sweep does so once."""
    _image_set.cache_clear()


@lru_cache(maxsize=4)
def _image_set(data: str) -> ImageSet:
    cfg = DictConfig(OmegaConf.create(data))
    mine = {key: cfg[key] for key in taken(cfg) if key not in cfg.source}
    with errors_of_constructors():
        # Below its key, which an error names.
        images: ImageSet = instantiate(OmegaConf.create({"data": {"source": {**cfg.source, **mine}}}).data.source)
    return images


def taken(data: DictConfig) -> set[str]:
    """The keys of conf/data/*.yaml that the source takes: those of its signature, and those that it states itself.

    data: the group's configuration; what the source states itself, below `source`, comes before the key of `data`.
    """
    known = _parameters(str(data.source._target_))
    return {str(key) for key in data if key not in ("source", "_target_") and (key in known or key in data.source)}


def of_data_module(data: DictConfig) -> dict[str, Any]:
    """The rest of the keys, for the data module, and those that it takes as well, such as its own size."""
    own = _parameters(str(data._target_))
    source = {key for key in taken(data) if key not in own or key in OF_POINTS}
    return {str(key): value for key, value in data.items() if key != "source" and key not in source}


def _parameters(name: str) -> set[str]:
    module, _, attribute = name.rpartition(".")
    try:
        return set(inspect.signature(getattr(import_module(module), attribute)).parameters)
    except Exception:  # of any kind, as code of the user's own is run; Hydra says it when it builds this
        return set()


@contextmanager
def errors_of_constructors() -> Iterator[None]:
    """Hydra wraps what a constructor raises; the user's error is inside."""
    try:
        yield
    except InstantiationException as e:
        if isinstance(e.__cause__, UserError):
            raise e.__cause__ from e
        key = (str(e).splitlines() or [""])[-1].removeprefix("full_key: ")
        inner = (str(e.__cause__ or e).splitlines() or ["?"])[0]
        raise UserError(f"cannot build `{key}`: {inner}") from e
