"""VRT files, made safe before GDAL sees them: they may name nothing but images in their own folder.

A VRT is read by GDAL with whatever it names: any file, a web address, a program. So it is parsed here, and GDAL gets
a text that holds only what is known below, with the full paths of files that were looked at.
"""

import re
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path, PurePath
from xml.etree import ElementTree

from sparse_seg.errors import UserError

LONGEST = 2**23
"""Bytes of a VRT; one of 5,000 images with three bands has as many."""
SOURCE_SUFFIXES = (".tif", ".tiff", ".jp2", ".png", ".jpg", ".jpeg")
SOURCES = ("SimpleSource", "ComplexSource", "AveragedSource")
NO_MEANING = ("Metadata", "OverviewList", "BlockXSize", "BlockYSize", "Description", "UnitType", "CategoryNames")
"""What changes no pixel, and is left out."""
NUMBERS = ("NODATA", "ScaleOffset", "ScaleRatio", "SrcMin", "SrcMax", "DstMin", "DstMax", "Exponent", "Clamp", "LUT")
KNOWN = {
    "VRTDataset": ("SRS", "GeoTransform", "GCPList", "VRTRasterBand", "MaskBand"),
    "GCPList": ("GCP",),
    "MaskBand": ("VRTRasterBand",),
    "VRTRasterBand": ("ColorInterp", "ColorTable", "NoDataValue", "HideNoDataValue", "MaskBand", *SOURCES),
    "ColorTable": ("Entry",),
} | dict.fromkeys(
    SOURCES, ("SourceFilename", "SourceBand", "SrcRect", "DstRect", *NUMBERS, "ColorTableComponent", "UseMaskBand")
)
"""Elements of a VRT, and those within each that are understood."""
LEFT_OUT = {
    "VRTDataset": NO_MEANING,
    "VRTRasterBand": (*NO_MEANING, "Histograms", "Overview", "Scale", "Offset", "GDALRasterAttributeTable"),
} | dict.fromkeys(SOURCES, ("SourceProperties", "Metadata"))
CRS = re.compile(r"\s*([A-Za-z_]+\s*[\[(].*|EPSG:\d+|OGC:CRS84)?\s*", re.DOTALL)
"""WKT or a number. GDAL takes addresses in the web, too."""


def sources(path: Path) -> list[Path]:
    """The files that a VRT names, each once, in its order. Raises UserError where `local_vrt` does for its text."""
    return list(dict.fromkeys(_file(path, e) for e in _parsed(path).iter("SourceFilename")))


def local_vrt(path: Path, check: Callable[[Path], None]) -> str:
    """The text of a VRT for GDAL, which names files by their full paths.

    Args:
        path: the file.
        check: raises UserError for a file that is no image of its suffix.

    Raises:
        UserError: it is no VRT; it names a file outside of its folder, by a link or by an address; it has bands that
            are raw, warped or derived by code.
    """
    if (mask := path.with_name(f"{path.name}.msk")).is_file():
        raise UserError(f"{mask} would not be read: put the mask into {path} as <MaskBand>, or move it away")
    named = sources(path)
    return _local(path, tuple((p, s.st_mtime_ns, s.st_size) for p in (path, *named) for s in [p.stat()]), check)


@lru_cache(maxsize=16)
def _local(path: Path, stamps: tuple[tuple[Path, int, int], ...], check: Callable[[Path], None]) -> str:
    """stamps: of the VRT and its sources, which are looked at once, and not for every window."""
    for source, *_ in stamps[1:]:
        check(source)
    root = _parsed(path)
    for element in root.iter("SourceFilename"):
        element.text = str(_file(path, element))
        element.attrib = {"relativeToVRT": "0"}
    return ElementTree.tostring(root, encoding="unicode")


def _parsed(path: Path) -> ElementTree.Element:
    """The elements of a VRT that are understood, and those alone."""
    try:
        with path.open("rb") as file:
            content = file.read(LONGEST + 1)
        if len(content) > LONGEST:
            raise UserError(f"{path} has more than {LONGEST >> 20} MB of text: it is no VRT, or one of too many images")
        text = content.decode("utf-8-sig")
        if re.search(r"<!(?!--)|<\?(?!xml\s)", text, re.IGNORECASE):
            raise _refused(path, "<!DOCTYPE, <!ENTITY, <![CDATA[ or <?…", "elements of a VRT")
        root = ElementTree.fromstring(text)
    except OSError as error:
        raise UserError(f"cannot open {path}: {error.strerror}") from error
    except (UnicodeDecodeError, ElementTree.ParseError) as error:
        raise UserError(f"{path} is damaged or no VRT: {error}\nreplace it by an intact copy") from error
    if root.tag != "VRTDataset":
        raise UserError(f"{path} is no VRT: it begins with <{root.tag[:40]}>, not <VRTDataset>")
    return _understood(path, root)


def _understood(path: Path, element: ElementTree.Element) -> ElementTree.Element:
    tag = element.tag
    if "subClass" in element.attrib:
        raise _refused(path, f'{tag} subClass="{element.attrib["subClass"][:40]}"', "bands that are made of images")
    known = ElementTree.Element(tag, element.attrib)
    known.text = element.text
    for text in (element.text if tag == "SRS" else None, element.attrib.get("Projection")):
        if text is not None and not CRS.fullmatch(text):
            raise _refused(path, f"the CRS {text[:40]!r}", "WKT or EPSG:NUMBER")
    for child in element:
        if child.tag in KNOWN.get(tag, ()):
            known.append(_understood(path, child))
        elif child.tag not in LEFT_OUT.get(tag, ()):
            raise _refused(path, f"<{str(child.tag)[:40]}> in <{tag}>", "bands that are made of images")
    return known


def _file(path: Path, element: ElementTree.Element) -> Path:
    """The file that a SourceFilename means."""
    name = (element.text or "").strip()
    relative = PurePath(name)
    if (
        element.attrib.get("relativeToVRT") != "1"
        or not relative.parts
        or relative.is_absolute()
        or ".." in relative.parts
        or re.search(r"[<>:\\\x00-\x1f]", name)
    ):
        raise _outside(path, name)
    folder = path.resolve().parent
    source = folder / relative
    if source.suffix.lower() not in SOURCE_SUFFIXES:
        raise UserError(f"{path} names {name[:80]!r}: a VRT is read of {', '.join(SOURCE_SUFFIXES)} alone")
    try:
        is_link, is_file = source.resolve() != source, source.is_file()
    except (OSError, RuntimeError):  # links in a circle, a name that is too long
        is_link = True
    if is_link:
        raise _outside(path, name)
    if not is_file:
        raise UserError(f"{path} names {name[:80]!r}, which is not there")
    return source


def _outside(path: Path, name: str) -> UserError:
    return UserError(
        f"{path} names {name[:80]!r}: a VRT may only name files in its own folder, relative to it (relativeToVRT=1) "
        "and without links"
    )


def _refused(path: Path, what: str, instead: str) -> UserError:
    return UserError(f"{path} has {what}: only {instead} are read; save it as GeoTIFF (gdal_translate)")
