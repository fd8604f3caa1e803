"""Tables and plots of the detection demo."""

import json

import numpy as np
import pytest

pytest.importorskip("pycocotools")

from PIL import Image

from experiments.detection import plots
from experiments.detection.coco import write_split
from experiments.detection.measures import frequency_thirds, third_aps
from tests.commands import refusal


def test_metrics_by_frequency():
    counts = {"a": 5, "b": 100, "c": 50, "d": 7, "e": 20, "f": 30, "g": 1}
    thirds = {"frequent": ["b", "c"], "middle": ["f", "e", "d"], "rare": ["a", "g"]}
    assert frequency_thirds(counts) == thirds
    row = third_aps({"AP": 1.0, **{f"AP-{name}": ord(name) for name in counts}}, counts)
    assert row["AP frequent"] == (ord("b") + ord("c")) / 2
    assert row["AP middle"] == (ord("f") + ord("e") + ord("d")) / 3
    assert third_aps({"AP": 1.0}, {"tree": 9}) == {}


def test_nothing_detected_is_no_number(tmp_path):
    counts = {"a": 3, "b": 2, "c": 1}
    nothing = {"AP": None}
    assert third_aps(nothing, counts) == dict.fromkeys(["AP frequent", "AP middle", "AP rare"])
    bboxes = {"x": nothing, "y": {"AP-a": 1.0, "AP-b": None, "AP-c": 2.0}}
    plots.draw_ap_by_class(bboxes, counts, tmp_path / "ap.png")
    assert (tmp_path / "ap.png").stat().st_size > 0


def test_demo_compares_what_did_not_diverge(tmp_path, capsys):
    pytest.importorskip("detectron2")
    from experiments.detection.demo import demo

    pixels = np.zeros((40, 40), dtype=np.uint8)
    for split in ("train", "val"):
        boxes = [(digit, (5.0, 5.0, 10.0, 10.0)) for digit in range(10)]
        write_split(tmp_path / "data", split, [(pixels, boxes)], [str(digit) for digit in range(10)])
    bbox = {"AP": 1.5, "AP50": 2.5, "AP75": None, **{f"AP-{digit}": 3.5 for digit in range(10)}}
    outcomes = {("focal", 1): {"diverged": 2}}
    outcomes |= {("focal", 2): {"bbox": bbox}, ("halted_focal", 1): {"bbox": bbox}}
    outcomes |= {("halted_focal", 2): {"bbox": {**bbox, "AP": 2.5}}}
    for (system, seed), outcome in outcomes.items():
        folder = tmp_path / "runs" / system / f"seed{seed}"
        (folder / "inference").mkdir(parents=True)
        (folder / "inference" / "coco_instances_results.json").write_text("[]")
        (folder / "result.json").write_text(json.dumps(outcome))
    demo("digits", tmp_path, 800, [1, 2])
    page = (tmp_path / "report.md").read_text().replace(" ", "")
    mark = "*diverged*"
    assert f"|focal|2|{'|'.join(6 * [mark])}|" in page
    assert "|halted_focal|2|2.00±0.71|2.50±0.00|-|-|-|-|" in page
    assert f"|focal|{mark}|{mark}|{mark}|" in page
    assert "|halted_focal|3.50±0.00|3.50±0.00|3.50±0.00|" in page
    diverged = tmp_path / "runs" / "focal" / "seed1"
    assert f"diverged at step 2 before; to try again, delete {diverged}" in capsys.readouterr().out
    rows = [json.loads(line) for line in (tmp_path / "results.jsonl").read_text().splitlines()]
    assert rows[0] == {"system": "focal", "seed": 1, "diverged": 2}
    assert rows[3]["AP"] == 2.5


def test_pictures(tmp_path):
    pixels = np.zeros((40, 40), dtype=np.uint8)
    write_split(tmp_path, "val", [(pixels, [(0, (5.0, 5.0, 10.0, 10.0))])], ["a", "b", "c"])
    box = {"image_id": 1, "category_id": 2, "bbox": [20, 20, 10, 10]}
    detections = tmp_path / "detections.json"
    detections.write_text(json.dumps([{**box, "score": 0.9}, {**box, "score": 0.1, "bbox": [0, 30, 5, 5]}]))
    sizes = {}
    for name, systems in {"one": {"x": detections}, "two": {"x": detections, "y": detections}}.items():
        plots.draw_detections(tmp_path, systems, tmp_path / f"{name}.png")
        sizes[name] = Image.open(tmp_path / f"{name}.png").size
    assert sizes["two"][0] > sizes["one"][0] > 100
    counts = {"a": 3, "b": 2, "c": 1}
    results = {"x": {f"AP-{name}": 10.0 for name in counts}}
    plots.draw_ap_by_class(results, counts, tmp_path / "ap.png")
    assert np.asarray(Image.open(tmp_path / "ap.png")).std() > 0


def test_demo_refuses_what_it_cannot_do(tmp_path, capsys):
    pytest.importorskip("detectron2")
    from experiments.detection.demo import main

    for arguments, message in [
        (["--iterations", "0"], "--iterations"),
        (["--archive", "bccd.zip"], "--archive is for --data bccd, got --data digits"),
    ]:
        with pytest.raises(SystemExit):
            main(["--folder", str(tmp_path / "demo"), *arguments])
        assert message in capsys.readouterr().err
    folder = tmp_path / "demo" / "runs" / "halted_focal" / "seed1"
    folder.mkdir(parents=True)
    (folder / "settings.json").write_text("{}")
    assert f"{folder} was made with other settings" in refusal(main, "--folder", tmp_path / "demo")
