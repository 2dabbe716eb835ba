"""Which steps follow: by what was measured, and only with files that are there."""

import os

import numpy as np
import pytest

from octconvert.cli.spelling import FLAGS, shell_command
from octconvert.options.calibration import CalibrationOptions
from octconvert.options.delivery import DeliveryOptions
from octconvert.options.deployment import DeploymentOptions
from octconvert.options.fields import defaults
from octconvert.options.request import ConversionRequest
from octconvert.options.rewriting import RewritingOptions
from octconvert.pipeline.next_steps import Converted, after_bench, after_conversion, after_export
from octconvert.results.bench import Bench, BenchRow
from octconvert.results.report import Evaluation
from octconvert.runtimes import find


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def steps(arguments=(), source="net.h5", target="net-octave.keras", **found):
    request = ConversionRequest.of(dict(arguments))
    done = {"evaluation": None, "bench": None, "needs_trust": False, **found}
    return after_conversion(Converted(source, target, request, **done))


def timed(speedup, runtime="tf"):
    rows = [BenchRow("a", runtime, 2, 1.0, speedup=1.0), BenchRow("b", runtime, 1, 1.0, speedup=speedup)]
    return Bench(tuple(rows), 2, 1, 15, True)


def brief(results):
    return [(step.function, *step.models) for step in results]


def test_times_and_then_an_export():
    assert brief(steps()) == [("bench", "net.h5", "net-octave.keras"), ("export", "net-octave.keras")]
    assert brief(steps(source=None)) == [("export", "net-octave.keras")]
    assert steps(target=None) == ()


def test_they_are_for_the_runtime_that_was_named():
    time, export = steps({"runtime": "tf"})
    assert dict(time.options) == {"runtimes": "tf"}
    assert dict(export.options) == {"output": "net-octave-saved_model", "format": "tf"}
    if not find("onnx").obstacle("int8"):
        time, export = steps({"runtime": "onnx", "quantize": "int8", "input_shape": (8, 8, 3)}, needs_trust=True)
        sized = {"input_shape": (8, 8, 3), "unsafe": True}
        assert dict(time.options) == {"runtimes": "onnx", "quantize": "int8", **sized}
        assert dict(export.options) == {"output": "net-octave.onnx", "quantize": "int8", "unsafe": True}
        rounded = {"runtime": "onnx", "quantize": "int8"}
        data = {"calibration": "photos", "evaluate": "test.npz", "preprocess": "resnet50"}
        assert dict(steps({**rounded, **data})[-1].options) == {"output": "net-octave.onnx", "quantize": "int8", **data}
        in_memory = {**rounded, "calibration": np.zeros((2, 8, 8, 3))}
        assert dict(steps(in_memory)[-1].options) == {"output": "net-octave.onnx", "quantize": "int8"}


def test_where_accuracy_is_lost_a_closer_conversion_comes_first():
    lost = Evaluation("test.npz", 100, 0.9, 0.8)
    first = steps({"evaluate": "test.npz", "calibration": "photos", "preprocess": "resnet50"}, evaluation=lost)[0]
    assert first.function == "convert" and dict(first.options) == {
        "output": "net-octave-closer.keras",
        "max_drop": 0.01,
        "calibration": "photos",
        "evaluate": "test.npz",
        "preprocess": "resnet50",
    }
    kept = Evaluation("test.npz", 100, 0.9, 0.89)
    assert steps({"evaluate": "test.npz"}, evaluation=kept)[0].function == "bench"
    assert steps({"evaluate": "test.npz", "max_drop": 0.05}, evaluation=lost)[0].function == "bench"


def test_a_conversion_that_is_done_again_is_calibrated_as_before():
    request = {
        "input_range": (-1.0, 1.0),
        "calibration_samples": 64,
        "calibration_budget": 20.0,
        "calibration_steps": ("solve", "refine"),
        "seed": 3,
    }
    lost = Evaluation("test.npz", 100, 0.9, 0.8)
    closer = steps({**request, "target_macs": 0.5, "evaluate": "test.npz"}, evaluation=lost)[0]
    faster = steps({**request, "benchmark": True}, bench=timed(0.8))[0]
    for step in (closer, faster):
        assert request.items() <= dict(step.options).items() and "target_macs" not in dict(step.options)
        ConversionRequest.of(dict(step.options))  # no two of them contradict each other
    assert "--input-range=-1.0,1.0 " in " ".join(shell_command(closer))


def test_weights_that_were_only_moved_are_fitted_next():
    whole_low = steps({"calibration": False, "alpha": 0.0, "interior": 1.0})[0]
    assert {"alpha": 0.0, "interior": 1.0}.items() <= dict(whole_low.options).items()
    request = {"calibration": False, "alpha": 0.25, "exclude": ["a b"], "alpha_map": [("c", 0.5)]}
    first = steps(request)[0]
    assert first.function == "convert" and " ".join(shell_command(first)) == (
        "octconvert net.h5 -o net-octave-fitted.keras --alpha 0.25 --alpha-map c=0.5 --exclude 'a b'"
    )
    assert [step.function for step in steps({"calibration": False, "weights": "fresh"})] == ["bench", "export"]


def test_where_it_is_slower_only_what_is_faster_is_converted():
    request = {"benchmark": True, "runtime": "tf"}
    first = steps(request, bench=timed(0.8))[0]
    options = {"output": "net-octave-faster.keras", "objective": "latency", "runtime": "tf", "benchmark": True}
    assert first.function == "convert" and dict(first.options) == options
    assert brief(steps(request, bench=timed(1.4))) == [("export", "net-octave.keras")]
    assert brief(steps({**request, "objective": "latency"}, bench=timed(0.8))) == [("export", "net-octave.keras")]


def test_nothing_is_proposed_that_would_write_over_a_file():
    for name in ("net-octave.tflite", "net-octave.onnx", "net-octave.xml", "net-octave-saved_model"):
        os.mkdir(name)
    assert brief(steps()) == [("bench", "net.h5", "net-octave.keras")]


def test_behind_times_the_faster_model_is_exported():
    (step,) = after_bench(timed(1.5), ["a.h5", "b.keras"], {"unsafe": True})
    assert brief([step]) == [("export", "b.keras")] and dict(step.options)["unsafe"]
    (step,) = after_bench(timed(0.5), ["a.h5", "b.keras"], {})
    assert brief([step]) == [("export", "a.h5")]
    assert after_bench(timed(1.5), ["a.h5", object()], {}) == ()


def test_behind_an_export_its_numbers_are_rounded():
    if find("litert").obstacle("int8"):
        pytest.skip("LiteRT is not installed")
    (step,) = after_export("net.keras", "net.tflite", "litert", {"batch": 4})
    options = {"output": "net-int8.tflite", "quantize": "int8", "batch": 4}
    assert brief([step]) == [("export", "net.keras")] and dict(step.options) == options
    assert after_export("net.keras", "net.tflite", "litert", {"quantize": "int8"}) == ()
    assert after_export("net.keras", "saved", "tf", {}) == ()


def test_every_option_that_goes_along_has_a_flag():
    own = {name for kind in (RewritingOptions, CalibrationOptions, DeploymentOptions, DeliveryOptions)
           for name in defaults(kind)}  # fmt: skip
    assert own - {"strict"} <= set(FLAGS)
