"""Saved conversions load in a fresh process: built-in layers without octconvert, octave layers once it is imported."""

import json
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from keras import Input, Model, Sequential, layers, ops
from oracle import example, largest_difference, randomise, run

import octconvert
from octconvert import UsageError


def conv(filters=8, **options):
    return layers.Conv2D(filters, 3, **{"padding": "same", **options})


def residual():
    inputs = Input((15, 14, 3))
    x = layers.ReLU()(layers.BatchNormalization()(conv(strides=2)(inputs)))
    x = layers.Add()([x, conv()(layers.PReLU(shared_axes=[1, 2])(conv()(x)))])
    x = layers.MaxPooling2D(3, 2)(layers.ZeroPadding2D(1)(x))
    return Model(inputs, {"features": x, "classes": layers.Dense(3)(layers.GlobalAveragePooling2D()(x))})


def mobile():
    inputs = Input((16, 17, 3))
    x = layers.Normalization(mean=[0.1, 0.2, 0.3], variance=[1.0, 2.0, 3.0])(inputs)
    x = layers.SeparableConv2D(8, 3, 2, "same")(
        layers.DepthwiseConv2D(3)(layers.ZeroPadding2D(((0, 1), (0, 1)))(conv()(x)))
    )
    g = conv(8, activation="sigmoid")(layers.GlobalAveragePooling2D(keepdims=True)(x))
    x = ops.relu6(x * g + 1)
    return Model(inputs, conv(5, groups=1)(layers.Concatenate()([x, conv(4, groups=2)(x)])))


def nested():
    shared = Sequential([Input((12, 12, 3)), conv(), layers.Activation("swish"), conv(4)], name="shared")
    left, right = Input((12, 12, 3), name="left"), Input((12, 12, 3), name="right")
    return Model([left, right], conv(2)(layers.Subtract()([shared(left), shared(right)])))


def fully_convolutional():
    inputs = Input((None, None, 3))
    skip = conv()(inputs)
    x = layers.UpSampling2D()(conv(strides=2)(layers.AveragePooling2D(3, 1, "same")(skip)))
    return Model(inputs, conv(2)(layers.MaxPooling2D(2)(x)))


MODELS = [residual, mobile, nested, fully_convolutional]

CHILD = """
import json, sys
import numpy as np
import keras
for needs_octconvert, path, inputs in json.loads(open(sys.argv[1]).read()):
    assert needs_octconvert or "octconvert" not in sys.modules
    if needs_octconvert:
        import octconvert
    model = keras.models.load_model(path)
    arrays = np.load(inputs)
    sample = [arrays[key] for key in sorted(arrays.files)]
    outputs = model(sample if len(sample) > 1 else sample[0], training=False)
    np.savez(path + ".npz", *[keras.ops.convert_to_numpy(o) for o in keras.tree.flatten(outputs)])
"""


@pytest.mark.quick("residual")
@pytest.mark.parametrize("models", [MODELS[:1], MODELS[1:]], ids=["residual", "others"])
def test_load_in_a_fresh_process(models, tmp_path):
    jobs, expected = [], {}
    kinds = [(make, portable) for portable in (True, False) for make in models]
    for make, portable in kinds:
        model = randomise(make())
        if portable and make is fully_convolutional:
            continue
        converted = octconvert.convert(model, min_size=1, portable=portable, calibration=False)
        sample = example(model, 18)
        folder = tmp_path / ("portable" if portable else "octave")
        folder.mkdir(exist_ok=True)
        inputs = folder / f"{make.__name__}.inputs.npz"
        np.savez(inputs, **{str(i): array for i, array in enumerate(sample if isinstance(sample, list) else [sample])})
        for ending in ("keras",) if make is mobile else ("keras", "h5"):  # Keras loads no raw operation from .h5
            path = str(folder / f"{make.__name__}.{ending}")
            converted.save(path)
            jobs.append((not portable, path, str(inputs)))
            expected[path] = run(converted.model, sample)
    listed = tmp_path / "jobs.json"
    listed.write_text(json.dumps(jobs))
    command = [sys.executable, "-c", textwrap.dedent(CHILD), str(listed)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    for path, outputs in expected.items():
        arrays = np.load(path + ".npz")
        assert largest_difference(outputs, [arrays[key] for key in arrays.files]) < 1e-5, path


def test_hdf5_is_refused_before_the_work_where_it_can_not_hold_an_operation(tmp_path):
    inputs = Input((16, 16, 3))
    x = layers.Conv2D(8, 3, padding="same")(inputs)
    model = Model(inputs, layers.Conv2D(8, 3)(ops.relu(x) + x))
    stages = []
    with pytest.raises(UsageError, match=r"m\.h5: HDF5 does not hold operations of keras.ops, as 'relu"):
        octconvert.convert(model, output=tmp_path / "m.h5", progress=lambda stage, *_: stages.append(stage))
    assert not [stage for stage in stages if stage.startswith("calibrate")]
