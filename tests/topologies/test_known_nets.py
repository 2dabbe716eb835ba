"""Well-known networks of signals, volumes and videos, narrow: the octave=1 oracle, and how much of them is converted.

Hannun et al. 2019 (34-layer residual network of electrocardiograms), Conv-TasNet (Luo & Mesgarani 2019), 3D U-Net
(Cicek et al. 2016), C3D (Tran et al. 2015), I3D (Carreira & Zisserman 2017), R(2+1)D (Tran et al. 2018), X3D
(Feichtenhofer 2020), YAMNet (Plakal & Ellis 2020), MobileNetV2 of each frame before an LSTM.
"""

import keras
import pytest
from keras import Input, Model, layers
from oracle import assert_oracle, assert_portable, example, reasons

import octconvert


def normalised(x, channels, kernel, strides=1, rank=3, axis=-1):
    conv = layers.Conv1D if rank == 1 else layers.Conv3D
    x = conv(channels, kernel, strides=strides, padding="same", use_bias=False)(x)
    return layers.ReLU()(layers.BatchNormalization(axis=axis)(x))


def ecg_resnet34(size):
    """16 blocks of two convolutions, every fourth with a stride; max pooling on the way around."""
    inputs = Input((*size, 2))
    x = normalised(inputs, 4, 16, rank=1)
    for block in range(16):
        width, strides = 4 * (1 + block // 8), 2 if block % 4 == 3 else 1
        y = layers.ReLU()(layers.BatchNormalization()(x)) if block else x
        y = layers.Dropout(0.2)(normalised(y, width, 16, strides, rank=1))
        y = layers.Conv1D(width, 16, padding="same")(y)
        x = layers.MaxPooling1D(strides, padding="same")(x) if strides > 1 else x
        x = layers.Conv1D(width, 1)(x) if x.shape[-1] != width else x
        x = layers.Add()([x, y])
    x = layers.ReLU()(layers.BatchNormalization()(x))
    return Model(inputs, layers.Dense(4)(layers.GlobalAveragePooling1D()(x)))


def conv_tasnet(size):
    """Encoder, separator and decoder; masks for two speakers."""
    inputs = Input((*size, 1))
    code = layers.Conv1D(16, 4, strides=2, padding="same", activation="relu", use_bias=False)(inputs)
    x = layers.Conv1D(8, 1)(layers.LayerNormalization()(code))
    skips = []
    for dilation in (1, 2, 4, 8):
        y = layers.PReLU(shared_axes=[1])(layers.Conv1D(16, 1)(x))
        y = layers.DepthwiseConv1D(3, padding="same", dilation_rate=dilation)(layers.GroupNormalization(1)(y))
        y = layers.GroupNormalization(1)(layers.PReLU(shared_axes=[1])(y))
        skips.append(layers.Conv1D(8, 1)(y))
        x = layers.Add()([x, layers.Conv1D(8, 1)(y)])
    x = layers.PReLU(shared_axes=[1])(layers.Add()(skips))
    masks = layers.Conv1D(32, 1, activation="sigmoid")(x)
    parts = [layers.Multiply()([code, masks[..., 16 * i : 16 * (i + 1)]]) for i in range(2)]
    decoder = layers.Conv1DTranspose(1, 4, strides=2, padding="same", use_bias=False)
    return Model(inputs, [decoder(part) for part in parts])


def unet(size):
    """By transposed convolutions; in the data format that Keras is set to."""
    first = keras.config.image_data_format() == "channels_first"
    axis = 1 if first else -1
    inputs = Input((2, *size) if first else (*size, 2))
    x, skips = inputs, []
    for width in (4, 8):
        x = normalised(normalised(x, width, 3, axis=axis), 2 * width, 3, axis=axis)
        skips.append(x)
        x = layers.MaxPooling3D(2)(x)
    x = normalised(x, 16, 3, axis=axis)
    for width, skip in zip((16, 8), reversed(skips), strict=True):
        x = layers.Concatenate(axis=axis)([skip, layers.Conv3DTranspose(width, 2, strides=2)(x)])
        x = normalised(normalised(x, width, 3, axis=axis), width, 3, axis=axis)
    return Model(inputs, layers.Conv3D(3, 1)(x))


def c3d(size):
    inputs = Input((*size, 3))
    x = layers.MaxPooling3D((1, 2, 2))(layers.Conv3D(4, 3, padding="same", activation="relu")(inputs))
    for width in (8, 12):
        for _ in range(2):
            x = layers.Conv3D(width, 3, padding="same", activation="relu")(x)
        x = layers.MaxPooling3D(2, 2)(x)
    if None not in size:
        x = layers.ZeroPadding3D(((0, 0), (0, 1), (0, 1)))(x)
        x = layers.Dense(16, activation="relu")(layers.Flatten()(x))
        return Model(inputs, layers.Dense(4)(x))
    return Model(inputs, layers.Dense(4)(layers.GlobalMaxPooling3D()(x)))


def i3d(size):
    inputs = Input((*size, 3))
    x = normalised(inputs, 8, (3, 5, 5), 2)
    x = layers.MaxPooling3D((1, 3, 3), (1, 2, 2), padding="same")(x)
    x = normalised(normalised(x, 8, 1), 12, 3)
    for _ in range(2):
        branches = [
            normalised(x, 4, 1),
            normalised(normalised(x, 4, 1), 8, 3),
            normalised(normalised(x, 2, 1), 4, 3),
            normalised(layers.MaxPooling3D(3, 1, padding="same")(x), 4, 1),
        ]
        x = layers.Concatenate()(branches)
    x = layers.Dropout(0.5)(layers.GlobalAveragePooling3D(keepdims=True)(x))
    return Model(inputs, layers.Flatten()(layers.Conv3D(4, 1)(x)))


def r2plus1d(size):
    inputs = Input((*size, 3))

    def factorised(x, width, strides=1):
        x = normalised(x, width, (1, 3, 3), (1, strides, strides))
        return layers.Conv3D(width, (3, 1, 1), strides=(strides, 1, 1), padding="same", use_bias=False)(x)

    x = layers.ReLU()(layers.BatchNormalization()(factorised(inputs, 8)))
    for width, strides in ((8, 1), (12, 2)):
        y = factorised(layers.ReLU()(layers.BatchNormalization()(factorised(x, width, strides))), width)
        y = layers.BatchNormalization()(y)
        x = layers.BatchNormalization()(layers.Conv3D(width, 1, strides=strides)(x)) if strides > 1 else x
        x = layers.ReLU()(layers.Add()([x, y]))
    return Model(inputs, layers.Dense(4)(layers.GlobalAveragePooling3D()(x)))


def x3d(size):
    """Depthwise convolutions of volumes, squeeze and excite."""
    inputs = Input((*size, 3))
    x = layers.Conv3D(8, (1, 3, 3), padding="same", use_bias=False)(inputs)
    x = normalised(layers.Conv3D(8, (5, 1, 1), padding="same", groups=8)(x), 8, 1)
    for strides in ((1, 2, 2), 1):
        y = normalised(x, 12, 1)
        y = layers.Conv3D(12, 3, strides=strides, padding="same", groups=12, use_bias=False)(y)
        y = layers.BatchNormalization()(y)
        gate = layers.GlobalAveragePooling3D(keepdims=True)(y)
        gate = layers.Conv3D(12, 1, activation="sigmoid")(layers.Conv3D(4, 1, activation="relu")(gate))
        y = layers.Conv3D(8, 1)(layers.Activation("silu")(layers.Multiply()([y, gate])))
        x = layers.Add()([layers.Conv3D(8, 1, strides=strides)(x) if strides != 1 else x, y])
    return Model(inputs, layers.Dense(4)(layers.GlobalAveragePooling3D()(x)))


def yamnet(size):
    """MobileNet of log-mel spectrograms, 96 frames of 64 bands."""
    inputs = Input((*size, 1))
    x = layers.ReLU()(layers.BatchNormalization()(layers.Conv2D(4, 3, 2, "same", use_bias=False)(inputs)))
    for block in range(13):
        strides = 2 if block in (1, 3, 5, 11) else 1
        x = layers.DepthwiseConv2D(3, strides, "same", use_bias=False)(x)
        x = layers.ReLU()(layers.BatchNormalization(center=True, scale=False)(x))
        x = layers.Conv2D(4 + 2 * block, 1, padding="same", use_bias=False)(x)
        x = layers.ReLU()(layers.BatchNormalization()(x))
    return Model(inputs, layers.Dense(5, activation="sigmoid")(layers.GlobalAveragePooling2D()(x)))


def mobilenet_lstm(size):
    """A classifier of videos by the features of their frames."""
    frame = keras.applications.MobileNetV2((*size[1:], 3), 0.35, include_top=False, weights=None, pooling="avg")
    inputs = Input((*size, 3))
    return Model(inputs, layers.Dense(3)(layers.LSTM(4)(layers.TimeDistributed(frame)(inputs))))


NETS = {ecg_resnet34: (150,), conv_tasnet: (60,), unet: (8, 8, 8), c3d: (8, 12, 12), i3d: (8, 12, 12)}
NETS |= {r2plus1d: (5, 9, 8), x3d: (4, 9, 10), yamnet: (96, 64), mobilenet_lstm: (2, 64, 64)}


@pytest.mark.quick("c3d", "x3d")
@pytest.mark.parametrize("make", NETS, ids=lambda make: make.__name__)
def test_the_oracle(make):
    result = assert_oracle(make(NETS[make]))
    assert result.report.octave_mac_share >= 0.95, reasons(result)
    assert "could not" not in repr(result.report.notes)


@pytest.mark.long
@pytest.mark.parametrize("make", NETS, ids=lambda make: make.__name__)
def test_the_oracle_at_open_sizes(make):
    model = make((None,) * len(NETS[make]))
    size = 32 if make is mobilenet_lstm else max(NETS[make]) if len(NETS[make]) < 3 else 8
    result = assert_oracle(model, inputs=example(model, size))
    assert result.report.octave_mac_share >= 0.95, reasons(result)


@pytest.mark.quick("r2plus1d")
@pytest.mark.parametrize("make", [ecg_resnet34, c3d, r2plus1d], ids=lambda make: make.__name__)
def test_built_in_layers_do_the_same(make):
    assert_portable(make(NETS[make]))


def test_what_has_no_built_in_layer_at_other_ranks():
    plan = octconvert.plan(x3d(NETS[x3d]), portable=True, min_size=1)
    assert any("Keras has no depthwise convolution of volumes" in reason for reason in reasons(plan).values())
    assert "could not" not in repr(reasons(plan))


@pytest.mark.long
def test_the_oracle_in_channels_first():
    keras.config.set_image_data_format("channels_first")
    try:
        result = assert_oracle(unet((8, 4, 8)))
        assert result.report.octave_mac_share >= 0.95, reasons(result)
    finally:
        keras.config.set_image_data_format("channels_last")


@pytest.mark.long
@pytest.mark.parametrize("make", [r2plus1d, i3d], ids=lambda make: make.__name__)
def test_the_time_of_a_video_is_kept(make):
    model = make(NETS[make])
    result = octconvert.convert(model, octave=(1, 2, 2), verify="deep", min_size=1, calibration=False)
    assert result.report.octave_mac_share >= 0.95, reasons(result)
