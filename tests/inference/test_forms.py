"""A model's form for inference: the same numbers, built-in layers, normalisation folded, pooled maps shared."""

import zipfile
from collections import Counter
from functools import cache

import keras
import numpy as np
import pytest
from keras import Input, Model, layers
from oracle import all_layers, example, largest_difference, randomise, run

import octconvert
from octconvert.inference import Forms
from octconvert.inference.step_forms import PATHS, UPSAMPLINGS

KINDS = [Forms(upsampling=up) for up in UPSAMPLINGS] + [Forms(paths) for paths in PATHS if paths != Forms().paths]
"""Each way once; the random graphs mix them."""


def block(x, filters: int, strides: int = 1):
    shortcut = layers.BatchNormalization()(layers.Conv2D(filters, 1, strides)(x))
    y = layers.Conv2D(filters, 3, strides, padding="same", use_bias=False)(x)
    y = layers.ReLU()(layers.BatchNormalization()(y))
    y = layers.BatchNormalization()(layers.Conv2D(filters, 3, padding="same")(y))
    return layers.Activation("relu")(layers.Add()([shortcut, y]))


def residual(size: int = 24):
    image = Input((size, size, 3))
    x = layers.Conv2D(8, 3, padding="same")(image)
    x = block(block(layers.ReLU()(layers.BatchNormalization()(x)), 8), 16, strides=2)
    return Model(image, layers.Dense(5, activation="softmax", name="classes")(layers.GlobalAveragePooling2D()(x)))


def mobile():
    image = Input((22, 26, 3))
    x = layers.ReLU(6.0)(layers.BatchNormalization()(layers.Conv2D(8, 3, 2, padding="same", use_bias=False)(image)))
    x = layers.ZeroPadding2D(((0, 1), (0, 1)))(x)
    x = layers.DepthwiseConv2D(3, 2, use_bias=False)(x)
    x = layers.ReLU(6.0)(layers.BatchNormalization()(x))
    x = layers.Dropout(0.5)(layers.BatchNormalization()(layers.Conv2D(12, 1, use_bias=False)(x)))
    gate = layers.Dense(12, "sigmoid")(layers.GlobalAveragePooling2D(keepdims=True)(x))
    return Model(image, layers.Conv2D(4, 3, name="map")(layers.Multiply()([x, gate])))


def converted(model, **options):
    options = {"alpha": 0.5, "min_size": 1, "calibration": False, **options}
    return octconvert.convert(randomise(model), **options).model


@cache
def octave_model(make, *arguments):
    """Converted once for all tests that only read it."""
    return converted(make(*arguments))


def assert_same(model, deployed, inputs=None, tolerance: float = 1e-5):
    inputs = example(model) if inputs is None else inputs
    assert largest_difference(run(model, inputs), run(deployed, inputs)) <= tolerance
    assert deployed.output_names == model.output_names
    assert [tuple(t.shape) for t in deployed.outputs] == [tuple(t.shape) for t in model.outputs]


def classes_of(model) -> Counter:
    return Counter(type(layer).__name__ for layer in model.layers)


@pytest.mark.quick(
    "mobile-resize-inputs",
    "mobile-copies-inputs",
    "mobile-broadcast-inputs",
    "mobile-rows-inputs",
    "mobile-repeat-inputs",
    "residual-broadcast-outputs",
    "residual-broadcast-separate",
)
@pytest.mark.parametrize("forms", KINDS, ids=lambda forms: f"{forms.upsampling}-{forms.paths}")
@pytest.mark.parametrize("make", [residual, mobile])
def test_every_form_predicts_the_same(make, forms):
    model = octave_model(make)
    assert_same(model, octconvert.for_inference(model, forms=forms))


@pytest.mark.quick("resize-inputs-21", "broadcast-outputs-23")
@pytest.mark.parametrize("size", [23, 21])
@pytest.mark.parametrize("forms", KINDS, ids=lambda forms: f"{forms.upsampling}-{forms.paths}")
def test_odd_sizes(size, forms):
    model = octave_model(residual, size)
    assert_same(model, octconvert.for_inference(model, forms=forms))


@pytest.mark.quick("tf", "litert")
@pytest.mark.parametrize("runtime", ["tf", "xla", "litert", "onnx", "openvino"])
def test_nothing_but_built_in_layers_is_left_and_no_normalisation(runtime):
    deployed = octconvert.for_inference(octave_model(mobile), runtime)
    assert not [layer for layer in all_layers(deployed) if type(layer).__module__.startswith("octconvert")]
    found = classes_of(deployed)
    assert found["BatchNormalization"] == found["Dropout"] == 0


def test_a_source_model_is_folded_as_well():
    model = randomise(residual())
    deployed = octconvert.for_inference(model)
    assert_same(model, deployed)
    assert classes_of(deployed)["BatchNormalization"] == 0


@pytest.mark.long
def test_the_paths_of_a_low_map_are_one_convolution(tmp_path):
    model = octave_model(residual)
    whole, apart = (octconvert.for_inference(model, forms=Forms(paths)) for paths in ("outputs", "separate"))
    octave = [layer for layer in model.layers if isinstance(layer, octconvert.OctaveConv2D)]
    pairs = [layer for layer in octave if layer.low_filters and layer.low_channels]
    assert classes_of(apart)["Conv2D"] - classes_of(whole)["Conv2D"] == len(pairs) > 0
    whole.save(tmp_path / "whole.keras")
    assert_same(model, keras.saving.load_model(tmp_path / "whole.keras"))


def test_a_pooled_map_is_made_once():
    deployed = octconvert.for_inference(octave_model(residual))
    pooled = [layer for layer in deployed.layers if isinstance(layer, layers.AveragePooling2D)]
    read = [(id(layer.input), layer.pool_size, layer.strides) for layer in pooled]
    assert len(set(read)) == len(read)


def from_image(kernel, stride, octave):
    """The octave model of a convolution of an image and one more."""
    image = Input((24, 36, 3))
    x = layers.Conv2D(8, kernel, stride, padding="same")(image)
    source = Model(image, layers.Conv2D(4, 3)(x))
    return randomise(octconvert.convert(source, min_size=1, octave=octave, calibration=False).model)


@pytest.mark.quick("3-1-2", "1-2-4", "kernel2-3-2")
@pytest.mark.parametrize("octave", [2, 4])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("kernel", [1, 3, (2, 5)])
def test_the_first_convolution(kernel, stride, octave):
    model = from_image(kernel, stride, octave)
    assert_same(model, octconvert.for_inference(model))


def test_an_image_is_not_pooled():
    """Its averages are in the kernel of the convolution that reads them, where that has a stride."""
    found = []
    for stride in (1, 2):
        deployed = octconvert.for_inference(from_image(3, stride, 2))
        pools = [layer for layer in deployed.layers if isinstance(layer, layers.AveragePooling2D)]
        found.append(sum(pool.input.shape[-1] == 3 for pool in pools))
    assert found == [1, 0]


@pytest.mark.parametrize("paths", PATHS)
def test_one_resolution(paths):
    """At octave=1 both parts have the same size, but one path reads less of its map than the other."""
    image = Input((14, 18, 4))
    x = layers.Conv2D(8, 3, padding="same")(image)
    source = Model(image, layers.Conv2D(4, 1)(layers.Conv2D(8, 3, 2, padding="valid")(x)))
    model = randomise(octconvert.convert(source, min_size=1, octave=1, calibration=False).model)
    assert_same(model, octconvert.for_inference(model, forms=Forms(paths)))


def test_the_stride_of_a_shortcut_is_pooled_away():
    """Average, then a strided 1x1 convolution: only what it reads is averaged."""
    deployed = octconvert.for_inference(octave_model(residual))
    strided = [n for n in deployed.layers if isinstance(n, layers.AveragePooling2D) and n.strides == (1, 1)]
    assert not strided


def test_normalisation_of_what_others_read_as_well_stays():
    image = Input((16, 16, 3))
    x = layers.Conv2D(8, 3, padding="same")(image)
    y = layers.ReLU()(layers.BatchNormalization()(x))
    model = randomise(Model(image, layers.Add()([x, layers.Conv2D(8, 1)(y)])))
    deployed = octconvert.for_inference(model)
    assert classes_of(deployed)["BatchNormalization"] == 1
    assert_same(model, deployed)


@pytest.mark.long
def test_a_merged_map_comes_in_the_order_of_its_source():
    image = Input((16, 16, 3))
    x = layers.ReLU()(layers.Conv2D(12, 3, padding="same", name="a")(image))
    x = layers.Conv2D(12, 3, padding="same", name="b")(x)
    x = layers.Lambda(lambda x: x * 2.0)(x)
    model = randomise(Model(image, layers.Conv2D(4, 1)(x)))
    x = np.random.default_rng(0).standard_normal((80, 16, 16, 3)).astype("float32")
    result = octconvert.convert(
        model, min_size=1, calibration=x, calibration_steps=["select", "solve"], calibration_budget=3_600.0
    )
    deployed = octconvert.for_inference(result.model)
    assert_same(result.model, deployed)


def test_a_shared_layer_keeps_one_set_of_weights():
    first, second = Input((16, 16, 3)), Input((16, 16, 3))
    shared, norm = layers.Conv2D(8, 3, padding="same"), layers.BatchNormalization()
    parts = [layers.ReLU()(norm(shared(x))) for x in (first, second)]
    model = randomise(Model([first, second], layers.Conv2D(4, 3)(layers.Add()(parts))))
    deployed = octconvert.for_inference(model)
    assert_same(model, deployed)
    assert sum(isinstance(layer, layers.Conv2D) for layer in deployed.layers) == 2


def test_open_sizes_leave_octave_layers_and_say_so():
    image = Input((None, None, 3))
    x = layers.ReLU()(layers.BatchNormalization()(layers.Conv2D(8, 3, padding="same", name="first")(image)))
    model = randomise(Model(image, layers.Conv2D(4, 3, name="last")(x)))
    result = octconvert.convert(model, calibration=False, for_inference=True)
    assert any("'first' and 1 more stay octave layers" in note for note in result.report.notes)
    plain = octconvert.convert(model, calibration=False).model
    assert_same(plain, result.model)


def test_one_layer_as_two_outputs():
    image = Input((12, 12, 3))
    x = layers.Conv2D(4, 3, name="x")(image)
    model = converted(Model(image, [x, x]))
    assert_same(model, octconvert.for_inference(model))


def test_outputs_of_a_shared_layer_keep_their_name():
    images = [Input((16, 16, 3)), Input((12, 12, 3))]
    first, second = (layers.Conv2D(8, 3, padding="same", name=name) for name in ("first", "second"))
    model = converted(Model(images, [second(first(image)) for image in images]))
    assert_same(model, octconvert.for_inference(model))


def test_half_precision():
    policy = keras.dtype_policies.DTypePolicy("mixed_float16")
    image = Input((16, 16, 3))
    x = layers.Conv2D(8, 3, padding="same", dtype=policy)(image)
    x = layers.ReLU(dtype=policy)(layers.BatchNormalization(dtype=policy)(x))
    model = converted(Model(image, layers.Conv2D(4, 3, dtype="float32")(x)))
    assert_same(model, octconvert.for_inference(model), tolerance=1e-2)


def test_layers_of_another_precision_stay_apart():
    image = Input((16, 16, 3))
    x = layers.Conv2D(8, 3, padding="same")(image)
    half = layers.Conv2D(8, 1, dtype="mixed_float16", name="half")
    whole = layers.Conv2D(8, 1)(layers.Conv2D(8, 3, padding="same")(x))
    source = randomise(Model(image, layers.Conv2D(4, 3)(layers.Add()([half(x), whole]))))
    half.set_weights([1e-4 * weight for weight in half.get_weights()])  # its own rounding is not to be seen
    model = octconvert.convert(source, min_size=1, calibration=False).model
    assert_same(model, octconvert.for_inference(model))


def test_convert_checks_saves_and_reports_it(tmp_path):
    path = tmp_path / "out.keras"
    source = randomise(residual())
    source.compile("adam", "categorical_crossentropy")
    result = octconvert.convert(
        source, calibration=False, min_size=1, for_inference=True, runtime="litert", output=path
    )
    check = next(check for check in result.checks if check.name == "inference")
    assert check.passed
    assert classes_of(result.model)["BatchNormalization"] == 0
    assert not any("compiled" in note for note in result.report.notes)  # nothing is left to train
    with zipfile.ZipFile(path) as file:
        assert b"octconvert" not in file.read("config.json")  # it loads without the package
    x = example(result.model)
    assert largest_difference(run(result.model, x), run(keras.saving.load_model(path), x)) <= 1e-6


def test_a_runtime_alone_asks_for_the_form():
    result = octconvert.convert(randomise(mobile()), calibration=False, min_size=1, runtime="xla")
    assert "inference" in [check.name for check in result.checks]


@pytest.mark.parametrize(
    "ask", [lambda m: octconvert.for_inference(m, "cuda"), lambda m: octconvert.convert(m, runtime="cuda")]
)
def test_unknown_runtime(ask):
    with pytest.raises(octconvert.UsageError, match="`runtime` must be one of tf, xla, litert, onnx, openvino"):
        ask(residual())


def test_the_model_itself_is_not_changed():
    model = converted(residual())
    before = [np.array(weight) for weight in model.weights]
    nodes = [len(layer._inbound_nodes) for layer in all_layers(model)]
    octconvert.for_inference(model)
    assert all(np.array_equal(a, np.array(b)) for a, b in zip(before, model.weights, strict=True))
    assert nodes == [len(layer._inbound_nodes) for layer in all_layers(model)]


def sloped(kind: str):
    """A rectifier with a slope behind convolutions; other slopes than 0.2, which TensorFlow falls back to."""
    x = inputs = keras.Input((16, 16, 3))
    if kind == "shared":
        inner = sloped("layer")
        both = [keras.Input((16, 16, 3)), keras.Input((16, 16, 3))]
        return randomise(keras.Model(both, layers.Subtract()([inner(each) for each in both])))
    for _ in range(3):
        x = layers.Conv2D(8, 3, padding="same", use_bias=kind != "normalised")(x)
        if kind == "normalised":
            x = layers.BatchNormalization()(x)
        if kind == "dropped":
            x = layers.SpatialDropout2D(0.1)(x)
        x = {
            "raw": lambda x: keras.ops.leaky_relu(x, 0.05),
            "steep": layers.LeakyReLU(negative_slope=1.5),
            "ReLU": layers.ReLU(negative_slope=0.5),
        }.get(kind, layers.LeakyReLU(negative_slope=0.1))(x)
    return randomise(keras.Model(inputs, layers.Conv2D(2, 1)(x)))


@pytest.mark.long
@pytest.mark.parametrize("kind", ["layer", "normalised", "dropped", "raw", "steep", "ReLU", "shared"])
def test_slopes_are_the_same_in_the_graph_of_predict(kind):
    """With oneDNN, TensorFlow fuses convolution, bias, sum and LeakyRelu, and forgets the slope."""
    model = sloped(kind)
    sample = example(model)
    convert = lambda **options: octconvert.convert(model, min_size=1, calibration=False, **options).model  # noqa: E731
    octave = convert()
    right = run(octave, sample)
    for made in (
        convert(portable=True),
        octconvert.for_inference(octave, "tf"),
        octconvert.for_inference(octave, "onnx"),
    ):
        assert largest_difference(right, run(made, sample)) < 1e-5
        assert largest_difference(right, [made.predict(sample, verbose=0)]) < 1e-5


def decoder(size: int, kernel: int, stride: int, padding: str):
    image = Input((size, size, 3))
    x = layers.Conv2D(6, 3, padding="same")(image)
    x = layers.Conv2DTranspose(6, kernel, stride, padding=padding, name="up")(x)
    x = layers.ReLU()(layers.BatchNormalization()(x))
    return Model(image, layers.Conv2D(4, 3, padding="same")(x))


@pytest.mark.quick("0.5-11-3-2-same")
@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("kernel, stride", [(1, 2), (2, 2), (3, 1), (3, 2), (4, 2), (5, 3)])
@pytest.mark.parametrize("size", [8, 11])
@pytest.mark.parametrize("alpha", [0.5, 1.0])
def test_transposed_convolutions_come_apart_as_well(alpha, size, kernel, stride, padding):
    model = converted(decoder(size, kernel, stride, padding), alpha=alpha)
    deployed = octconvert.for_inference(model)
    assert_same(model, deployed)
    kinds = {type(layer).__name__ for layer in all_layers(deployed)}
    assert not any(kind.startswith("Octave") for kind in kinds)
    assert kernel < stride or "BatchNormalization" not in kinds  # zeros between the windows have no offset


@pytest.mark.quick("0.5-22")
@pytest.mark.parametrize("size", [22, 24, 27])
@pytest.mark.parametrize("alpha", [0.5, 1.0])
def test_in_int8_average_pools_are_depthwise(alpha, size):
    """Odd maps too: their last windows hold a cell and its copy."""
    model = converted(residual(size), alpha=alpha)
    deployed = octconvert.for_inference(model, "litert", quantize="int8")
    assert_same(model, deployed)
    kinds = Counter(type(layer).__name__ for layer in all_layers(deployed))
    assert "AveragePooling2D" not in kinds and kinds["DepthwiseConv2D"]


def test_zeros_in_front_of_a_convolution_are_its_own_padding():
    model = randomise(mobile())  # 11 rows and 13 columns: 'same' is another padding
    assert "ZeroPadding2D" in {type(layer).__name__ for layer in octconvert.for_inference(model).layers}
    image = Input((24, 24, 8))
    x = layers.Conv2D(8, 3, 2, name="conv")(layers.ZeroPadding2D(((0, 1), (0, 1)))(image))
    model = randomise(Model(image, layers.DepthwiseConv2D(3)(layers.ZeroPadding2D(1)(x))))
    deployed = octconvert.for_inference(model)
    assert "ZeroPadding2D" not in {type(layer).__name__ for layer in deployed.layers}
    assert_same(model, deployed)


def test_operations_have_names_of_their_own():
    """Keras counts operations by its own counter, and layers of a model may have had those names."""
    image = Input((16, 16, 3))
    x = image
    for number in range(3):
        x = layers.Conv2D(8, 3, padding="same", activation="relu")(x)
        x = layers.Reshape((16, 16, 8), name=f"reshape_{number + 1}" if number else "reshape")(x)
    model = converted(Model(image, layers.Conv2D(2, 3, padding="same")(x)))
    for runtime in ("litert", "xla"):
        keras.backend.clear_session()
        assert_same(model, octconvert.for_inference(model, runtime))


def test_the_batch_is_no_matter_where_it_is_open():
    """As people convert: nothing in the file computes it."""
    tf = pytest.importorskip("tensorflow")
    interpreters = pytest.importorskip("ai_edge_litert.interpreter")
    deployed = octconvert.for_inference(octave_model(residual), "litert")
    content = tf.lite.TFLiteConverter.from_keras_model(deployed).convert()
    interpreter = interpreters.Interpreter(model_content=content)
    interpreter.allocate_tensors()
    names = Counter(operation["op_name"] for operation in interpreter._get_ops_details())
    assert not {"SHAPE", "STRIDED_SLICE", "PACK"} & set(names) and names["DELEGATE"] == 1


def test_hdf5_holds_a_form_for_inference(tmp_path):
    source = randomise(residual())
    path = tmp_path / "fast.h5"
    options = {"alpha": 0.5, "min_size": 1, "calibration": False, "runtime": "litert"}
    result = octconvert.convert(source, output=path, **options)
    assert_same(result.model, octconvert.load(path))
