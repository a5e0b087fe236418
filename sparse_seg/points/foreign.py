"""Files of points that other programs keep, and how to make one of them that is read."""

import shlex
from pathlib import Path

OGR = "export its layer as GeoJSON, in QGIS or by `ogr2ogr -f GeoJSON points.geojson {}`"
SHEET = "save its sheet as CSV (Excel: CSV UTF-8)"
KINDS = {
    ".gpkg": ("a GeoPackage", OGR),
    ".sqlite": ("a database of SQLite", OGR),
    ".shp": ("a shapefile", OGR),
    ".kml": ("KML", OGR),
    ".gpx": ("GPX", OGR),
    ".gml": ("GML", OGR),
    ".fgb": ("FlatGeobuf", OGR),
    ".gdb": ("a geodatabase", OGR),
    ".mif": ("a table of MapInfo", OGR),
    ".kmz": ("KML in an archive", OGR),
    ".dbf": ("the table of a shapefile", "give the .shp beside it to QGIS, and export it as GeoJSON"),
    ".xlsx": ("a workbook of Excel", SHEET),
    ".xls": ("a workbook of Excel", SHEET),
    ".ods": ("a workbook of LibreOffice", SHEET),
    ".parquet": ("Parquet", "write it as CSV with the columns image, x, y, class"),
    ".feather": ("Feather", "write it as CSV with the columns image, x, y, class"),
    ".zip": ("an archive", "unpack it, and give a CSV or GeoJSON"),
    ".xml": ("XML", "write a CSV with the columns image, x, y, class"),
    ".html": ("a web page", "download the file itself"),
}
"""Suffix → what such a file is, and what to do; {} stands for the file."""
BEGINNINGS = (
    (b"SQLite format 3\0", ".gpkg"),
    (b"\0\0'\n", ".shp"),
    (b"PK\x03\x04", ".zip"),
    (b"\xd0\xcf\x11\xe0", ".xls"),
    (b"PAR1", ".parquet"),
    (b"ARROW1", ".feather"),
    (b"fgb", ".fgb"),
    (b"!table", ".mif"),
    (b"<kml", ".kml"),
    (b"<gpx", ".gpx"),
    (b"<!doctype html", ".html"),
    (b"<html", ".html"),
    (b"<?xml", ".xml"),
)


def advice(path: Path, head: bytes) -> str:
    """What a file is and what to do with it, "" for one that is not known. head: its first bytes.

    Example:
        >>> advice(Path("my clicks.kml"), b"<?xml")
        "it is KML: export its layer as GeoJSON, in QGIS or by `ogr2ogr -f GeoJSON points.geojson 'my clicks.kml'`"
    """
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()[:64]
    known = next((s for magic, s in BEGINNINGS if head.startswith(magic) or start.startswith(magic)), None)
    kind = KINDS.get(path.suffix.lower()) or KINDS.get(known or "")
    return "" if kind is None else f"it is {kind[0]}: {kind[1].format(shlex.quote(str(path)))}"
