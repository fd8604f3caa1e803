"""The demo's data sets in COCO layout: digits, trees and blood cells."""

import hashlib
import io
import json
import zipfile

import numpy as np
import pytest

pytest.importorskip("sklearn")

from PIL import Image
from sklearn.datasets import load_digits

from experiments.detection import bccd, digits, trees
from experiments.detection.coco import class_counts, write_split
from tests.commands import download_or_skip


def test_written_split_is_what_pycocotools_reads(tmp_path):
    coco = pytest.importorskip("pycocotools.coco")
    pixels = np.arange(20 * 30, dtype=np.uint8).reshape(20, 30)
    pictures = [(pixels, [(1, (2.0, 3.0, 10.0, 5.0))]), (pixels, [])]
    write_split(tmp_path, "val", pictures, ["a", "b"])
    read = coco.COCO(str(tmp_path / "val.json"))
    assert read.getImgIds() == [1, 2]
    (annotation,) = read.loadAnns(read.getAnnIds())
    assert (annotation["category_id"], annotation["bbox"]) == (2, [2.0, 3.0, 10.0, 5.0])
    assert np.array_equal(np.asarray(Image.open(tmp_path / "val" / "000001.png"))[..., 0], pixels)
    assert class_counts(tmp_path / "val.json") == {"a": 0, "b": 1}


def test_scenes_have_disjoint_boxes_tight_around_ink(monkeypatch):
    # On black all that is light is ink.
    monkeypatch.setattr(digits, "background", lambda generator: np.zeros((digits.SIZE, digits.SIZE)))
    data = load_digits()
    generator = np.random.default_rng(0)
    faintest = 0.15 * 80  # of the ink that counts, times its least lightness
    for pixels, boxes in digits.scenes(data.images, data.target, np.full(10, 0.1), 20, generator):
        assert pixels.shape == (digits.SIZE, digits.SIZE)
        assert boxes
        covered = np.zeros(pixels.shape, int)
        for _, (x, y, width, height) in boxes:
            covered[y : y + height, x : x + width] += 1
            digit = pixels[y : y + height, x : x + width]
            for edge in (digit[0], digit[-1], digit[:, 0], digit[:, -1]):
                assert edge.max() >= faintest
        assert covered.max() == 1
        assert not pixels[covered == 0].any()


def test_a_background_is_uneven_and_not_black():
    grey = digits.background(np.random.default_rng(0))
    assert grey.shape == (digits.SIZE, digits.SIZE)
    assert grey.std() > 10


def test_splits_share_no_digit_and_training_is_long_tailed(tmp_path, monkeypatch):
    drawn = {}

    def keep(images, labels, frequency, count, generator):
        drawn[count] = {image.tobytes() for image in images}
        return scenes(images, labels, frequency, count, generator)

    scenes = digits.scenes
    monkeypatch.setattr(digits, "scenes", keep)
    monkeypatch.setattr(digits, "SCENES", {"train": 150, "val": 50})
    digits.make(tmp_path)
    assert not drawn[150] & drawn[50]
    train, val = (class_counts(tmp_path / f"{split}.json") for split in ("train", "val"))
    assert train["3"] > 4 * train["5"] > 0
    assert max(val.values()) < 3 * min(val.values())
    before = (tmp_path / "train.json").stat().st_mtime_ns
    digits.make(tmp_path)
    assert (tmp_path / "train.json").stat().st_mtime_ns == before


def test_tiles_cover_the_photograph_and_clip_boxes():
    pixels = np.random.default_rng(0).integers(0, 255, (300, 600, 3), dtype=np.uint8)
    boxes = [(250.0, 10.0, 20.0, 20.0), (0.0, 0.0, 8.0, 8.0)]
    tiles = list(trees.tiles(pixels, boxes, 256))
    assert len(tiles) == 2 * 3
    assert all(tile.shape == (256, 256, 3) for tile, _ in tiles)
    assert np.array_equal(tiles[-1][0], pixels[44:, 344:])
    # The first box sticks out of the first tile by 14 of its 20 pixels, of the second by 6.
    assert tiles[0][1] == [(0, (0.0, 0.0, 8.0, 8.0))]
    assert tiles[1][1] == [(0, (0, 10.0, 14.0, 20.0))]


def test_no_photograph_is_in_both_parts(tmp_path, monkeypatch):
    wheel = tmp_path / f"{trees.WHEEL.replace('==', '-')}-py3-none-any.whl"
    corners = "<xmin>10</xmin><ymin>20</ymin><xmax>40</xmax><ymax>60</ymax>"
    xml = f"<annotation><object><name>Tree</name><bndbox>{corners}</bndbox></object></annotation>"
    names = sorted({name for part in trees.PHOTOGRAPHS.values() for name in part})
    with zipfile.ZipFile(wheel, "w") as archive:
        for grey, name in enumerate(names, start=1):
            file = io.BytesIO()
            Image.new("RGB", (300, 260), (grey,) * 3).save(file, "PNG")
            archive.writestr(f"deepforest/data/{name}.png", file.getvalue())
            archive.writestr(f"deepforest/data/{name}.xml", xml)
    monkeypatch.setattr(trees, "SHA256", hashlib.sha256(wheel.read_bytes()).hexdigest())
    trees.make(tmp_path / "data", tmp_path)
    shown = {
        split: {Image.open(path).getpixel((0, 0))[0] for path in (tmp_path / "data" / split).iterdir()}
        for split in ("train", "val")
    }
    assert not shown["train"] & shown["val"]
    assert shown["train"] | shown["val"] == {*range(1, len(names) + 1)}
    content = json.loads((tmp_path / "data" / "val.json").read_text())
    assert content["annotations"][0]["bbox"] == [10, 20, 30, 40]


def test_trees_of_the_real_photographs(tmp_path):
    download_or_skip(trees.WHEEL, trees.SHA256, tmp_path / "downloads")
    trees.make(tmp_path / "data", tmp_path / "downloads")
    counts = {}
    for split in ("train", "val"):
        content = json.loads((tmp_path / "data" / f"{split}.json").read_text())
        counts[split] = len(content["annotations"])
        for annotation in content["annotations"]:
            x, y, width, height = annotation["bbox"]
            assert 0 <= x < x + width <= trees.SIZE
            assert 0 <= y < y + height <= trees.SIZE
    # 574 trees on overlapping tiles, 377 on tiles side by side, some of them cut.
    assert counts["train"] > 2 * 574
    assert 300 < counts["val"] < 2 * 377


def test_blood_cells_from_an_archive(tmp_path, monkeypatch):
    box = "<object><name>{}</name><bndbox>{}</bndbox></object>"
    edges = "<xmin>{}</xmin><ymin>{}</ymin><xmax>{}</xmax><ymax>{}</ymax>"
    objects = [("WBC", (80, 40, 240, 200)), ("RBC", (8, 8, 8, 8)), ("Platelets", (0, 0, 40, 80))]
    xml = "".join(box.format(name, edges.format(*corners)) for name, corners in objects)
    file = io.BytesIO()
    Image.fromarray(np.full((480, 640, 3), 128, np.uint8)).save(file, "JPEG")
    files = {"ImageSets/Main/trainval.txt": b"a\nb\n", "ImageSets/Main/test.txt": b"c\n"}
    for name in "abc":
        files[f"Annotations/{name}.xml"] = f"<annotation>{xml}</annotation>".encode()
        files[f"JPEGImages/{name}.jpg"] = file.getvalue()
    archive = tmp_path / "master.zip"
    with zipfile.ZipFile(archive, "w") as written:
        written.writestr("BCCD_Dataset-master/README.md", "BCCD")
        for name, content in files.items():
            written.writestr(f"BCCD_Dataset-master/BCCD/{name}", content)
    with pytest.raises(ValueError, match=r"master\.zip is not BCCD as released at https://github\.com/"):
        bccd.make(tmp_path / "data", archive)
    assert not (tmp_path / "data").exists()

    lines = [f"{hashlib.sha256(files[name]).hexdigest()}  {name}\n" for name in sorted(files)]
    monkeypatch.setattr(bccd, "SHA256", hashlib.sha256("".join(lines).encode()).hexdigest())
    bccd.make(tmp_path / "data", archive)
    # A box without area is dropped.
    assert class_counts(tmp_path / "data" / "train.json") == {"RBC": 0, "WBC": 2, "Platelets": 2}
    content = json.loads((tmp_path / "data" / "val.json").read_text())
    (image,) = content["images"]
    assert (image["width"], image["height"]) == (240, 180)
    assert [one["bbox"] for one in content["annotations"]] == [[30, 15, 60, 60], [0, 0, 15, 30]]
    archive.unlink()
    bccd.make(tmp_path / "data", archive)  # nothing is missing
