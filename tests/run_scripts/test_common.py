"""Downloads of the recipes, from a server that can send the rest of a file."""

import hashlib
import os
import re
import subprocess
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

COMMON = Path(__file__).parents[2] / "run_scripts" / "common.sh"
CONTENT = bytes(range(256)) * 40
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Server(ThreadingHTTPServer):
    """Sends :data:`CONTENT` from the byte that is asked for, and remembers which that was."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.starts = []


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        start = int(re.search(r"\d+", self.headers.get("Range", "0"))[0])
        self.server.starts.append(start)
        if start >= len(CONTENT):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(CONTENT)}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}")
        self.send_header("Content-Length", str(len(CONTENT) - start))
        self.end_headers()
        self.wfile.write(CONTENT[start:])

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    with Server() as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def fetch(server, path, *size, trust=""):
    words = f"http://127.0.0.1:{server.server_port}/archive", path, *size
    command = ["bash", "-euo", "pipefail", "-c", 'source "$0"; fetch "$@"', COMMON, *words]
    environment = {**os.environ, "TRUST_CHECKSUM": trust}
    return subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, check=False, env=environment
    )


@pytest.mark.parametrize("there", [0, 1000, len(CONTENT)], ids=["nothing", "a part", "all"])
def test_downloads_go_on_where_they_stopped(server, tmp_path, there):
    path = tmp_path / "archive.tgz"
    if there:
        Path(f"{path}.part").write_bytes(CONTENT[:there])
    fetched = fetch(server, path, len(CONTENT), SHA256)
    assert fetched.returncode == 0, fetched.stderr
    assert path.read_bytes() == CONTENT
    assert server.starts == [there]
    assert [file.name for file in tmp_path.iterdir()] == ["archive.tgz"]


def test_a_file_that_is_there_is_not_downloaded(server, tmp_path):
    path = tmp_path / "archive.tgz"
    path.write_bytes(b"mine")
    assert fetch(server, path).returncode == 0
    assert path.read_bytes() == b"mine"
    assert not server.starts


def test_what_has_the_wrong_size_is_not_taken_for_whole(server, tmp_path):
    path = tmp_path / "archive.tgz"
    fetched = fetch(server, path, 5)
    assert fetched.returncode == 1
    assert f"{path}.part has {len(CONTENT)} bytes, expected 5: delete it and start again" in fetched.stderr
    assert not path.exists()


@pytest.mark.parametrize(
    ("pinned", "expected"), [((), "and none is on record"), (("", "0123"), "expected 0123")]
)
def test_an_unknown_checksum_is_taken_only_by_name(server, tmp_path, pinned, expected):
    path = tmp_path / "archive.tgz"
    fetched = fetch(server, path, *pinned)
    assert fetched.returncode == 1
    assert f"{path}.part has SHA-256 {SHA256}, {expected}: delete it, or compare it with" in fetched.stderr
    assert fetch(server, path, *pinned, trust="0" * 64).returncode == 1
    assert fetch(server, path, *pinned, trust=f"{'0' * 64} {SHA256}").returncode == 0
    assert path.read_bytes() == CONTENT
    assert server.starts == [0, len(CONTENT), len(CONTENT)]
