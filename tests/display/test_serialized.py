"""A report as JSON."""

import json
from dataclasses import replace

import pytest
from results_to_show import calibrated, failed, five, text, whole_low, with_errors

from octconvert.display.serialized import to_dict
from octconvert.results.report import (
    Cost,
    Measure,
)
from octconvert.results.shown import renderable as render


def test_json_holds_every_number_and_reads_back():
    report = failed()
    result = json.loads(json.dumps(to_dict(report), allow_nan=False))
    assert result["format"] == "octconvert-report/1"
    assert result["before"]["macs"] == 20_367_360 and result["after"]["peak_activation_bytes"] == 300_000
    assert [item["name"] for item in result["convolutions"]] == [item.name for item in report.convolutions]
    assert result["convolutions"][0]["low_shape"] == [16, 16, 16] and result["convolutions"][3]["low_shape"] is None
    assert result["options"]["alpha"] == 0.5 and result["chains"][0]["ends"][0]["name"] == "conv3"
    assert (result["convolutions_converted"], result["convolutions_total"], result["passed"]) == (4, 5, False)


def test_json_marks_what_writes_a_low_map_alone():
    rows = json.loads(json.dumps(to_dict(whole_low())))["convolutions"]
    assert [row["writes_whole_low"] for row in rows] == [False, True, True, False]
    assert rows[1]["high_shape"] is None and rows[1]["low_shape"] == [16, 16, 16]


def test_json_takes_numpy_numbers():
    numpy = pytest.importorskip("numpy")
    report = replace(five(), before=Cost(numpy.int64(5), 1, 1, 1), options=(("alpha", numpy.float32(0.5)),))
    result = json.loads(json.dumps(to_dict(report)))
    assert result["before"]["macs"] == 5 and result["options"]["alpha"] == 0.5


def test_json_holds_calibration_and_evaluation():
    result = json.loads(json.dumps(to_dict(calibrated()), allow_nan=False))
    assert result["calibration"]["data"] == "photos/ (96 of 5,200 images)" and not result["calibration"]["synthetic"]
    assert result["calibration"]["measures"][0] == {"name": "top-1 agreement", "before": 0.8, "after": 1.0}
    assert [step["kept"] for step in result["calibration"]["steps"]] == [True, True, False]
    smaller = result["evaluation"].pop("smaller")
    metrics = result["evaluation"].pop("metrics")
    assert result["evaluation"] == {"data": "test.npz", "samples": 5000, "before": 0.841, "after": 0.83}
    assert metrics == [{"name": "accuracy", "unit": "share", "before": 0.841, "after": 0.83}]
    assert smaller == {"rows": 147, "columns": 147, "mac_share": 0.43, "accuracy": 0.792}
    assert [row["error"] for row in result["convolutions"]] == [0.031, 0.124, 0.0004, 14.0, None]
    bare = to_dict(five())
    assert bare["calibration"] is None and bare["evaluation"] is None and bare["convolutions"][0]["error"] is None


def test_json_has_no_infinity():
    """The PSNR of equal outputs."""
    numpy = pytest.importorskip("numpy")
    done = replace(calibrated().calibration, measures=(Measure("PSNR", 31.0, numpy.float32("inf")),))
    report = replace(with_errors(five(), [float("nan")] * 5), calibration=done)
    result = json.loads(json.dumps(to_dict(report), allow_nan=False))
    assert result["calibration"]["measures"][0]["after"] is None and result["convolutions"][0]["error"] is None
    assert "inf dB" in text(render(report)) and "nan" in text(render(report))
