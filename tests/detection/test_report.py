"""Tables and pictures of detection results."""

import json

import numpy as np
import pytest

pytest.importorskip("pycocotools")

from PIL import Image

from el_plugins.detection import report
from el_plugins.detection.coco import write_split
from tests.commands import REPOSITORY, run


def test_metrics_by_frequency():
    counts = {"a": 5, "b": 100, "c": 50, "d": 7, "e": 20, "f": 30, "g": 1}
    thirds = {"frequent": ["b", "c"], "middle": ["f", "e", "d"], "rare": ["a", "g"]}
    assert report.frequency_thirds(counts) == thirds
    bbox = {"AP": 1.0, "AP50": 2.0, "AP75": 3.0, **{f"AP-{name}": ord(name) for name in counts}}
    row = report.metrics(bbox, counts)
    assert row["AP frequent"] == (ord("b") + ord("c")) / 2
    assert row["AP middle"] == (ord("f") + ord("e") + ord("d")) / 3
    assert report.metrics({"AP": 1.0, "AP50": 2.0, "AP75": 3.0}, {"tree": 9}).keys() == {"AP", "AP50", "AP75"}


def test_nothing_detected_is_no_number(tmp_path):
    counts = {"a": 3, "b": 2, "c": 1}
    nothing = {"AP": None, "AP50": None, "AP75": None}
    assert report.metrics(nothing, counts) == dict.fromkeys(report.columns(counts))
    bboxes = {"x": nothing, "y": {"AP-a": 1.0, "AP-b": None, "AP-c": 2.0}}
    report.draw_ap_by_class(bboxes, counts, tmp_path / "ap.png")
    assert (tmp_path / "ap.png").stat().st_size > 0


def test_demo_compares_what_did_not_diverge(tmp_path, capsys):
    pytest.importorskip("detectron2")
    from experiments.detection.demo import demo

    pixels = np.zeros((40, 40), dtype=np.uint8)
    for split in ("train", "val"):
        boxes = [(digit, (5.0, 5.0, 10.0, 10.0)) for digit in range(10)]
        write_split(tmp_path / "data", split, [(pixels, boxes)], [str(digit) for digit in range(10)])
    bbox = {"AP": 1.5, "AP50": 2.5, "AP75": None, **{f"AP-{digit}": 3.5 for digit in range(10)}}
    for system, outcome in {"focal": {"diverged": 2}, "halted_focal": {"bbox": bbox}}.items():
        (tmp_path / system / "inference").mkdir(parents=True)
        (tmp_path / system / "inference" / "coco_instances_results.json").write_text("[]")
        (tmp_path / system / "results.json").write_text(json.dumps(outcome))
    demo("digits", tmp_path, 800, 1)
    page = (tmp_path / "report.md").read_text().replace(" ", "")
    assert "|focal|*diverged*|*diverged*|*diverged*|*diverged*|*diverged*|*diverged*|" in page
    assert "|halted_focal|1.5|2.5|-|3.5|3.5|3.5|" in page
    assert (
        f"focal diverged at step 2; to try it again, delete {tmp_path / 'focal'}" in capsys.readouterr().out
    )
    systems = json.loads((tmp_path / "results.json").read_text())["systems"]
    assert systems == {"focal": {"diverged": 2}, "halted_focal": bbox}


def test_pictures(tmp_path):
    pixels = np.zeros((40, 40), dtype=np.uint8)
    write_split(tmp_path, "val", [(pixels, [(0, (5.0, 5.0, 10.0, 10.0))])], ["a", "b", "c"])
    box = {"image_id": 1, "category_id": 2, "bbox": [20, 20, 10, 10]}
    detections = tmp_path / "detections.json"
    detections.write_text(json.dumps([{**box, "score": 0.9}, {**box, "score": 0.1, "bbox": [0, 30, 5, 5]}]))
    sizes = {}
    for name, systems in {"one": {"x": detections}, "two": {"x": detections, "y": detections}}.items():
        report.draw_detections(tmp_path, systems, tmp_path / f"{name}.png")
        sizes[name] = Image.open(tmp_path / f"{name}.png").size
    assert sizes["two"][0] > sizes["one"][0] > 100
    counts = {"a": 3, "b": 2, "c": 1}
    results = {"x": {f"AP-{name}": 10.0 for name in counts}}
    report.draw_ap_by_class(results, counts, tmp_path / "ap.png")
    assert np.asarray(Image.open(tmp_path / "ap.png")).std() > 0


def test_demo_refuses_what_it_cannot_do(tmp_path):
    command = ["python", "-m", "experiments.detection.demo", "--folder", tmp_path / "demo"]
    environment = {"PYTHONPATH": str(REPOSITORY)}
    output = run(*command, "--iterations", "0", check=False, env=environment)
    assert "--iterations" in output
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "settings.json").write_text("{}")
    output = run(*command, check=False, env=environment)
    assert "was made with other settings" in output
