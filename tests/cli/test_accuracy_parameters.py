"""The parameters that keep the accuracy: what the library receives, and what comes of them."""

import json
from pathlib import Path

import keras
import pytest
from command_line import DATA, QUICKLY, assert_one_error_line, files

from octconvert.cli import convert


@pytest.fixture
def received(net, run, monkeypatch):
    """Run the command line: (function of `octconvert.api`, the options for the accuracy that it receives)."""
    from octconvert import api

    names = "calibration preprocess input_range calibration_samples calibration_budget calibration_steps target_macs"
    names = {*names.split(), "max_drop", "evaluate", "metric", "seed"}
    calls = []

    def record(function, **arguments):
        calls.append((function, {name: value for name, value in arguments.items() if name in names}))
        raise api.InputError("enough")

    monkeypatch.setattr(api, "convert", lambda model, **arguments: record("convert", **arguments))
    monkeypatch.setattr(api, "plan", lambda model, **arguments: record("plan", **arguments))
    Path("data.npz").write_bytes(b"PK")
    Path("photos").mkdir()
    Path("photos/a.png").touch()
    Path("own.py").write_text("f = abs")

    def call(*argv):
        assert_one_error_line(run("net.keras", *argv), 2, "enough")
        return calls.pop()

    return call


@pytest.mark.parametrize(
    "argv, expected",
    [
        ([], {}),
        (["--calibrate", "data.npz"], {"calibration": "data.npz"}),
        (["--calibrate", "photos"], {"calibration": "photos"}),
        (["--no-calibration"], {"calibration": False}),
        (["--preprocess", "resnet50"], {"preprocess": "resnet50"}),
        (["--preprocess", "1/127.5,-1"], {"preprocess": "1/127.5,-1"}),
        (["--preprocess", "-1,1"], {"preprocess": "-1,1"}),
        (["--preprocess", "1/255"], {"preprocess": "1/255"}),
        (["--preprocess", "own.py:f"], {"preprocess": "own.py:f"}),
        (["--input-range", "-1,1"], {"input_range": (-1.0, 1.0)}),
        (["--calibration-samples", "64"], {"calibration_samples": 64}),
        (["--calibration-budget", "90"], {"calibration_budget": 90.0}),
        (["--calibration-steps", "solve, renormalize,solve"], {"calibration_steps": ("solve", "renormalize")}),
        (["--target-macs", "0.6"], {"target_macs": 0.6}),
        (["--max-drop", "0.01"], {"max_drop": 0.01}),
        (["--seed", "0"], {"seed": 0}),
        (
            ["--no-calibration", "--seed", "1", "--preprocess", "vgg16"],
            {"calibration": False, "seed": 1, "preprocess": "vgg16"},
        ),
        (["--calibrate", "photos", "--max-drop", "0.01"], {"calibration": "photos", "max_drop": 0.01}),
    ],
)
def test_typed_options_are_passed_on_and_no_others(received, argv, expected):
    assert received(*argv) == ("convert", expected)
    assert received(*argv, "--dry-run") == ("plan", expected)


def test_only_a_conversion_is_evaluated(received):
    assert received("--evaluate", "data.npz") == ("convert", {"evaluate": "data.npz"})
    assert received("--evaluate", "data.npz", "--dry-run") == ("plan", {})
    typed = ("--evaluate", "data.npz", "--metric", "auc", "--preprocess", "resnet50")
    assert received(*typed) == ("convert", {"evaluate": "data.npz", "metric": "auc", "preprocess": "resnet50"})
    assert received(*typed, "--dry-run") == ("plan", {})


def test_calibration_goes_with_a_plan(received, monkeypatch):
    monkeypatch.setattr(convert, "_check_plan", lambda path: None)
    assert received("--plan", "p.json", "--calibrate", "data.npz") == ("convert", {"calibration": "data.npz"})


def test_calibrates_on_data_and_evaluates(fashion, run):
    """A trained classifier and raw images of its own kind."""
    steps = ["--calibration-steps", "select,renormalize", "--calibration-samples", "48"]
    code, out, err = run("net.h5", "--calibrate", DATA, "--evaluate", DATA, "--json", *steps)
    result = json.loads(out)
    calibration, evaluation = result["calibration"], result["evaluation"]
    assert (code, err) == (0, "") and not calibration["synthetic"] and DATA.name in calibration["data"]
    assert calibration["samples"] + calibration["held_out"] == 48 and calibration["measures"]
    assert evaluation["samples"] == 200 and evaluation["before"] > 0.9 and DATA.name in evaluation["data"]
    assert any(row["error"] is not None for row in result["convolutions"])


@pytest.mark.long
def test_calibrates_on_synthetic_images_without_any_data(net, run):
    code, out, err = run("net.keras", "--input-range", "0,255", *QUICKLY)
    assert (code, err) == (0, "") and "on synthetic images" in out and "was not measured" in out
    assert "0..255, as given" in out and "--calibrate: a few hundred" in out
    assert max(map(len, out.splitlines())) <= 80 and files() == ["net-octave.keras", "net.keras"]


@pytest.mark.long
def test_accuracy_is_printed_where_it_was_measured(fashion, run):
    code, out, _ = run("net.h5", "--no-calibration", "--evaluate", DATA)
    assert code == 0 and "Accuracy 9" in out.split("before     after")[0] and "Calibration" not in out


@pytest.mark.long
def test_no_calibration_leaves_the_weights_as_they_are(fashion, run):
    code, out, _ = run("net.h5", "--no-calibration", "--json")
    result = json.loads(out)
    assert code == 0 and result["calibration"] is None and result["evaluation"] is None
    assert {row["error"] for row in result["convolutions"]} == {None}


@pytest.mark.long
def test_equal_seeds_make_equal_weights(net, run, images):
    for name in ("a.keras", "b.keras"):
        assert run("net.keras", "-q", "-o", name, "--calibrate", images, *QUICKLY) == (0, "", "")
    pairs = zip(*(keras.saving.load_model(name).get_weights() for name in ("a.keras", "b.keras")), strict=True)
    assert all((first == second).all() for first, second in pairs)


@pytest.mark.long
def test_alpha_is_chosen_for_a_share_of_the_macs(net, run):
    code, out, _ = run("net.keras", "--target-macs", "0.8", "--json", *QUICKLY)
    result = json.loads(out)
    assert code == 0 and 0.6 < result["after"]["macs"] / result["before"]["macs"] <= 0.8
    code, out, _ = run("net.keras", "--target-macs", "0.8", "--json", "--dry-run", *QUICKLY)
    alphas = {row["name"]: row["alpha_out"] for row in result["convolutions"]}
    assert code == 0 and {row["name"]: row["alpha_out"] for row in json.loads(out)["convolutions"]} == alphas


@pytest.mark.long
def test_alpha_is_chosen_for_a_drop(net, run, images):
    code, out, _ = run("net.keras", "--max-drop", "0.5", "--calibrate", images, "--json", *QUICKLY)
    assert code == 0 and json.loads(out)["after"]["macs"] < json.loads(out)["before"]["macs"]


@pytest.mark.quick("--calibrate")
@pytest.mark.parametrize("option", ["--calibrate", "--evaluate"])
def test_data_that_can_not_be_read(fashion, run, option):
    Path("data.npz").write_text("no archive")
    assert_one_error_line(run("net.h5", option, "data.npz"), 2, "data.npz")
    Path("empty").mkdir()
    assert_one_error_line(run("net.h5", option, "empty"), 2, "empty")
    assert files() == ["data.npz", "empty", "net.h5"]


def test_preprocess_that_is_unknown(fashion, run):
    assert_one_error_line(run("net.h5", "--calibrate", DATA, "--preprocess", "resnet5000"), 2, "resnet5000")
    assert files() == ["net.h5"]
