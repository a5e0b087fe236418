"""All readers of images: whoever imports them from here has every format registered."""

from sparse_seg.raster.formats import MASK_SUFFIXES, SUFFIXES, Raster, Undecided, open_raster, reader_of, register
from sparse_seg.raster.geofile import GEO_SUFFIXES, gdal_env, import_rasterio, open_geotiff
from sparse_seg.raster.geotiff import GeoTiff, colour_table
from sparse_seg.raster.plain import PlainImage

__all__ = [
    "GEO_SUFFIXES",
    "MASK_SUFFIXES",
    "SUFFIXES",
    "GeoTiff",
    "PlainImage",
    "Raster",
    "Undecided",
    "colour_table",
    "gdal_env",
    "import_rasterio",
    "open_geotiff",
    "open_raster",
    "reader_of",
    "register",
]
