"""Which file of a run's folder holds its network. No torch."""

from pathlib import Path

from sparse_seg.errors import UserError


def find_checkpoint(run: Path, final: bool = False) -> Path:
    """Return the checkpoint of a run's folder, or the file itself.

    final: that of the last epoch instead of the best one; they are one file where the last epoch is the best.

    Raises:
        UserError: there is no such run, or none of its epochs is finished, or with final, the last one is not.
    """
    if run.is_file():
        return run
    if not run.is_dir():
        raise UserError(f"no such run or checkpoint: {run}")
    best, last = run / "checkpoints" / "best.ckpt", run / "checkpoints" / "final.ckpt"
    if final and last.is_file():
        return last
    if not best.is_file():
        raise UserError(
            f"{run} has no checkpoints/best.ckpt: it is no run's folder, or its first epoch is not finished"
        )
    if final and not (run / "result.json").is_file():
        raise UserError(f"{run} is not finished, so there is no last epoch: without `final` it is the best one so far")
    return best
