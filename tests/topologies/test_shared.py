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


def test_convolution_on_a_plain_tensor_and_on_a_pair_reads_plain_tensors():
    inputs = Input((12, 12, 8))
    shared = conv(name="shared")
    x = shared(conv(name="between")(shared(inputs)))
    model = Model(inputs, conv(4, name="after")(conv(name="next")(x)))
    result = assert_oracle(model, converted=4)
    assert roles(result) == {"shared": "first", "between": "last", "next": "intermediate", "after": "last"}
    assert "called 2 times, and 'shared' reads a plain tensor" in reasons(result)["between"]
    assert_portable(model)


@pytest.mark.quick("1-sizes1", "2-sizes2")
@pytest.mark.parametrize("sizes", [(16, 10), (9, 10), (16, 17)])
@pytest.mark.parametrize("strides", [1, 2])
def test_convolution_at_two_sizes(sizes, strides):
    inputs = [Input((size, size, 3)) for size in sizes]
    first, second = conv(name="first", strides=strides), conv(name="second", strides=strides)
    model = Model(inputs, [second(layers.ReLU()(first(x))) for x in inputs])
    assert_oracle(model, converted=2)
    assert_portable(model)


@pytest.mark.quick("DepthwiseConv2D-sizes1")
@pytest.mark.parametrize("sizes", [(16, 10), (9, 10)])
@pytest.mark.parametrize("layer", [layers.DepthwiseConv2D, lambda *a, **k: layers.SeparableConv2D(8, *a, **k)])
def test_depthwise_at_two_sizes(sizes, layer):
    inputs = [Input((size, size, 3)) for size in sizes]
    first, shared, last = conv(), layer(3, strides=2, padding="same"), conv(4)
    model = Model(inputs, [last(shared(first(x))) for x in inputs])
    assert_oracle(model, converted=3)
    assert_portable(model)


@pytest.mark.parametrize("small", [6, 3, 2])
def test_a_small_second_call_follows_the_first(small):
    inputs = [Input((16, 16, 3)), Input((small, small, 3))]
    shared, last = conv(name="shared"), conv(name="last")
    model = Model(inputs, [last(layers.ReLU()(shared(x))) for x in inputs])
    result = assert_oracle(model, converted=2, min_size=8)
    assert roles(result) == {"shared": "first", "last": "last"}
    assert_portable(model, min_size=8)


def test_a_layer_called_on_a_map_and_on_a_1x1_map_stays_plain():
    inputs = [Input((16, 16, 3)), Input((1, 1, 3))]
    shared, last = conv(name="shared"), conv(name="last")
    result = assert_oracle(Model(inputs, [last(layers.ReLU()(shared(x))) for x in inputs]), converted=0)
    assert reasons(result)["last"] == "it is called 2 times, on maps and on a 1x1 map"


def test_a_shared_layer_stays_plain_where_most_of_its_maps_are_small():
    inputs = [Input((size, size, 3)) for size in (8, 7, 7)]
    shared, last = conv(name="shared"), conv(name="last")
    result = assert_oracle(Model(inputs, [last(shared(x)) for x in inputs]), converted=0, min_size=8)
    assert reasons(result)["shared"] == "7x7 map, below min_size 8, the largest of its 3 calls"


@pytest.mark.long
@pytest.mark.parametrize("nested", [False, True])
def test_a_head_on_all_levels_of_a_pyramid(nested):
    """As in RetinaNet: one head for all levels, the smallest far below min_size."""
    image = Input((64, 64, 3))
    levels, x = [], image
    for level in range(5):
        x = conv(8, name=f"level{level}", strides=2, activation="relu")(x)
        levels.append(x)
    steps = [conv(name="head1"), layers.BatchNormalization(name="norm"), conv(name="head2"), conv(4, name="head3")]

    def head(tensor):
        for step in steps:
            tensor = step(tensor)
            if step.name != "head3":
                tensor = layers.ReLU()(tensor)
        return tensor

    if nested:
        inside = Input((None, None, 8))
        head = Model(inside, head(inside), name="head")
    result = assert_oracle(Model(image, [head(tensor) for tensor in levels]), min_size=8)
    found = {name.rsplit("/", 1)[-1]: role for name, role in roles(result).items()}
    assert found["head1"] == "first" and found["head2"] == "intermediate" and found["head3"] == "last"


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


@pytest.mark.long
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
