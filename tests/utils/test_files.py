"""Files and folders that are complete or absent."""

import errno
import os

import pytest

from el_plugins.utils.files import atomic_dir, atomic_file, check_settings, read_json, write_text


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "a.txt"
    write_text(path, "old")
    with pytest.raises(UnicodeEncodeError), atomic_file(path) as temporary:
        temporary.write_text("half \ud800", encoding="utf-8")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_a_link_stays_and_its_target_is_replaced(tmp_path):
    (tmp_path / "target").write_text("old")
    (tmp_path / "link").symlink_to("target")
    write_text(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "target").read_text() == "new"


def test_only_regular_files_are_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe", "/dev/null"):
        with pytest.raises(ValueError, match="exists and is not a regular file"):
            write_text(type(tmp_path)(path), "text")


def test_a_folder_appears_when_it_is_complete(tmp_path):
    folder = tmp_path / "folder"
    with pytest.raises(FileExistsError), atomic_dir(folder) as unfinished:
        (unfinished / "half").mkdir() or (unfinished / "half").mkdir()
    assert os.listdir(tmp_path) == []
    (tmp_path / "folder.unfinished" / "left by a killed process").mkdir(parents=True)
    with atomic_dir(folder) as unfinished:
        assert list(unfinished.iterdir()) == []
        (unfinished / "all").touch()
    assert os.listdir(tmp_path) == ["folder"]


def test_settings_of_something_else_are_named(tmp_path):
    write_text(tmp_path / "settings.json", "[1]")
    with pytest.raises(ValueError, match=r"settings\.json holds no settings: take another folder"):
        check_settings({"seed": 1}, tmp_path)


@pytest.mark.parametrize("writing", [atomic_file, atomic_dir])
def test_an_error_of_the_system_names_the_file(writing, tmp_path):
    with pytest.raises(OSError, match=r"No space left on device: '.*/target'"), writing(tmp_path / "target"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{\xff}", "f.json is not UTF-8 text: .* 0xff in position 1"),
        (b"[1,", "f.json is not valid JSON: .*"),
    ],
)
def test_what_cannot_be_read_is_named(content, message, tmp_path):
    (tmp_path / "f.json").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read_json(tmp_path / "f.json")
