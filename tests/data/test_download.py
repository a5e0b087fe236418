"""The download, against a server on this machine."""

import hashlib
import io
import re
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from sparse_seg.data import download
from sparse_seg.data.__main__ import main
from sparse_seg.data.download import download_dubai
from sparse_seg.errors import UserError

FILES = {
    "Tile 1/images/image_part_001.jpg": b"an image",
    "Tile 1/masks/image_part_001.png": b"a mask",
    "classes.json": b"{}",
}
REGISTRY = {path: hashlib.sha256(content).hexdigest() for path, content in FILES.items()}
TOP = "Semantic segmentation dataset/"


class Server(ThreadingHTTPServer):
    """Answers `archive` to /archive, half of it to /broken, and 404 to all else; counts the requests."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.archive = zip_of({TOP + path: content for path, content in FILES.items()})
        self.requests: list[str] = []

    def url(self, path: str = "archive") -> str:
        return f"http://127.0.0.1:{self.server_port}/{path}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.requests.append(self.path)
        if self.path not in ("/archive", "/broken"):
            self.send_error(404)
            return
        archive = self.server.archive
        self.send_response(200)
        self.send_header("Content-Length", str(len(archive)))
        self.end_headers()
        self.wfile.write(archive if self.path == "/archive" else archive[: len(archive) // 2])

    def log_message(self, format: str, *args: object) -> None:
        pass


def zip_of(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def fetch(target: Path, *urls: str) -> Path:
    return download_dubai(target, urls, REGISTRY, progressbar=False)


def test_files_arrive_without_leading_folders_and_nothing_else_is_left(server: Server, tmp_path: Path) -> None:
    members = {TOP + path: content for path, content in FILES.items()}
    server.archive = zip_of(members | {TOP + "Tile 9/x.jpg": b"x", "__MACOSX/._classes.json": b"x"})
    assert fetch(tmp_path / "deep" / "dubai", server.url()) == tmp_path / "deep" / "dubai"
    assert contents(tmp_path) == {f"deep/dubai/{path}": content for path, content in FILES.items()}
    assert (tmp_path / "deep" / "dubai").stat().st_mode == (tmp_path / "deep").stat().st_mode


def test_second_address_is_tried(server: Server, tmp_path: Path) -> None:
    fetch(tmp_path / "dubai", server.url("gone"), server.url())
    assert server.requests == ["/gone", "/archive"]
    assert contents(tmp_path / "dubai") == FILES


def test_second_address_is_tried_after_half_an_answer(server: Server, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="/broken: the connection broke off"):
        fetch(tmp_path / "dubai", server.url("broken"))
    fetch(tmp_path / "dubai", server.url("broken"), server.url())
    assert contents(tmp_path / "dubai") == FILES


def test_both_addresses_down_gives_both_reasons(server: Server, tmp_path: Path) -> None:
    closed = "http://127.0.0.1:1/archive"
    with pytest.raises(UserError) as error:
        fetch(tmp_path / "dubai", server.url("gone"), closed)
    first, second = str(error.value).split("\n")
    assert f"{server.url('gone')}: HTTP 404" in first
    assert re.search(rf"{closed}: connection failed: \[Errno \d+\] Connection refused$", first)
    assert "data.root=" in second
    assert list(tmp_path.iterdir()) == []


def test_answer_that_is_no_archive(server: Server, tmp_path: Path) -> None:
    server.archive = b"<html>please log in</html>"
    with pytest.raises(UserError, match="not a zip file"):
        fetch(tmp_path / "dubai", server.url())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("up", ["../../", "/", "Tile 1/../../"])
def test_member_that_leads_elsewhere_is_not_written(server: Server, tmp_path: Path, up: str) -> None:
    members = {TOP + path: content for path, content in FILES.items()}
    del members[TOP + "classes.json"]
    server.archive = zip_of(members | {up + "classes.json": FILES["classes.json"], up + "evil.txt": b"x"})
    with pytest.raises(UserError, match=r"1 files are missing in the archive, first classes\.json"):
        fetch(tmp_path / "a" / "b" / "dubai", server.url())
    assert contents(tmp_path) == {}


def test_link_is_not_followed_or_made(server: Server, tmp_path: Path) -> None:
    link = zipfile.ZipInfo(TOP + "classes.json")
    link.external_attr = 0o120777 << 16
    buffer = io.BytesIO(zip_of({path: content for path, content in FILES.items() if path != "classes.json"}))
    with zipfile.ZipFile(buffer, "a") as archive:
        archive.writestr(link, "/etc/passwd")
    server.archive = buffer.getvalue()
    with pytest.raises(UserError, match=r"first classes\.json"):
        fetch(tmp_path / "dubai", server.url())
    assert list(tmp_path.iterdir()) == []


def test_oversized_archive_is_refused(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "MAX_BYTES", 2**20)
    server.archive = zip_of(FILES | {"classes.json": bytes(8 * 2**20)})
    with pytest.raises(UserError, match="unpacks to 8 MiB, expected at most 1"):
        fetch(tmp_path / "dubai", server.url())


def test_damaged_member_is_named_and_nothing_is_put_in_place(server: Server, tmp_path: Path) -> None:
    server.archive = zip_of(FILES | {"Tile 1/masks/image_part_001.png": b"another mask"})
    with pytest.raises(UserError, match=r"Tile 1/masks/image_part_001\.png in the archive is damaged"):
        fetch(tmp_path / "dubai", server.url())
    assert list(tmp_path.iterdir()) == []


def test_complete_data_are_not_downloaded_again(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fetch(tmp_path / "dubai", server.url())
    fetch(tmp_path / "dubai", server.url())
    assert server.requests == ["/archive"]
    assert "all 3 files are there and intact" in capsys.readouterr().out


def test_data_unpacked_by_hand_are_found_below_the_target(server: Server, tmp_path: Path) -> None:
    zipfile.ZipFile(io.BytesIO(server.archive)).extractall(tmp_path)
    assert fetch(tmp_path, server.url()) == tmp_path / TOP
    assert server.requests == []


def test_half_finished_download_is_completed(server: Server, tmp_path: Path) -> None:
    # What a killed download leaves, a missing file, a damaged one, and a file of the user's.
    for path in (".dubai-download-x/files/Tile 1/a", "dubai/Tile 1/masks/image_part_001.png", "dubai/Tile 1/notes.txt"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(b"half")
    fetch(tmp_path / "dubai", server.url())
    assert contents(tmp_path / "dubai") == FILES | {"Tile 1/notes.txt": b"half"}


def test_failure_leaves_a_half_finished_download_as_it_was(server: Server, tmp_path: Path) -> None:
    (tmp_path / "Tile 1" / "masks").mkdir(parents=True)
    (tmp_path / "Tile 1" / "masks" / "image_part_001.png").write_bytes(b"half")
    with pytest.raises(UserError):
        fetch(tmp_path, server.url("gone"))
    assert contents(tmp_path) == {"Tile 1/masks/image_part_001.png": b"half"}


def test_target_that_is_a_file(server: Server, tmp_path: Path) -> None:
    (tmp_path / "dubai").write_text("")
    with pytest.raises(UserError, match="is a file"):
        fetch(tmp_path / "dubai", server.url())
    assert server.requests == []


def test_command_line_prints_one_error_and_exits_with_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "dubai").write_text("")
    assert main(["download", "--root", str(tmp_path / "dubai")]) == 2
    assert capsys.readouterr().err == f"error: {tmp_path / 'dubai'} is a file; choose another folder with --root\n"
