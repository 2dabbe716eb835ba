"""``octconvert show``."""

import json
from pathlib import Path

import numpy as np
import pytest
from command_line import assert_one_error_line, files

import octconvert


@pytest.fixture
def octave(net):
    octconvert.convert("net.keras", calibration=False, output="octave.keras")
    np.save("one.npy", np.random.default_rng(0).normal(size=(32, 32, 3)).astype("float32"))


def test_writes_a_picture_and_a_table(run, octave):
    code, out, _ = run("show", "octave.keras", "--image", "one.npy", "--source", "net.keras")
    assert code == 0 and Path("octave-maps.png").read_bytes().startswith(b"\x89PNG")
    assert "octave.keras beside net.keras" in out and "conv2" in out and out.endswith("\nwritten: octave-maps.png\n")
    assert "error: mean squared difference from the source's map, over its variance." in out
    result = run("show", "octave.keras", "--image", "one.npy")
    assert_one_error_line(result, 2, "octave-maps.png", "exists already; --force overwrites it")
    assert run("show", "octave.keras", "--image", "one.npy", "--force", "--quiet")[:2] == (0, "")


def test_json_goes_alone_to_stdout(run, octave):
    code, out, _ = run("show", "octave.keras", "--image", "one.npy", "--layers", "conv[12]", "-o", "x.png", "--json")
    data = json.loads(out)
    assert code == 0 and [layer["name"] for layer in data["layers"]] == ["conv1", "conv2"]
    assert data["layers"][0]["low_shape"] == [16, 16, 4] and "values" not in data["layers"][0]["maps"][0]


@pytest.mark.parametrize(
    "arguments, parts",
    [
        (["--image", "no.jpg"], ["no.jpg: there is no such file or directory"]),
        (["--image", "one.npy", "-o", "maps.jpg"], ["maps.jpg", "pictures are written as .png"]),
        (["--image", "one.npy", "--channels", "99"], ["--channels takes a whole number from 1 to 16, received 99"]),
        (["--image", "one.npy", "--layers", "a["], ["--layers: 'a[' is no regular expression"]),
        (["--image", "one.npy", "--layers", "zzz"], ["--layers: no map matches 'zzz'; there are conv1, conv2"]),
        (["--image", "net.keras"], ["net.keras"]),
        ([], ["show: --image is missing, for example: octconvert show"]),
        (["one.npy"], ["unexpected argument 'one.npy'; did you mean --image one.npy?"]),
    ],
)
def test_what_makes_no_sense_is_one_line(run, octave, arguments, parts):
    before = files()
    result = run("show", "octave.keras", *arguments)
    assert_one_error_line(result, 2, *parts)
    assert files() == before
