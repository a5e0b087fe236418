"""How much is measured, and in which size."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Plan:
    """The figures behind `make bench`. Its tests make them small."""

    encoder: str = "resnet34"
    probe_encoder: str = "tu-tf_efficientnet_lite0"
    """(i): that of method=probe."""
    size: int = 256
    batch: int = 8
    images: int = 143
    """16 training steps of 8 images for (a)."""
    val_images: int = 15
    """As many as of the Dubai images."""
    labels: int = 100
    """(b): labelled pixels per image."""
    loss_rounds: int = 15
    loss_calls: int = 20
    rounds: int = 5
    """(c): steps per variant."""
    step_rounds: int = 25
    """(j): steps per variant."""
    patience: float = 12.0
    """(c): seconds after which a variant gets no further step."""
    alone: int = 3
    """(c): steps of a process of its own."""
    alone_rounds: int = 2
    """(c): processes with freed memory kept, and as many without."""
    epochs: int = 3
    """(d): the first is a warm-up."""
    epoch_steps: int = 7
    """(d): epochs as long as those of the Dubai images, 57 of them in batches of 8."""
    starts: int = 2
    """(e): of each command that trains or imports."""
    answers: int = 3
    """(e): of each command that only answers."""
    run_images: int = 72
    """(g), (i), (l): as many as Dubai has."""
    side: int = 5_000
    """(k): pixels of the GeoTIFF's side."""
    jobs: int = 8
    """(h): runs of the sweep."""
    page_size: int = 650
    """(l): height of the images in pixels."""
    page_points: int = 1_000
    page_clicks: int = 50
    """(l): as many views, too."""
    page_side: int = 20_000
    """(l): pixels of the GeoTIFF's side."""
