"""Models in channels_first (which run on the CPU), and layers that mix data formats."""

import pytest
from keras import Input, Model, layers
from oracle import assert_oracle, assert_portable, ends, example, largest_difference, randomise, reasons, roles, run

import octconvert

FIRST = {"data_format": "channels_first"}


def conv(filters=8, kernel=3, **options):
    return layers.Conv2D(filters, kernel, **{"padding": "same", **FIRST, **options})


def norm():
    return layers.BatchNormalization(axis=1)


@pytest.mark.quick("size1")
@pytest.mark.parametrize("size", [(18, 22), (13, 17)])
def test_residual_network(size):
    inputs = Input((3, *size))
    x = layers.MaxPooling2D(3, 2, "same", **FIRST)(layers.ReLU()(norm()(conv()(inputs))))
    y = norm()(conv(strides=2)(layers.PReLU(shared_axes=[2, 3])(norm()(conv()(x)))))
    x = layers.Add()([y, conv(kernel=1, strides=2)(x)])
    x = layers.Concatenate(axis=1)([x, conv(4)(x)])
    model = Model(inputs, layers.Dense(3)(layers.GlobalAveragePooling2D(**FIRST)(x)))
    assert_oracle(model, converted=5)
    assert_portable(model)


@pytest.mark.long
def test_mobile_block_with_gate():
    inputs = Input((3, 15, 29))
    x = conv(kernel=1)(layers.ZeroPadding2D(((0, 1), (0, 1)), **FIRST)(conv()(inputs)))
    x = layers.DepthwiseConv2D(3, 2, **FIRST)(layers.ZeroPadding2D(1, **FIRST)(x))
    g = layers.GlobalAveragePooling2D(keepdims=True, **FIRST)(x)
    x = layers.Multiply()([x, conv(kernel=1, activation="sigmoid")(g)])
    x = layers.SeparableConv2D(6, 3, padding="same", **FIRST)(x)
    model = Model(inputs, layers.GlobalMaxPooling2D(**FIRST)(x))
    assert_oracle(model)
    assert_portable(model)


def test_dense_gate():
    inputs = Input((3, 10, 11))
    x = conv()(inputs)
    g = layers.Dense(8, activation="sigmoid")(layers.GlobalAveragePooling2D(**FIRST)(x))
    model = Model(inputs, conv(4)(layers.Multiply()([x, layers.Reshape((8, 1, 1))(g)])))
    assert_oracle(model, converted=2)
    assert_portable(model)


def test_upsampling_cropping_and_skip():
    inputs = Input((3, 11, 22))
    skip = conv()(inputs)
    x = layers.UpSampling2D(**FIRST)(conv()(layers.AveragePooling2D(2, padding="same", **FIRST)(skip)))
    x = layers.Cropping2D(((0, 1), (0, 0)), **FIRST)(x)
    model = Model(inputs, conv(4)(layers.Concatenate(axis=1)([skip, x])))
    assert_oracle(model, converted=3)
    assert_portable(model)


def test_open_sizes():
    inputs = Input((3, None, None))
    x = layers.MaxPooling2D(3, 2, **FIRST)(conv(strides=2)(conv()(inputs)))
    assert_oracle(Model(inputs, conv(6)(x)), converted=3)


def test_other_data_format_ends_the_pair():
    inputs = Input((12, 12, 3))
    x = layers.Conv2D(8, 3, padding="same", name="a")(inputs)
    swapped = layers.MaxPooling2D((1, 2), data_format="channels_first", name="pool")(x)
    model = Model(inputs, [layers.Conv2D(4, 3, padding="same", name="b")(x), swapped])
    result = assert_oracle(model, converted=2)
    assert "data format" in ends(result)["pool"]


def test_convolution_in_the_other_data_format_stays_plain():
    inputs = Input((12, 10, 3))
    x = layers.Conv2D(8, 3, padding="same", name="a")(inputs)
    x = layers.Conv2D(8, 3, padding="same", name="b")(x)
    model = Model(inputs, layers.Conv2D(6, 3, data_format="channels_first", name="c")(x))
    result = assert_oracle(model, converted=2)
    assert roles(result)["c"] == "plain" and "channels_first" in reasons(result)["c"]


def test_normalisation_of_another_axis_ends_the_pair():
    inputs = Input((10, 12, 3))
    x = layers.Conv2D(8, 3, padding="same")(inputs)
    wrong = layers.BatchNormalization(axis=1, name="rows")(x)
    result = assert_oracle(Model(inputs, [layers.Conv2D(4, 3)(x), wrong]), converted=2)
    assert "axis 1" in ends(result)["rows"]


def test_dense_along_a_side_is_not_a_gate():
    """(batch, channels, 1, 1) has its channels in another axis than the one a Dense works on."""
    inputs = Input((3, 9, 10))
    x = conv()(inputs)
    g = layers.Dense(1, activation="sigmoid")(layers.GlobalAveragePooling2D(keepdims=True, **FIRST)(x))
    assert_oracle(Model(inputs, [conv(4)(layers.Multiply()([x, g])), conv(5)(x)]))


@pytest.mark.quick("1.0-8-1")
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("columns", [4, 6, 8, 12, 16, 24])
@pytest.mark.parametrize("alpha", [0.5, 1.0])
def test_as_many_columns_as_channels(alpha, columns, stride):
    """Keras would then add biases to the columns: of the source, of the parts of a pair, of what is folded."""
    inputs = Input((3, 10, columns))
    x = norm()(conv(16)(inputs))
    x = norm()(layers.DepthwiseConv2D(3, padding="same", **FIRST)(conv(12, strides=stride, activation="relu")(x)))
    x = norm()(layers.SeparableConv2D(8, 3, padding="same", **FIRST)(norm()(conv(24, use_bias=False)(x))))
    model = Model(inputs, conv(4, activation="tanh")(x))
    result = assert_oracle(model, alpha=alpha)
    assert_portable(model, alpha=alpha)
    sample = example(model)
    deployed = octconvert.for_inference(result.model)
    assert largest_difference(run(result.model, sample), run(deployed, sample)) <= 1e-5
    folded = octconvert.for_inference(model)
    assert largest_difference(run(model, sample), run(folded, sample)) <= 1e-5


def test_a_bias_on_the_columns_is_told():
    inputs = Input((3, 10, 8))
    model = Model(inputs, conv(4)(conv(8, name="misplaced")(conv(6)(inputs))))
    result = assert_oracle(model)
    assert "8 biases to the 8 columns" in reasons(result)["misplaced"]


def test_folding_at_open_sizes():
    """A bias that comes of a normalisation is on the channels at whatever number of columns the model is run."""
    inputs = Input((3, None, None))
    model = Model(inputs, layers.ReLU()(norm()(conv(8, use_bias=False)(inputs))))
    randomise(model)
    deployed = octconvert.for_inference(model)
    for columns in (8, 9):
        sample = example(model, columns)
        assert largest_difference(run(model, sample), run(deployed, sample)) <= 1e-5


def test_a_shared_depthwise_convolution_with_as_many_columns_as_channels():
    inputs = Input((3, 10, 8))
    depthwise = layers.DepthwiseConv2D(3, padding="same", **FIRST)
    x = depthwise(layers.ReLU()(depthwise(conv(16)(inputs))))
    model = Model(inputs, conv(5)(x))
    assert_oracle(model, converted=3)
    assert_portable(model)


@pytest.mark.parametrize("join", [layers.Add, layers.Average])
def test_a_vector_added_to_a_map(join):
    """To one sample's map Keras adds a vector like a bias."""
    inputs = Input((3, 10, 8))
    x = conv(16)(inputs)
    vector = conv(16, 1)(layers.GlobalAveragePooling2D(keepdims=True, **FIRST)(x))
    model = Model(inputs, conv(5)(join(name="join")([x, vector])))
    result = assert_oracle(model, inputs=example(model, batch=1))
    assert "to the columns" in ends(result)["join"]
