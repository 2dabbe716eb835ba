"""Element-wise joins of two or more branches, and what else can be joined with a pair."""

import keras
import numpy as np
import pytest
from keras import Input, Model, layers, ops
from oracle import assert_oracle, assert_portable, ends, example, roles, run

JOINS = [layers.Add, layers.Subtract, layers.Multiply, layers.Average, layers.Maximum, layers.Minimum]


def branches(inputs, count=2, filters=8, size=3):
    return [layers.Conv2D(filters, size, padding="same", name=f"branch{i}")(inputs) for i in range(count)]


def last(x):
    return layers.Conv2D(5, 3, padding="same", name="last")(x)


@pytest.mark.quick("Add", "Multiply")
@pytest.mark.parametrize("join", JOINS)
def test_two_branches(join):
    inputs = Input((11, 14, 3))
    model = Model(inputs, last(join()(branches(inputs))))
    result = assert_oracle(model, converted=3)
    assert roles(result) == {"branch0": "first", "branch1": "first", "last": "last"}
    assert_portable(model)


@pytest.mark.quick("Add")
@pytest.mark.parametrize("join", [layers.Add, layers.Multiply, layers.Average, layers.Maximum])
def test_four_branches(join):
    inputs = Input((9, 9, 3))
    assert_oracle(Model(inputs, last(join()(branches(inputs, 4)))), converted=5)


def test_concatenation():
    inputs = Input((9, 12, 3))
    x = layers.Concatenate()([*branches(inputs, 2, 6), layers.Conv2D(4, 1, name="narrow")(inputs)])
    model = Model(inputs, last(x))
    result = assert_oracle(model, converted=4)
    assert result.plan.convolutions[-1].alpha_in == 0.5
    assert_portable(model)


def test_pair_concatenated_with_itself():
    inputs = Input((9, 9, 3))
    x = branches(inputs, 1)[0]
    assert_oracle(Model(inputs, last(layers.Concatenate()([x, x]))), converted=2)


def test_pair_concatenated_with_plain_tensor():
    inputs = Input((13, 13, 3))
    x = layers.Concatenate()([inputs, branches(inputs, 1)[0], inputs])
    model = Model(inputs, last(layers.BatchNormalization()(x)))
    result = assert_oracle(model, converted=2)
    assert result.plan.convolutions[-1].alpha_in == pytest.approx(4 / 14)
    assert_portable(model)


def test_several_pairs_with_one_low_map_are_merged_each_by_itself():
    inputs = [Input((8, 8, 3)), Input((8, 8, 3))]
    x = branches(layers.Add()(inputs), 1)[0]
    joins = [layers.Concatenate()(parts) for parts in ([x, inputs[0]], [inputs[0], x], [x, inputs[1]])]
    assert_oracle(Model(inputs, [x, *joins, last(x)]), converted=2)


def test_pair_added_to_plain_tensor_is_merged():
    inputs = Input((10, 10, 8))
    x = layers.Conv2D(8, 3, padding="same", name="second")(branches(inputs, 1)[0])
    side = layers.Conv2D(8, 3, padding="same", name="second_reader")(x)
    result = assert_oracle(Model(inputs, [last(layers.Add(name="join")([x, inputs])), side]), converted=3)
    assert roles(result)["last"] == "plain"
    assert "plain tensor" in ends(result)["join"]


@pytest.mark.parametrize("size", [(12, 10), (11, 14)])
def test_whole_low_tensors_added_to_a_plain_one_are_upsampled_once(size):
    inputs = Input((*size, 8))
    first, second = branches(inputs)
    readers = [layers.Conv2D(4, 3, name=f"reader{i}")(x) for i, x in enumerate((first, second))]
    model = Model(inputs, [last(layers.Add(name="join")([first, inputs, second])), *readers])
    result = assert_oracle(model, converted=4, alpha=1.0)
    assert roles(result) == dict.fromkeys(("branch0", "branch1"), "first") | {
        "reader0": "last",
        "reader1": "last",
        "last": "plain",
    }
    merges = [layer for layer in result.model.layers if type(layer).__name__ == "OctaveMerge"]
    assert [layer.output.shape[1:3] for layer in merges] == [size]
    assert [len(result.model.get_layer(name).input) for name in ("join-L", "join")] == [2, 2]
    added = keras.Model(result.model.input, [result.model.get_layer(name).output for name in ("join", "join-L")])
    joined, low = run(added, example(model))
    up = low.repeat(2, 1).repeat(2, 2)[:, : size[0], : size[1]]
    np.testing.assert_allclose(joined, up + example(model), atol=1e-5)
    assert_portable(model, alpha=1.0)


def test_a_sum_behind_whole_low_tensors_has_the_size_of_each_run():
    inputs = Input((None, None, 8))
    first, second = branches(inputs)
    readers = [layers.Conv2D(4, 3, name=f"reader{i}")(x) for i, x in enumerate((first, second))]
    model = Model(inputs, [last(layers.Add(name="join")([first, inputs, second])), *readers])
    result = assert_oracle(model, converted=4, alpha=1.0)
    for size in (9, 12):
        x = example(model, size)
        assert [output.shape for output in run(result.model, x)] == [output.shape for output in run(model, x)]


def test_concatenation_along_rows_ends_the_pair():
    inputs = Input((8, 8, 3))
    first, second = branches(inputs)
    extra = layers.Conv2D(4, 3, name="extra")(layers.Add()([first, second]))
    result = assert_oracle(
        Model(inputs, [last(layers.Concatenate(axis=1, name="rows")([first, second])), extra]), converted=3
    )
    assert roles(result)["last"] == "plain"
    assert "axis 1" in ends(result)["rows"]


def test_constants_for_each_channel_are_cut_and_others_end_the_pair():
    numbers = np.linspace(0.5, 2, 8, dtype="float32")

    def model(constant):
        inputs = Input((8, 8, 3))
        x = branches(inputs, 1)[0]
        extra = layers.Conv2D(4, 3, name="extra")(x)
        return Model(inputs, [last(x * ops.convert_to_tensor(constant)), extra])

    assert roles(assert_oracle(model(numbers), converted=3))["last"] == "last"
    result = assert_oracle(model(numbers.reshape(8, 1)), converted=2)
    assert roles(result)["last"] == "plain"
    assert any("joins a constant array of shape (8, 1)" in reason for reason in ends(result).values())


def test_one_channel_map_goes_to_both():
    inputs = Input((11, 9, 3))
    x = branches(inputs, 1)[0]
    model = Model(inputs, last(layers.Multiply()([x, layers.Conv2D(1, 1, name="one")(inputs)])))
    result = assert_oracle(model, converted=2)
    assert roles(result)["one"] == "plain"
    assert_portable(model)


@pytest.mark.parametrize("shape", [(1, 9), (11, 1)])
def test_one_channel_row_or_column_goes_to_both(shape):
    inputs, line = Input((11, 9, 3)), Input((*shape, 1))
    model = Model([inputs, line], last(layers.Multiply()([branches(inputs, 1)[0], line])))
    assert_oracle(model, converted=2)
    assert_portable(model)


@pytest.mark.parametrize("rows_first", [True, False])
def test_rows_and_columns_of_a_pair_are_joined(rows_first):
    inputs = Input((12, 12, 3))
    x = branches(inputs, 1)[0]
    row = layers.AveragePooling2D((12, 1))(x)
    model = Model(inputs, last(layers.Add()([row, x] if rows_first else [x, row])))
    assert_oracle(model, converted=2)
    assert_portable(model)
