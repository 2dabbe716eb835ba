"""In which form a runtime gets a model: names, precision, and another form where one is refused."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from deployables import installed, source, with_statistics
from keras import layers

import octconvert
from octconvert.errors import InputError
from octconvert.inference.forms import inference_form
from octconvert.model.execution import run
from octconvert.runtimes import RUNTIMES
from octconvert.runtimes.signature import example_inputs
from octconvert.verification.checks import largest_difference
from octconvert.verification.exporting import FORMATS

TARGETS = {"litert": "net.tflite", "onnx": "net.onnx", "openvino": "net.xml", "tf": "net"}


def exported(name: str, model, folder: Path, **options):
    """What `octconvert.export` says, and what the file gives for `example_inputs`."""
    installed(name)
    made = octconvert.export(model, folder / TARGETS[name], format=name, **options)
    return made, RUNTIMES[name].open(folder / TARGETS[name])(example_inputs(model, 1))


# ---- names


def with_odd_ends():
    """Inputs without names or with names that become equal, outputs that are one tensor, or an input."""
    images = [keras.Input((8, 8, 3)), keras.Input((8, 8, 3), name="a-b"), keras.Input((8, 8, 3), name="a b")]
    shared = layers.Conv2D(3, 3, padding="same", name="input")
    first, second, third = map(shared, images)
    y = layers.Add()([first, layers.Rescaling(2.0)(second), layers.Rescaling(3.0)(third)])
    return keras.Model({"x": images[0], "y": images[1:]}, [y, shared(y), y, images[2]], name="odd")


@pytest.mark.quick("litert-True", "onnx-False")
@pytest.mark.filterwarnings("ignore:When providing `inputs` as a dict")
@pytest.mark.parametrize("for_inference", [True, False])
@pytest.mark.parametrize("name", FORMATS)
def test_names_of_inputs_and_outputs_are_no_matter(tmp_path, name, for_inference):
    model = with_odd_ends()
    made, found = exported(name, model, tmp_path, for_inference=for_inference)
    assert made.check.passed and made.for_inference == for_inference and not made.notes
    expected = run(model, list(example_inputs(model, 1).values()))
    assert largest_difference(expected, found) < 1e-4


@pytest.mark.long
def test_a_model_in_memory_has_the_names_that_its_file_has(tmp_path):
    image = keras.Input((8, 8, 3))
    model = keras.Model(image, layers.Conv2D(3, 3)(image))
    model.save(tmp_path / "net.keras")
    inputs = [
        octconvert.export(each, tmp_path / str(number), format="tf").inputs
        for number, each in enumerate((model, tmp_path / "net.keras"))
    ]
    assert inputs[0] == inputs[1]


# ---- precision


def in_precision(policy: str, inner: str | None = None, dtype: str = "float32"):
    """A model that computes in a policy; the layer in a wrapper in another one."""
    image = keras.Input((8, 8, 3), name="image", dtype=dtype)
    x = layers.Conv2D(4, 3, padding="same", dtype=policy, name="conv")(image)
    x = layers.ReLU(dtype=policy)(layers.BatchNormalization(dtype=policy)(x))
    x = layers.Reshape((2, 4, 8, 4), dtype=policy)(x)
    x = layers.TimeDistributed(layers.Dense(4, dtype=inner or policy), dtype=policy)(x)
    x = keras.ops.cast(x, "float16") * 2.0
    return with_statistics(keras.Model(image, layers.Dense(3, dtype="float32")(layers.Flatten(dtype=policy)(x))))


PRECISIONS = {
    "litert": ["mixed_float16", "float16", "mixed_bfloat16", "float64"],
    "onnx": ["bfloat16", "float64"],
    "openvino": ["mixed_bfloat16"],
}


@pytest.mark.quick("litert-mixed_float16", "onnx-float64")
@pytest.mark.parametrize("name, policy", [(name, each) for name, policies in PRECISIONS.items() for each in policies])
def test_a_precision_that_a_runtime_lacks_is_float32_there(tmp_path, name, policy):
    """All numbers are exact in every precision, so float32 throughout gives what the twin in float32 gives."""
    model, twin = in_precision(policy), in_precision("float32")
    rng = np.random.default_rng(0)
    weights = [rng.integers(-8, 8, each.shape) / 8 + 1.5 * (each.name == "moving_variance") for each in twin.weights]
    model.set_weights(weights)
    twin.set_weights(weights)
    made, found = exported(name, model, tmp_path)
    lacking = policy.removeprefix("mixed_")
    assert any("written in float32: it does not compute in" in note and lacking in note for note in made.notes)
    image = example_inputs(twin, 1)["image"]
    exact = exact_outputs(twin, image)
    assert np.abs(found[0] - exact).max() < 1e-5 * np.abs(exact).max()


def exact_outputs(twin, image):
    """Without the rounding of its one raw operation in half precision."""
    get = lambda kind: next(each for each in twin.layers if isinstance(each, kind))  # noqa: E731
    x = image
    for kind in (layers.Conv2D, layers.BatchNormalization, layers.ReLU, layers.Reshape, layers.TimeDistributed):
        x = get(kind)(x)
    return np.asarray(get(layers.Dense)(get(layers.Flatten)(x * 2.0)))


@pytest.mark.quick("float16-onnx", "bfloat16-openvino", "float64-litert")
@pytest.mark.parametrize("name", ["litert", "onnx", "openvino"])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_inputs_of_any_precision(tmp_path, name, dtype):
    image = keras.Input((8, 8, 3), name="image", dtype=dtype)
    installed(name)
    made = octconvert.export(keras.Model(image, layers.Conv2D(4, 3)(image)), tmp_path / TARGETS[name])
    assert made.inputs[0].dtype == ("float32" if dtype == "bfloat16" else dtype)


def test_precisions_that_a_runtime_has_stay(tmp_path):
    assert exported("onnx", in_precision("mixed_float16"), tmp_path)[0].notes == ()


# ---- another form


def refusing(monkeypatch, refused) -> None:
    """LiteRT's converter refuses models of which ``refused`` is true."""
    runtime = installed("litert")
    write = type(runtime)._write

    def picky(self, model, signature, path, settings):
        has_normalisation = any(isinstance(each, layers.BatchNormalization) for each in model._flatten_layers())
        if refused(has_normalisation):
            raise RuntimeError(f"Exception encountered when calling X.\n\nno form of {has_normalisation}\nat all")
        write(self, model, signature, path, settings)

    monkeypatch.setattr(type(runtime), "_write", picky)


@pytest.mark.long
@pytest.mark.parametrize("asked", [True, False])
def test_where_a_form_is_refused_the_other_one_is_written_with_the_reason(tmp_path, monkeypatch, asked):
    refusing(monkeypatch, lambda has_normalisation: has_normalisation != asked)
    model = source()
    made, found = exported("litert", model, tmp_path, for_inference=asked)
    assert made.for_inference != asked and made.check.passed
    (note,) = made.notes
    assert f"no form of {not asked}" in note and "\n" not in note
    assert largest_difference(run(model, list(example_inputs(model, 1).values())), found) < 1e-4


@pytest.mark.parametrize("asked", [True, False])
def test_where_both_are_refused_the_reason_is_that_of_the_model_as_it_is(tmp_path, monkeypatch, asked):
    refusing(monkeypatch, lambda has_normalisation: True)
    with pytest.raises(InputError, match="no form of True"):
        exported("litert", source(), tmp_path, for_inference=asked)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.long
def test_a_form_that_runs_to_another_result_is_not_taken(tmp_path, monkeypatch):
    runtime = installed("tf")
    write = type(runtime)._write

    def wrong(self, model, signature, path, settings):
        if not any(isinstance(each, layers.BatchNormalization) for each in model.layers):
            model.set_weights([each * 2 for each in model.get_weights()])
        write(self, model, signature, path, settings)

    monkeypatch.setattr(type(runtime), "_write", wrong)
    made, _ = exported("tf", source(), tmp_path)
    assert not made.for_inference and any("largest difference" in note for note in made.notes)


class OnceOnly(layers.Layer):
    """A layer that can not be made anew."""

    def call(self, x):
        return tf.multiply(x, 2.0)  # which can not be opened

    @classmethod
    def from_config(cls, config):
        raise TypeError("made once and never again")


def test_a_form_that_can_not_be_made_is_not_written(tmp_path):
    image = keras.Input((8, 8, 3))
    made, _ = exported("tf", keras.Model(image, OnceOnly()(layers.Conv2D(4, 3)(image))), tmp_path)
    assert not made.for_inference and any("made once and never again" in note for note in made.notes)


@pytest.mark.long
def test_bench_measures_the_form_that_works(monkeypatch):
    refusing(monkeypatch, lambda has_normalisation: not has_normalisation)
    bench = octconvert.bench({"net": source()}, runtimes="litert", rounds=1, for_inference=True)
    assert bench.rows[0].median and any("no form of False" in note for note in bench.notes)


@pytest.mark.long
def test_bench_measures_again_where_a_form_can_not_be_run(monkeypatch):
    runtime = installed("litert")
    write = type(runtime)._write

    def spoiled(self, model, signature, path, settings):
        write(self, model, signature, path, settings)
        if not any(isinstance(each, layers.BatchNormalization) for each in model.layers):
            path.write_bytes(b"")

    monkeypatch.setattr(type(runtime), "_write", spoiled)
    image = keras.Input((8, 8, 3))
    never = keras.Model(image, layers.Conv2D(2, 3)(image))
    bench = octconvert.bench({"net": source(), "never": never}, runtimes="litert", rounds=1, for_inference=True)
    assert bench.rows[0].median and bench.rows[1].error and bench.rows[1].median is None
    assert [note for note in bench.notes if "as it is" in note] and not [
        note for note in bench.notes if "never" in note
    ]


# ---- notes


def notes_of(build, **options) -> tuple[str, ...]:
    image = keras.Input((16, 16, 3))
    model = keras.Model(image, layers.Conv2D(4, 3, padding="same", name="last")(build(image)))
    if options:
        model = octconvert.convert(model, calibration=False, min_size=1, **options).model
    return inference_form(model).notes


def conv(x):
    return layers.Conv2D(8, 3, padding="same")(x)


def shared_by_two(image):
    x = conv(image)
    return layers.Add()([x, layers.BatchNormalization(name="norm")(x)])


@pytest.mark.parametrize(
    "build, said",
    [
        (
            lambda image: layers.BatchNormalization(name="norm")(layers.ReLU()(conv(image))),
            "straight from a convolution",
        ),
        (lambda image: conv(layers.BatchNormalization(name="norm")(image)), "straight from a convolution"),
        (shared_by_two, "read by others as well"),
    ],
)
def test_the_reason_for_which_a_normalisation_stays(build, said):
    (note,) = notes_of(build)
    assert note.startswith("for inference, 'norm' stays a normalisation layer: ") and said in note


@pytest.mark.parametrize(
    "layer, said",
    [
        (layers.LayerNormalization(name="norm"), "normalisations over the channels"),
        (layers.GroupNormalization(2, name="groups"), "normalisations over groups"),
    ],
)
def test_the_reason_for_which_an_octave_layer_stays(layer, said):
    (note,) = notes_of(lambda image: layer(conv(image)), alpha=0.5)
    assert f"'{layer.name}' stays an octave layer: there is no form for inference of {said}" in note


def test_nothing_is_noted_where_nothing_stays():
    assert notes_of(lambda image: layers.BatchNormalization()(conv(image))) == ()
    assert notes_of(lambda image: layers.BatchNormalization()(conv(image)), alpha=0.5) == ()
