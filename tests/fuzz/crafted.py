"""Files that were made to harm: small ones that claim to be large, that unfold, nest, repeat or run code."""

import json
import pickle
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import rasterio
import torch

HUGE = 10**9


def png(
    path: Path, width: int, height: int, colour: int = 2, depth: int = 8, rows: int = 0, extra: bytes = b""
) -> Path:
    """A PNG that claims a size and holds some rows of zeros. colour: 0 grey, 2 RGB, 3 palette."""
    bits = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour] * depth
    packer = zlib.compressobj(9)
    row = bytes(1 + (width * bits + 7) // 8) if rows else b""
    data = b"".join(packer.compress(row) for _ in range(rows)) + packer.flush()
    header = struct.pack(">IIBBBBB", width % 2**32, height % 2**32, depth, colour, 0, 0, 0)
    plte = _chunk(b"PLTE", bytes(range(9))) if colour == 3 else b""
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + plte + extra + _chunk(b"IDAT", data) + _chunk(b"IEND", b"")
    )
    return path


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def unfolding(kind: bytes, size: int) -> bytes:
    """A chunk of text or of a colour profile that unfolds to `size` zeros."""
    return _chunk(kind, b"name\0\0" + zlib.compress(bytes(size), 9))


def tiff(
    path: Path,
    width: int,
    height: int,
    bands: int = 1,
    tile: int | None = None,
    cyclic: bool = False,
    data: bytes = b"\0" * 64,
    compression: int = 1,
    extra: tuple[tuple[int, int, int, int], ...] = (),
) -> Path:
    """A TIFF of one directory. extra: (tag, type, count, value or offset) of more entries."""
    at = 8
    entries = [
        (256, 4, 1, width), (257, 4, 1, height), (258, 3, 1, 8), (259, 3, 1, compression), (262, 3, 1, 1),
        (277, 3, 1, bands),
    ]  # fmt: skip
    if tile is None:
        entries += [(273, 4, 1, at), (278, 4, 1, height), (279, 4, 1, len(data))]
    else:
        entries += [(322, 4, 1, tile), (323, 4, 1, tile), (324, 4, 1, at), (325, 4, 1, len(data))]
    entries = sorted([*entries, *extra])
    start = at + len(data) + len(data) % 2
    directory = struct.pack("<H", len(entries))
    for tag, kind, count, value in entries:
        packed = struct.pack("<HH", value % 2**16, 0) if kind == 3 and count == 1 else struct.pack("<I", value % 2**32)
        directory += struct.pack("<HHI", tag, kind, count) + packed
    directory += struct.pack("<I", start if cyclic else 0)
    path.write_bytes(b"II*\0" + struct.pack("<I", start) + data.ljust(start - at, b"\0") + directory)
    return path


def features(*items: dict[str, Any]) -> str:
    return json.dumps({"type": "FeatureCollection", "features": list(items)})


def feature(x: Any = 1.5, y: Any = 1.5, **properties: Any) -> dict[str, Any]:
    properties = {"image": "a", "class": "Water"} | properties
    return {"type": "Feature", "geometry": {"type": "Point", "coordinates": [x, y]}, "properties": properties}


GEOJSON = {
    "nested": '{"type": "FeatureCollection", "features": ' + "[" * 10_000 + "]" * 10_000 + "}",
    "nested in a feature": features(feature())[:-2] + ', "more": ' + '{"a":' * 10_000 + "1" + "}" * 10_000 + "]}",
    "nested coordinates": features({"geometry": {"type": "Point", "coordinates": []}}).replace(
        "[]", "[" * 10_000 + "]" * 10_000
    ),
    "nested, cut": '{"features":' + "[" * 10_000,
    "not a number": features(feature(float("nan"), 1)),
    "infinite": features(feature(1, float("inf"))),
    "huge": features(feature(1e308, 10**30)),
    "a number of 5000 digits": features(feature()).replace("1.5", "9" * 5000),
    "a number of 5000 digits as class": features(feature()).replace('"Water"', "9" * 5000),
    "1e400": features(feature()).replace("1.5", "1e400"),
    "a million keys": '{"features": [' + ",".join(['{"a": 1}'] * 3) + "], " + ", ".join(['"x": 1'] * 10**6) + "}",
    "a list": "[]",
    "a number": "1",
    "null": "null",
    "a string": '"features"',
    "features that are none": '{"features": [null, 1, "a", []]}',
    "features that are an object": '{"features": {"a": 1}}',
    "geometry that is none": '{"features": [{"geometry": 3, "properties": {"class": "Water"}}]}',
    "geometry that is a list": '{"features": [{"geometry": [1, 2]}]}',
    "properties that are a list": features(feature() | {"properties": [1]}),
    "properties that are a text": features(feature() | {"properties": "a"}),
    "coordinates that are an object": '{"features": [{"geometry": {"type": "Point", "coordinates": {"a": 1}}}]}',
    "coordinates that are a number": '{"features": [{"geometry": {"type": "Point", "coordinates": 5}}]}',
    "coordinates that are a text": '{"features": [{"geometry": {"type": "Point", "coordinates": "12"}}]}',
    "coordinates that are true": '{"features": [{"geometry": {"type": "Point", "coordinates": [true, true]}, '
    '"properties": {"class": "Water", "image": "a"}}]}',
    "a class that is an object": features(feature(**{"class": {"a": [1]}})),
    "a class of a megabyte": features(feature(**{"class": "x" * 10**6})),
    "an image that is a list": features(feature(image=["a"])),
    "a CRS of its own": '{"crs": {"properties": {"name": "EPSG:99999999"}}, "features": []}',
    "a CRS that is no text": '{"crs": {"properties": {"name": [1]}}, "features": [' + json.dumps(feature()) + "]}",
    "a CRS that is a list": '{"crs": [1], "features": []}',
    "a CRS that is a file": '{"crs": {"properties": {"name": "/etc/passwd"}}, "features": []}',
    "a CRS with a null byte": '{"crs": {"properties": {"name": "EPSG:\\u00004326"}}, "features": ['
    + json.dumps(feature())
    + "]}",
    "a surrogate": features(feature(**{"class": "\ud800"})),
    "a null byte": features(feature(image="a\0b")),
    "empty": "",
    "blanks": " \n" * 1000,
}

LAUGHS = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{k}: &a{k} [{', '.join([f'*a{k - 1}'] * 9)}]\n" for k in range(1, 10)
)
NUMBERED = "classes: [{name: a, index: 0}, {name: b, index: 1}]\n"
CLASSES = {
    "a billion laughs": LAUGHS + "classes: *a9\n",
    "a billion laughs as a name": LAUGHS + "classes: [{name: *a9}, {name: b}]\n",
    "a billion laughs as a colour": LAUGHS + "classes: [{name: a, colour: *a9}, {name: b}]\n",
    "a billion laughs as an index": LAUGHS + "classes: [{name: a, index: *a9}, {name: b, index: 1}]\n",
    "a billion laughs unlabelled": LAUGHS + "classes: [a, b]\nunlabelled: *a9\n",
    "a billion laughs ignored": LAUGHS + "classes: [a, b]\nignore: *a9\n",
    "a billion laughs as an unknown key": LAUGHS + "classes: [{name: a, ? *a9 : 3}, {name: b}]\n",
    "merged laughs": "a0: &a0 {k0: 1}\n"
    + "".join(f"a{k}: &a{k} {{<<: [{', '.join([f'*a{k - 1}'] * 9)}], k{k}: 1}}\n" for k in range(1, 9))
    + "classes: [a, b]\n",
    "an anchor in itself": "classes: &a [*a, *a]\n",
    "an anchor in its own key": "&a {classes: [*a, *a]}\n",
    "nested": "classes: " + "[" * 10_000 + "]" * 10_000,
    "nested in blocks": "".join("- " * 5000) + "a\n",
    "nested, cut": "[" * 20_000,
    "python tag": "classes: !!python/object/apply:os.system [touch ran]\n",
    "python name": "classes: [!!python/name:os.system , b]\n",
    "unknown tag": "classes: !mine [a, b]\n",
    "binary": "classes: [{name: !!binary aGk=}, {name: b}]\n",
    "a set": "classes: !!set {a, b}\n",
    "a date": "classes: [2001-01-01, {name: 2001-01-02}, {name: b}]\n",
    "a wrong date": "classes: [{name: 2001-99-99}, b]\n",
    "a wrong integer": "classes: [{name: a, index: !!int x}, {name: b, index: 1}]\n",
    "an index of 5000 digits": "classes: [{name: a, index: " + "9" * 5000 + "}, {name: b, index: 1}]\n",
    "sexagesimal": "classes: [{name: 1:20:30, index: 0x10}, {name: b, index: 0b1}]\n",
    "not a number": "classes: [{name: a, index: .nan}, {name: b, index: .inf}]\n",
    "an object that is a key": "classes: [{? [a] : b}, {? {a: 1} : 3}]\n",
    "two documents": "classes: [a, b]\n---\nclasses: [c, d]\n",
    "a null byte": "classes: [a\0, b]\n",
    "a surrogate": 'classes: ["\\ud800", b]\n',
    "a control character": "classes: [a\x07, b]\n",
    "names of a megabyte": f"classes: [{'a' * 10**6}, {'b' * 10**6}]\n",
    "300 classes": "classes: [" + ", ".join(f"c{k}" for k in range(300)) + "]\n",
    "100000 classes": "classes: [" + ", ".join(f"c{k}" for k in range(100_000)) + "]\n",
    "empty": "",
    "a text": "classes\n",
    "a number": "5\n",
    "null": "classes: null\n",
    "an entry that is null": "classes: [null, a]\n",
    "an entry that is a list": "classes: [[a], [b]]\n",
    "unlabelled is a number": "classes: [a, b]\nunlabelled: 5\n",
    "unlabelled is an object": "classes: [a, b]\nunlabelled: {a: 1}\n",
    "unlabelled holds null": "classes: [a, b]\nunlabelled: [null, [1]]\n",
    "a huge number unlabelled": NUMBERED + "unlabelled: [99999999999999999999999]\n",
    "a negative number unlabelled": NUMBERED + "unlabelled: [-1, true]\n",
    "a tab": "classes:\n\t- a\n",
}

CSV: dict[str, str | bytes] = {
    "one line of 50 MB": "image,x,y,class\na,1,1," + "x" * 50 * 10**6 + "\n",
    "one line of a million cells": "image,x,y,class\na,1,1,Water" + "," * 10**6 + "\n",
    "a field of 100 kB": "image,x,y,class\na,1,1," + "x" * 10**5 + "\n",
    "a header of 5 million columns": "image,x,y,class" + ",x" * 5 * 10**6 + "\na,1,1,Water\n",
    "a header of 100000 columns": "image,x,y,class" + "".join(f",x{k}" for k in range(10**5)) + "\na,1,1,Water\n",
    "a header of one name": "x" * 10**6 + "\na,1,1,Water\n",
    "50 million blank lines": "\n" * 50 * 10**6,
    "a quote that does not end": 'image,x,y,class\na,1,1,"Water\n' + "a,1,1,Water\n" * 100_000,
    "null bytes": b"image,x,y,class\na,1,1,Wa\0ter\n\0\0\0\n",
    "nothing but null bytes": bytes(10**6),
    "50 MB of null bytes": bytes(50 * 10**6),
    "utf-16": "image,x,y,class\na,1,1,Water\n".encode("utf-16"),
    "latin-1": "image,x,y,class\na,1,1,Übersicht\n".encode("latin-1"),
    "huge numbers": "image,x,y,class\na,1e308,1e400,Water\na,99999999999999999999999999,1,Water\n",
    "not a number": "image,x,y,class\na,nan,1,Water\n",
    "infinite": "image,x,y,class\na,inf,-inf,Water\n",
    "fewer columns": "image,x,y,class\na,1\n",
    "more columns": "image,x,y,class\na,1,1,Water,,,,5\n",
    "two columns of one name": "image,x,x,y,class\na,1,2,3,Water\n",
    "a header alone": "image,x,y,class",
    "no header": "a,1,1,Water\n",
    "line ends of old Macs": "image,x,y,class\ra,1,1,Water\r",
    "empty": "",
    "blank lines": "\n" * 1000,
    "a byte order mark alone": b"\xef\xbb\xbf",
    "digits of other scripts": "image,x,y,class\na,١,٢,Water\na,1_0,0x1,Water\n",
    "a path out of the folder": "image,x,y,class\n../../etc/passwd,1,1,Water\n/etc/passwd,1,1,Water\n",
}

ENTITIES = (
    '<!DOCTYPE x [<!ENTITY a0 "'
    + "x" * 10
    + '">'
    + "".join(f'<!ENTITY a{k} "{f"&a{k - 1};" * 10}">' for k in range(1, 10))
    + "]>\n"
)
AUX_BAND = "<PAMDataset><PAMRasterBand band='{}'><NoDataValue>{}</NoDataValue></PAMRasterBand></PAMDataset>"
AUX = {
    "entities": ENTITIES + "<PAMDataset><Metadata><MDI key='a'>&a9;</MDI></Metadata></PAMDataset>",
    "a file as entity": '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]>\n<PAMDataset><SRS>&a;</SRS></PAMDataset>',
    "nested": "<PAMDataset>" + "<a>" * 10_000 + "</a>" * 10_000 + "</PAMDataset>",
    "cut": "<PAMDataset><PAMRasterBand band='1'><NoData",
    "no data that is no number": AUX_BAND.format(1, "x"),
    "a band that is not there": AUX_BAND.format(99, 1),
    "a CRS that is none": "<PAMDataset><SRS>PROJCS[nonsense</SRS></PAMDataset>",
    "a transform that is none": "<PAMDataset><GeoTransform>1,2,x</GeoTransform></PAMDataset>",
    "a transform of nan": "<PAMDataset><GeoTransform>nan,nan,nan,nan,nan,nan</GeoTransform></PAMDataset>",
    "a transform of zeros": "<PAMDataset><SRS>EPSG:32640</SRS><GeoTransform>0,0,0,0,0,0</GeoTransform></PAMDataset>",
}
WORLD = {
    "no numbers": "a\nb\nc\nd\ne\nf\n",
    "nan": "nan\n" * 6,
    "infinite": "inf\n" * 6,
    "zeros": "0\n" * 6,
    "cut": "2.0\n0\n",
    "huge": "1e308\n" * 6,
    "long": "1\n" * 10**6,
    "one long line": "1" * 10**6,
    "bytes": "\x00\xff\x00" * 10,
    "empty": "",
}


class Evil:
    """Unpickled, it leaves a file."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return Path.touch, (self.mark,)


def bare_pickle(path: Path, mark: Path) -> Path:
    path.write_bytes(pickle.dumps({"model": Evil(mark)}))
    return path


def unfolding_zip(path: Path, size: int = 3 * 10**8) -> Path:
    """A checkpoint's archive whose pickle unfolds to `size` bytes."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
        for name in ("archive/data.pkl", "archive/version"):
            with archive.open(name, "w", force_zip64=True) as out:
                for _ in range(size // 10**7 if name.endswith("pkl") else 1):
                    out.write(bytes(10**7 if name.endswith("pkl") else 1))
    return path


def safetensors(path: Path, header: int, content: bytes = b"{}") -> Path:
    """A file that claims a header of so many bytes."""
    path.write_bytes(struct.pack("<Q", header) + content)
    return path


def all_of(texts: dict[str, Any]) -> Iterator[tuple[str, bytes]]:
    for name, text in texts.items():
        yield name, text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")


LARGE = ("5000 ", "10000 ", "13000 ", "16000 ", "20000 ", "10^6 ", "200000 ", "100 million", "2 billion")
"""What names of rasters begin with that may be meant."""
PLACE = rasterio.Affine(1, 0, 325_000, 0, -1, 2_780_000)
SPARSE = {"driver": "GTiff", "dtype": "uint8", "sparse_ok": True, "bigtiff": "yes", "tiled": True}


def images(folder: Path) -> list[Path]:
    """Pictures and rasters that claim, unfold or repeat; a file is called what it does."""
    folder.mkdir()

    def at(name: str) -> Path:
        return folder / name

    zeros, trailer = bytes(2000), b"II*\0" + b"\xff" * 100
    made = [
        png(at("10^9 x 10^9.png"), HUGE, HUGE),
        png(at("60000 x 60000.png"), 60_000, 60_000, rows=500),
        png(at("60000 x 60000 of 1 bit.png"), 60_000, 60_000, colour=0, depth=1, rows=6_000),
        png(at("13000 x 13000 of grey zeros.png"), 13_000, 13_000, colour=0, rows=13_000),
        png(at("100 million wide.png"), 10**8, 1, rows=1),
        png(at("0 x 0.png"), 0, 0),
        png(at("0 wide.png"), 0, 10),
        png(at("text that unfolds.png"), 40, 40, rows=40, extra=unfolding(b"zTXt", 3 * 10**8)),
        png(at("texts that unfold.png"), 40, 40, rows=40, extra=unfolding(b"zTXt", 10**6) * 300),
        png(at("a profile that unfolds.png"), 40, 40, rows=40, extra=unfolding(b"iCCP", 3 * 10**8)),
        png(at("no transparency.png"), 40, 40, rows=40, extra=_chunk(b"tRNS", b"")),
        png(at("broken EXIF.png"), 40, 40, rows=40, extra=_chunk(b"eXIf", trailer)),
        png(at("an animation of 4 billion.png"), 40, 40, rows=40, extra=_chunk(b"acTL", b"\xff" * 4 + bytes(4))),
        png(at("a chunk of 2 GB.png"), 40, 40, rows=40, extra=b"\x7f\xff\xff\xffteXt"),
        tiff(at("10^9 x 10^9.tif"), HUGE, HUGE),
        tiff(at("10^9 x 10^9 in tiles.tif"), HUGE, HUGE, tile=256),
        tiff(at("60000 x 60000.tif"), 60_000, 60_000),
        tiff(at("60000 x 60000 in tiles.tif"), 60_000, 60_000, tile=256),
        tiff(at("16000 x 16000 in one strip.tif"), 16_000, 16_000),
        tiff(at("2 billion wide.tif"), 2**31 - 1, 1),
        tiff(at("2 billion high.tif"), 1, 2**31 - 1),
        tiff(at("65000 bands.tif"), 40, 40, bands=65_000),
        tiff(at("65000 bands of 10000 x 10000.tif"), 10_000, 10_000, bands=65_000),
        tiff(at("a tile of 2^30.tif"), 40, 40, tile=2**30),
        tiff(at("a tile of 60000.tif"), 10_000, 10_000, tile=60_000),
        tiff(at("a tile of 0.tif"), 40, 40, tile=0),
        tiff(at("tiles of 1.tif"), 10_000, 10_000, tile=1),
        tiff(at("a directory after itself.tif"), 40, 40, cyclic=True, data=zeros),
        tiff(at("0 x 0.tif"), 0, 0),
        tiff(at("a count of 4 billion.tif"), 40, 40, data=zeros, extra=((270, 2, 2**32 - 1, 8),)),
    ]
    for name, side, options in (
        ("10^6 x 10^6 sparse", 10**6, {"blockxsize": 65_536, "blockysize": 65_536}),
        ("200000 x 200000 sparse", 200_000, {"blockxsize": 4096, "blockysize": 4096}),
        ("20000 x 20000 sparse", 20_000, {"blockxsize": 512, "blockysize": 512}),
    ):
        made.append(at(f"{name}.tif"))
        with rasterio.open(
            made[-1], "w", width=side, height=side, **({"count": 1, "transform": PLACE} | SPARSE | options)
        ):
            pass
    return made


def checkpoints(folder: Path, good: Path, mark: Path) -> list[Path]:
    """Checkpoints that run code, claim sizes or say what no network is. mark: a file that code would make."""
    folder.mkdir()
    content = torch.load(good, weights_only=True)
    model, state = content["model"], content["state_dict"]
    first, config = next(iter(state)), model["config"]
    made = [
        bare_pickle(folder / "a pickle.ckpt", mark),
        unfolding_zip(folder / "a pickle that unfolds.ckpt"),
        safetensors(folder / "a header of 2^62.ckpt", 2**62),
        safetensors(folder / "a nested header.ckpt", 20_006, b'{"a":' + b"[" * 10_000 + b"]" * 10_000 + b"}"),
    ]
    for name, data in {
        "blanks": b" " * 100,
        "zip": b"PK\3\4" + bytes(100),
        "tar": bytes(10_240),
        "stop": b"\x80\2.",
    }.items():
        made.append(folder / f"{name}.ckpt")
        made[-1].write_bytes(data)
    others: dict[str, Any] = {
        "code in a tensor file": content | {"model": Evil(mark)},
        "a list": [1, 2],
        "an epoch that is a list": content | {"epoch": [1]},
        "an epoch that is nan": content | {"epoch": float("nan")},
        "no weights": content | {"state_dict": {}},
        "weights that are a list": content | {"state_dict": list(state.values())},
        "weights that are text": content | {"state_dict": dict.fromkeys(state, "a")},
        "weights without names": content | {"state_dict": dict(enumerate(state.values()))},
        "complex weights": content | {"state_dict": {k: v.to(torch.complex64) for k, v in state.items()}},
        "weights of nan": content | {"state_dict": {k: v.float() * float("nan") for k, v in state.items()}},
        "weights that are nowhere": content | {"state_dict": {k: v.to("meta") for k, v in state.items()}},
        "a tensor of 10^12 zeros": content | {"state_dict": state | {first: torch.zeros(1).expand(10**12)}},
    }
    for key, value in (
        ("size", 10**9), ("size", 0), ("size", -64), ("size", 65), ("size", float("inf")), ("size", float("nan")),
        ("classes", []), ("classes", "abc"), ("classes", ["a", "a", "a"]), ("classes", ["a"] * 10**5),
        ("colours", [[300, 0, 0]] * 3),
        ("colours", [[-5, 0, 0]] * 3), ("colours", [[10**30, 0, 0]] * 3), ("colours", [[1, 2]] * 3),
        ("indices", [10**30, -1, 3]), ("indices", [1, 1, 1]), ("blank", [10**30]), ("unlabelled", [[-1, 0, 999]]),
        ("bands", []), ("bands", [-1, 0, 3]), ("bands", [float("inf")] * 3), ("bands", list(range(1, 10**5))),
        ("scale", [5, 1]), ("scale", [float("nan"), 1.0]), ("scale", [5]), ("config", None), ("config", [1]),
        ("config", config | {"arch": "../../x"}), ("config", config | {"arch": ["unet"]}),
        ("config", config | {"_target_": ["a"]}),
        ("config", config | {"encoder": "x" * 10**6}), ("config", config | {"encoder": "tu-eva_giant_patch14_560"}),
        ("config", config | {"encoder": "../../etc/passwd"}), ("config", config | {"encoder": ""}),
    ):  # fmt: skip
        others[f"{key} {str(value).replace('/', '_')[-40:]} {len(others)}"] = content | {"model": model | {key: value}}
    for name, other in others.items():
        made.append(folder / f"{name}.ckpt")
        torch.save(other, made[-1])
    return made
