"""Layers that the user names as element-wise: one copy for each map."""

import json

import keras
import numpy as np
import pytest
from keras import Input, Model, layers, ops
from oracle import all_layers, assert_oracle, ends, largest_difference, roles, run

import octconvert


@keras.saving.register_keras_serializable(package="user")
class Twice(layers.Layer):
    def call(self, x):
        return x * 2


@keras.saving.register_keras_serializable(package="user")
class Gain(layers.Layer):
    """A weight for each channel and one for all of them."""

    def build(self, shape):
        self.gain = self.add_weight(shape=(shape[-1],), name="gain")
        self.shift = self.add_weight(shape=(), name="shift")

    def call(self, x):
        return x * self.gain + self.shift


@keras.saving.register_keras_serializable(package="user")
class Fixed(layers.Layer):
    """Knows its width from its configuration: a narrower copy can not be made by its name alone."""

    def __init__(self, width, **kwargs):
        super().__init__(**kwargs)
        self.width = width

    def build(self, shape):
        self.gain = self.add_weight(shape=(self.width,), name="gain")

    def call(self, x):
        return x * self.gain

    def get_config(self):
        return {**super().get_config(), "width": self.width}


@keras.saving.register_keras_serializable(package="user")
class Sum(layers.Layer):
    def call(self, x, y):
        return x + 2 * y


@keras.saving.register_keras_serializable(package="user")
class Half(layers.Layer):
    """Of the rows, or of the channels."""

    def __init__(self, axis=1, **kwargs):
        super().__init__(**kwargs)
        self.axis = axis

    def call(self, x):
        return x[:, ::2] if self.axis == 1 else x[..., ::2]


@keras.saving.register_keras_serializable(package="user")
class Both(layers.Layer):
    def call(self, x):
        return x * 2, x * 3


@keras.saving.register_keras_serializable(package="user")
def bump(x):
    return x * ops.exp(-ops.square(x))


def conv(x, filters=8, **more):
    return layers.Conv2D(filters, 3, padding="same", **more)(x)


def told(result) -> list[str]:
    return [*ends(result).values(), *(convolution.reason for convolution in result.plan.convolutions)]


def around(layer, shape=(9, 10, 3)):
    inputs = Input(shape)
    return Model(inputs, conv(conv(layer(conv(inputs, name="a"))), 4))


@pytest.mark.quick("Twice0", "twice")
@pytest.mark.parametrize("name", [Twice, "Twice", "user>Twice", "twice"])
def test_named_by_class_or_name(name):
    result = assert_oracle(around(Twice(name="twice")), converted=3, elementwise=[name])
    assert not any("no rule" in reason for reason in ends(result).values())
    assert {layer.name for layer in result.model.layers} >= {"twice-H", "twice-L"}


def test_weights_along_the_channels_are_cut():
    model = around(Gain())
    result = assert_oracle(model, converted=3, elementwise=["Gain"])
    assert result.after.parameters == result.before.parameters + 1  # the shift for all channels is there twice


@pytest.mark.long
def test_nested_shared_and_several_inputs():
    twice, part = Twice(name="twice"), Input((None, None, 8))
    block = Model(part, conv(twice(conv(twice(part)))), name="block")
    inputs = Input((9, 10, 3))
    x = block(conv(inputs))
    x = Sum(name="sum")(x, block(x))
    result = assert_oracle(Model(inputs, conv(x, 4)), converted=4, elementwise=["block/twice", "sum"])
    assert set(ends(result).values()) == {"its output is an output of the model"}


def test_activations_by_their_name():
    inputs = Input((9, 10, 3))
    x = layers.Activation(bump)(conv(inputs, activation=bump))
    x = conv(layers.DepthwiseConv2D(3, activation=bump)(x))
    assert_oracle(Model(inputs, conv(x, 4)), converted=4, elementwise=[bump])


def triple():
    return layers.Lambda(lambda x: x * 3, name="triple")


def test_lambda():
    result = assert_oracle(around(triple()), converted=3, elementwise=["triple"])
    assert set(ends(result).values()) == {"its output is an output of the model"}


@pytest.mark.quick(".keras")
@pytest.mark.parametrize("ending", [".keras", ".h5"])
def test_lambda_of_a_trusted_file(ending, tmp_path):
    """It is saved, checked and loaded again; what the report says comes next works for it."""
    source, target = tmp_path / f"source{ending}", tmp_path / f"target{ending}"
    around(triple()).save(source)
    options = {"octave": 1, "min_size": 1, "elementwise": ["triple"], "calibration": False}
    with pytest.raises(octconvert.InputError, match="unsafe"):
        octconvert.convert(source, **options)
    result = octconvert.convert(source, **options, unsafe=True, output=target)
    assert len(result.plan.converted) == 3
    inputs = np.random.default_rng(0).standard_normal((2, 9, 10, 3)).astype("float32")
    expected = run(octconvert.load(source, unsafe=True), inputs)
    steps = result.report.next_steps
    assert steps and all(dict(step.options)["unsafe"] for step in steps)
    assert largest_difference(expected, run(octconvert.load(steps[0].models[-1], unsafe=True), inputs)) <= 1e-5


@pytest.mark.long
def test_saved_and_loaded(tmp_path):
    """The two copies of a shared layer inside a nested model come back with their parts of its weights."""
    gain, part = Gain(name="gain"), Input((None, None, 8))
    block = Model(part, gain(conv(gain(part))), name="block")
    inputs = Input((9, 10, 3))
    model = Model(inputs, conv(block(conv(block(conv(inputs)))), 4))
    result = assert_oracle(model, converted=4, elementwise=["block/gain"])
    result.save(tmp_path / "model.keras")
    names = {layer.name for layer in all_layers(octconvert.load(tmp_path / "model.keras"))}
    assert {"gain-H", "gain-L"} <= names and "gain" not in names


def test_what_can_not_be_copied_stays_plain_and_is_told():
    result = assert_oracle_of_what_is_left(around(Fixed(8)), ["Fixed"])
    assert any("could not be rewritten" in reason for reason in told(result))
    assert len(result.plan.converted) == 2


@pytest.mark.parametrize("axis", [1, 3])
def test_another_shape_is_no_element_wise_layer(axis):
    result = assert_oracle(around(Half(axis)), elementwise=["Half"])
    assert any("another shape" in reason for reason in told(result))


def test_several_outputs_are_no_element_wise_layer():
    result = assert_oracle(around(lambda x: layers.Add()(list(Both()(x)))), elementwise=["Both"])
    assert any("has 2 outputs" in reason for reason in told(result))


def test_a_plain_input_ends_the_chain():
    inputs, other = Input((9, 10, 3)), Input((9, 10, 8), name="other")
    x = Sum(name="sum")(conv(conv(inputs)), other)
    result = assert_oracle(Model([inputs, other], conv(x, 4)), converted=2, elementwise=["sum"])
    assert "its output goes to Sum: joins a pair with the plain tensor of 'other'" in ends(result).values()


def test_the_name_wins_over_the_rule_of_the_layer():
    model = around(layers.Activation("softmax", name="mine"))
    assert octconvert.plan(model, min_size=1).chains[0].dual == ()
    plan = octconvert.plan(model, min_size=1, elementwise=["mine"])
    assert [chain.dual for chain in plan.chains] == [("mine",)]
    assert_oracle(around(layers.BatchNormalization(name="bn")), converted=3, elementwise=["bn"])


def test_a_convolution_by_mistake_stays_plain():
    result = assert_oracle_of_what_is_left(around(layers.Conv2D(8, 3, padding="same", name="no")), ["no"])
    assert roles(result)["no"] == "plain"


def assert_oracle_of_what_is_left(model, names):
    inputs = np.random.default_rng(0).standard_normal((2, 9, 10, 3)).astype("float32")
    result = octconvert.convert(model, octave=1, min_size=1, elementwise=names, calibration=False)
    assert largest_difference(run(model, inputs), run(result.model, inputs)) <= 1e-5
    return result


@pytest.mark.parametrize("names", ["", [""], [3], None, [Twice(name="instance")]])
def test_what_is_no_name_is_refused(names):
    with pytest.raises(octconvert.UsageError, match="`elementwise` takes names"):
        octconvert.convert(around(Twice()), elementwise=names, calibration=False)


def test_a_name_of_nothing_is_told():
    result = octconvert.convert(around(Twice()), elementwise=["Thrice"], calibration=False)
    assert "elementwise 'Thrice' is no layer, class or activation of the model" in result.report.notes


def test_a_plan_keeps_the_names():
    model = around(Twice())
    plan = octconvert.Plan.from_json(octconvert.plan(model, min_size=1, elementwise=[Twice]).to_json())
    assert plan.elementwise == ("Twice",)
    assert roles(octconvert.convert(model, plan=plan, calibration=False)) == roles(plan)
    with pytest.raises(octconvert.UsageError, match="combined with `plan`"):
        octconvert.convert(model, plan=plan, elementwise=[Twice], calibration=False)
    assert "elementwise Twice" in str(plan)


def test_plans_from_before_there_were_names():
    model = around(Twice())
    kept = octconvert.plan(model, min_size=1).to_dict()
    del kept["elementwise"]
    assert roles(octconvert.convert(model, plan=octconvert.Plan.from_json(json.dumps(kept)), calibration=False))


@pytest.mark.parametrize("names", ["Twice", None, 3, [3]])
def test_a_plan_with_senseless_names_is_refused(names):
    model = around(Twice())
    edited = {**octconvert.plan(model, min_size=1).to_dict(), "elementwise": names}
    with pytest.raises(octconvert.UsageError, match="elementwise"):
        octconvert.convert(model, plan=octconvert.Plan.from_json(json.dumps(edited)), calibration=False)


def test_largest_difference_is_seen():
    """The oracle of this file can fail: a layer that is no element-wise one changes the function."""
    mean = layers.Lambda(lambda x: x - ops.mean(x, axis=-1, keepdims=True), name="mean")
    model = around(mean)
    inputs = np.random.default_rng(0).standard_normal((2, 9, 10, 3)).astype("float32")
    wrong = octconvert.convert(model, octave=1, min_size=1, elementwise=["mean"], calibration=False)
    assert largest_difference(run(model, inputs), run(wrong.model, inputs)) > 1e-3
