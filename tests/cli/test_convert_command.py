"""A conversion on the command line: files, options and results."""

import json
from pathlib import Path

import keras
import pytest
from command_line import assert_one_error_line, files


def test_converts_to_the_default_name_and_reports(net, run):
    code, out, err = run("net.keras", "--no-calibration")
    assert (code, err) == (0, "")
    assert files() == ["net-octave.keras", "net.keras"]
    assert "3 of 3 convolutions converted" in out and "net.keras -> net-octave.keras" in out
    assert keras.saving.load_model("net-octave.keras").output_shape == (None, 4)


def test_default_name_is_beside_the_input_and_drops_one_ending(net, run):
    Path("folder").mkdir()
    net.rename("folder/net.v2.keras")
    assert run("folder/net.v2.keras", "-q", "--no-calibration") == (0, "", "")
    assert files("folder") == ["net.v2-octave.keras", "net.v2.keras"]


def test_force_overwrites_and_h5_is_chosen_by_its_ending(net, run):
    Path("out.h5").write_text("old")
    assert run("net.keras", "-o", "out.h5", "--force", "-q", "--no-calibration") == (0, "", "")
    assert Path("out.h5").read_bytes().startswith(b"\x89HDF")


def test_text_file_as_model(net, run):
    Path("text.h5").write_text("not a model\n")
    assert_one_error_line(run("text.h5"), 2, "text.h5")
    assert files() == ["net.keras", "text.h5"]


def test_nothing_to_convert_ends_with_3_and_writes_nothing(net, run):
    assert_one_error_line(run("net.keras", "--exclude", "conv"), 3, "net.keras")
    assert files() == ["net.keras"]


def test_options_reach_the_conversion(net, run):
    code, out, _ = run(
        "net.keras", "--json", "--alpha-map", "conv1=0.25", "--exclude", "conv3", "--portable", "--no-calibration"
    )
    rows = {row["name"]: row for row in json.loads(out)["convolutions"]}
    assert code == 0 and rows["conv1"]["alpha_out"] == 0.25 and rows["conv3"]["role"] == "plain"
    names = {type(layer).__module__.split(".")[0] for layer in keras.saving.load_model("net-octave.keras").layers}
    assert names == {"keras"}


@pytest.mark.long
def test_elementwise_layers_by_name(net, run):
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.Softmax(name="attention")(keras.layers.Conv2D(8, 3)(inputs))
    keras.Model(inputs, keras.layers.Conv2D(4, 3)(x)).save("named.keras")
    options = ["--min-size=1", "--elementwise", "attention", "--elementwise", "other", "--no-calibration"]
    code, out, _ = run("named.keras", "--json", *options)
    report = json.loads(out)
    assert code == 0 and [row["role"] for row in report["convolutions"]] == ["first", "last"]
    assert "elementwise 'other' is no layer, class or activation of the model" in report["notes"]
    assert_one_error_line(run("named.keras", "--force", "--elementwise", ""), 2, "elementwise")
    run("named.keras", "-q", "--dry-run", "--json", "plan.json", "--min-size=1", "--elementwise", "Softmax")
    code, out, _ = run("named.keras", "--force", "--json", "--plan", "plan.json", "--no-calibration")
    assert code == 0 and json.loads(out)["convolutions_converted"] == 2


def test_diff_of_source_and_result(net, run):
    run("net.keras", "-q", "--no-calibration")
    code, out, err = run("diff", "net.keras", "net-octave.keras")
    assert (code, err) == (0, "") and "3 of 3 convolutions converted" in out
    code, out, _ = run("diff", "--json", "net.keras", "net-octave.keras")
    assert json.loads(out)["before"]["macs"] > json.loads(out)["after"]["macs"]
