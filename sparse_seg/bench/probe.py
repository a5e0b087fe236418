"""A callback by which a process of its own tells when its training begins."""

import os
import time
from typing import Any

import lightning as L

FIRST_STEP = "first training step at"


class FirstStep(L.Callback):
    """Prints the time at which the first training step of an epoch begins, and ends the process there and then."""

    def __init__(self, epoch: int = 1) -> None:
        self.epoch = epoch

    def on_train_batch_start(self, trainer: L.Trainer, *args: Any) -> None:
        if trainer.current_epoch + 1 == self.epoch:
            print(FIRST_STEP, time.time(), flush=True)
            os._exit(0)
