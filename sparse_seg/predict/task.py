"""What a fitted task and its data say of a trained network."""

import copy
from collections.abc import Sequence
from typing import Any, Protocol

from torch import nn

from sparse_seg.classes import Classes
from sparse_seg.networks.trained import Trained
from sparse_seg.palette import usual_colours
from sparse_seg.predict.windows import Refused


class Task(Protocol):
    """What is used of a `SegmentationTask`."""

    network: nn.Module

    @property
    def class_names(self) -> Sequence[str]: ...

    @property
    def trainer(self) -> Any: ...


def trained_of(task: Task, window: int | None) -> Trained:
    """A copy of the network that a task scores.

    The data module that it was fitted with says the rest: the size of images, the classes' colours, the files' bands.

    Raises:
        Refused: neither `window` nor a data module says how large images are.
    """
    try:
        data = getattr(task.trainer, "datamodule", None)
    except RuntimeError:  # so says Lightning of a task that no trainer had yet
        data = None
    size = getattr(data, "size", window)
    if size is None:
        raise Refused("window", None, "must be given: the task was not fitted with a data module that has a size")
    names = tuple(task.class_names)
    classes = getattr(data, "classes", None) or Classes(names, tuple(usual_colours(len(names))))
    network = copy.deepcopy(getattr(task, "scored_network", task.network)).eval()
    if scored := getattr(task, "scored_state", None):  # a callback may have put other weights in since
        network.load_state_dict(scored)
    return Trained(
        network,
        classes,
        size,
        getattr(data, "bands", None),
        getattr(data, "scale", None),
        None,
        getattr(data, "alpha", True),
    )
