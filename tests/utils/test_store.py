"""The store in which machines meet."""

from datetime import timedelta

from el_plugins.utils.store import Store


def test_keys_are_seen_once_they_are_set():
    """By every machine, whatever they hold, and again."""
    first = Store("127.0.0.1", 0, None, True, timedelta(seconds=20), wait_for_workers=False)
    other = Store("127.0.0.1", first.port, None, False, timedelta(seconds=20), wait_for_workers=False)
    assert not first.check(["a"])
    assert not first.check(["a"])
    other.set("a", "")
    assert first.check(["a"])
    assert other.check(["a"])
    assert not other.check(["a", "b"])
    first.set("b", b"text")
    assert other.check(["a", "b"])
    assert other.get("b") == b"text"
