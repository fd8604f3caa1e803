"""Archives made to do harm: nothing leaves memory, and little of that is used."""

import io
import os
import re
import tarfile
import tracemalloc
import zipfile

import pytest

from el_plugins.utils.archives import read_members

EVERYTHING = re.compile("")
NAMES = ["/absolute", "../outside", "a/../../outside", "-dash", "quote\"'", "new\nline", "a/plain"]


def make_tar(path, *members):
    """Write a .tgz of (name, content, type, link)."""
    with tarfile.open(path, "w:gz") as archive:
        for name, content, kind, link in members:
            entry = tarfile.TarInfo(name)
            entry.size, entry.type, entry.linkname = len(content), kind, link
            archive.addfile(entry, io.BytesIO(content))


def make_zip(path, *names):
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, name)


@pytest.mark.parametrize("kind", ["tgz", "zip"])
def test_names_lead_nowhere(kind, tmp_path, monkeypatch):
    folder = tmp_path / "in" / "a folder"
    folder.mkdir(parents=True)
    monkeypatch.chdir(folder)
    if kind == "tgz":
        make_tar("a", *((name, name.encode(), tarfile.REGTYPE, "") for name in NAMES))
    else:
        make_zip("a", *NAMES)
    members = read_members(folder / "a", EVERYTHING)
    assert members == {name: name.encode() for name in NAMES}
    assert [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()] == [
        "in/a folder/a"
    ]
    assert read_members(folder / "a", re.compile("(^|/)plain$")) == {"a/plain": b"a/plain"}


def test_links_and_devices_are_passed_over(tmp_path):
    (tmp_path / "secret").write_text("secret")
    links = [
        (tarfile.SYMTYPE, str(tmp_path / "secret")),
        (tarfile.LNKTYPE, "nowhere"),
        (tarfile.SYMTYPE, "link0"),
    ]
    entries = [(f"link{number}", b"", kind, target) for number, (kind, target) in enumerate(links)]
    devices = [("pipe", b"", tarfile.FIFOTYPE, ""), ("device", b"", tarfile.CHRTYPE, "")]
    make_tar(tmp_path / "a", *entries, *devices, ("file", b"x", tarfile.REGTYPE, ""))
    assert read_members(tmp_path / "a", EVERYTHING) == {"file": b"x"}
    assert sorted(os.listdir(tmp_path)) == ["a", "secret"]


@pytest.mark.parametrize("kind", ["tgz", "zip"])
def test_bombs_do_not_go_off(kind, tmp_path):
    zeros = bytes(2**22)
    if kind == "tgz":
        make_tar(tmp_path / "a", *((str(n), zeros, tarfile.REGTYPE, "") for n in range(8)))
    else:
        with zipfile.ZipFile(tmp_path / "a", "w", zipfile.ZIP_DEFLATED) as archive:
            for number in range(8):
                archive.writestr(str(number), zeros)
    assert (tmp_path / "a").stat().st_size < 2**18
    with pytest.raises(ValueError, match=r"a unpacks to more than 16777216 bytes"):
        read_members(tmp_path / "a", EVERYTHING, limit=2**24)


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME])
def test_a_long_header_is_counted(kind, tmp_path):
    make_tar(tmp_path / "a", ("x", b"1" * 2**22, kind, ""), ("y", b"", tarfile.REGTYPE, ""))
    with pytest.raises(ValueError, match=r"a unpacks to more than 10000 bytes"):
        read_members(tmp_path / "a", EVERYTHING, limit=10_000)


def test_a_zip_that_names_too_small_a_size(tmp_path):
    size = 2**22 + 1
    with zipfile.ZipFile(tmp_path / "a", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x", bytes(size))
    content = (tmp_path / "a").read_bytes().replace(size.to_bytes(4, "little"), (10).to_bytes(4, "little"))
    (tmp_path / "a").write_bytes(content)
    tracemalloc.start()
    with pytest.raises(ValueError, match="a is damaged"):
        read_members(tmp_path / "a", EVERYTHING)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < size / 4


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_method_that_cannot_be_unpacked_in_pieces(method, tmp_path):
    with zipfile.ZipFile(tmp_path / "a", "w", method) as archive:
        archive.writestr("x", bytes(1000))
    with pytest.raises(ValueError, match=f"a: x must be stored or deflated, not method {method}"):
        read_members(tmp_path / "a", EVERYTHING)


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_every_compression_of_a_tar(mode, tmp_path):
    with tarfile.open(tmp_path / "a", mode) as archive:
        entry = tarfile.TarInfo("x")
        entry.size = 3
        archive.addfile(entry, io.BytesIO(b"one"))
    assert read_members(tmp_path / "a", EVERYTHING) == {"x": b"one"}


@pytest.mark.parametrize("size", [0, 10, 200, -100])
@pytest.mark.parametrize("kind", ["tgz", "zip"])
def test_damage_is_one_line(kind, size, tmp_path):
    if kind == "tgz":
        make_tar(tmp_path / "a", ("x", os.urandom(4000), tarfile.REGTYPE, ""))
    else:
        make_zip(tmp_path / "a", "x" * 100)
    (tmp_path / "a").write_bytes((tmp_path / "a").read_bytes()[:size])
    with pytest.raises(ValueError, match=r"a is damaged, or not a \.tgz or \.zip: "):
        read_members(tmp_path / "a", EVERYTHING)


def test_a_size_that_lies_is_noticed(tmp_path):
    with zipfile.ZipFile(tmp_path / "a", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x", bytes(1000))
    content = (tmp_path / "a").read_bytes()
    (tmp_path / "a").write_bytes(content.replace((1000).to_bytes(4, "little"), (10).to_bytes(4, "little")))
    with pytest.raises(ValueError, match="a is damaged"):
        read_members(tmp_path / "a", EVERYTHING)
