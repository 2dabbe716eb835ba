"""Feature maps of a conversion beside those of its source."""

from dataclasses import replace

import keras
import numpy as np
import pytest
from keras import layers
from oracle import randomise

import octconvert
from octconvert import InputError, UsageError


def net(size=(16, 16), channels=1, name="net"):
    convolution, pool = getattr(layers, f"Conv{len(size)}D"), getattr(layers, f"GlobalAveragePooling{len(size)}D")
    image = keras.Input((*size, channels), name="image")
    x = convolution(6, 3, padding="same", activation="relu", name="a")(image)
    x = convolution(8, 3, padding="same", name="b")(x)
    x = layers.ReLU(name="b_relu")(layers.BatchNormalization(name="b_bn")(x))
    x = convolution(8, 3, padding="same", name="c")(x)
    return randomise(keras.Model(image, layers.Dense(3)(pool()(x)), name=name))


@pytest.fixture(scope="module")
def source():
    return net()


@pytest.fixture(scope="module")
def sample():
    return np.random.default_rng(0).normal(size=(16, 16, 1)).astype("float32")


@pytest.fixture(scope="module")
def conversion(source):
    return octconvert.convert(source, calibration=False)


def test_at_octave_1_the_pair_is_the_source_whatever_channels_are_low(source, sample):
    plan = octconvert.plan(source, octave=1)
    low = {"a": (0, 4, 5), "b": (1, 2, 3, 7), "c": (0, 1, 2, 4)}
    groups = tuple(replace(each, selection=tuple(low[name] for name in each.producers)) for each in plan.groups)
    result = octconvert.convert(source, plan=replace(plan, groups=groups), calibration=False)
    maps = result.show(sample, layers=["^a$", "b_relu"], channels=16)
    assert [layer.name for layer in maps.layers] == ["a", "b_relu"]
    for layer, name in zip(maps.layers, "ab", strict=True):
        assert layer.error == pytest.approx(0, abs=1e-9)
        assert sorted(each.channel for each in layer.maps if each.part == "low") == list(low[name])
        for each in layer.maps:
            np.testing.assert_allclose(each.values, each.source, atol=1e-5)


def test_maps_with_nan_are_not_compared_but_can_be_seen(source, sample):
    conversion = octconvert.convert(source, calibration=False)
    for layer in conversion.model.layers:
        layer.set_weights([weight * np.float32(1e30) for weight in layer.get_weights()])
    with pytest.raises(InputError, match="'b_relu': its maps have nan or infinity"):
        conversion.show(sample, layers=["b_relu"])
    (alone,) = octconvert.show(conversion.model, sample, layers=["b_relu"]).layers
    assert not all(np.isfinite(each.values).all() for each in alone.maps)


@pytest.mark.parametrize("sizes", [((16, 16), (64,)), ((16, 16), (8, 8, 8))], ids=["signals", "volumes"])
def test_maps_of_several_ranks_are_shown_together(sizes):
    first, second = (net(size, name=f"net{len(size)}") for size in sizes)
    inputs = [keras.Input((*size, 1)) for size in sizes]
    source = keras.Model(inputs, [part(each) for part, each in zip((first, second), inputs, strict=True)])
    rng = np.random.default_rng(0)
    samples = [rng.normal(size=(1, *size, 1)).astype("float32") for size in sizes]
    maps = octconvert.convert(source, octave=1, calibration=False).show(samples, layers=["/a$"])
    shapes = {layer.name: layer.source_shape for layer in maps.layers}
    assert shapes == {f"net{len(size)}/a": (*size, 6) for size in sizes}
    assert all(layer.error == pytest.approx(0, abs=1e-9) for layer in maps.layers)


def test_the_layers_behind_activations_and_their_sizes(conversion, sample):
    first, second = conversion.show(sample).layers
    assert (first.name, second.name) == ("a", "b_relu")
    assert (first.high_shape, first.low_shape, first.source_shape) == ((16, 16, 3), (8, 8, 3), (16, 16, 6))
    assert first.alpha == second.alpha == 0.5
    assert first.error_high == pytest.approx(0, abs=1e-9) and first.error_low > first.error > 0


def test_the_error_is_that_of_the_merged_pair(sample):
    image = keras.Input((16, 16, 1))
    x = layers.Conv2D(8, 3, padding="same", activation="relu", name="a")(image)
    x = layers.Add(name="sum")([x, layers.Conv2D(8, 3, padding="same", name="b")(x)])
    small = layers.Conv2D(4, 3, name="small")(layers.MaxPooling2D(4)(x))  # where maps are too small for pairs
    source = randomise(keras.Model(image, small))
    result = octconvert.convert(source, calibration=False)
    expected, merged = (
        keras.Model(model.inputs, model.get_layer(name).output).predict(sample[None], verbose=0)
        for model, name in ((source, "sum"), (result.model, "sum-merge"))
    )
    (layer,) = result.show(sample, layers="sum").layers
    assert layer.error == pytest.approx(((expected - merged) ** 2).mean() / expected.var(), rel=1e-4)


@pytest.mark.parametrize("option", ["portable", "for_inference"])
def test_other_forms_of_a_model_show_the_same(source, sample, conversion, option):
    form = octconvert.convert(source, calibration=False, **{option: True}).model
    (expected,) = conversion.show(sample, layers="b_relu").layers
    (layer,) = octconvert.show(form, sample, source=source, layers="b_relu").layers
    assert layer.error == pytest.approx(expected.error, rel=1e-3)
    assert [each.channel for each in layer.maps] == [each.channel for each in expected.maps]


@pytest.mark.parametrize("option", ["portable", "for_inference"])
def test_convolutions_have_their_maps_in_other_forms_too(source, sample, conversion, option):
    """Built-in layers in their place: paths, their sum, and the activation behind that."""
    form = octconvert.convert(source, calibration=False, **{option: True}).model
    expected = conversion.show(sample, layers=["^a$"]).layers
    layers_of_form = octconvert.show(form, sample, source=source, layers=["^a$"]).layers
    for layer, other in zip(layers_of_form, expected, strict=True):
        assert (layer.high_shape, layer.low_shape) == (other.high_shape, other.low_shape)
        assert layer.error == pytest.approx(other.error, rel=1e-3)


def test_without_a_source_there_are_the_own_maps_alone(conversion, sample):
    maps = octconvert.show(conversion.model, sample, layers="b_relu", channels=2)
    (layer,) = maps.layers
    assert layer.error is None and layer.source_shape is None and maps.source == ""
    assert [(each.part, each.source) for each in layer.maps] == [("high", None)] * 2 + [("low", None)] * 2
    assert "error" not in str(maps)


def test_a_tensor_that_is_whole_low_has_a_low_map_alone(source, sample):
    result = octconvert.convert(source, alpha=0, alpha_map={"^b$": 1.0}, calibration=False)
    (layer,) = result.show(sample).layers
    assert layer.high_shape is None and layer.low_shape == (8, 8, 8) and layer.error_high is None
    assert layer.error == layer.error_low > 0 and {each.part for each in layer.maps} == {"low"}


def test_signals_are_lines_and_volumes_are_slices():
    rng = np.random.default_rng(0)
    signal = net((31,), 2)
    layer = octconvert.convert(signal, calibration=False).show(rng.normal(size=(31, 2))).layers[0]
    assert layer.is_signal and layer.low_shape == (16, 3) and layer.maps[0].values.shape == (31,)
    volume = net((9, 12, 16))
    layer = octconvert.convert(volume, calibration=False).show(rng.normal(size=(9, 12, 16, 1))).layers[0]
    assert layer.slice_of == "slice 5 of 9" and not layer.is_signal
    assert {each.values.shape for each in layer.maps} == {(12, 16), (6, 8)}


@pytest.mark.quick("sample", "npy")
@pytest.mark.parametrize("kind", ["sample", "batch", "grey", "npy", "npy of several", "png"])
def test_one_sample_of_every_kind_of_data(source, conversion, tmp_path, kind):
    picture = np.random.default_rng(1).integers(0, 255, (16, 16, 1)).astype("uint8")
    keras.utils.save_img(tmp_path / "image.png", picture, scale=False)
    np.save(tmp_path / "one.npy", picture)
    np.save(tmp_path / "some.npy", np.stack([picture, picture[::-1]]))
    data = {
        "sample": picture,
        "batch": np.stack([picture, picture[::-1]]),
        "grey": picture[..., 0],
        "npy": tmp_path / "one.npy",
        "npy of several": tmp_path / "some.npy",
        "png": str(tmp_path / "image.png"),
    }[kind]
    expected = conversion.show(picture.astype("float32")).layers
    layers = conversion.show(data).layers
    assert [layer.error for layer in layers] == pytest.approx([layer.error for layer in expected], rel=1e-4)


def test_nested_models_and_shared_layers(sample):
    inside = net(name="inside")
    backbone = keras.Model(inside.inputs, inside.get_layer("b_relu").output, name="backbone")
    image = keras.Input((16, 16, 1))
    x = layers.Conv2D(4, 3, padding="same", name="head")(backbone(image))
    model = keras.Model(image, layers.GlobalAveragePooling2D()(x))
    maps = octconvert.convert(model, calibration=False).show(sample)
    assert [layer.name for layer in maps.layers] == ["backbone/a", "backbone/b_relu"]

    image, conv = keras.Input((16, 16, 4)), layers.Conv2D(4, 3, padding="same", activation="relu", name="twice")
    model = keras.Model(image, layers.GlobalAveragePooling2D()(conv(conv(conv(image)))))
    maps = octconvert.convert(model, calibration=False).show(np.ones((16, 16, 4)))
    assert [layer.name for layer in maps.layers][:2] == ["twice", "twice (call 2)"]


def test_what_makes_no_sense_is_one_clear_line(source, sample, conversion, tmp_path):
    with pytest.raises(InputError, match="net: no layer writes a pair or a low map; expected a converted model"):
        octconvert.show(source, sample)
    with pytest.raises(InputError, match="it takes 20x20x1, the other 16x16x1"):
        octconvert.show(conversion.model, sample, source=net((20, 20)))
    with pytest.raises(InputError, match="is not the source of"):
        other = keras.Sequential([keras.Input((16, 16, 1)), layers.Conv2D(6, 3, name="other")])
        octconvert.show(conversion.model, sample, source=other)
    with pytest.raises(UsageError, match="no map matches 'zzz'; there are a, b, b_bn, b_relu, c"):
        conversion.show(sample, layers="zzz")
    with pytest.raises(InputError, match="takes samples of shape"):
        conversion.show(np.zeros((9, 9, 1)))
    with pytest.raises(UsageError, match=r"pictures are written as \.png"):
        conversion.show(sample, output=tmp_path / "maps.jpg")
