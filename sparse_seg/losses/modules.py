"""Losses as modules that a YAML names. Each is called as `loss(logits, target, image=None)`; see `functional`."""

import functools
import inspect
import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from sparse_seg.errors import UserError
from sparse_seg.losses.functional import (
    check_gamma,
    check_smooth,
    partial_cross_entropy,
    partial_dice,
    partial_focal,
)


class PartialCrossEntropy(nn.Module):
    """`partial_cross_entropy` as a module.

    Args:
        class_weights: one finite number >= 0 per class, or None.

    Raises:
        UserError: weights of another form.

    Example:
        >>> PartialCrossEntropy()(torch.zeros(1, 2, 4, 4), torch.zeros(1, 4, 4, dtype=torch.int64))
        tensor(0.6931)
    """

    class_weights: Tensor | None

    def __init__(self, class_weights: Iterable[float] | None = None) -> None:
        super().__init__()
        self.register_buffer("class_weights", _per_class("class_weights", class_weights), persistent=False)

    def forward(self, logits: Tensor, target: Tensor, image: Tensor | None = None) -> Tensor:
        return partial_cross_entropy(logits, target, image, self.class_weights)


class PartialFocal(nn.Module):
    """`partial_focal` as a module.

    Args:
        gamma: >= 0; 0 is cross-entropy.
        alpha: one finite number >= 0 per class, or None.
        class_weights: likewise.

    Raises:
        UserError: a number out of its range, weights of another form.

    Example:
        >>> PartialFocal(gamma=0)(torch.zeros(1, 2, 4, 4), torch.zeros(1, 4, 4, dtype=torch.int64))
        tensor(0.6931)
    """

    alpha: Tensor | None
    class_weights: Tensor | None

    def __init__(
        self, gamma: float = 2.0, alpha: Iterable[float] | None = None, class_weights: Iterable[float] | None = None
    ) -> None:
        super().__init__()
        check_gamma(gamma)
        self.gamma = gamma
        self.register_buffer("alpha", _per_class("alpha", alpha), persistent=False)
        self.register_buffer("class_weights", _per_class("class_weights", class_weights), persistent=False)

    def forward(self, logits: Tensor, target: Tensor, image: Tensor | None = None) -> Tensor:
        return partial_focal(logits, target, image, self.gamma, self.alpha, self.class_weights)


class PartialDice(nn.Module):
    """`partial_dice` as a module.

    Args:
        class_weights: one finite number >= 0 per class, or None.
        smooth: >= 0.

    Raises:
        UserError: a number out of its range, weights of another form.

    Example:
        >>> PartialDice()(torch.zeros(1, 2, 4, 4), torch.zeros(1, 4, 4, dtype=torch.int64))
        tensor(0.3333)
    """

    class_weights: Tensor | None

    def __init__(self, class_weights: Iterable[float] | None = None, smooth: float = 0.0) -> None:
        super().__init__()
        check_smooth(smooth)
        self.smooth = smooth
        self.register_buffer("class_weights", _per_class("class_weights", class_weights), persistent=False)

    def forward(self, logits: Tensor, target: Tensor, image: Tensor | None = None) -> Tensor:
        return partial_dice(logits, target, image, self.class_weights, self.smooth)


class WeightedSum(nn.Module):
    """Sum of weight * term.

    Args:
        terms: anything that `as_module` takes.
        weights: one number per term.

    Raises:
        UserError: no term, or another number of weights.

    Example:
        >>> both = WeightedSum([PartialCrossEntropy(), PartialDice()], [1.0, 0.5])
        >>> both(torch.zeros(1, 2, 4, 4), torch.zeros(1, 4, 4, dtype=torch.int64))
        tensor(0.8598)
    """

    def __init__(self, terms: Iterable[Any], weights: Iterable[float]) -> None:
        super().__init__()
        modules = [as_module(term) for term in terms]
        self.weights = [float(weight) for weight in weights]
        if not modules or len(modules) != len(self.weights):
            raise UserError(f"needs one weight per term, got {len(modules)} terms and weights {self.weights}")
        self.terms = nn.ModuleList(modules)

    def forward(self, logits: Tensor, target: Tensor, image: Tensor | None = None) -> Tensor:
        terms = [weight * term(logits, target, image) for weight, term in zip(self.weights, self.terms, strict=True)]
        return torch.stack(terms).sum()


class CallableLoss(nn.Module):
    """A user's function or module behind the common signature; gets the image only if it has such a parameter."""

    def __init__(self, loss: Callable[..., Tensor], takes_image: bool) -> None:
        super().__init__()
        self.loss = loss
        self.takes_image = takes_image

    def forward(self, logits: Tensor, target: Tensor, image: Tensor | None = None) -> Tensor:
        return self.loss(logits, target, image=image) if self.takes_image else self.loss(logits, target)


def as_module(loss: Any) -> nn.Module:
    """A module called as `loss(logits, target, image=None)`, from what Hydra built out of a user's config.

    Args:
        loss: a module; a function, or a `functools.partial` of one; or a `functools.partial` of a module class (Hydra's
            `_partial_: true`), which is constructed here. Without a parameter named `image` it is called without it.

    Returns:
        The module itself, or one around the function.

    Raises:
        UserError: anything else, or a loss that cannot be built or called with (logits, target).

    Example:
        >>> as_module(torch.nn.functional.cross_entropy)(torch.zeros(1, 2), torch.tensor([1]))
        tensor(0.6931)
    """
    if isinstance(loss, functools.partial) and inspect.isclass(loss.func) and issubclass(loss.func, nn.Module):
        try:
            loss = loss()
        except TypeError as error:  # as of a misspelt parameter
            raise UserError(f"the loss {loss.func.__name__} cannot be built: {error}") from error
    function = loss.func if isinstance(loss, functools.partial) else loss
    if not isinstance(function, nn.Module) and not inspect.isroutine(function):
        raise UserError(
            "a loss must be a torch.nn.Module, a function of (logits, target), or Hydra's _partial_ of one, "
            f"got {loss!r}"
        )
    try:
        signature = inspect.signature(loss.forward if isinstance(loss, nn.Module) else loss)
        takes_image = "image" in signature.parameters
        signature.bind(None, None, **({"image": None} if takes_image else {}))
    except (TypeError, ValueError) as error:
        raise UserError(f"the loss {loss!r} cannot be called as loss(logits, target): {error}") from error
    return loss if isinstance(loss, nn.Module) and takes_image else CallableLoss(loss, takes_image)


def _per_class(name: str, values: Iterable[float] | None) -> Tensor | None:
    if values is None:
        return None
    if isinstance(values, str):
        raise UserError(
            f"{name} must be a list of numbers or null, got {values!r}: run.py puts numbers in the place of "
            "'balanced' before a loss is built; in Python, give the numbers"
        )
    if not isinstance(values, Iterable):
        raise UserError(f"{name} must be a list with one number per class or null, got {values!r}")
    numbers = [float(value) for value in values]
    if not all(0 <= number < math.inf for number in numbers):
        raise UserError(f"{name} must be finite numbers >= 0, got {numbers}")
    return torch.tensor(numbers)
