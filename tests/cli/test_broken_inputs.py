"""Bad inputs on the command line: one clear line, the right exit code, and nothing written or changed."""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
from pathlib import Path

import h5py
import keras
import pytest
from keras import layers

from octconvert import cli


def good(path="good.keras"):
    inputs = keras.Input((16, 16, 3))
    x = layers.Conv2D(8, 3, name="conv1")(inputs)
    keras.Model(inputs, layers.Conv2D(4, 3, name="conv2")(x), name="good").save(path)
    return path


def _truncated(path):
    whole = Path(good(path)).read_bytes()
    Path(path).write_bytes(whole[: len(whole) // 2])
    return path


def _weights_only():
    keras.saving.load_model(good()).save_weights("m.weights.h5")
    Path("good.keras").unlink()
    return "m.weights.h5"


def _written(name, content):
    Path(name).write_bytes(content)
    return name


def _folder(name, *files):
    Path(name).mkdir()
    for file in files:
        Path(name, file).write_bytes(b"x")
    return name


def _zip(name, member):
    with zipfile.ZipFile(name, "w") as archive:
        archive.writestr(member, b"x")
    return name


def _h5(name, **attributes):
    with h5py.File(name, "w") as file:
        file.attrs.update(attributes)
    return name


def _no_convolution():
    inputs = keras.Input((4,))
    keras.Model(inputs, layers.Dense(2)(inputs)).save("dense.keras")
    return "dense.keras"


def _lambda():
    inputs = keras.Input((8, 8, 3))
    keras.Model(inputs, layers.Lambda(lambda x: x + 1, name="plus")(inputs)).save("lambda.keras")
    return "lambda.keras"


@keras.saving.register_keras_serializable("test_broken_inputs")
class Unknown(layers.Layer):
    def call(self, x):
        return x


def _custom():
    inputs = keras.Input((8, 8, 3))
    keras.Model(inputs, Unknown(name="mystery")(inputs)).save("custom.keras")
    return "custom.keras"


def _unbuilt():
    keras.Sequential([layers.Conv2D(4, 3, name="conv")], name="open").save("open.keras")
    return "open.keras"


def _locked():
    good("good.keras")
    Path("out.keras").write_bytes(b"mine")
    return "good.keras"


# name, function that makes the file and names it, further arguments, exit code, what the line must say
BAD = [
    ("missing file", lambda: "nowhere.h5", [], 2, ["nowhere.h5"]),
    ("empty file", lambda: _written("empty.h5", b""), [], 2, ["empty.h5", "empty"]),
    ("text file", lambda: _written("notes.txt", b"hello world\n" * 20), [], 2, ["notes.txt"]),
    ("JSON", lambda: _written("model.json", b'{"class_name": "Sequential"}'), [], 2, ["model.json"]),
    ("random bytes", lambda: _written("noise.h5", bytes(range(256)) * 9), [], 2, ["noise.h5"]),
    ("truncated .keras", lambda: _truncated("cut.keras"), [], 2, ["cut.keras"]),
    ("truncated .h5", lambda: _truncated("cut.h5"), [], 2, ["cut.h5"]),
    ("weights only", _weights_only, [], 2, ["m.weights.h5", "weights"]),
    ("HDF5 of something else", lambda: _h5("data.h5", title="x"), [], 2, ["data.h5"]),
    ("broken configuration", lambda: _h5("bad.h5", model_config="{not json"), [], 2, ["bad.h5"]),
    ("SavedModel", lambda: _folder("saved", "saved_model.pb"), [], 2, ["saved", "SavedModel"]),
    ("directory", lambda: _folder("folder"), [], 2, ["folder", "directory"]),
    (
        "TFLite",
        lambda: _written("a.tflite", b"\x1c\x00\x00\x00TFL3" + bytes(64)),
        [],
        2,
        ["a.tflite", "TensorFlow Lite"],
    ),
    ("ONNX", lambda: _written("net.onnx", b"\x08\x08\x12\x07pytorch" + bytes(64)), [], 2, ["net.onnx", "ONNX"]),
    ("PyTorch", lambda: _zip("net.pt", "archive/data.pkl"), [], 2, ["net.pt", "PyTorch"]),
    ("zip of something else", lambda: _zip("photos.zip", "a.jpg"), [], 2, ["photos.zip"]),
    ("Lambda without --unsafe", _lambda, [], 2, ["lambda.keras", "plus", "--unsafe"]),
    ("unknown layer", _custom, [], 2, ["custom.keras", "Unknown", "--custom-objects"]),
    ("Sequential of unknown size", _unbuilt, [], 2, ["open", "--input-shape"]),
    ("no convolution", _no_convolution, [], 3, ["dense.keras", "no convolution"]),
    ("everything excluded", good, ["--exclude", "."], 3, ["good.keras", "conv1"]),
    ("maps too small", good, ["--min-size", "99"], 3, ["good.keras", "min_size"]),
    ("existing output", _locked, ["-o", "out.keras"], 2, ["out.keras", "--force"]),
    ("output of unknown kind", good, ["-o", "out.onnx"], 2, ["out.onnx", ".keras"]),
    ("output nowhere", good, ["-o", "no/such/folder/out.keras"], 2, ["no/such/folder"]),
    ("alpha out of range", good, ["--alpha", "1.5"], 2, ["alpha", "1.5"]),
    ("unknown flag", good, ["--alhpa", "0.5"], 2, ["--alhpa"]),
    ("bad regular expression", good, ["--include", "("], 2, ["regular expression"]),
    ("plan of another model", good, ["--plan", "plan.json"], 2, ["plan"]),
    ("unfitting input shape", good, ["--input-shape", "8,8,3"], 2, ["input_shape"]),
]


@pytest.mark.parametrize("make, arguments, code, said", [row[1:] for row in BAD], ids=[row[0] for row in BAD])
def test_a_bad_input_is_refused_in_one_line(make, arguments, code, said, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    model = make()
    Path("plan.json").write_text(json.dumps({"format": "something else"}))
    before = _state()
    known = dict(keras.saving.get_custom_objects())
    keras.saving.get_custom_objects().pop("test_broken_inputs>Unknown", None)
    capfd.readouterr()
    try:
        with pytest.raises(SystemExit) as ended:
            cli.main([model, *arguments])
    finally:
        keras.saving.get_custom_objects().update(known)
    out, err = capfd.readouterr()
    assert ended.value.code == code, err
    assert out == ""
    assert err.count("\n") == 1 and "Traceback" not in err, err
    assert [part for part in said if part not in err] == [], err
    assert _state() == before


def _state() -> dict[str, str]:
    """Every file below here with a digest of its content."""
    files = [Path(folder, name) for folder, _, names in os.walk(".") for name in names]
    return {str(file): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}
