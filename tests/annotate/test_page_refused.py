"""What the page refuses, and how it says what is wrong."""

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

from browsing import ROOT, asked, opened, rows, served, spot, until, wait


def test_others_cannot_talk_to_the_page(root: Path) -> None:
    with served(root) as (address, _):
        own = {"Origin": address.rstrip("/"), "X-Annotate": "1"}
        click: dict[str, object] = {"do": "add", "image": 0, "row": 1, "col": 1, "label": 0}
        assert asked(address, "/act", click, **own)[0] == 200
        evil = "http://evil.example"
        foreign = [{**own, "Origin": evil}, {**own, "Origin": "null"}, {**own, "Host": "evil.example:80"}]
        for headers in (*foreign, {"Origin": own["Origin"]}, {"X-Annotate": "1"}):
            assert asked(address, "/act", click, **headers)[0] == 403, headers
        assert asked(address, "/state/0", Host="evil.example")[0] == 403
        assert asked(address, "/state/0", Host="evil.example:8484")[0] == 403
        assert asked(address, "/state/0", Host="localhost")[0] == 200, "port 80"
        led = {"Host": "localhost:9000", "Origin": "http://localhost:9000", "X-Annotate": "1"}
        assert asked(address, "/act", {"do": "undo"}, **led)[0] == 200, "ssh -L 9000:localhost:8484"
        picture = "/map/0/0/0/0/0"
        for site in ("cross-site", "same-site"):  # another port of this machine is of the same site
            assert asked(address, picture, **{"Sec-Fetch-Site": site, "Sec-Fetch-Mode": "no-cors"})[0] == 403
        assert asked(address, "/", **{"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"})[0] == 200
        assert asked(address, picture, **{"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "no-cors"})[0] == 204
        assert asked(address, "/events", Origin=evil)[0] == 403
        for path in ("/static/../state.py", "/static/%2e%2e%2fstate.py", "/static/state.py", "/etc/passwd"):
            assert asked(address, path)[0] == 404, path
        assert asked(address, "/image/0/0/9/9/9")[0] == 204
        odd: list[dict[str, object]] = [
            {"image": "../x"},
            {"row": 1e9},
            {"image": 99},
            {"label": True},
            {"do": "shell"},
            {"do": "_keep"},
        ]
        for body in (*({**click, **words} for words in odd), [], 7):
            assert asked(address, "/act", body, **own)[0] == 400, body
        assert asked(address, "/act", {"do": "colour_class", "label": 0, "colour": "red;x"}, **own)[0] == 400
        assert asked(address, "/act", {"do": "name_class", "label": 0, "name": "x" * 20_000}, **own)[0] == 413
        assert len(rows(root)) <= 1


def test_another_host_needs_the_token(root: Path) -> None:
    with served(root, "--host", "0.0.0.0", "--read-only") as (said, _):
        address, _, token = said.replace("0.0.0.0", "127.0.0.1").partition("?token=")
        assert len(token) > 20
        assert asked(address, "/state/0")[0] == 403
        assert asked(address, "/state/0?token=wrong")[0] == 403
        assert asked(address, f"/state/0?token={token}")[0] == 200
        cookie = f"token-{address.rstrip('/').rpartition(':')[2]}={token}"
        own = {"Origin": address.rstrip("/"), "X-Annotate": "1", "Cookie": cookie}
        code, why = asked(address, "/act", {"do": "add", "image": 0, "row": 1, "col": 1, "label": 0}, **own)
        assert (code, "read-only" in why) == (400, True)


def command(*words: str) -> tuple[int, str]:
    command = [sys.executable, "-m", "sparse_seg.annotate", *words, "--no-browser"]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=env)
    return done.returncode, done.stderr


def test_what_stops_the_start_is_said_in_the_terminal(root: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    code, said = command(str(tmp_path / "empty"), "--port", "0")
    assert (code, "no image" in said) == (1, True)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        code, said = command(str(root), "--port", str(taken.getsockname()[1]))
    assert (code, "--port" in said) == (1, True)


def test_the_extra_is_named_where_it_is_missing(root: Path) -> None:
    program = """
import sys
sys.modules["xstatic.pkg.leaflet"] = None
from sparse_seg.annotate.__main__ import main
sys.exit(main([sys.argv[1], "--no-browser"]))
"""
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    words = [sys.executable, "-c", program, str(root)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, env=env)
    assert (done.returncode, "pip install -e '.[annotate]'" in done.stderr) == (1, True)


def test_the_page_has_few_lines_of_its_own() -> None:
    lines = (ROOT / "sparse_seg" / "annotate" / "page.js").read_text().splitlines()
    assert len(lines) < 200
    assert max(map(len, lines)) < 180


def test_an_image_that_cannot_be_read_is_named_in_the_page(browser: Any, root: Path) -> None:
    (root / "images" / "bad.png").write_bytes(b"no image")
    with served(root) as (address, _):
        page = opened(browser, address)
        assert "cannot be read" in page.inner_text("#images")
        page.locator("#images button", has_text="bad").click()
        wait(page, "() => document.getElementById('message').textContent.includes('bad.png')")
        page.close()


def test_a_full_disk_is_said_and_loses_nothing(browser: Any, root: Path) -> None:
    with served(root) as (address, _):
        page = opened(browser, address)
        page.mouse.click(*spot(page, 100, 100))
        until(lambda: len(rows(root)), 1)
        journal = root / ".annotate" / "journal.jsonl"
        kept = journal.rename(root / "kept.jsonl")
        journal.symlink_to("/dev/full")
        page.mouse.click(*spot(page, 120, 100))
        wait(page, "() => document.getElementById('message').textContent.includes('No space left on device')")
        journal.unlink()
        kept.rename(journal)
        assert len(rows(root)) == 1
        page.mouse.click(*spot(page, 140, 100))
        until(lambda: [row[1] for row in rows(root)], ["100", "140"])
        assert page.inner_text("#message") == ""
        page.close()
