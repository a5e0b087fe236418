"""The data set that a configuration names."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache

from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from sparse_seg.data.sample import ImageSet
from sparse_seg.errors import UserError


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
    with errors_of_constructors():
        # Below its key, which an error names.
        images: ImageSet = instantiate(OmegaConf.create({"data": OmegaConf.create(data)}).data.source)
    return images


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
