"""Download of the Dubai set. Every file is checked against `dubai.sha256` before it is put in place."""

import hashlib
import os
import stat
import tempfile
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath

import pooch
import requests

from sparse_seg.data.dubai import locate, read_registry
from sparse_seg.errors import UserError

URLS = (
    "https://www.kaggle.com/api/v1/datasets/download/humansintheloop/semantic-segmentation-of-aerial-imagery",
    "https://semantic-segmentation-uae.s3.eu-central-1.amazonaws.com/Semantic-segmentation-dataset-1.zip",
)
MAX_BYTES = 256 * 2**20
"""Most that the listed files may unpack to; the published ones take 33 MB."""


def download_dubai(
    target: Path, urls: Iterable[str] = URLS, registry: Mapping[str, str] | None = None, progressbar: bool = True
) -> Path:
    """Put the files of `registry` (path → SHA-256; default: the published ones) into `target` and return it.

    Complete and intact data are left alone without any download; missing files are added, files that differ are
    replaced. The addresses are tried in turn. A `target` whose data are one or two levels below is completed there.

    Raises:
        UserError: no address gave all files (`target` is then as it was), or `target` cannot be written.
    """
    registry = read_registry() if registry is None else registry
    target = target.expanduser().absolute()
    root = locate(target) or target
    if root.exists() and not root.is_dir():
        raise UserError(f"{root} is a file; choose another folder with --root")
    try:
        wanted = {path: digest for path, digest in registry.items() if not _is_intact(root / path, digest)}
        if not wanted:
            print(f"{root}: all {len(registry)} files are there and intact, nothing to download")
            return root
        # An existing folder may be a mount point: what is to be renamed into it has to lie inside.
        beside = root if root.is_dir() else root.parent
        beside.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".dubai-download-", dir=beside) as temporary:
            files = _fetch(urls, wanted, Path(temporary), progressbar)
            _put_in_place(files, root, wanted)
    except OSError as error:
        raise UserError(f"cannot put the data into {root}: {error}\nchoose another folder with --root") from error
    print(f"{root}: {len(wanted)} of {len(registry)} files downloaded, all are intact")
    return root


def _is_intact(path: Path, digest: str) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == digest


def _fetch(urls: Iterable[str], wanted: Mapping[str, str], temporary: Path, progressbar: bool) -> Path:
    """Download from the first address that works; return the folder that holds exactly the wanted files."""
    # pooch advises at level INFO to pin the archive's hash; the files' own hashes do that here.
    pooch.get_logger().setLevel("WARNING")
    reasons = []
    for attempt, url in enumerate(urls):
        print(f"downloading {url}", flush=True)
        try:
            # A name of its own: pooch takes an existing file of that name for the download.
            archive = pooch.retrieve(
                url, known_hash=None, fname=f"{attempt}.zip", path=temporary, progressbar=progressbar
            )
            return _extract(Path(archive), temporary / f"files-{attempt}", wanted)
        except requests.RequestException as error:
            reasons.append(f"{url}: {_reason(error)}")
        except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, NotImplementedError, RuntimeError) as error:
            reasons.append(f"{url}: {error}")
    raise UserError(
        f"cannot download the Dubai data: {'; '.join(reasons)}\n"
        "try again later, or unpack a copy of the archive anywhere and give its folder as data.root=FOLDER"
    )


def _extract(archive: Path, folder: Path, wanted: Mapping[str, str]) -> Path:
    """Write the wanted members of a zip to `folder`, under their path in `wanted`.

    Only listed paths are ever written, so no member can lead elsewhere; all others, links included, are ignored.

    Raises:
        ValueError: a wanted file is missing or its SHA-256 differs, or they are too large.
    """
    with zipfile.ZipFile(archive) as contents:
        members = {path: member for member in contents.infolist() if (path := _listed_path(member, wanted))}
        if missing := [path for path in wanted if path not in members]:
            raise ValueError(f"{len(missing)} files are missing in the archive, first {missing[0]}")
        if (size := sum(member.file_size for member in members.values())) > MAX_BYTES:
            raise ValueError(f"the archive unpacks to {size / 2**20:.0f} MiB, expected at most {MAX_BYTES // 2**20}")
        for path, member in members.items():
            content = contents.read(member)
            if hashlib.sha256(content).hexdigest() != wanted[path]:
                raise ValueError(f"{path} in the archive is damaged: its SHA-256 is not that of the published file")
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(content)
    return folder


def _listed_path(member: zipfile.ZipInfo, wanted: Mapping[str, str]) -> str | None:
    """The listed path that a member holds, below whatever leading folders; None for any other member."""
    path = PurePosixPath(member.filename)
    if path.is_absolute() or ".." in path.parts or stat.S_ISLNK(member.external_attr >> 16):
        return None
    ends = ("/".join(path.parts[start:]) for start in range(len(path.parts)))
    return next((end for end in ends if end in wanted), None)


def _put_in_place(files: Path, root: Path, wanted: Iterable[str]) -> None:
    """Rename the whole folder, so that it appears at once, or file by file into a folder that is there already."""
    if not root.exists():
        os.rename(files, root)
        return
    for path in wanted:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        os.replace(files / path, root / path)


def _reason(error: requests.RequestException) -> str:
    """One short clause; requests' own text spells out object addresses."""
    if error.response is not None:
        return f"HTTP {error.response.status_code} {error.response.reason}"
    if isinstance(error, requests.Timeout):
        return "no answer in time"
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return "the connection broke off"
    cause = getattr(error.args[0], "reason", error) if error.args else error
    return f"connection failed: {str(cause).rsplit(': ', 1)[-1]}"
