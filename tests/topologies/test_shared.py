"""Layers that are called more than once keep one set of weights and one decision."""

import pytest
from keras import Input, Model, Sequential, layers
from oracle import assert_oracle, assert_portable, reasons, roles

import octconvert


def conv(filters=8, name=None, **options):
    return layers.Conv2D(filters, 3, padding="same", name=name, **options)


def test_convolution_called_twice_on_pairs():
    inputs = Input((12, 12, 3))
    shared = conv(name="shared")
    x = shared(layers.ReLU()(shared(conv(name="before")(inputs))))
    model = Model(inputs, conv(4, name="after")(x))
    result = assert_oracle(model, converted=3)
    assert roles(result)["shared"] == "intermediate"
    assert [layer.name for layer in result.model.layers].count("shared") == 1
    assert result.model.count_params() == model.count_params()
    assert_portable(model)


def test_convolution_on_a_plain_tensor_and_on_a_pair_stays_plain():
    inputs = Input((12, 12, 8))
    shared = conv(name="shared")
    x = shared(conv(name="between")(shared(inputs)))
    result = assert_oracle(Model(inputs, conv(4, name="after")(conv(name="next")(x))), converted=2)
    assert roles(result) == {"shared": "plain", "between": "plain", "next": "first", "after": "last"}
    assert "shared calls" in reasons(result)["shared"]


@pytest.mark.parametrize("sizes", [(16, 10), (9, 10), (16, 17)])
@pytest.mark.parametrize("strides", [1, 2])
def test_convolution_at_two_sizes(sizes, strides):
    inputs = [Input((size, size, 3)) for size in sizes]
    first, second = conv(name="first", strides=strides), conv(name="second", strides=strides)
    model = Model(inputs, [second(layers.ReLU()(first(x))) for x in inputs])
    assert_oracle(model, converted=2)
    assert_portable(model)


@pytest.mark.parametrize("sizes", [(16, 10), (9, 10)])
@pytest.mark.parametrize("layer", [layers.DepthwiseConv2D, lambda *a, **k: layers.SeparableConv2D(8, *a, **k)])
def test_depthwise_at_two_sizes(sizes, layer):
    inputs = [Input((size, size, 3)) for size in sizes]
    first, shared, last = conv(), layer(3, strides=2, padding="same"), conv(4)
    model = Model(inputs, [last(shared(first(x))) for x in inputs])
    assert_oracle(model, converted=3)
    assert_portable(model)


def test_small_second_call_decides_for_both():
    inputs = [Input((16, 16, 3)), Input((6, 6, 3))]
    shared, last = conv(name="shared"), conv(name="last")
    result = assert_oracle(Model(inputs, [last(shared(x)) for x in inputs]), converted=0, min_size=8)
    assert "shared" in reasons(result)["shared"]


def test_batch_normalization():
    inputs = Input((10, 10, 3))
    shared = layers.BatchNormalization()
    x = shared(conv()(shared(conv()(inputs))))
    model = Model(inputs, conv(4)(x))
    assert_oracle(model, converted=3)
    assert_portable(model)


def test_batch_normalization_on_a_plain_tensor_and_on_a_pair():
    inputs = Input((10, 10, 8))
    shared = layers.BatchNormalization()
    x = conv()(shared(conv()(shared(inputs))))
    assert_oracle(Model(inputs, conv(4)(x)), converted=2)


def test_layer_without_weights_called_on_pairs_and_plain_tensors():
    inputs = Input((10, 10, 3))
    relu, pool = layers.ReLU(name="relu"), layers.MaxPooling2D(name="pool")
    x = relu(conv()(pool(relu(inputs))))
    x = layers.Softmax()(conv()(relu(x)))
    model = Model(inputs, conv(4)(conv()(relu(relu(pool(x))))))
    result = assert_oracle(model, converted=4)
    assert [layer.name for layer in result.model.layers].count("relu") == 1
    assert_portable(model)


def test_prelu_and_dense():
    inputs = Input((10, 10, 3))
    prelu, dense = layers.PReLU(shared_axes=[1, 2]), layers.Dense(8, activation="relu")
    x = prelu(conv()(prelu(conv()(inputs))))
    x = dense(dense(layers.GlobalAveragePooling2D()(x)))
    assert_oracle(Model(inputs, x))


def branch(size=12):
    return Sequential(
        [Input((size, size, 3)), conv(name="conv"), layers.BatchNormalization(), layers.ReLU(), conv(6, name="conv2")],
        name="branch",
    )


def test_siamese_distance():
    left, right = Input((12, 12, 3)), Input((12, 12, 3))
    shared = branch()
    difference = layers.Subtract()([shared(left), shared(right)])
    model = Model([left, right], layers.Dense(1)(layers.GlobalAveragePooling2D()(difference)))
    result = assert_oracle(model, converted=2)
    assert roles(result) == {"branch/conv": "first", "branch/conv2": "intermediate"}
    assert result.model.count_params() == model.count_params()
    assert_portable(model)


def test_siamese_with_another_reader_for_each():
    left, right = Input((12, 12, 3)), Input((12, 12, 3))
    shared = branch()
    model = Model([left, right], [conv(4)(shared(left)), layers.GlobalMaxPooling2D()(shared(right))])
    assert_oracle(model, converted=3)


def test_one_layer_in_two_nested_models():
    inputs = Input((12, 12, 3))
    shared = conv(3, name="shared")
    models = [Sequential([Input((12, 12, 3)), conv(), shared], name=f"model{i}") for i in range(2)]
    x = models[1](models[0](inputs))
    assert_oracle(Model(inputs, conv(4)(x)))


def test_fold_follows_the_first_call():
    inputs = Input((12, 12, 3))
    shared = conv()
    model = Model(inputs, conv(4)(shared(shared(conv()(inputs)))))
    octconvert.convert(model, min_size=1, weights="fold", verify="deep", calibration=False)
