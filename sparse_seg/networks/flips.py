"""The posterior averaged over the eight flips and rotations of an image."""

from collections.abc import Callable

from torch import Tensor


def averaged_posterior(network: Callable[[Tensor], Tensor], image: Tensor) -> Tensor:
    """The mean of a network's posterior over the symmetries of the square, each turned back.

    Args:
        network: (B, bands, H, W) → logits (B, C, H, W); also for W × H.
        image: float32 (B, bands, H, W).

    Returns:
        (B, C, H, W) float32, probabilities.

    Example:
        >>> import torch
        >>> averaged_posterior(lambda x: torch.cat([x, -x], 1), torch.zeros(1, 1, 2, 3)).unique().item()
        0.5
    """
    total: Tensor | None = None
    for turned in (False, True):
        for axes in ((), (-1,), (-2,), (-2, -1)):
            view = (image.mT if turned else image).flip(axes)
            posterior = network(view).float().softmax(1).flip(axes)
            posterior = posterior.mT if turned else posterior
            total = posterior if total is None else total + posterior
    assert total is not None
    return total / 8
