"""Forms for inference of causal signals and of a factor for each axis: the same numbers, built-in layers alone."""

import keras
import numpy as np
import pytest
from deployables import installed
from keras import Input, Model, layers
from oracle import example, largest_difference, randomise, run
from test_signal_and_volume_forms import assert_built_in, assert_same

import octconvert
from octconvert.inference import Forms
from octconvert.inference.step_forms import UPSAMPLINGS
from octconvert.runtimes.signature import example_inputs

FORMS = [
    *(Forms(upsampling=up) for up in UPSAMPLINGS),
    Forms("outputs", signals="layers"),
    Forms("separate", pooling="depthwise", reshaping="layer"),
]


def causal(steps, groups=2):
    """Dilated, strided, grouped, depthwise and transposed convolutions, sums, an average and padding in front."""
    inputs = Input((steps, 3), name="signal")
    x = layers.BatchNormalization()(layers.Conv1D(8, 3, padding="causal", use_bias=False)(inputs))
    y = layers.Conv1D(8, 2, dilation_rate=4, padding="causal", activation="tanh")(layers.ReLU()(x))
    x = layers.Add()([x, layers.Conv1D(8, 1)(y)])
    x = layers.Conv1D(8, 3, activation="relu")(layers.ZeroPadding1D((2, 0))(x))
    y = layers.Conv1D(12, 3, 2, padding="causal", activation="relu")(x)
    x = layers.Add()([layers.DepthwiseConv1D(3, padding="same")(y), layers.Conv1D(12, 1, 2)(x)])
    x = layers.Conv1D(8, 3, padding="causal", groups=groups, activation="gelu")(x)
    x = layers.Conv1DTranspose(8, 4, 2, padding="same", activation="relu")(x)
    x = layers.AveragePooling1D(3, 1, "same")(x)
    return randomise(Model(inputs, layers.Conv1D(2, 3, padding="causal", name="series")(x)))


def converted(model, octave=2, **options):
    return octconvert.convert(model, octave=octave, min_size=1, calibration=False, **options).model


@pytest.mark.quick("2-45")
@pytest.mark.parametrize("octave, steps", [(2, 32), (2, 45), (4, 31), (4, 48)])
def test_every_form_of_a_causal_model_predicts_the_same(octave, steps):
    model = converted(causal(steps), octave)
    for forms in FORMS:
        deployed = octconvert.for_inference(model, forms=forms)
        assert_same(model, deployed)
        assert_built_in(deployed)


@pytest.mark.long
@pytest.mark.parametrize("steps", [32, 45])
def test_whole_low_tensors(steps):
    model = converted(causal(steps), interior=1.0)
    deployed = octconvert.for_inference(model, "litert")
    assert_same(model, deployed)
    assert_built_in(deployed)


def test_no_output_of_the_form_reads_a_later_input():
    deployed = octconvert.for_inference(converted(tcn(45)))
    x = np.random.default_rng(0).normal(size=(1, 45, 3)).astype("float32")
    changed = x.copy()
    changed[:, 22:] += 3.0
    before, after = (keras.ops.convert_to_numpy(deployed(each)) for each in (x, changed))
    assert np.array_equal(before[:, :22], after[:, :22]) and not np.array_equal(before, after)


def tcn(steps):
    inputs = x = Input((steps, 3))
    for dilation in (1, 2, 4):
        x = layers.Conv1D(8, 3, padding="causal", dilation_rate=dilation)(x)
        x = layers.ReLU()(layers.BatchNormalization()(x))
    return randomise(Model(inputs, layers.Conv1D(2, 1)(x)))


@pytest.mark.long
@pytest.mark.parametrize("steps", [32, 45])
@pytest.mark.parametrize("name", ["litert", "onnx", "openvino", "tf"])
def test_runtimes_return_the_same(name, steps, tmp_path):
    runtime, model = installed(name), converted(causal(steps, groups=1))  # tf2onnx knows no grouped convolutions
    path = tmp_path / f"model{runtime.suffix}"
    runtime.export(octconvert.for_inference(model, name), path)
    inputs = example_inputs(model, 1)
    session = runtime.open(path)
    assert largest_difference(run(model, list(inputs.values())), session(inputs)) <= 1e-5
    if (name, steps) == ("litert", 32):
        assert session.partitions == 1


POOLS = [
    ("Max", 2, None, "valid"),
    ("Max", 3, 2, "same"),
    ("Average", 2, None, "valid"),
    ("Average", 3, 1, "same"),
    ("Average", 1, 2, "valid"),
]


@pytest.mark.long
@pytest.mark.parametrize(("kind", "size", "strides", "padding"), POOLS)
@pytest.mark.parametrize("steps", [32, 45])
def test_pooling_of_causal_maps(kind, size, strides, padding, steps, tmp_path):
    inputs = Input((steps, 3))
    x = layers.Conv1D(8, 3, padding="causal", activation="relu")(inputs)
    x = getattr(layers, f"{kind}Pooling1D")(size, strides, padding)(x)
    x = layers.Conv1D(8, 2, padding="causal", activation="relu")(x)
    x = getattr(layers, f"{kind}Pooling1D")(2)(layers.ZeroPadding1D((1, 0))(x))
    x = layers.Conv1D(8, 2, padding="causal", activation="relu")(x)
    model = randomise(Model(inputs, layers.GlobalAveragePooling1D()(x)))
    for octave, interior in ((2, None), (4, 1.0)):
        result = converted(model, octave, interior=interior)
        assert sum(type(layer).__name__ == "OctavePooling1D" for layer in result.layers) == 2
        for forms in (Forms(), Forms(signals="layers")):
            deployed = octconvert.for_inference(result, forms=forms)
            assert_same(result, deployed)
            assert_built_in(deployed)
        deployed.save(tmp_path / "form.keras")
        assert_same(deployed, keras.models.load_model(tmp_path / "form.keras"))


def test_open_sizes_stay_octave_layers():
    model = converted(tcn(None))
    inputs = example(model, 31)
    assert largest_difference(run(model, inputs), run(octconvert.for_inference(model), inputs)) <= 1e-5


@pytest.mark.parametrize("size", [(3, 8, 12), (3, 7, 9)])
def test_a_factor_for_each_axis(size):
    inputs = Input((*size, 3))
    x = layers.BatchNormalization()(layers.Conv3D(8, 3, padding="same")(inputs))
    x = layers.MaxPooling3D((1, 2, 2), padding="same")(layers.ReLU()(x))
    x = layers.Conv3D(8, 3, strides=(1, 2, 2), padding="same", activation="relu")(x)
    model = randomise(Model(inputs, layers.Conv3D(4, 1, strides=(1, 2, 2), name="map")(x)))
    model = converted(model, (1, 2, 2))
    for forms in (*(Forms(upsampling=up) for up in UPSAMPLINGS), Forms(volumes="planes")):
        deployed = octconvert.for_inference(model, forms=forms)
        assert_same(model, deployed)
        assert_built_in(deployed)
