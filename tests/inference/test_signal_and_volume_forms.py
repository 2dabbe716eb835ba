"""Forms for inference of signals and volumes: the same numbers, built-in layers alone, also in runtimes' files."""

import subprocess
import sys
from functools import cache

import keras
import numpy as np
import pytest
from deployables import installed
from keras import Input, Model, layers
from oracle import all_layers, example, largest_difference, randomise, run

import octconvert
from octconvert.inference import Forms
from octconvert.inference.step_forms import UPSAMPLINGS
from octconvert.runtimes.settings import ExportSettings, Quantization
from octconvert.runtimes.signature import example_inputs

SIZES = {(1, "even"): (64,), (1, "odd"): (45,), (3, "even"): (8, 12, 8), (3, "odd"): (7, 9, 10)}
RANKS_AND_SIZES = list(SIZES)
KINDS = {
    1: [Forms(upsampling=up) for up in UPSAMPLINGS] + [Forms(signals="layers")],
    3: [Forms(upsampling=up, volumes=kind) for up, kind in zip(UPSAMPLINGS, ["planes", "layers"] * 3, strict=False)],
}
RARE = [Forms("outputs"), Forms("separate"), Forms(pooling="depthwise", reshaping="layer")]


def of(rank: int, name: str):
    return getattr(layers, name.replace("#", f"{rank}D"))


@cache
def source(rank: int, parity: str, data_format: str = "channels_last"):
    """Strides, a projection, max and average pooling, padding, a gate, a join, upsampling and dropout of channels."""
    size, shared = SIZES[rank, parity], {"padding": "same", "data_format": data_format}
    axis = -1 if data_format == "channels_last" else 1
    inputs = Input((*size, 3) if axis == -1 else (3, *size), name="signal")
    x = of(rank, "Conv#")(8, 3, use_bias=False, **shared)(inputs)
    x = layers.LeakyReLU(0.1)(layers.BatchNormalization(axis=axis)(x))
    if axis == -1:
        x = of(rank, "ZeroPadding#")(1)(of(rank, "SpatialDropout#")(0.1)(x))
        x = of(rank, "Conv#")(8, 3, activation="gelu")(x)
    y = of(rank, "Conv#")(12, 3, 2, **shared)(x)
    y = layers.BatchNormalization(axis=axis)(of(rank, "Conv#")(12, 3, **shared)(layers.ReLU()(y)))
    x = layers.Add()([y, layers.BatchNormalization(axis=axis)(of(rank, "Conv#")(12, 1, 2, **shared)(x))])
    gate = of(rank, "GlobalAveragePooling#")(keepdims=True, data_format=data_format)(x)
    x = layers.Multiply()([x, of(rank, "Conv#")(12, 1, activation="sigmoid", data_format=data_format)(gate)])
    pools = [of(rank, f"{kind}Pooling#")(3, 1, **shared)(x) for kind in ("Average", "Max")]
    x = of(rank, "Conv#")(8, 3, activation="relu", **shared)(layers.Concatenate(axis=axis)(pools))
    heads = [layers.Dense(4, name="classes")(of(rank, "GlobalMaxPooling#")(data_format=data_format)(x))]
    if axis == -1:
        heads.append(of(rank, "Conv#")(2, 3, padding="same", name="map")(of(rank, "UpSampling#")(2)(x)))
    return randomise(Model(inputs, heads))


@cache
def octave_model(rank: int, parity: str, data_format: str = "channels_last", **options):
    return octconvert.convert(source(rank, parity, data_format), 0.5, min_size=1, calibration=False, **options).model


def assert_same(model, deployed):
    inputs = example(model)
    assert largest_difference(run(model, inputs), run(deployed, inputs)) <= 1e-5
    assert deployed.output_names == model.output_names
    assert [tuple(t.shape) for t in deployed.outputs] == [tuple(t.shape) for t in model.outputs]


def assert_built_in(deployed):
    own = [layer.name for layer in all_layers(deployed) if type(layer).__module__.startswith("octconvert")]
    left = [layer.name for layer in all_layers(deployed) if isinstance(layer, layers.BatchNormalization)]
    assert not own and not left


@pytest.mark.quick("1-odd", "3-even")
@pytest.mark.parametrize(("rank", "parity"), RANKS_AND_SIZES)
def test_every_form_predicts_the_same(rank, parity):
    model = octave_model(rank, parity)
    for forms in KINDS[rank]:
        deployed = octconvert.for_inference(model, forms=forms)
        assert_same(model, deployed)
        assert_built_in(deployed)


@pytest.mark.long
@pytest.mark.parametrize("forms", RARE, ids=lambda forms: f"{forms.paths}-{forms.pooling}")
@pytest.mark.parametrize("rank", [1, 3])
def test_other_ways_to_join_paths_and_to_pool(rank, forms):
    assert_same(octave_model(rank, "odd"), octconvert.for_inference(octave_model(rank, "odd"), forms=forms))


@pytest.mark.parametrize(("rank", "parity"), RANKS_AND_SIZES)
def test_a_source_is_folded_as_well(rank, parity):
    deployed = octconvert.for_inference(source(rank, parity), "litert")
    assert_same(source(rank, parity), deployed)
    assert_built_in(deployed)


@pytest.mark.parametrize("rank", [1, 3])
def test_whole_low_tensors(rank):
    model = octave_model(rank, "odd", interior=1.0)
    deployed = octconvert.for_inference(model)
    assert_same(model, deployed)
    assert_built_in(deployed)


@pytest.mark.parametrize("rank", [1, 3])
def test_a_group_for_each_channel(rank):
    """Keras has no depthwise convolution of volumes: it stays one of groups."""
    inputs = Input((*SIZES[rank, "odd"], 4))
    x = of(rank, "Conv#")(8, 3, padding="same", activation="relu")(inputs)
    x = of(rank, "Conv#")(16, 3, padding="same", groups=8)(x)
    model = randomise(Model(inputs, of(rank, "Conv#")(4, 3, padding="same")(layers.BatchNormalization()(x))))
    halved = octconvert.convert(model, 0.5, min_size=1, calibration=False).model
    for forms in KINDS[rank]:
        assert_same(halved, octconvert.for_inference(halved, forms=forms))


def test_signals_become_images_where_the_model_begins_and_ends_alone():
    deployed = octconvert.for_inference(octave_model(1, "even"), "litert")
    ranks = {len(layer.output.shape) for layer in deployed.layers if "Conv" in type(layer).__name__}
    reads = [layer for layer in deployed.operations if type(layer).__name__ == "Reshape"]
    assert ranks == {4}
    assert sum(len(layer.input.shape) == 3 for layer in reads) == sum(len(layer.output.shape) == 3 for layer in reads)


@pytest.mark.long
def test_with_the_channels_first():
    """Compared where TensorFlow computes such convolutions on a CPU: of volumes without strides."""
    inputs = Input((3, 6, 8, 10))
    x = layers.BatchNormalization(axis=1)(layers.Conv3D(6, 3, padding="same", data_format="channels_first")(inputs))
    x = layers.MaxPooling3D(2, data_format="channels_first")(layers.ReLU()(x))
    x = layers.Conv3D(8, 3, padding="same", data_format="channels_first")(x)
    model = randomise(Model(inputs, layers.GlobalAveragePooling3D(data_format="channels_first")(x)))
    model = octconvert.convert(model, 0.5, min_size=1, calibration=False).model
    deployed = octconvert.for_inference(model)
    assert_same(model, deployed)
    assert_built_in(deployed)


@pytest.mark.parametrize("rank", [1, 3])
def test_open_sizes_stay_octave_layers(rank):
    inputs = Input((*[None] * rank, 3))
    x = layers.ReLU()(layers.BatchNormalization()(of(rank, "Conv#")(8, 3, padding="same")(inputs)))
    x = of(rank, "Conv#")(8, 3, padding="same")(of(rank, "MaxPooling#")(2)(x))
    model = randomise(Model(inputs, of(rank, "GlobalAveragePooling#")()(x)))
    model = octconvert.convert(model, 0.5, min_size=1, calibration=False).model
    deployed, data = octconvert.for_inference(model), example(model, 12)
    assert largest_difference(run(model, data), run(deployed, data)) <= 1e-5


LOADING = """
import sys, keras, numpy as np
model = keras.saving.load_model(sys.argv[1])
assert "octconvert" not in sys.modules
outputs = model(np.load(sys.argv[2]))
np.savez(sys.argv[3], *outputs)
"""


@pytest.mark.long
@pytest.mark.parametrize("rank", [1, 3])
def test_it_loads_without_octconvert(rank, tmp_path):
    model, inputs = octave_model(rank, "odd"), example(octave_model(rank, "odd"))
    octconvert.for_inference(model).save(tmp_path / "form.keras")
    np.save(tmp_path / "inputs.npy", inputs)
    paths = [tmp_path / name for name in ("form.keras", "inputs.npy", "outputs.npz")]
    subprocess.run([sys.executable, "-c", LOADING, *map(str, paths)], check=True, cwd=tmp_path)
    found = list(np.load(tmp_path / "outputs.npz").values())
    assert largest_difference(run(model, inputs), found) <= 1e-5


@pytest.mark.long
@pytest.mark.parametrize(("rank", "parity"), RANKS_AND_SIZES)
@pytest.mark.parametrize("name", ["litert", "onnx", "openvino", "tf"])
def test_runtimes_return_the_same(name, rank, parity, tmp_path):
    runtime, model = installed(name), octave_model(rank, parity)
    path = tmp_path / f"model{runtime.suffix}"
    runtime.export(octconvert.for_inference(model, name), path)
    inputs = example_inputs(model, 1)
    session = runtime.open(path)
    assert largest_difference(run(model, list(inputs.values())), session(inputs)) <= 1e-5
    if (name, rank, parity) == ("litert", 1, "even"):
        assert session.partitions == 1


@pytest.mark.long
def test_a_model_of_signals_in_int8(tmp_path):
    runtime, model = installed("litert"), octave_model(1, "even")
    samples = np.random.default_rng(0).standard_normal((16, 64, 3)).astype("float32")
    settings = ExportSettings(quantization=Quantization("int8", (samples,)))
    runtime.export(octconvert.for_inference(model, "litert", quantize="int8"), tmp_path / "m.tflite", settings)
    found = runtime.open(tmp_path / "m.tflite")({"signal": samples[:1]})
    for expected, output in zip(run(model, [samples[:1]]), found, strict=True):
        assert keras.ops.std(expected - output) < 0.2 * keras.ops.std(expected)
