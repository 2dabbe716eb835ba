"""`TimeDistributed` around a model: its octave twin in the same wrapper, and its MACs once for each time step."""

import keras
import numpy as np
import pytest
from keras import Input, Model, Sequential, layers
from oracle import assert_oracle, assert_portable, ends, example, randomise, roles, run

import octconvert
from octconvert.costs.cost import cost_of


def cnn(size=12, channels=3, name="cnn"):
    return Sequential(
        [
            Input((size, size, channels)),
            layers.Conv2D(8, 3, padding="same", activation="relu", name="a"),
            layers.BatchNormalization(name="norm"),
            layers.Conv2D(8, 3, padding="same", name="b"),
            layers.GlobalAveragePooling2D(),
        ],
        name=name,
    )


def video(steps=4, size=12):
    frames = Input((steps, size, size, 3))
    return Model(frames, layers.Dense(5)(layers.LSTM(6)(layers.TimeDistributed(cnn(size), name="time")(frames))))


@pytest.mark.quick("1", "None")
@pytest.mark.parametrize("steps", [4, 1, None])
def test_model_inside(steps):
    model = video(steps)
    result = assert_oracle(model, converted=2) if steps else octconvert.convert(model, calibration=False)
    assert roles(result) == {"time/a": "first", "time/b": "intermediate"}
    wrapper = result.model.get_layer("time")
    assert type(wrapper) is layers.TimeDistributed
    assert type(wrapper.layer.get_layer("a")).__name__ == "OctaveConv2D"


@pytest.mark.long
def test_open_number_of_time_steps_predicts_at_any():
    model = randomise(video(None))
    result = octconvert.convert(model, octave=1, calibration=False)
    rng = np.random.default_rng(0)
    for steps in (2, 5):
        frames = rng.standard_normal((3, steps, 12, 12, 3)).astype("float32")
        np.testing.assert_allclose(run(result.model, frames)[0], run(model, frames)[0], rtol=1e-4, atol=1e-5)


def test_macs_and_activations_count_every_time_step():
    one, many = cost_of(cnn()), cost_of(video(4))
    inside = many.macs - cost_of(Model(*(lambda i: (i, layers.Dense(5)(i)))(Input((6,))))).macs
    assert inside == 4 * one.macs
    assert many.peak_activation_bytes >= 4 * one.peak_activation_bytes


def test_map_out_ends_the_pair_at_the_wrapper():
    frames, image = Input((3, 12, 12, 3)), Input((12, 12, 3))
    conv = layers.Conv2D(8, 3, padding="same", name="b")
    inside = Model(image, conv(layers.Conv2D(8, 3, padding="same", name="a")(image)))
    after = Model(*(lambda i: (i, layers.Conv2D(4, 3, name="c")(i)))(Input((12, 12, 8))))
    x = layers.TimeDistributed(inside, name="first")(frames)
    model = Model(frames, [layers.TimeDistributed(after, name="second")(x), layers.Rescaling(2.0)(x)])
    result = assert_oracle(model, converted=2)
    assert roles(result) == {"first/a": "first", "first/b": "last", "second/c": "plain"}
    assert any("TimeDistributed" in reason for reason in ends(result).values())
    assert_portable(model)


@pytest.mark.long
def test_wrapper_in_a_nested_model_called_twice():
    frames = Input((3, 12, 12, 3))
    inner = Model(frames, layers.TimeDistributed(cnn(), name="time")(frames), name="encoder")
    first, second = Input((3, 12, 12, 3)), Input((3, 12, 12, 3))
    model = Model([first, second], layers.Concatenate()([inner(first), inner(second)]))
    result = assert_oracle(model, converted=2)
    assert roles(result) == {"encoder/time/a": "first", "encoder/time/b": "intermediate"}


@pytest.mark.long
def test_one_model_in_a_wrapper_and_beside_it():
    backbone = cnn()
    frames, image = Input((3, 12, 12, 3)), Input((12, 12, 3))
    x = layers.LSTM(8)(layers.TimeDistributed(backbone, name="time")(frames))
    model = Model([frames, image], layers.Concatenate()([x, backbone(image)]))
    assert_oracle(model)


def test_saved_and_loaded_without_octconvert(tmp_path):
    model = randomise(video())
    result = octconvert.convert(model, octave=1, portable=True, calibration=False)
    result.save(tmp_path / "video.keras")
    again = keras.saving.load_model(tmp_path / "video.keras")
    np.testing.assert_allclose(run(again, example(model))[0], run(model, example(model))[0], rtol=1e-4, atol=1e-5)


def test_a_wrapper_around_a_single_convolution_is_counted():
    frames = Input((4, 12, 12, 3))
    model = Model(frames, layers.TimeDistributed(layers.Conv2D(8, 3, name="a"), name="time")(frames))
    assert cost_of(model).macs == 4 * 10 * 10 * 8 * 27
    result = octconvert.convert(model, calibration=False)
    assert result.before.macs == 4 * 10 * 10 * 8 * 27
    assert roles(result) == {"time/a": "plain"}


def test_spectral_normalization_is_counted():
    image = Input((12, 12, 3))
    model = Model(image, layers.SpectralNormalization(layers.Conv2D(8, 3))(image))
    assert cost_of(model).macs == 10 * 10 * 8 * 27


@pytest.mark.long
def test_calibration_inside_the_wrapper():
    model = randomise(video())
    data = np.random.default_rng(0).standard_normal((24, 4, 12, 12, 3)).astype("float32")
    options = dict(calibration_steps=("select", "solve", "renormalize"), calibration_budget=3_600.0)
    result = octconvert.convert(model, calibration=data, **options)
    steps = {step.name: step for step in result.report.calibration.steps}
    assert steps["solve"].kept


def test_for_inference_the_time_steps_are_samples():
    model = randomise(video())
    converted = octconvert.convert(model, calibration=False).model
    made = octconvert.for_inference(converted, "litert")
    kinds = {type(layer).__name__ for layer in made._flatten_layers()}
    assert not kinds & {"TimeDistributed", "OctaveConv2D"}
    np.testing.assert_allclose(run(made, example(model))[0], run(converted, example(model))[0], rtol=1e-4, atol=1e-5)


@pytest.mark.long
def test_for_inference_an_open_number_of_time_steps_keeps_the_wrapper():
    model = randomise(video(None))
    converted = octconvert.convert(model, calibration=False, runtime="litert")
    assert any("'time' (TimeDistributed) stays as it is" in note for note in converted.report.notes)
    frames = np.random.default_rng(0).standard_normal((2, 3, 12, 12, 3)).astype("float32")
    reference = octconvert.convert(model, calibration=False).model
    np.testing.assert_allclose(run(converted.model, frames)[0], run(reference, frames)[0], rtol=1e-4, atol=1e-5)


@pytest.mark.quick("video.onnx")
@pytest.mark.parametrize("name", ["video.tflite", "video.onnx"])
def test_export(tmp_path, name):
    frames = Input((3, 12, 12, 3))
    model = randomise(Model(frames, layers.Flatten()(layers.TimeDistributed(cnn(), name="time")(frames))))
    exported = octconvert.export(octconvert.convert(model, calibration=False).model, tmp_path / name)
    assert exported.check.passed and exported.for_inference
