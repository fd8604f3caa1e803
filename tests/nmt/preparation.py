"""``el-nmt-prepare`` on the sentences' files: its arguments, and its errors."""

import pytest

LANGUAGES = ["--source", "de", "--target", "en"]


def words(folder, *more):
    """Arguments for the sentences' files in ``folder``, with 60 BPE operations unless ``more`` says."""
    parts = [f"--train={folder / 'train'}", f"--valid={folder / 'dev'}"]
    tests = ["--test", f"captions={folder / 'test'}", f"news={folder / 'news'}"]
    return list(map(str, [*LANGUAGES, "--size", 60, *parts, *tests, *more]))


def fails(arguments, capsys=None):
    """The error of a refusal, or what it printed."""
    from el_plugins.nmt.prepare import main

    with pytest.raises(SystemExit) as raised:
        main(arguments)
    return str(raised.value) if capsys is None else capsys.readouterr().err
