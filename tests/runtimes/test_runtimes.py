"""Every runtime gives what Keras gives, with inputs and outputs in their order, and says what it can not do."""

import keras
import numpy as np
import pytest
from deployables import converted, installed, unsupported
from keras import layers

from octconvert.errors import InputError, UsageError
from octconvert.inference.step_forms import RUNTIMES as FORMS
from octconvert.model.execution import run
from octconvert.runtimes import RUNTIMES, find
from octconvert.runtimes.settings import ExportSettings
from octconvert.runtimes.signature import batch_of, example_inputs, signature_of
from octconvert.system.installation import install_command
from octconvert.verification.checks import largest_difference

RARE = ("litert", "onnx", "openvino")


@pytest.fixture(scope="module")
def octave():
    return converted()


@pytest.fixture(scope="module")
def manifold():
    """Inputs whose names no format keeps, in another order than the alphabet's; more than ten outputs."""
    image = keras.Input((8, 8, 2), name="zebra image.1")
    vector, word = keras.Input((3,), name="class"), keras.Input((2,), name="Ape", dtype="int32")
    pooled = layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3)(image))
    x = layers.Concatenate()([pooled, vector, keras.ops.cast(word, "float32")])
    return keras.Model([image, vector, word], [layers.Dense(units, name=f"d{units}")(x) for units in range(13, 1, -1)])


def exported(name: str, model, folder, batch: int = 1):
    """(the file, what the runtime gives for random inputs), which is what Keras gives."""
    runtime = installed(name)
    path = folder / f"model{runtime.suffix}"
    runtime.export(model, path, ExportSettings(batch))
    inputs = example_inputs(model, batch)
    found = runtime.open(path)(inputs)
    assert largest_difference(run(model, list(inputs.values())), found) < 1e-5
    return path, found


@pytest.mark.parametrize("name", RUNTIMES)
def test_a_converted_model_gives_what_keras_gives(octave, tmp_path, name):
    """In a batch of three; one of one is in the other tests."""
    _, found = exported(name, octave, tmp_path, batch=3)
    assert [output.shape for output in found] == [(3, 4)]


@pytest.mark.quick("onnx", "openvino")
@pytest.mark.parametrize("name", [name for name in RUNTIMES if name != "xla"])
def test_inputs_and_outputs_keep_their_places(manifold, tmp_path, name):
    _, found = exported(name, manifold, tmp_path)
    assert [output.shape[1] for output in found] == list(range(13, 1, -1))


def test_an_onnx_graph_holds_its_weights_as_they_are_read(tmp_path):
    """They are its own, not inputs, and nothing is left to be done to them at run time."""
    image = keras.Input((8, 8, 4))
    x = layers.Dropout(0.5, seed=1)(layers.BatchNormalization()(layers.DepthwiseConv2D(3)(image)))
    x = layers.SeparableConv2D(6, 3, padding="same", trainable=False)(layers.Conv2DTranspose(5, 3)(x))
    model = keras.Model(image, layers.Dense(3)(layers.Flatten()(layers.PReLU(shared_axes=[1, 2])(x))))
    path, _ = exported("onnx", model, tmp_path)
    graph = pytest.importorskip("onnx").load(path).graph
    constants = {each.name for each in graph.initializer}
    assert len(graph.input) == 1 and all(set(node.input) - constants for node in graph.node)


@pytest.mark.parametrize(("rows", "rule"), [(12, b"asymmetric"), (10, b"tf_half_pixel_for_nn")])
def test_whole_upsampling_in_onnx_follows_the_rule_that_runtimes_are_fast_with(tmp_path, rows, rule):
    import onnx

    image = keras.Input((6, 6, 3), name="image")
    model = keras.Model(image, keras.layers.Resizing(rows, 18, interpolation="nearest")(image))
    path = tmp_path / "up.onnx"
    find("onnx").export(model, path)
    resizings = [node for node in onnx.load(path).graph.node if node.op_type == "Resize"]
    rules = [each.s for node in resizings for each in node.attribute if each.name == "coordinate_transformation_mode"]
    assert rules == [rule]
    x = np.random.default_rng(0).standard_normal((1, 6, 6, 3)).astype("float32")
    (found,) = find("onnx").open(path)({"image": x})
    np.testing.assert_array_equal(found, model(x))


@pytest.mark.long
def test_an_onnx_graph_with_a_loop(tmp_path):
    """What a loop reads from around it is there."""
    image = keras.Input((6, 6, 3))
    x = layers.Reshape((6, -1))(layers.Conv2D(4, 3, padding="same")(image))
    exported("onnx", keras.Model(image, layers.Dense(2)(layers.GRU(5)(x))), tmp_path)


@pytest.mark.parametrize("name", RARE)
def test_a_model_without_weights(tmp_path, name):
    model = keras.Sequential([keras.Input((8, 8, 4)), layers.MaxPooling2D(), layers.Flatten()])
    exported(name, model, tmp_path)


@pytest.mark.long
def test_openvino_writes_a_directory_too(octave, tmp_path):
    runtime = installed("openvino")
    runtime.export(octave, tmp_path / "net")
    assert {path.name for path in (tmp_path / "net").iterdir()} == {"model.xml", "model.bin"}
    assert len(runtime.open(tmp_path / "net")(example_inputs(octave, 1))) == 1


@pytest.mark.parametrize("name", RARE)
def test_an_operation_that_a_runtime_has_not_is_named(tmp_path, name):
    runtime = installed(name)
    path = tmp_path / f"model{runtime.suffix}"
    try:
        runtime.export(unsupported(), path)
        runtime.open(path)
    except InputError as error:
        told = str(error)
    except Exception as error:
        told = runtime.reason(error)
    assert told.endswith("it does not support Erfinv")


def test_the_signature_is_fixed_and_its_names_are_identifiers(manifold):
    specs = signature_of(manifold, 5)
    assert [spec.shape for spec in specs] == [(5, 8, 8, 2), (5, 3), (5, 2)]
    assert [spec.dtype for spec in specs] == ["float32", "float32", "int32"]
    assert all(spec.name.isidentifier() for spec in specs) and len({spec.name for spec in specs}) == 3
    assert all(np.isfinite(value).all() for value in example_inputs(manifold, 5).values())


def test_batch_is_what_was_asked_for_or_what_a_model_fixes():
    free, fixed, other = (keras.Sequential([keras.Input(batch_shape=(n, 3)), layers.Dense(1)]) for n in (None, 4, 2))
    assert batch_of([free]) == 1 and batch_of([free], 7) == 7 and batch_of([free, fixed]) == 4
    for models, asked in (([fixed], 3), ([fixed, other], None)):
        with pytest.raises(UsageError, match=r"fixed batch size of [24], which can not be [34]"):
            batch_of(models, asked)
    with pytest.raises(UsageError, match="`batch` must be a whole number, at least 1; received 0"):
        batch_of([free], 0)


def test_open_sizes_are_refused_with_what_to_do():
    model = keras.Sequential([keras.Input((None, None, 3)), layers.Conv2D(2, 3)])
    with pytest.raises(UsageError, match=r"leaves its input \?x\?x3 open; give `input_shape`"):
        signature_of(model, 1)


def test_a_runtime_that_is_not_installed_says_how_to_install_it(monkeypatch):
    runtime = find("litert")
    monkeypatch.setattr(type(runtime), "runs_with", ("no_such_package", "no_such_package.inside"))
    assert runtime.missing() == ("no_such_package", "no_such_package.inside")
    with pytest.raises(UsageError) as refused:
        runtime.check_installed()
    assert "litert needs no_such_package" in str(refused.value) and install_command("export") in str(refused.value)


def test_an_unknown_runtime_is_refused():
    with pytest.raises(UsageError, match="must be one of tf, xla, litert, onnx, openvino; received 'tvm'"):
        find("tvm")


def test_every_runtime_has_its_form_for_inference():
    assert list(RUNTIMES) == list(FORMS)
