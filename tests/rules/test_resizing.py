"""UpSampling2D, Resizing and keras.ops.image.resize: each map is resized."""

import pytest
from keras import Input, Model, layers, ops
from oracle import assert_oracle, assert_portable, example, largest_difference, reasons, run

import octconvert


def conv(x, filters, kernel=3, **more):
    return layers.Conv2D(filters, kernel, padding="same", activation="relu", **more)(x)


@pytest.mark.long
@pytest.mark.parametrize("spread", ["resizing", "upsampling", "operation"])
def test_pyramid_pooling(spread):
    """PSPNet: windows of the whole map and of its parts, brought back to its size."""
    inputs = Input((12, 12, 3))
    x = conv(inputs, 8)
    branches = [x]
    for bins in (1, 2, 3, 6):
        y = conv(layers.AveragePooling2D(12 // bins)(x), 4, 1)
        if spread == "resizing":
            y = layers.Resizing(12, 12)(y)
        elif spread == "upsampling":
            y = layers.UpSampling2D(12 // bins, interpolation="bilinear")(y)
        else:
            y = ops.image.resize(y, (12, 12))
        branches.append(y)
    model = Model(inputs, conv(layers.Concatenate()(branches), 4))
    assert_oracle(model)
    assert_portable(model)


def test_raw_resizing_loads_again(tmp_path):
    inputs = Input((16, 16, 3))
    model = Model(inputs, conv(ops.image.resize(conv(inputs, 4), (12, 10)), 4))
    result = octconvert.convert(model, min_size=1, calibration=False)
    result.save(tmp_path / "resized.keras")
    loaded = octconvert.load(tmp_path / "resized.keras")
    assert largest_difference(run(result.model, example(model)), run(loaded, example(model))) <= 1e-6


@pytest.mark.parametrize("factor", [3, (2, 1), (1, 3)])
def test_other_factors(factor):
    inputs = Input((7, 9, 3))
    model = Model(inputs, conv(layers.UpSampling2D(factor)(conv(inputs, 8)), 4))
    assert_oracle(model, converted=2)
    assert_portable(model)


@pytest.mark.parametrize(
    "layer, reason",
    [
        (lambda: layers.Resizing(8, 8, crop_to_aspect_ratio=True), "keeps the aspect ratio by cropping or padding"),
        (lambda: layers.UpSampling2D(data_format="channels_first"), "another data format"),
    ],
)
def test_what_ends_the_pair(layer, reason):
    inputs = Input((7, 9, 3))
    x = layers.Conv2D(8, 3, padding="same", name="before")(inputs)
    plan = octconvert.plan(Model(inputs, conv(layer()(x), 4)), min_size=1)
    assert reason in reasons(plan)["before"]
