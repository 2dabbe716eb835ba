"""Several inputs and outputs in every structure; outputs that are pairs keep their names."""

import keras
import numpy as np
import pytest
from keras import Input, Model, layers, ops
from oracle import assert_oracle, assert_portable, example, run

import octconvert


def conv(filters=8, name=None):
    return layers.Conv2D(filters, 3, padding="same", name=name)


def test_two_inputs_and_three_outputs():
    a, b = Input((12, 12, 3), name="a"), Input((12, 12, 1), name="b")
    x = layers.Add()([conv()(a), conv()(b)])
    y = conv(name="y")(x)
    outputs = [y, layers.Dense(2, name="classes")(layers.GlobalAveragePooling2D()(x)), conv(3, name="z")(y)]
    assert_oracle(Model([a, b], outputs), converted=4)


def test_dictionaries():
    a, b = Input((12, 12, 3), name="r"), Input((12, 12, 3), name="l")
    x, y = conv(name="x")(a), conv(name="y")(b)
    model = Model({"r": a, "l": b}, {"map": conv(4, name="last")(layers.Add()([x, y])), "x": x})
    result = assert_oracle(model, converted=3)
    found = result.model(example(model))
    assert sorted(found) == ["map", "x"]


def test_nested_structures():
    a, b, c = (Input((8, 8, 3), name=name) for name in "abc")
    x = layers.Concatenate()([conv()(t) for t in (a, b, c)])
    model = Model([a, {"b": b, "c": [c]}], ({"first": conv(4)(x)}, [conv(2)(x)]))
    result = assert_oracle(model, converted=5)
    keras.tree.assert_same_structure(model(example(model)), result.model(example(model)))


def test_pairs_as_outputs_keep_their_names():
    inputs = Input((12, 12, 3))
    a = conv(name="a")(inputs)
    b = layers.ReLU(name="b")(layers.BatchNormalization(name="bn")(a))
    c = layers.MaxPooling2D(name="c")(b)
    d = conv(4, name="d")(layers.Add(name="sum")([c, c]))
    model = Model(inputs, [a, b, c, d])
    result = assert_oracle(model, converted=2)
    assert result.model.output_names == ["a", "b", "c", "d"]
    assert_portable(model)


def test_output_that_was_merged_for_another_reader_first():
    inputs = Input((8, 8, 3))
    x = conv(name="features")(inputs)
    y = conv(name="y")(layers.Softmax()(x))
    model = Model(inputs, [y, x, conv(name="z")(x)])
    assert assert_oracle(model).model.output_names == ["y", "features", "z"]
    assert_portable(model)


@pytest.mark.quick("<lambda>0", "<lambda>5")
@pytest.mark.parametrize(
    "last",
    [
        lambda x: layers.ZeroPadding2D(2, name="out")(x),
        lambda x: layers.Cropping2D(((0, 1), (1, 0)), name="out")(x),
        lambda x: layers.GlobalAveragePooling2D(name="out")(x),
        lambda x: layers.GlobalMaxPooling2D(keepdims=True, name="out")(x),
        lambda x: layers.Flatten(name="out")(layers.GlobalMaxPooling2D(keepdims=True)(x)),
        lambda x: layers.Concatenate(name="out")([x, x]),
        lambda x: layers.DepthwiseConv2D(3, name="out")(x),
        lambda x: layers.UpSampling2D(2, name="out")(x),
        lambda x: ops.relu(x),
    ],
)
def test_last_layer_reads_a_pair(last):
    inputs = Input((9, 8, 3))
    x = conv()(conv()(inputs))
    model = Model(inputs, [last(x), conv(4, name="other")(x)])
    assert_oracle(model, converted=None)
    assert_portable(model)


def test_same_output_twice():
    inputs = Input((8, 8, 3))
    x = conv(name="x")(inputs)
    assert_oracle(Model(inputs, {"a": x, "b": x, "c": conv(name="y")(x)}), converted=2)


def test_input_that_is_an_output():
    inputs = Input((8, 8, 3), name="image")
    assert_oracle(Model(inputs, [inputs, conv(4)(conv()(inputs))]), converted=2)


def test_tensors_in_keyword_arguments():
    inputs = Input((8, 8, 3))
    x, y = conv()(inputs), conv()(inputs)
    z = ops.add(x1=layers.ReLU()(inputs=x), x2=y)
    assert_oracle(Model(inputs, conv(4)(z)), converted=3)


def test_unused_branch_of_a_bigger_model():
    """Nodes of other models on the same layers do not belong to this one."""
    inputs = Input((8, 8, 3))
    x = conv(name="x")(inputs)
    bigger = Model(inputs, [conv(4)(x), layers.Softmax()(x)])
    assert_oracle(Model(inputs, conv(4, name="last")(x)), converted=2)
    assert len(bigger.outputs) == 2


def test_integer_input():
    inputs = Input((8, 8, 3), dtype="uint8")
    model = Model(inputs, conv(4)(conv()(layers.Rescaling(1 / 255.0)(inputs))))
    image = np.random.default_rng(0).integers(0, 255, (2, 8, 8, 3), dtype="uint8")
    assert_oracle(model, converted=2, inputs=image)


def test_fixed_batch_size():
    inputs = Input(batch_shape=(2, 8, 8, 3))
    result = assert_oracle(Model(inputs, conv(4)(conv()(inputs))), converted=2)
    assert result.model.inputs[0].shape[0] == 2


def test_vector_input_beside_an_image():
    image, vector = Input((8, 8, 3)), Input((5,))
    x = layers.GlobalAveragePooling2D()(conv()(image))
    x = layers.Concatenate()([x, layers.Dense(4, activation="relu")(vector)])
    assert_oracle(Model([image, vector], layers.Dense(2)(layers.BatchNormalization()(x))), converted=1)


def test_predictions_of_the_converted_model_do_not_depend_on_the_batch():
    inputs = Input((9, 9, 3))
    result = assert_oracle(Model(inputs, conv(4)(conv()(inputs))), converted=2)
    batch = np.random.default_rng(0).standard_normal((3, 9, 9, 3)).astype("float32")
    alone = run(result.model, batch[1:2])[0]
    assert np.abs(run(result.model, batch)[0][1:2] - alone).max() < 1e-5
    assert octconvert.convert(result.model, min_size=1, calibration=False).plan.convolutions == ()
