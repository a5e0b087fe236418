"""The figures that the report prints, one run each. "Land" is its "Land (unpaved)"."""

TABLE1: dict[int, dict[str, float]] = {
    5: {"miou_final": 0.4392, "miou_best": 0.4392},
    20: {"miou_final": 0.4600, "miou_best": 0.4705},
    50: {"miou_final": 0.4466, "miou_best": 0.4592},
}
"""Points per class → mIoU, with augmentation and partial focal loss."""

TABLE2: dict[str, dict[str, float]] = {
    "focal": {"miou_final": 0.4600, "miou_best": 0.4705, "loss_at_epoch_25": 0.4067},
    "ce": {"miou_final": 0.4640, "miou_best": 0.4742, "loss_at_epoch_25": 0.7886},
}
"""Loss → scores with 20 points per class and augmentation."""

TABLE3: dict[str, dict[str, float]] = {
    "Water": {"focal": 0.2951, "ce": 0.2772, "difference": +0.018},
    "Land": {"focal": 0.6502, "ce": 0.6302, "difference": +0.020},
    "Road": {"focal": 0.3655, "ce": 0.3917, "difference": -0.026},
    "Building": {"focal": 0.6460, "ce": 0.6378, "difference": +0.008},
    "Vegetation": {"focal": 0.3431, "ce": 0.3832, "difference": -0.040},
}
"""Class → IoU of the last epoch with 20 points per class; the difference is focal − CE."""

AUGMENTATION_GAIN = (2.6, 4.5)
"""From, to: points of mIoU gained by augmentation."""
