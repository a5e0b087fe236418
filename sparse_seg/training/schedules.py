"""Learning rates over the steps of a run."""

from torch.optim import Optimizer
from torch.optim.lr_scheduler import OneCycleLR

from sparse_seg.errors import UserError


def one_cycle_cosine(optimizer: Optimizer, total_steps: int, warmup: float = 0.1) -> OneCycleLR:
    """One cycle: up to the optimizer's learning rate over the share `warmup` of the steps, then a cosine to zero.

    Args:
        optimizer: whose learning rates are the peaks.
        total_steps: of the run.
        warmup: between 0 and 1.

    Returns:
        A schedule that is stepped after each batch.

    Raises:
        UserError: `warmup` does not lie between 0 and 1.

    Example:
        >>> import torch
        >>> optimizer = torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
        >>> schedule = one_cycle_cosine(optimizer, total_steps=20)
        >>> optimizer.step(), schedule.step()
        (None, None)
        >>> schedule.get_last_lr()
        [1.0]
    """
    if not 0 < warmup < 1:
        raise UserError(f"scheduler.warmup={warmup!r} must be a number between 0 and 1")
    peaks = [group["lr"] for group in optimizer.param_groups]
    share = 0.99 * warmup if warmup * total_steps == 1 else warmup  # OneCycleLR divides by the warm-up's steps − 1
    return OneCycleLR(optimizer, max_lr=peaks, total_steps=total_steps, pct_start=share, cycle_momentum=False)
