"""Layers that hide convolutions in their ``call`` are opened, converted, and put back under their names."""

import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import Input, Model, layers, ops
from oracle import all_layers, assert_oracle, ends, largest_difference, randomise, roles, run

import octconvert


def conv(x, filters=8, **more):
    return layers.Conv2D(filters, 3, padding="same", **more)(x)


class Block(layers.Layer):
    """A residual block: two convolutions, one with BatchNormalization, as most of these are written."""

    def __init__(self, filters=8, **kwargs):
        super().__init__(**kwargs)
        self.first = layers.Conv2D(filters, 3, padding="same", use_bias=False, name="first")
        self.norm = layers.BatchNormalization(name="norm")
        self.second = layers.Conv2D(filters, 3, padding="same", name="second")

    def call(self, x, training=None):
        return ops.relu(x + self.second(ops.silu(self.norm(self.first(x), training=training))))


class Stage(layers.Layer):
    """Blocks in a block; one of them is called twice."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.blocks = [Block(name=f"block{i}") for i in range(2)]
        self.down = layers.MaxPooling2D(2, padding="same", name="down")

    def compute_output_shape(self, shape):
        return self.down.compute_output_shape(shape)

    def call(self, x):
        for block in (*self.blocks, self.blocks[0]):
            x = block(x)
        return self.down(x)


class Gate(layers.Layer):
    """Squeeze and excite, with sizes read from the tensor."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.squeeze, self.excite = layers.Dense(4, activation="relu"), layers.Dense(8, activation="sigmoid")

    def call(self, x):
        pooled = self.excite(self.squeeze(ops.mean(x, axis=(1, 2))))
        return x * ops.reshape(pooled, (-1, 1, 1, x.shape[-1]))


class Join(layers.Layer):
    """Two tensors in, by name, and two out."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.conv = layers.Conv2D(8, 3, padding="same", name="conv")

    def call(self, x, other=None, scale=1.0):
        joined = self.conv(ops.concatenate([x, other], axis=-1))
        return {"sum": joined + scale * x, "other": other}


class Scaled(layers.Layer):
    """Weights of its own: one for all, one for each channel."""

    def build(self, shape):
        self.gamma = self.add_weight(shape=(shape[-1],), name="gamma")
        self.beta = self.add_weight(shape=(1,), name="beta")

    def call(self, x):
        return x * ops.reshape(self.gamma, (1, 1, 1, -1)) + self.beta


def two_outputs(x):
    outputs = Join(name="block")(x, other=conv(x), scale=0.5)
    return layers.Concatenate()([outputs["sum"], outputs["other"]])


def spectral(x):
    return layers.SpectralNormalization(layers.Conv2D(8, 3, padding="same", name="inside"), name="block")(x)


HIDING = {
    "block": (lambda x: Block(name="block")(x), 2),
    "blocks in a block": (lambda x: Stage(name="block")(x), 4),
    "gate": (lambda x: Gate(name="block")(Block(name="first")(x)), 2),
    "several tensors": (two_outputs, 2),
    "own weights": (lambda x: Scaled(name="block")(x), 0),
    "SpectralNormalization": (spectral, 1),
    "Lambda": (lambda x: layers.Lambda(lambda t: ops.leaky_relu(t, 0.2) * 2 + t, name="block")(x), 0),
    "Lambda that takes channels": (lambda x: layers.Lambda(lambda t: t[..., 2:6], name="block")(x), 0),
}


def around(operation, size=(16, 17)):
    inputs = Input((*size, 3))
    return Model(inputs, conv(operation(conv(inputs, name="before")), 4, name="after"))


@pytest.mark.quick("blocks in a block", "own weights", "SpectralNormalization")
@pytest.mark.parametrize("name", HIDING)
def test_hidden_convolutions_are_converted(name):
    operation, hidden = HIDING[name]
    result = assert_oracle(around(operation), converted=2 + hidden)
    assert result.report.octave_mac_share == 1.0
    assert "block" in {layer.name for layer in result.model.layers}


def test_their_names_are_paths():
    result = assert_oracle(around(lambda x: Stage(name="stage")(x)), converted=6)
    assert roles(result)["stage/block0/first"] == "intermediate"
    left = octconvert.plan(around(lambda x: Stage(name="stage")(x)), exclude=["stage/block1"], min_size=1)
    assert roles(left)["stage/block1/first"] == "plain"


@pytest.mark.long
def test_in_time_distributed():
    inputs = Input((2, 16, 16, 8))
    features = layers.TimeDistributed(Stage(name="stage"), name="steps")(inputs)
    result = assert_oracle(Model(inputs, layers.LSTM(3)(layers.Flatten()(features)[:, None])), converted=4)
    assert result.before.macs == 2 * 6 * 9 * 8 * 8 * 16 * 16


def test_open_sizes():
    assert_oracle(around(lambda x: Block()(Block()(x)), (None, None)), converted=6)


def test_called_twice_at_different_sizes():
    """One set of weights, and one decision."""
    block, inputs = Stage(name="stage"), Input((16, 16, 3))
    assert_oracle(Model(inputs, conv(block(block(conv(inputs))))), converted=6)


def test_half_precision():
    policy = keras.DTypePolicy("mixed_float16")
    inputs = Input((16, 16, 3))
    x = Scaled(dtype=policy)(layers.Conv2D(8, 3, dtype=policy)(inputs))
    model = Model(inputs, layers.Conv2D(4, 3, dtype="float32")(x))
    result = assert_oracle(model, converted=2, tolerance=5e-3)
    assert {layer.dtype_policy.name for layer in all_layers(result.model) if layer.name == "gamma"} == {"mixed_float16"}


@pytest.mark.long
def test_the_result_needs_none_of_the_classes(tmp_path):
    path, model = tmp_path / "out.keras", around(lambda x: Scaled()(Stage()(x)))
    randomise(model)
    result = octconvert.convert(model, output=path, min_size=1, calibration=False)
    inputs = np.random.default_rng(0).random((1, 16, 17, 3), dtype="float32")
    np.save(tmp_path / "inputs.npy", inputs)
    code = (
        "import sys, numpy, octconvert; folder = sys.argv[1]; "
        "model = octconvert.load(folder + '/out.keras'); "
        "numpy.save(folder + '/outputs.npy', model(numpy.load(folder + '/inputs.npy'), training=False))"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)
    assert largest_difference(run(result.model, inputs), [np.load(tmp_path / "outputs.npy")]) <= 1e-5


def test_own_weights_are_trained():
    result = octconvert.convert(around(lambda x: Scaled()(x)), min_size=1, calibration=False)
    trained = {weight.path.split("/")[-2] for weight in result.model.trainable_variables}
    assert {"gamma", "beta"} <= trained


def test_own_weights_are_constants_for_inference():
    model = randomise(around(lambda x: Scaled()(x)))
    form = octconvert.for_inference(octconvert.convert(model, octave=1, min_size=1, calibration=False).model)
    assert not [layer for layer in all_layers(form) if type(layer).__module__.startswith("octconvert")]
    inputs = np.random.default_rng(0).random((1, 16, 17, 3), dtype="float32")
    assert largest_difference(run(model, inputs), run(form, inputs)) <= 1e-5


class Values(layers.Layer):
    """What it computes depends on values."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.conv = layers.Conv2D(8, 3, padding="same")

    def build(self, shape):
        self.conv.build(shape)

    def compute_output_shape(self, shape):
        return shape

    def call(self, x):
        if not keras.backend.is_keras_tensor(x) and not tf.is_symbolic_tensor(x):
            return self.conv(x) if float(ops.sum(x)) > 0 else self.conv(-x)
        return self.conv(x) * float(ops.sum(x)) if keras.backend.is_keras_tensor(x) else self.conv(x)


class Counting(Values):
    """Changes a weight of its own each time, inference or not."""

    def build(self, shape):
        super().build(shape)
        self.count = self.add_weight(shape=(), name="count", trainable=False, initializer="zeros")

    def call(self, x):
        if not keras.backend.is_keras_tensor(x):
            self.count.assign_add(1.0)
        return self.conv(x)


class Mistaken(Values):
    """Looks otherwise to Keras tensors than to real ones."""

    def call(self, x):
        return self.conv(x) if keras.backend.is_keras_tensor(x) else self.conv(x) + 1


class OtherWeights(Values):
    """Computes with the weight of a layer that it does not call."""

    def call(self, x):
        return x * ops.mean(self.conv.kernel)


CLOSED = {
    "values": (Values, "does not run on Keras tensors"),
    "state": (Counting, "changes its weights when it is called"),
    "mistaken": (Mistaken, "its outputs are not those of the layers that it calls"),
    "weights of others": (OtherWeights, "computes with the weight 'kernel' itself"),
}


@pytest.mark.parametrize("name", CLOSED)
def test_what_can_not_be_opened_stays_as_it_is(name):
    kind, reason = CLOSED[name]
    keras.saving.register_keras_serializable("tests")(kind)
    model = around(lambda x: kind(name="block")(x))
    randomise(model)
    plan = octconvert.plan(model, min_size=1)
    assert any(f"no rule for {kind.__name__}" in end for end in (*ends(plan).values(), plan.convolutions[0].reason))
    result = octconvert.convert(model, octave=1, min_size=1, calibration=False)
    (note,) = [note for note in result.report.notes if "'block'" in note]
    assert reason in note


def test_training_alone():
    """What SpectralNormalization does in training is lost, which the report says; Block loses nothing."""
    lost = octconvert.convert(around(spectral), min_size=1, calibration=False).report.notes
    assert [note for note in lost if "'block' (SpectralNormalization) does other things in training" in note]
    kept = octconvert.convert(around(lambda x: Block(name="block")(x)), min_size=1, calibration=False).report.notes
    assert not [note for note in kept if "training" in note]


class Mine(keras.Model):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.stem = layers.Conv2D(8, 3, padding="same", name="stem")
        self.stage, self.head = Stage(name="stage"), layers.Dense(3, name="head")

    def call(self, inputs, training=None):
        return {"classes": self.head(ops.mean(self.stage(self.stem(inputs["image"])), axis=(1, 2)))}


def test_subclassed_model():
    model, samples = Mine(name="mine"), {"image": np.random.default_rng(0).random((2, 16, 17, 3), dtype="float32")}
    model(samples)
    model.compile("sgd", {"classes": "mse"})
    expected = run(randomise(model), samples)
    result = octconvert.convert(model, octave=1, min_size=1, calibration=False)
    assert len(result.report.converted) == len(result.convolutions) == 5
    assert largest_difference(expected, run(result.model, samples)) <= 1e-5
    assert result.model.name == "mine"
    result.model.fit(samples, {"classes": np.zeros((2, 3))}, verbose=0)


class Plain(keras.Model):
    def __init__(self, kind, **kwargs):
        super().__init__(**kwargs)
        self.stem, self.block = layers.Conv2D(8, 3, padding="same"), kind()

    def call(self, x):
        return self.block(self.stem(x))


def test_subclassed_model_that_was_never_called():
    with pytest.raises(octconvert.InputError, match="give `input_shape`"):
        octconvert.convert(Plain(Block), calibration=False)
    result = octconvert.convert(Plain(Block), input_shape=(16, 16, 3), min_size=1, calibration=False)
    assert len(result.report.converted) == 3


def test_subclassed_model_that_can_not_be_opened():
    class Refused(Plain):
        def call(self, x):
            return super().call(x) if float(ops.sum(x)) > 0 else self.stem(x)

    with pytest.raises(octconvert.InputError, match=r"subclassed \(Refused\).*its calls can not be read") as caught:
        octconvert.convert(Refused(Block), input_shape=(16, 16, 3), calibration=False)
    assert "\n" not in str(caught.value)
