"""Archives of exactly IWSLT's layout, made of real sentences."""

import tarfile
import zipfile
from itertools import cycle, islice

from tests.nmt.sentences import PAIRS

DE_EN_SETS = [
    f"IWSLT14.{n}" for n in ("TED.dev2010", "TEDX.dev2012", "TED.tst2010", "TED.tst2011", "TED.tst2012")
]
FR_EN_SETS = [f"IWSLT17.TED.{n}" for n in ("dev2010", *(f"tst{year}" for year in range(2010, 2016)))]
TALK = [
    "<url>http://www.ted.com/talks/lang/{}/a_talk.html</url>",
    "<keywords>talks, software</keywords>",
    "<speaker>A Speaker</speaker>",
    "<talkid>{number}</talkid>",
    "<title>A Speaker: {title}</title>",
    "<description>TED Talk Subtitles and Transcript: {title}.</description>",
]


def make_pairs(count):
    """``count`` (English, German) sentences, the same ones over and over."""
    return [(english, german) for german, english in islice(cycle(PAIRS), count)]


def training_file(lines, language):
    """A ``train.tags`` file: talks of ten sentences, each with its tags."""
    text = []
    for start in range(0, len(lines), 10):
        title = lines[start]
        text += [line.format(language, number=start, title=title) for line in TALK]
        text += [f" {line} " for line in lines[start : start + 10]]
        if language == "en":
            text += [
                "<reviewer></reviewer>",
                '<translator href="http://www.ted.com/profiles/1">A</translator>',
            ]
        else:
            text += [
                "<reviewer>B</reviewer>",
                '<translator href="http://www.ted.com/profiles/2">C</translator>',
            ]
    return "\n".join(text) + "\n"


def set_file(name, lines, language):
    """A development or test set."""
    kind = "refset" if language == "en" else "srcset"
    segments = "\n".join(f'<seg id="{number}"> {line} </seg>' for number, line in enumerate(lines, start=1))
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<mteval>\n<{kind} setid="{name}" srclang="x">\n'
        f'<doc docid="1" genre="lectures">\n<url>http://www.ted.com</url>\n<title>T</title>\n{segments}\n'
        f"</doc>\n</{kind}>\n</mteval>\n"
    )


def make_archive(path, source, sets, pairs, of_set=6):
    """Write ``path`` (.tgz or .zip): ``of_set`` pairs in each set, the rest for training."""
    held_out = len(sets) * of_set
    files = {}
    for side, language in enumerate(("en", source)):
        lines = [pair[side] for pair in pairs]
        name = f"{source}-en/train.tags.{source}-en.{language}"
        files[name] = training_file(lines[held_out:], language)
        for number, one in enumerate(sets):
            part = lines[number * of_set : (number + 1) * of_set]
            files[f"{source}-en/{one}.{source}-en.{language}.xml"] = set_file(one, part, language)
    folder = path.parent / f"{path.name}.files"
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name in files:
                archive.write(folder / name, name)
    else:
        with tarfile.open(path, "w:gz") as archive:
            archive.add(folder / f"{source}-en", f"{source}-en")
    return path
