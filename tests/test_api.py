"""What users of the Python interface rely on."""

from __future__ import annotations

import io
import json
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers
from oracle import example, largest_difference, randomise, run
from rich.console import Console

import octconvert
from octconvert.rules import register
from octconvert.rules.elementwise import ElementwiseRule


def small_model(name="small", size=24):
    inputs = keras.Input((size, size, 3), name="image")
    x = layers.Conv2D(8, 3, padding="same", name="conv1")(inputs)
    x = layers.BatchNormalization(name="bn1")(x)
    x = layers.ReLU(name="relu1")(x)
    x = layers.Conv2D(8, 3, padding="same", name="conv2")(x)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    return randomise(keras.Model(inputs, layers.Dense(5, name="scores")(x), name=name))


def test_a_conversion_tells_everything():
    model = small_model()
    result = octconvert.convert(model, alpha=0.5, calibration=False)
    assert result.before.macs > result.after.macs
    assert result.before.parameters == result.after.parameters == model.count_params()
    assert result.after.activation_bytes < result.before.activation_bytes
    assert result.after.peak_activation_bytes < result.before.peak_activation_bytes
    rows = [(row.name, row.role, row.alpha_in, row.alpha_out) for row in result.convolutions]
    assert rows == [("conv1", "first", 0.0, 0.5), ("conv2", "intermediate", 0.5, 0.5)]
    assert all(check.passed for check in result.checks)
    assert result.repairs == ()
    assert json.loads(json.dumps(result.to_dict()))["after"]["macs"] == result.after.macs
    assert result.model.output_shape == model.output_shape


def test_it_shows_itself_in_terminal_and_notebook():
    result = octconvert.convert(small_model(), calibration=False)
    text = io.StringIO()
    Console(file=text, width=80).print(result)
    assert "2 of 2 convolutions" in text.getvalue() and "conv2" in text.getvalue()
    bundle = result._repr_mimebundle_((), ())
    assert "conv1" in bundle["text/html"] and "conv1" in bundle["text/plain"]
    assert "2 of 2 convolutions" in repr(result) and "\n" not in repr(result)
    assert str(result) == text.getvalue().rstrip("\n")
    assert "conv2" in str(result.plan) and "conv2" in result.plan._repr_mimebundle_((), ())["text/html"]


def test_files_in_and_out(tmp_path):
    model = small_model()
    model.save(tmp_path / "model.h5")
    result = octconvert.convert(tmp_path / "model.h5", output=tmp_path / "out.keras", calibration=False)
    loaded = octconvert.load(tmp_path / "out.keras")
    inputs = example(model)
    assert largest_difference(run(result.model, inputs), run(loaded, inputs)) <= 1e-6
    assert {check.name for check in result.checks} >= {"output shapes", "finite outputs", "parameters", "reload"}
    result.save(tmp_path / "again.h5")
    assert largest_difference(run(result.model, inputs), run(octconvert.load(tmp_path / "again.h5"), inputs)) <= 1e-6
    with pytest.raises(octconvert.UsageError, match=r"again\.h5"):
        result.save(tmp_path / "again.h5")


def test_deep_verification_runs_the_oracle():
    result = octconvert.convert(small_model(), verify="deep", min_size=1, calibration=False)
    checks = {check.name: check for check in result.checks}
    assert checks["octave=1 oracle"].passed


@keras.saving.register_keras_serializable("test_api")
class Reverse(layers.Layer):
    """Turns the channels around."""

    def call(self, x):
        return x[..., ::-1]


@register
class WrongRule(ElementwiseRule):
    """Says of `Reverse` that it acts on each channel alone, as a user might by mistake."""

    layers = (Reverse,)
    operations = ()


def test_a_failed_check_writes_nothing_and_brings_the_report(tmp_path):
    inputs = keras.Input((16, 16, 3))
    x = Reverse()(layers.Conv2D(8, 3)(inputs))
    model = randomise(keras.Model(inputs, layers.Conv2D(8, 3)(x)))
    with pytest.raises(octconvert.CheckError, match=r"octave=1 oracle.*nothing was written") as caught:
        octconvert.convert(model, verify="deep", output=tmp_path / "out.keras", calibration=False)
    assert [check.name for check in caught.value.report.checks if not check.passed] == ["octave=1 oracle"]
    assert list(tmp_path.iterdir()) == []


@keras.saving.register_keras_serializable("test_api")
class Awkward(layers.Layer):
    """Does nothing."""

    def call(self, x):
        return x


@register
class FailingRule(ElementwiseRule):
    """Promises more than it keeps."""

    layers = (Awkward,)
    operations = ()

    def rewrite(self, call, values, build):
        raise ValueError("not today\nor ever")


def test_a_layer_that_can_not_be_rewritten_is_left_plain_and_named():
    inputs = keras.Input((16, 16, 3))
    x = layers.Conv2D(8, 3)(layers.Conv2D(8, 3)(inputs))
    x = layers.Conv2D(8, 3)(layers.Conv2D(8, 3)(Awkward(name="awkward")(x)))
    model = randomise(keras.Model(inputs, x))
    result = octconvert.convert(model, octave=1, calibration=False)
    assert [row.role for row in result.convolutions] == ["first", "last", "first", "last"]
    assert largest_difference(run(model, example(model)), run(result.model, example(model))) <= 1e-5
    awkward = keras.Model(inputs, layers.Conv2D(4, 3)(Awkward(name="awkward")(layers.Conv2D(8, 3)(inputs))))
    chains = octconvert.convert(awkward, alpha=0.5, calibration=False).plan.chains
    ends = [end for chain in chains for end in chain.ends]
    assert ends == []


def test_plan_and_convert_agree_and_a_plan_can_be_given_back(tmp_path):
    model = small_model()
    plan = octconvert.plan(model, alpha=0.25)
    assert octconvert.convert(model, alpha=0.25, calibration=False).plan == plan
    assert octconvert.Plan.from_json(plan.to_json()) == plan
    (tmp_path / "plan.json").write_text(plan.to_json())
    result = octconvert.convert(model, plan=tmp_path / "plan.json", calibration=False)
    assert result.plan == plan
    inputs = example(model)
    again = octconvert.convert(model, alpha=0.25, calibration=False)
    assert largest_difference(run(again.model, inputs), run(result.model, inputs)) == 0


def test_diff_of_a_model_and_its_conversion_is_the_same_report():
    model = small_model()
    for portable, alpha in ((False, 0.5), (True, 0.5), (False, 1.0), (True, 1.0)):
        result = octconvert.convert(model, alpha, portable=portable, calibration=False)
        report = octconvert.diff(model, result.model)
        assert report.before == result.before and report.after == result.after
        for mine, its in zip(report.convolutions, result.convolutions, strict=True):
            fields = ("name", "role", "alpha_in", "alpha_out", "macs_before", "macs_after", "high_shape", "low_shape")
            for field in fields:
                assert getattr(mine, field) == getattr(its, field), (portable, alpha, mine.name, field)


@pytest.mark.parametrize("alpha", [0.5, 1.0])
def test_diff_shows_the_maps_of_depthwise_layers_that_are_built_in(alpha):
    inputs = keras.Input((24, 24, 3))
    x = layers.DepthwiseConv2D(3, padding="same", name="depthwise")(layers.Conv2D(8, 1)(inputs))
    model = keras.Model(inputs, layers.Conv2D(4, 1)(x))
    result = octconvert.convert(model, alpha, portable=True, calibration=False)
    row, expected = octconvert.diff(model, result.model).convolutions[1], result.convolutions[1]
    assert (row.role, row.alpha_in, row.alpha_out) == ("intermediate", alpha, alpha)
    assert (row.high_shape, row.low_shape) == (expected.high_shape, expected.low_shape)


def test_diff_of_open_models_tells_the_size_it_counted_for():
    inputs = keras.Input((None, None, 3))
    model = keras.Model(inputs, layers.Conv2D(4, 3)(layers.Conv2D(8, 3)(inputs)))
    result = octconvert.convert(model, calibration=False)
    assert octconvert.diff(model, result.model).before == result.before and result.before.assumed_shapes


def test_diff_of_two_unrelated_models():
    report = octconvert.diff(small_model(), small_model(size=16))
    assert [row.role for row in report.convolutions] == ["Conv2D", "Conv2D"]
    assert report.after.macs < report.before.macs


def test_input_shape_fixes_an_open_size():
    inputs = keras.Input((None, None, 3))
    x = layers.Conv2D(8, 3, padding="same")(inputs)
    model = randomise(keras.Model(inputs, layers.Conv2D(4, 3, padding="same")(x)))
    result = octconvert.convert(model, input_shape=(20, 24, 3), portable=True, calibration=False)
    assert result.model.input_shape == (None, 20, 24, 3) and len(result.plan.converted) == 2
    with pytest.raises(octconvert.UsageError, match="does not fit"):
        octconvert.convert(small_model(), input_shape=(20, 24, 3), calibration=False)


def test_input_shape_of_a_model_with_raw_operations():
    inputs = keras.Input((None, None, 3))
    x = layers.Conv2D(8, 3, padding="same")(inputs)
    x = keras.ops.depth_to_space(keras.ops.relu(x) * 0.5 + x, 2)
    model = randomise(keras.Model(inputs, layers.Conv2D(4, 3, padding="same")(x)))
    result = octconvert.convert(model, input_shape=(10, 12, 3), alpha=0.0, calibration=False)
    assert result.model.input_shape == (None, 10, 12, 3)
    x = np.random.default_rng(0).standard_normal((2, 10, 12, 3)).astype("float32")
    np.testing.assert_allclose(run(result.model, x)[0], run(model, x)[0], atol=1e-6)


def test_compilation_is_carried_over():
    model = small_model()
    model.compile(optimizer=keras.optimizers.Adam(0.01), loss={"scores": "mse"}, metrics={"scores": ["mae"]})
    converted = octconvert.convert(model, calibration=False).model
    assert converted.loss == {"scores": "mse"} and float(converted.optimizer.learning_rate) == pytest.approx(0.01)
    x = np.random.default_rng(0).random((8, 24, 24, 3))
    assert np.isfinite(converted.fit(x, np.zeros((8, 5)), verbose=0).history["loss"]).all()


def test_the_optimizer_survives_that_the_source_was_saved_as_h5(tmp_path):
    model = small_model()
    model.compile(optimizer=keras.optimizers.Adam(0.02), loss=lambda y, p: keras.ops.mean((y - p) ** 2))
    model.save(tmp_path / "model.h5")
    converted = octconvert.convert(model, calibration=False).model
    assert type(converted.optimizer) is keras.optimizers.Adam
    assert float(converted.optimizer.learning_rate) == pytest.approx(0.02)
    assert converted.optimizer is not model.optimizer and converted.loss is model.loss


@pytest.mark.parametrize(
    "options, said",
    [
        ({"alpha": 1.01}, "alpha"),
        ({"interior": "all"}, "interior"),
        ({"alpha": -0.1}, "alpha"),
        ({"alpha": "half"}, "alpha"),
        ({"alpha_map": {"conv": 2}}, "alpha_map"),
        ({"octave": 3}, "octave"),
        ({"min_size": 0}, "min_size"),
        ({"weights": "magic"}, "weights"),
        ({"stride_mode": "skip"}, "stride_mode"),
        ({"preset": "mine"}, "preset"),
        ({"include": ["("]}, "regular expression"),
        ({"verify": "never"}, "verify"),
    ],
)
def test_senseless_options_are_refused(options, said):
    with pytest.raises(octconvert.UsageError, match=said):
        octconvert.convert(small_model(), calibration=False, **options)


@pytest.mark.parametrize(
    "options, said",
    [
        ({"octave": True}, "octave"),
        ({"octave": 2.5}, "octave"),
        ({"alpha_map": [("conv1",)]}, "alpha_map"),
        ({"alpha_map": 3}, "alpha_map"),
        ({"include": 5}, "include"),
        ({"plan": {"groups": []}}, "plan"),
        ({"input_shape": 5}, "input_shape"),
        ({"input_shape": (0, 5, 3)}, "input_shape"),
    ],
)
def test_values_of_the_wrong_type_are_refused(options, said):
    with pytest.raises(octconvert.UsageError, match=said):
        octconvert.convert(small_model(), calibration=False, **options)


def test_a_plan_leaves_no_room_for_the_options_it_fixes():
    plan = octconvert.plan(small_model(), alpha=0.25)
    for alpha in (0.75, 0.0):
        with pytest.raises(octconvert.UsageError, match="alpha"):
            octconvert.convert(small_model(), alpha=alpha, plan=plan, calibration=False)
    told = dict(octconvert.convert(small_model(), plan=plan, calibration=False).report.options)
    assert "alpha" not in told and told["plan"] == "a Plan of 2 convolutions"


def test_a_pattern_that_matches_nothing_is_told():
    alphas = {"conv1": 0.25, "cnov2": 0.75}
    notes = octconvert.convert(small_model(), alpha_map=alphas, exclude=["nothing"], calibration=False).report.notes
    assert [note for note in notes if "matches no" in note] == [
        "the pattern 'nothing' matches no convolution",
        "the pattern 'cnov2' matches no convolution",
    ]


def test_a_converted_model_is_not_converted_again():
    model = octconvert.convert(small_model(), calibration=False).model
    with pytest.raises(octconvert.NothingToConvert, match="already"):
        octconvert.convert(model, strict=True, calibration=False)
    portable = octconvert.convert(small_model(), portable=True, calibration=False)
    assert not [note for note in portable.report.notes if "already" in note]
    assert [note for note in octconvert.convert(portable.model, calibration=False).report.notes if "already" in note]


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_deep_verification_allows_for_half_precision(policy):
    keras.config.set_dtype_policy(policy)
    try:
        inputs = keras.Input((16, 16, 3))
        x = inputs
        for filters in (16, 32, 32):
            x = layers.BatchNormalization()(layers.Conv2D(filters, 3, activation="relu")(x))
        model = randomise(keras.Model(inputs, layers.GlobalAveragePooling2D()(x)))
    finally:
        keras.config.set_dtype_policy("float32")
    result = octconvert.convert(model, min_size=1, verify="deep", calibration=False)
    checks = {check.name: check for check in result.checks}
    assert checks["octave=1 oracle"].passed and "allowed" in checks["octave=1 oracle"].detail


@pytest.mark.quick('it\'s "o" $x.keras')
@pytest.mark.parametrize("name", ["plain.keras", 'it\'s "o" $x.keras', "mein modell é.keras"])
def test_the_next_step_can_be_pasted(name, tmp_path):
    result = octconvert.convert(small_model(), output=tmp_path / name, calibration=False)
    assert [step.function for step in result.report.next_steps] == ["export"]
    shown = str(result).split("\nNext\n")[1].split(":\n", 1)[1]
    exported = eval(shown.strip(), {"octconvert": octconvert})
    assert exported.source == str(tmp_path / name) and Path(exported.target).exists()


def test_strict_refuses_a_model_without_convolutions():
    inputs = keras.Input((4,))
    model = keras.Model(inputs, layers.Dense(2)(inputs))
    with pytest.raises(octconvert.NothingToConvert, match="no convolution"):
        octconvert.convert(model, strict=True, calibration=False)
    assert octconvert.convert(model, calibration=False).convolutions == ()


def test_what_is_no_functional_model_is_refused():
    class Own(keras.Model):
        def call(self, x):
            return x

    with pytest.raises(octconvert.InputError, match="subclassed"):
        octconvert.convert(Own(name="own"), calibration=False)
    with pytest.raises(octconvert.InputError, match="input shape"):
        octconvert.convert(keras.Sequential([layers.Conv2D(4, 3)]), calibration=False)
    with pytest.raises(octconvert.InputError, match="expected a Keras model"):
        octconvert.convert(42, calibration=False)
    result = octconvert.convert(keras.Sequential([keras.Input((16, 16, 3)), layers.Conv2D(4, 3)]), calibration=False)
    for function in (octconvert.convert, octconvert.for_inference):
        with pytest.raises(octconvert.InputError, match=r"expected a Keras model.*; give its \.model$"):
            function(result)
    with pytest.raises(octconvert.UsageError, match=r"received '\.tflite'; octconvert\.export writes such files"):
        result.save("model.tflite")


def test_a_target_that_can_not_be_written_is_refused_before_the_model_is_read(tmp_path):
    existing = tmp_path / "there.keras"
    existing.write_bytes(b"mine")
    stages = []
    for output in (existing, tmp_path / "none" / "x.keras", tmp_path / "x.txt", tmp_path):
        with pytest.raises(octconvert.UsageError):
            octconvert.convert("missing.keras", output=output, progress=lambda stage, done, total: stages.append(stage))
    assert not stages and existing.read_bytes() == b"mine"


def test_load_fixes_open_sizes(tmp_path):
    inputs = keras.Input((None, None, 3))
    model = randomise(keras.Model(inputs, layers.Conv2D(4, 3, name="conv")(inputs)))
    model.save(tmp_path / "open.keras")
    loaded = octconvert.load(tmp_path / "open.keras", input_shape=(9, 7, 3))
    assert loaded.input_shape == (None, 9, 7, 3)
    images = [np.random.default_rng(0).standard_normal((2, 9, 7, 3), "float32")]
    assert largest_difference(run(model, images), run(loaded, images)) <= 1e-6
    loaded.save(tmp_path / "fixed.keras")
    with pytest.raises(octconvert.UsageError, match=r"\(5, 5, 3\) does not fit the model's own \(9, 7, 3\)"):
        octconvert.load(tmp_path / "fixed.keras", input_shape=(5, 5, 3))
