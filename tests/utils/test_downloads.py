"""Files from the network, by the scheme that needs none."""

import errno
import hashlib
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from el_plugins.utils import downloads
from el_plugins.utils.downloads import download, download_pinned, download_wheel, record_checksum


def test_fetched_once_whole_or_not_at_all(tmp_path):
    source, path = tmp_path / "source", tmp_path / "folder" / "file"
    with pytest.raises(RuntimeError, match=r"cannot download file://.*source .*: put it at .*file yourself"):
        download(f"file://{source}", path)
    assert not path.exists()
    source.write_text("one")
    assert download(f"file://{source}", path).read_text() == "one"
    source.write_text("two")
    assert download(f"file://{source}", path).read_text() == "one"
    assert [entry.name for entry in path.parent.iterdir()] == ["file"]


class Short(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        if self.path == "/chunked":
            self.send_header("Transfer-Encoding", "chunked")
        else:
            self.send_header("Content-Length", "10")
        self.end_headers()
        self.wfile.write(b"5\r\non" if self.path == "/chunked" else b"one")

    def log_message(self, *_):
        pass


@pytest.mark.parametrize("path", ["chunked", "plain"])
def test_what_breaks_off_is_no_file(path, tmp_path):
    with HTTPServer(("127.0.0.1", 0), Short) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        with pytest.raises(RuntimeError, match=r"cannot download .*: put it at"):
            download(f"http://127.0.0.1:{server.server_port}/{path}", tmp_path / "file")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS])
def test_a_file_in_a_folder_that_cannot_be_written(number, tmp_path, monkeypatch, capsys):
    def refuse(*_):
        raise OSError(number, "not here")

    monkeypatch.setattr(downloads, "write_text", refuse)
    (tmp_path / "file").write_text("one")
    record_checksum(tmp_path / "file")
    assert "file.sha256: the next start will not notice" in capsys.readouterr().out
    number = errno.ENOSPC
    with pytest.raises(OSError, match="not here"):
        record_checksum(tmp_path / "file")


def test_only_a_known_checksum_is_taken(tmp_path):
    source, path = tmp_path / "source", tmp_path / "file"
    source.write_text("one")
    digest = hashlib.sha256(b"one").hexdigest()
    with pytest.raises(
        ValueError, match=f"has SHA-256 {digest}, and none is on record: .*--trust-checksum {digest}"
    ):
        download_pinned(f"file://{source}", path, None)
    with pytest.raises(ValueError, match=f"has SHA-256 {digest}, expected 0123: "):
        download_pinned(f"file://{source}", path, "0123")
    assert [entry.name for entry in tmp_path.iterdir()] == ["source"]
    for pinned, trusted in ((digest, None), (None, digest), ("0123", digest)):
        assert download_pinned(f"file://{source}", path, pinned, trusted).read_text() == "one"
        path.unlink()
    path.write_text("the user's own")
    assert download_pinned(f"file://{source}", path, digest).read_text() == "the user's own"


def test_a_wheel_has_the_pinned_checksum_or_is_not_taken(tmp_path, monkeypatch):
    wheels, folder = tmp_path / "wheels", tmp_path / "folder"
    wheels.mkdir()
    wheel = wheels / "made_up-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as file:
        file.writestr(
            "made_up-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: made-up\nVersion: 1.0\n"
        )
        file.writestr("made_up-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheels))
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    (folder / "made_up-1.0.part" / "left by a killed process").mkdir(parents=True)
    assert download_wheel("made-up==1.0", digest, folder).read_bytes() == wheel.read_bytes()
    assert [entry.name for entry in folder.iterdir()] == [wheel.name]
    (folder / wheel.name).write_bytes(b"another")
    with pytest.raises(
        ValueError, match=rf"made_up-1.0-.*\.whl has SHA-256 \w+, expected {digest}: delete it"
    ):
        download_wheel("made-up==1.0", digest, folder)
