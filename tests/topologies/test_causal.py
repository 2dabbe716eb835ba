"""Causal networks of signals: the octave=1 oracle, and that no output at octave 2 and 4 reads a later input."""

import numpy as np
import pytest
from keras import Input, Model, layers, ops
from oracle import assert_oracle, ends, example, randomise, reasons

import octconvert

DILATIONS = (1, 2, 4, 8)


def wavenet(steps, channels=8):
    """Gated dilated convolutions, residual and skip connections."""
    inputs = Input((steps, 2))
    x = layers.Conv1D(channels, 2, padding="causal")(inputs)
    skips = []
    for dilation in DILATIONS:
        halves = [layers.Conv1D(channels, 2, padding="causal", dilation_rate=dilation)(x) for _ in range(2)]
        y = layers.Multiply()([layers.Activation("tanh")(halves[0]), layers.Activation("sigmoid")(halves[1])])
        skips.append(layers.Conv1D(2 * channels, 1)(y))
        x = layers.Add()([x, layers.Conv1D(channels, 1)(y)])
    x = layers.ReLU()(layers.Add()(skips))
    return Model(inputs, layers.Conv1D(4, 1)(layers.Conv1D(channels, 1, activation="relu")(x)))


def tcn(steps, channels=8):
    """Two causal convolutions a block, normalised, with spatial dropout; a 1x1 convolution where the width changes."""
    inputs = x = Input((steps, 2))
    for i, dilation in enumerate(DILATIONS):
        y = x
        for _ in range(2):
            y = layers.Conv1D(channels, 3, padding="causal", dilation_rate=dilation)(y)
            y = layers.SpatialDropout1D(0.1)(layers.ReLU()(layers.BatchNormalization()(y)))
        x = layers.ReLU()(layers.Add()([layers.Conv1D(channels, 1)(x) if i == 0 else x, y]))
    return Model(inputs, layers.Conv1D(3, 1)(x))


def padded(steps, channels=8):
    """The same convolution as a padding in front and a 'valid' window; a depthwise one, and one with a stride."""
    inputs = Input((steps, 2))
    x = layers.Conv1D(channels, 3, activation="relu")(layers.ZeroPadding1D((2, 0))(inputs))
    x = layers.DepthwiseConv1D(3, dilation_rate=2)(layers.ZeroPadding1D((4, 0))(x))
    x = layers.Conv1D(channels, 3, padding="causal", groups=2)(x)
    x = layers.UpSampling1D(2)(layers.Conv1D(channels, 3, strides=2, padding="causal", activation="relu")(x))
    return Model(inputs, layers.Conv1D(3, 1)(x))


NETS = [wavenet, tcn, padded]


@pytest.mark.quick("wavenet")
@pytest.mark.parametrize("make", NETS, ids=lambda make: make.__name__)
def test_the_oracle(make):
    result = assert_oracle(make(31))
    assert len(reasons(result)) == 1, reasons(result)  # the last one, which writes the output
    assert all(end in reasons(result) for end in ends(result))
    assert any("the model is causal" in note for note in result.report.notes)
    model = make(None)
    assert_oracle(model, inputs=example(model, 31))


@pytest.mark.long
@pytest.mark.parametrize("octave", [2, 4])
@pytest.mark.parametrize("steps", [48, None])
@pytest.mark.parametrize("make", NETS, ids=lambda make: make.__name__)
def test_outputs_depend_on_no_later_input(make, steps, octave):
    model = randomise(make(steps))
    converted = octconvert.convert(model, octave=octave, min_size=1, calibration=False).model
    x = np.repeat(np.random.default_rng(0).normal(size=(1, 48, 2)), 9, axis=0).astype("float32")
    places = np.arange(3, 43, 5)
    for sample, place in enumerate(places, 1):
        x[sample, place:] += 3.0
    outputs = ops.convert_to_numpy(converted(x))
    assert not np.array_equal(outputs[1:, -1], outputs[:1, -1].repeat(8, axis=0))
    for sample, place in enumerate(places, 1):
        assert np.array_equal(outputs[sample, :place], outputs[0, :place])


def test_a_gate_of_one_channel_is_averaged_over_earlier_positions():
    inputs = Input((None, 2))
    x = layers.Conv1D(8, 3, padding="causal", activation="relu")(inputs)
    gate = layers.Conv1D(1, 3, padding="causal", activation="sigmoid")(x)
    x = layers.Conv1D(8, 3, padding="causal")(layers.Multiply()([x, gate]))
    model = Model(inputs, layers.Conv1D(3, 1)(x))
    assert_oracle(model, inputs=example(model, 31))
    test_outputs_depend_on_no_later_input(lambda steps: model, None, 2)
