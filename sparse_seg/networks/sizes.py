"""Which sizes of images an architecture takes. Needs no torch, so that a wrong size is refused at once."""

USUAL = 32
MULTIPLES = {"pspnet": 8, "deeplabv3": 8, "deeplabv3plus": 16, "pan": 16, "dpt": 1}
"""Where it is not 32, what the encoder of an architecture is built for; of dpt, the encoder's own patch decides."""
LEAST = {"pan": 128}
"""Where it is more than the multiple: pan halves the encoder's map three times more."""


def size_multiple(arch: str) -> int:
    """What height and width must be a multiple of, as far as the architecture's name tells.

    Example:
        >>> size_multiple("unet"), size_multiple("deeplabv3plus")
        (32, 16)
    """
    return MULTIPLES.get(arch.lower(), USUAL)


def size_problem(size: int, multiple: int, arch: str = "") -> str | None:
    """What is wrong with a size, as the end of a sentence that begins with it; None if it is right.

    Example:
        >>> size_problem(100, 32, "unet")
        'must be a multiple of 32 (U-Net halves it five times): 96 or 128'
    """
    least = max(LEAST.get(arch.lower(), multiple), multiple)
    if size % multiple == 0 and size >= least:
        return None
    below = max(size // multiple * multiple, least)
    above = below + multiple if below < size else below
    why = " (U-Net halves it five times)" if arch == "unet" else ""
    return (
        f"must be a multiple of {multiple}{why}: {below} or {above}"
        if below != above
        else (f"must be a multiple of {multiple}, and at least {least}")
    )
