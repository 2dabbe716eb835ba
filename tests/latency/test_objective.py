"""``objective='latency'``: what gains no time stays plain, and a conversion that is slower is none."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from deployables import installed
from doubled import FailingRule, doubled_net, registered
from keras import layers
from oracle import example, largest_difference, randomise, reasons, run

import octconvert
from octconvert.errors import NothingToConvert, UsageError
from octconvert.latency import objective, stopwatch, timing
from octconvert.results.bench import BenchRow
from octconvert.runtimes import RUNTIMES

NO_CALIBRATION = {"calibration": False}


def assert_same_outputs(source, model):
    inputs = example(source)
    assert largest_difference(run(source, inputs), run(model, inputs)) < 1e-5


def two_stages():
    """Three convolutions on 32x32 maps, three on 16x16."""
    image = keras.Input((32, 32, 3))
    x = image
    for stage, filters in enumerate((8, 16)):
        for number in range(3):
            x = layers.Conv2D(filters, 3, padding="same", activation="relu", name=f"conv{stage}{number}")(x)
        x = layers.MaxPooling2D()(x)
    return keras.Model(image, layers.Conv2D(3, 1, name="head")(x), name="stages")


@pytest.fixture
def clock(monkeypatch):
    """Times that are made up: of a probe by its model, of whole models by their names."""
    whole = {objective.SOURCE: 10.0, objective.CHOSEN: 6.0, objective.ALL: 7.0}

    def measure(self, models):
        found = {key: self.seconds(model) for key, model in models.items()}
        self._known.add(found)
        return found

    def compare(subjects, settings, batch, tell):
        return tuple(BenchRow(s.name, settings.runtimes[0], s.macs, median=whole[s.name]) for s in subjects), ()

    def set_clock(seconds, **times):
        monkeypatch.setattr(stopwatch.Stopwatch, "seconds", staticmethod(seconds), raising=False)
        whole.update({getattr(objective, name): time for name, time in times.items()})

    monkeypatch.setattr(stopwatch.Stopwatch, "measure", measure)
    monkeypatch.setattr(objective, "compare", compare)
    set_clock(rewards_pairs)
    return set_clock


def rewards_pairs(model):
    return {2: 1.0, 3: 0.6}.get(len(model.inputs) + len(model.outputs), 0.4)


def only_small_maps(model):
    """Pairs of maps that are 32 wide take longer."""
    large = any(tensor.shape[1] == 32 for tensor in (*model.inputs, *model.outputs) if len(tensor.shape) == 4)
    return (1 / rewards_pairs(model)) if large else rewards_pairs(model)


def roles(result):
    return {row.name: row.role for row in result.convolutions}


@pytest.mark.long
def test_all_is_converted_where_pairs_are_faster(clock):
    result = octconvert.convert(two_stages(), objective="latency", **NO_CALIBRATION)
    assert roles(result) == roles(octconvert.convert(two_stages(), **NO_CALIBRATION))
    assert [row.model for row in result.report.bench.rows] == ["source", "converted"]
    assert any("10 ms on tf (1.67x)" in note for note in result.report.notes)


@pytest.mark.long
def test_what_is_slower_as_a_pair_stays_plain_and_the_report_says_so(clock):
    clock(only_small_maps)
    result = octconvert.convert(two_stages(), objective="latency", **NO_CALIBRATION)
    assert roles(result) == {
        "conv00": "plain",
        "conv01": "plain",
        "conv02": "plain",
        "conv10": "first",
        "conv11": "intermediate",
        "conv12": "intermediate",
        "head": "last",
    }
    reasons = {row.name: row.reason for row in result.convolutions}
    assert reasons["conv00"] == reasons["conv02"] == "no faster as a pair (tf)"
    assert "no faster as a pair (tf)" in str(result)
    assert [row.model for row in result.report.bench.rows] == ["source", "converted", "every group converted"]


@pytest.mark.long
def test_with_an_octave_of_one_what_is_left_is_the_source(clock):
    clock(only_small_maps)
    source = randomise(two_stages())
    result = octconvert.convert(source, objective="latency", octave=1, **NO_CALIBRATION)
    assert roles(result)["conv11"] == "intermediate" and roles(result)["conv01"] == "plain"
    assert_same_outputs(source, result.model)


@pytest.mark.long
def test_the_plan_is_kept_through_its_file(clock, tmp_path):
    clock(only_small_maps)
    plan = octconvert.plan(two_stages(), objective="latency")
    (tmp_path / "plan.json").write_text(plan.to_json())
    again = octconvert.convert(two_stages(), plan=tmp_path / "plan.json", **NO_CALIBRATION)
    assert roles(again) == {entry.name: entry.role for entry in plan.convolutions}


@pytest.mark.long
def test_every_group_is_taken_where_the_whole_model_says_so(clock):
    clock(only_small_maps, ALL=5.0)
    result = octconvert.convert(two_stages(), objective="latency", **NO_CALIBRATION)
    assert roles(result)["conv01"] == "intermediate"


@pytest.mark.quick("times0")
@pytest.mark.parametrize("times", [{"CHOSEN": 10.0}, {"CHOSEN": 9.9}, {"CHOSEN": None}, {"SOURCE": None}])
def test_a_conversion_that_is_no_faster_is_none(clock, times, tmp_path):
    clock(only_small_maps, ALL=11.0, **times)
    source = randomise(two_stages())
    result = octconvert.convert(source, objective="latency", **NO_CALIBRATION)
    assert set(roles(result).values()) == {"plain"}
    assert_same_outputs(source, result.model)
    assert any("no conversion is faster than the source on tf: everything" in n for n in result.report.notes)
    with pytest.raises(NothingToConvert, match="no conversion is faster"):
        octconvert.convert(source, objective="latency", strict=True, output=tmp_path / "new.keras", **NO_CALIBRATION)
    assert not (tmp_path / "new.keras").exists()


def test_a_pair_that_ends_where_it_was_made_counts_as_well(clock):
    """The last convolution writes a pair that the pooling behind it reads at once: the probe shows it inside alone."""

    def seconds(model):
        inside = sum(isinstance(layer, layers.Conv2D) for layer in model.layers)
        return rewards_pairs(model) / inside

    clock(seconds)
    image = keras.Input((16, 16, 3))
    x = layers.Conv2D(8, 3, padding="same", name="conv1")(image)
    x = layers.Conv2D(8, 3, padding="same", name="conv2")(x)
    model = keras.Model(image, layers.Dense(3)(layers.GlobalAveragePooling2D()(x)))
    assert roles(octconvert.convert(model, objective="latency", **NO_CALIBRATION))["conv2"] == "intermediate"


@pytest.mark.long
def test_nothing_is_converted_where_no_group_gains(clock):
    clock(lambda model: 1 / rewards_pairs(model), ALL=10.0)
    result = octconvert.convert(two_stages(), objective="latency", **NO_CALIBRATION)
    assert set(roles(result).values()) == {"plain"}


def gates():
    image = keras.Input((24, 24, 3))
    x = layers.Conv2D(16, 3, padding="same")(image)
    y = layers.Conv2D(16, 3, padding="same", groups=4)(keras.ops.relu(x))
    gate = layers.Conv2D(16, 1, activation="sigmoid")(layers.GlobalAveragePooling2D(keepdims=True)(y))
    x = layers.Add()([x, layers.Multiply()([y, gate])])
    x = layers.Concatenate()([x, layers.SeparableConv2D(8, 3, padding="same")(x)])
    x = layers.Conv2DTranspose(8, 2, 2)(layers.Conv2D(16, 3, 2, padding="same")(layers.ZeroPadding2D(2)(x)))
    return keras.Model(image, layers.Conv2D(2, 1)(x))


def nested():
    image = keras.Input((16, 16, 8))
    inner = keras.Model(image, layers.ReLU()(layers.Conv2D(8, 3, padding="same")(image)), name="inner")
    source = keras.Input((16, 16, 3))
    x = layers.Conv2D(8, 3, padding="same")(source)
    return keras.Model(source, layers.Conv2D(2, 3)(inner(inner(x))))


@pytest.mark.long
@pytest.mark.parametrize("make", [gates, nested])
def test_everything_between_convolutions_can_be_timed(clock, make, monkeypatch):
    found = []
    times_of = timing.PartTimer.times
    monkeypatch.setattr(timing.PartTimer, "times", lambda self: found.append(times_of(self)) or found[-1])
    source = randomise(make())
    result = octconvert.convert(source, objective="latency", octave=1, min_size=4, **NO_CALIBRATION)
    (times,) = found
    assert (times.seconds > 0).all() and times.seconds.shape[2] >= 3
    assert result.plan.converted
    assert_same_outputs(source, result.model)


def test_a_layer_that_can_not_be_timed_is_no_obstacle(clock):
    @keras.saving.register_keras_serializable("tests")
    class Stubborn(layers.Layer):
        made = 0

        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            Stubborn.made += 1
            if Stubborn.made > 1 and kwargs["name"].startswith("layer"):
                raise RuntimeError("one is enough")

        def call(self, x):
            return tf.multiply(x, 2.0)  # which can not be opened

    image = keras.Input((16, 16, 3))
    x = layers.Conv2D(8, 3, padding="same", name="before")(layers.Conv2D(8, 3, padding="same")(image))
    model = keras.Model(image, layers.Conv2D(2, 3)(Stubborn(name="stubborn")(x)))
    result = octconvert.convert(model, objective="latency", **NO_CALIBRATION)
    assert result.plan.converted
    assert "'before' could not be timed alone; the choice does without" in result.report.notes


def test_a_rule_that_fails_leaves_its_layer_plain(clock):
    with registered(FailingRule):
        result = octconvert.convert(doubled_net(), objective="latency", **NO_CALIBRATION)
    assert "could not be rewritten: no idea" in reasons(result)["before"]
    assert roles(result)["after"] != "plain"


@pytest.mark.parametrize(
    "options, said",
    [
        ({"objective": "speed"}, "`objective` must be one of macs, latency"),
        ({"objective": "latency", "target_macs": 0.5}, "`target_macs` can not be combined"),
        ({"objective": "latency", "max_drop": 0.5}, "`max_drop` can not be combined"),
        ({"objective": "latency", "threads": 0}, "`threads` takes a whole number"),
        ({"objective": "latency", "runtime": "tvm"}, "`runtime` must be one of"),
        ({"benchmark": True, "threads": 1.5}, "`threads` takes a whole number"),
    ],
)
def test_options_that_make_no_sense(options, said):
    with pytest.raises(UsageError, match=said):
        octconvert.convert(two_stages(), **options)


def test_a_plan_leaves_nothing_to_choose():
    plan = octconvert.plan(two_stages())
    with pytest.raises(UsageError, match="`plan` can not be combined"):
        octconvert.convert(two_stages(), plan=plan, objective="latency")


def test_open_sizes_are_asked_for():
    image = keras.Input((None, None, 3))
    model = keras.Model(image, layers.Conv2D(4, 3)(layers.Conv2D(8, 3)(image)), name="open")
    with pytest.raises(UsageError, match="'open' leaves its input size open: give `input_shape`"):
        octconvert.convert(model, objective="latency", **NO_CALIBRATION)


def test_a_missing_runtime_is_told_before_any_work(monkeypatch):
    monkeypatch.setattr(type(RUNTIMES["onnx"]), "runs_with", ("no_such_package",))
    with pytest.raises(UsageError, match=r"onnx needs no_such_package: .*pip install"):
        octconvert.convert(two_stages(), objective="latency", runtime="onnx")


@pytest.mark.long
def test_on_the_real_clock_it_is_faster_or_nothing_at_all(command, tmp_path, monkeypatch):
    """From the command line, and a second time from what was measured."""
    installed("litert")
    monkeypatch.setattr(objective, "ROUNDS", 3)
    monkeypatch.setattr(stopwatch, "ROUNDS", 2)
    image = keras.Input((16, 16, 3))
    x = layers.Conv2D(32, 3, padding="same", activation="relu")(image)
    keras.Model(image, layers.Conv2D(32, 3, padding="same")(x)).save(tmp_path / "net.keras")
    monkeypatch.chdir(tmp_path)
    argv = ("net.keras", "--objective", "latency", "--runtime", "litert", "--no-calibration", "--json")
    code, out, err = command(*argv)
    assert code in (0, 3) and (tmp_path / "net-octave.keras").exists() == (code == 0), err
    if code == 0:
        source, made = json.loads(out)["bench"]["rows"][:2]
        assert source["median"] > 0 and made["runtime"] == "litert" and made["speedup"] > 0
    else:
        assert "no conversion is faster" in err and err.count("\n") == 1
    monkeypatch.setattr(stopwatch, "Worker", None)  # nothing is measured any more
    assert command(*argv, "--force")[0] in (0, 3)


@pytest.mark.long
def test_a_benchmark_is_a_part_of_the_report(tmp_path):
    result = octconvert.convert(two_stages(), benchmark=True, **NO_CALIBRATION)
    source, made = result.report.bench.rows
    assert (source.model, made.model, made.runtime) == ("source", "converted", "tf")
    assert made.median > 0 and np.isclose(made.speedup, source.median / made.median)
    assert result.to_dict()["bench"]["rows"][1]["efficiency"] == made.efficiency
    assert (made.speedup < 1) == any("slower than its source on tf" in note for note in result.report.notes)
    assert "in their" in str(result) and "converted" in str(result)
