"""Files from the network, by the scheme that needs none."""

import pytest

from el_plugins.utils.downloads import download


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
