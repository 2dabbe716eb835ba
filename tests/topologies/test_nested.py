"""Models used as layers, in all the ways they can be called."""

import numpy as np
import pytest
from keras import Input, Model, Sequential, layers
from oracle import all_layers, assert_oracle, assert_portable, example, randomise, roles, run

import octconvert


def conv(filters=8, name=None, **options):
    return layers.Conv2D(filters, 3, padding="same", name=name, **options)


def backbone(shape=(12, 12, 3), name="backbone"):
    inputs = Input(shape)
    x = layers.ReLU()(layers.BatchNormalization()(conv(name="conv1")(inputs)))
    return Model(inputs, conv(name="conv2")(x), name=name)


def test_functional():
    inputs = Input((12, 12, 3))
    model = Model(inputs, conv(4, name="head")(backbone()(inputs)))
    result = assert_oracle(model, converted=3)
    assert roles(result) == {"backbone/conv1": "first", "backbone/conv2": "intermediate", "head": "last"}
    assert [layer.name for layer in result.model.layers] == ["input_layer", "backbone", "head"] or "backbone" in [
        layer.name for layer in result.model.layers
    ]
    assert_portable(model)


def test_pair_goes_into_a_nested_model():
    inputs = Input((13, 12, 3))
    x = backbone((13, 12, 8))(conv(name="stem")(inputs))
    model = Model(inputs, conv(4, name="head")(x))
    result = assert_oracle(model, converted=4)
    assert set(roles(result).values()) == {"first", "intermediate", "last"}
    assert not [layer for layer in all_layers(result.model) if "merge" in layer.name]
    assert_portable(model)


def test_sequential_of_models_with_a_head():
    model = Sequential([Input((12, 12, 3)), backbone(), Sequential([layers.GlobalAveragePooling2D(), layers.Dense(3)])])
    assert_oracle(model, converted=2)


def test_three_levels():
    inner = Sequential([Input((10, 10, 8)), conv(name="deep"), layers.ReLU()], name="inner")
    middle = Sequential([Input((10, 10, 3)), conv(name="shallow"), inner], name="middle")
    inputs = Input((10, 10, 3))
    result = assert_oracle(Model(inputs, conv(4, name="head")(middle(inputs))), converted=3)
    assert list(roles(result)) == ["middle/shallow", "middle/inner/deep", "head"]


def test_several_outputs_inside():
    inputs = Input((12, 12, 3))
    x = conv(name="a")(inputs)
    y = conv(name="b")(layers.MaxPooling2D()(x))
    features = Model(inputs, [x, y, layers.GlobalAveragePooling2D()(y)], name="features")
    outer = Input((12, 12, 3))
    x, y, vector = features(outer)
    x = layers.Concatenate()([x, layers.UpSampling2D()(y)])
    model = Model(outer, [conv(4, name="map")(x), layers.Dense(2, name="classes")(vector)])
    assert_oracle(model, converted=3)
    assert_portable(model)


def test_same_tensor_twice_among_the_outputs():
    inputs = Input((10, 10, 3))
    x = conv()(inputs)
    twice = Model(inputs, [x, x])
    outer = Input((10, 10, 3))
    assert_oracle(Model(outer, conv(4)(layers.Add()(twice(outer)))), converted=2)


def test_several_inputs():
    a, b = Input((10, 10, 8)), Input((10, 10, 3))
    join = Model([a, b], layers.Concatenate()([conv()(a), b]))
    inputs = Input((10, 10, 3))
    model = Model(inputs, conv(4)(join([conv()(inputs), inputs])))
    assert_oracle(model, converted=3)
    assert_portable(model)


def test_dictionaries_in_and_out():
    a, b = Input((10, 10, 8), name="a"), Input((10, 10, 8), name="b")
    nested = Model(
        {"b": b, "a": a}, {"sum": layers.Add()([conv()(a), b]), "plain": conv(2)(layers.LayerNormalization()(b))}
    )
    inputs = Input((10, 10, 3))
    found = nested({"a": conv()(inputs), "b": conv()(inputs)})
    assert_oracle(Model(inputs, [conv(4, name="x")(found["sum"]), conv(4, name="y")(found["plain"])]))


def test_one_input_in_a_dictionary():
    image = Input((10, 10, 3), name="image")
    nested = Model({"image": image}, {"features": conv()(image)})
    inputs = Input((10, 10, 3))
    assert_oracle(Model(inputs, conv(4)(nested({"image": inputs})["features"])), converted=2)


def test_identity_model():
    inputs = Input((10, 10, 8))
    nothing = Model(inputs, layers.Activation("linear")(inputs))
    outer = Input((10, 10, 3))
    assert_oracle(Model(outer, conv(4)(nothing(nothing(conv()(outer))))), converted=2)


@pytest.mark.quick("sizes0")
@pytest.mark.parametrize("sizes", [(16, 16), (16, 11), (9, 15)])
def test_called_at_two_sizes(sizes):
    """Inside, only the sizes that all calls agree in are known."""
    nested = Sequential(
        [Input((None, None, 3)), conv(), layers.ZeroPadding2D(2), layers.ReLU(), layers.MaxPooling2D(), conv()],
        name="nested",
    )
    inputs = [Input((size, 12, 3)) for size in sizes]
    last = conv(4)
    model = Model(inputs, [last(nested(x)) for x in inputs])
    assert_oracle(model, converted=3 if sizes[0] == sizes[1] else None)
    if sizes[0] == sizes[1]:
        assert_portable(model)
    result = octconvert.convert(model, alpha=1.0, min_size=1, calibration=False)
    assert [output.shape for output in result.model.outputs] == [output.shape for output in model.outputs]


def test_open_sizes_inside_are_known_from_the_call():
    nested = Sequential([Input((None, None, 3)), conv(), layers.ZeroPadding2D(((2, 1), (2, 1))), layers.ReLU(), conv()])
    inputs = Input((11, 10, 3))
    model = Model(inputs, conv(4)(nested(inputs)))
    result = assert_oracle(model, converted=3)
    assert not [layer for layer in all_layers(result.model) if type(layer).__name__ == "OctavePooling2D"]
    assert_portable(model)


@pytest.mark.parametrize("training", [False, True])
def test_training_argument_is_kept(training):
    inputs = Input((12, 12, 3))
    x = backbone()(inputs, training=training)
    model = Model(inputs, layers.Dense(2)(layers.GlobalAveragePooling2D()(x)))
    result = assert_oracle(model, converted=2)
    calls = [node for layer in result.model.layers if layer.name == "backbone" for node in layer._inbound_nodes]
    assert [node.arguments.kwargs.get("training") for node in calls] == [training]


def test_output_of_a_nested_model_is_an_output_and_goes_on():
    inputs = Input((12, 12, 3))
    features = backbone()(inputs)
    model = Model(inputs, [features, conv(4, name="head")(features)])
    result = assert_oracle(model, converted=3)
    assert result.model.output_names == ["backbone", "head"]
    assert {row.name: row.macs_after for row in result.convolutions}["backbone/conv2"] > 0
    assert_portable(model)


def test_two_outputs_of_one_nested_model_are_outputs():
    inputs = Input((12, 12, 3))
    x = conv()(inputs)
    nested = Model(inputs, [x, conv()(x)], name="nested")
    outer = Input((12, 12, 3))
    first, second = nested(outer)
    model = Model(outer, [first, second, conv(4, name="head")(layers.Add()([first, second]))])
    randomise(model)
    sample = example(model)
    twin = octconvert.convert(model, octave=1, min_size=1, calibration=False)
    for expected, found in zip(run(model, sample), run(twin.model, sample), strict=True):
        assert np.abs(expected - found).max() < 1e-5
    assert len(octconvert.convert(model, min_size=1, calibration=False).plan.converted) == 3


def test_frozen_nested_model():
    nested = backbone()
    nested.trainable = False
    inputs = Input((12, 12, 3))
    model = Model(inputs, conv(4, name="head")(nested(inputs)))
    result = assert_oracle(model, converted=3)
    kept = {layer.name: layer.trainable for layer in result.model.layers}
    assert kept["backbone"] is False and kept["head"] is True
    assert len(result.model.trainable_weights) == len([w for w in result.model.get_layer("head").weights])
