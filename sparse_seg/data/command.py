"""The command that trains on a folder, as `inspect` prints it."""

import shlex
import string
from collections.abc import Collection, Iterator, Mapping

from sparse_seg.data.folder import MOST_BANDS, Files
from sparse_seg.raster.masks import Picture

PLAIN = set(string.ascii_letters + string.digits + "/._-+%@:=,[]")
"""Characters that stand in a command without quotes."""


def training_command(
    files: Files,
    pictures: Collection[Picture],
    damaged: bool,
    most: int,
    crs: str | None,
    names: Mapping[str, str | None],
) -> Iterator[str]:
    """Yield what must be known before training, and the command.

    Args:
        files: of the folder.
        pictures: the headers of the images that can be opened.
        damaged: whether others cannot.
        most: points of one class in one image, 0 where there are none.
        crs: of the points, as the user said it.
        names: option of `data` → what the user said, None for nothing.
    """
    words = ["data=folder", f"data.root={_quoted(str(files.root))}"]
    words += [f"data.{key}={_quoted(value)}" for key, value in names.items() if value is not None]
    words += [f"data.points_crs={crs}"] if crs else []
    kinds = sorted({p.kind for p in pictures if " × " in p.kind})  # others are Pillow's names of 8 bits
    deep = [k for k in kinds if not k.startswith("uint8 ")]
    if deep:
        words.append("data.scale=[LOW,HIGH]")
    if any(p.bands == 2 and not p.has_alpha for p in pictures):
        words.append("data.bands=[1,2]")
    if any(max(p.width, p.height) > 2048 for p in pictures):
        words.append("data.tile=256")
    if most:
        words.append(f"points={most}")
    yield ""
    if not files.masks:
        yield "There are no masks: a share of the points is held out, and the score is point accuracy, not mIoU."
    if deep:
        yield f"Pixels are {deep[0].split(' ')[0]}: put the values that shall be black and white for LOW and HIGH."
    if (most_bands := max((p.bands for p in pictures), default=3)) > 3:
        every = ",".join(map(str, range(1, min(most_bands, MOST_BANDS) + 1)))
        clear = any(p.has_alpha for p in pictures)
        rest = "; one is marked as alpha: if it is near infrared or the like, data.alpha=false" if clear else ""
        yield f"Of {most_bands} bands the first three are used unless you name others: data.bands=[{every}]{rest}"
    if damaged:
        yield "Mend what is damaged or refused first: replace these files, move them away, or correct classes.yaml."
    yield "To train:"
    yield f"    python train.py {' '.join(shlex.quote(w) if set(w) - PLAIN else w for w in words)}"


def _quoted(value: str) -> str:
    """A name for Hydra's command line: in quotes where its grammar would take it for a number, a list or nothing."""
    # Here, since --help need not wait for Hydra.
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    try:
        if OverridesParser.create().parse_override(f"key={value}").value() == value:
            return value
    except HydraException:
        pass
    return "'" + value.replace("'", "\\'") + "'"
