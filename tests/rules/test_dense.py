"""Dense: a 1x1 octave convolution of a map; on vectors one Dense with gathered kernel rows."""

from keras import Input, Model, layers
from oracle import assert_oracle, assert_portable, reasons, roles


def test_kernel_constraint_of_a_dense_keeps_it_plain():
    inputs = Input((12, 12, 3))
    x = layers.Conv2D(8, 3, padding="same", name="first")(inputs)
    x = layers.Dense(8, kernel_constraint="max_norm", name="bound")(x)
    result = assert_oracle(Model(inputs, [layers.Conv2D(4, 3)(x), layers.Conv2D(4, 3)(inputs)]))
    assert roles(result)["bound"] == "plain"
    assert "constraint" in reasons(result)["bound"]


def conv(filters=8):
    return layers.Conv2D(filters, 3, padding="same")


def test_dense_after_dense_reads_gathered_rows():
    inputs = Input((8, 8, 3))
    x = layers.GlobalAveragePooling2D()(conv(10)(inputs))
    for units in (6, 7):
        x = layers.Dense(units, activation="relu", use_bias=units == 6)(x)
    assert_oracle(Model(inputs, x), converted=1)


def test_dense_of_maps_and_vectors():
    """Of a map it is a convolution, and counted as one; of a vector, or along another axis, it is not."""
    inputs = Input((9, 8, 3))
    x = layers.Conv2D(8, 3, padding="same", name="before")(inputs)
    x = layers.Dense(12, activation="relu", use_bias=False, name="map")(x)
    vector = layers.GlobalAveragePooling2D(keepdims=True)(x)
    outputs = [layers.Dense(4, name="head")(vector), layers.Dense(3, name="rows")(layers.Reshape((12, 1))(vector))]
    model = Model(inputs, [*outputs, layers.Conv2D(4, 3, name="after")(x)])
    result = assert_oracle(model, converted=3)
    assert roles(result) == {"before": "first", "map": "intermediate", "after": "last"}
    assert_portable(model)
