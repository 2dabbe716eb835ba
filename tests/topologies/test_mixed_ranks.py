"""Models with convolutions of several ranks: each part is converted at its own."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import Input, Model, layers
from oracle import all_layers, assert_oracle, assert_portable, example, largest_difference, randomise, reasons, run

import octconvert
from octconvert.errors import UsageError


def block(rank, x, filters=8, **more):
    """A residual block with BatchNormalization."""
    conv = getattr(layers, f"Conv{rank}D")
    y = conv(filters, 3, padding=more.pop("padding", "same"), use_bias=False, **more)(x)
    y = conv(filters, 3, padding="same")(layers.ReLU()(layers.BatchNormalization()(y)))
    return layers.ReLU()(layers.Add()([x if x.shape[-1] == filters else conv(filters, 1)(x), y]))


def waveform():
    """A learned filter bank, then a net on its picture, as for keywords in audio."""
    wave = Input((256, 1))
    x = block(1, block(1, wave, 16, strides=1), 16)
    x = layers.MaxPooling1D(4)(x)
    x = layers.Reshape((64, 16, 1))(x)
    x = layers.MaxPooling2D(2)(block(2, block(2, x), 16))
    return Model(wave, layers.Dense(5)(layers.GlobalAveragePooling2D()(x)))


def text_lines():
    """A net on images whose columns become steps for a causal one, as for lines of text."""
    image = Input((16, 32, 3))
    x = block(2, layers.MaxPooling2D(2)(block(2, image)), 8)
    x = layers.Reshape((16, 64))(layers.Permute((2, 1, 3))(x))
    x = layers.Conv1D(12, 3, padding="causal", activation="relu")(layers.Dense(12)(x))
    x = layers.Conv1D(12, 3, padding="causal", dilation_rate=2, activation="relu")(x)
    return Model(image, layers.Dense(7, activation="softmax")(layers.Conv1D(12, 3, padding="causal")(x)))


def video():
    """Volumes first, images after."""
    clip = Input((4, 16, 16, 3))
    x = block(3, block(3, clip), 8)
    x = layers.Reshape((16, 16, 32))(layers.Permute((2, 3, 1, 4))(x))
    return Model(clip, layers.Dense(3)(layers.GlobalMaxPooling2D()(block(2, block(2, x, 16), 16))))


def actions():
    """A net on every frame, then one over time."""
    frame = Input((16, 16, 3))
    net = Model(frame, layers.GlobalAveragePooling2D()(block(2, block(2, frame), 16)), name="net")
    clip = Input((12, 16, 16, 3))
    x = block(1, block(1, layers.TimeDistributed(net)(clip), 16), 16)
    return Model(clip, layers.Dense(3)(layers.GlobalAveragePooling1D()(x)))


def sensors():
    """An image and a signal, joined behind their own nets; a layer of theirs is shared."""
    image, signal = Input((16, 16, 3), name="image"), Input((64, 2), name="signal")
    act = layers.LeakyReLU(0.1, name="shared")
    x = layers.GlobalAveragePooling2D()(act(block(2, act(block(2, image)), 8)))
    y = layers.GlobalAveragePooling1D()(act(block(1, act(block(1, signal)), 8)))
    return Model([image, signal], layers.Dense(4)(layers.Concatenate()([x, y])))


def channel_gates():
    """A convolution over the channels as a gate (ECA-Net)."""
    image = Input((16, 16, 3))
    x = block(2, block(2, image), 16)
    y = layers.Reshape((16, 1))(layers.GlobalAveragePooling2D()(x))
    y = layers.Conv1D(1, 3, padding="same", activation="sigmoid")(y)
    x = layers.Multiply()([x, layers.Reshape((1, 1, 16))(y)])
    return Model(image, layers.Conv2D(4, 3, padding="same")(block(2, x, 16)))


def open_sizes():
    """Images of any size whose rows become channels of a signal: nothing but the height is known."""
    image = Input((16, None, 3))
    x = layers.AveragePooling2D((16, 1))(block(2, block(2, image), 8))
    x = layers.Lambda(lambda x: keras.ops.squeeze(x, 1), output_shape=(None, 8))(x)
    return Model(image, layers.Dense(3)(layers.GlobalMaxPooling1D()(block(1, block(1, x)))))


BUILDERS = [waveform, text_lines, video, actions, sensors, channel_gates, open_sizes]
BUDGET = 3_600.0
PLAIN = {"channel_gates": 1}
"""Convolutions that have nothing to divide."""


def convolutions(model):
    return [layer for layer in all_layers(model) if hasattr(layer, "kernel_size")]


@pytest.mark.quick("text_lines")
@pytest.mark.parametrize("build", BUILDERS, ids=[build.__name__ for build in BUILDERS])
def test_every_part_is_converted(build):
    model = randomise(build())
    assert_oracle(model, min_size=1)
    result = octconvert.convert(model, octave=1, min_size=1, calibration=False)
    names = {layer.name for layer in convolutions(model)}
    plain = [entry.name for entry in result.plan.convolutions if entry.role == "plain" and entry.name in names]
    assert len(plain) == PLAIN.get(build.__name__, 0), reasons(result)


@pytest.mark.long
@pytest.mark.parametrize("build", BUILDERS, ids=[build.__name__ for build in BUILDERS])
def test_saved_and_for_inference(build, tmp_path):
    model = randomise(build())
    inputs, path = example(model), tmp_path / "m.keras"
    result = octconvert.convert(model, output=path, interior=0.75, min_size=1, calibration=False)
    found = run(result.model, inputs)
    if build is not open_sizes:  # a Lambda is a stranger's code
        assert largest_difference(found, run(octconvert.load(path), inputs)) <= 1e-6
    for runtime in ("litert", "tf", "xla", "onnx"):
        assert largest_difference(found, run(octconvert.for_inference(result.model, runtime), inputs)) <= 1e-5


@pytest.mark.quick("waveform")
@pytest.mark.parametrize("build", [waveform, video, sensors], ids=["waveform", "video", "sensors"])
def test_with_built_in_layers(build):
    assert_portable(randomise(build()))


def test_channels_first():
    wave = Input((1, 128))
    x = layers.Conv1D(16, 3, padding="same", data_format="channels_first")(wave)
    x = layers.Conv1D(16, 3, padding="same", data_format="channels_first")(layers.PReLU(shared_axes=[2])(x))
    x = layers.Reshape((1, 16, 128))(x)
    for _ in range(3):
        x = layers.Conv2D(8, 3, padding="same", data_format="channels_first")(layers.ReLU()(x))
    model = Model(wave, layers.GlobalAveragePooling2D(data_format="channels_first")(x))
    assert_oracle(model, converted=5)


def test_the_signals_stay_causal_and_nothing_else_is():
    model = randomise(text_lines())
    result = octconvert.convert(model, min_size=1, calibration=False)
    causal = {type(layer).__name__: layer.causal for layer in all_layers(result.model) if hasattr(layer, "causal")}
    assert causal["OctaveConv1D"] and not causal["OctaveConv2D"]
    head = next(layer for layer in result.model.layers if isinstance(layer, layers.Permute))
    behind = Model(head.output, result.model.output)
    steps = np.random.default_rng(0).normal(size=(1, *head.output.shape[1:])).astype("float32")
    later = steps.copy()
    later[:, 11:] = 0
    assert largest_difference(run(behind, steps)[0][:, :11], run(behind, later)[0][:, :11]) <= 1e-6


def test_an_octave_for_each_axis_is_for_the_maps_that_have_them():
    model = randomise(video())
    result = octconvert.convert(model, octave=(1, 2, 2), min_size=1, calibration=False)
    images = [entry for entry in result.plan.convolutions if "2d" in entry.name]
    assert {entry.role for entry in images} == {"plain"}
    assert {entry.reason for entry in images} == {"`octave` 1,2,2 is for maps of 3 axes"}
    assert any(entry.role == "intermediate" for entry in result.plan.convolutions)
    with pytest.raises(UsageError, match="rows and columns or depth, rows and columns"):
        octconvert.convert(model, octave=(2,), calibration=False)


@keras.saving.register_keras_serializable("test_mixed_ranks")
class LowRank(layers.Layer):
    """A layer of a user's own that is no convolution of Keras, and has names of its attributes."""

    kernel_size = (3, 3)

    def __init__(self, rank, **options):
        super().__init__(**options)
        self.rank = rank

    def build(self, shape):
        self.scale = self.add_weight(shape=(1,), name="scale")

    def call(self, inputs):
        return self.scale * tf.raw_ops.Relu(features=tf.convert_to_tensor(inputs))

    def compute_output_spec(self, inputs):
        return keras.KerasTensor(inputs.shape, inputs.dtype)

    def get_config(self):
        return {**super().get_config(), "rank": self.rank}


@pytest.mark.parametrize("rank", [None, 4, "full"])
def test_a_layer_whose_rank_is_something_else_is_left_as_it_is(rank):
    image = Input((16, 16, 3))
    x = LowRank(rank)(layers.Conv2D(8, 3, padding="same")(image))
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(8, 3, padding="same")(x))
    model = randomise(Model(image, x))
    assert_oracle(model)
    with pytest.raises(UsageError, match=r"have rows and columns$"):
        octconvert.convert(model, octave=(2, 2, 2), calibration=False)


@pytest.mark.parametrize("build", [waveform, video, sensors, text_lines], ids=lambda build: build.__name__)
@pytest.mark.long
def test_calibration_brings_it_nearer(build):
    """On synthetic samples of each input's own rank, with alphas that meet a target."""
    model = randomise(build())
    inputs = example(model, batch=16)
    expected = run(model, inputs)
    sliced = octconvert.convert(model, min_size=1, calibration=False)
    options = {"min_size": 1, "calibration_budget": BUDGET, "calibration_steps": ("select", "solve")}
    fitted = octconvert.convert(model, **options)
    apart = [largest_difference(expected, run(result.model, inputs)) for result in (sliced, fitted)]
    assert apart[1] < apart[0]
    target = octconvert.convert(model, target_macs=0.7, **options)
    assert target.after.macs <= 0.71 * target.before.macs
