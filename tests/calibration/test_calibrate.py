"""Calibration as a whole: what a user relies on."""

import calibration_nets as nets
import keras
import numpy as np
import pytest
from oracle import largest_difference, randomise, run

import octconvert
from octconvert.calibration import refinement, start
from octconvert.calibration.data.supply import user_supply
from octconvert.calibration.effort import Budget
from octconvert.calibration.evidence import ModelOutputs
from octconvert.calibration.fitting import sweep
from octconvert.calibration.steps import solve
from octconvert.errors import InputError, UsageError
from octconvert.model.graph_reader import build_graph
from octconvert.options.calibration import CalibrationOptions

SOLVE = ("rotate", "select", "solve")
QUICK = dict(min_size=1, calibration_budget=3_600.0)
"""Of the time there is enough on every machine: the data and the steps bound the work."""


@pytest.fixture(scope="module", autouse=True)
def quick():
    """Few rows, and still many more than weights; as many batches as there have to be; a training of a few steps on few
    images."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sweep, "MOST_ROWS", 8_000)
        patch.setattr(solve, "LEAST_BATCHES", sweep.HELD_OUT)
        patch.setattr(refinement, "LEAST_STEPS", 30)
        patch.setattr(refinement, "MOST_STEPS", 30)
        patch.setattr(refinement, "SYNTHETIC_SAMPLES", 256)
        yield


def convert(model, data, **options):
    return octconvert.convert(model, calibration=data, **{**QUICK, **options})


def error(source, converted, held_out) -> float:
    expected, found = (ModelOutputs.of(build_graph(model), held_out, 16) for model in (source, converted))
    return expected.error(found)


@pytest.fixture(scope="module")
def usual(quick, tmp_path_factory):
    """(source, images, their labels, file, conversion) of an ordinary conversion, which some tests look at."""
    model, x, path = nets.small(), nets.images(40, seed=8), tmp_path_factory.mktemp("usual") / "octave.keras"
    labels = model.predict(x, verbose=0).argmax(axis=1)
    options = dict(calibration_steps=SOLVE, evaluate=(x, labels), output=path)
    return model, x, labels, path, convert(model, nets.images(32), **options)


def named(report, name) -> object:
    return next(measure for measure in report.calibration.measures if measure.name == name)


@pytest.mark.long
@pytest.mark.parametrize("make, count", [(nets.small, 40), (nets.inverted_residual, 24), (nets.unet, 24)])
def test_never_further_from_the_source_than_moved_weights(make, count):
    """With 40 images, and their mirror images, there are enough for the training at the end."""
    model, data = make(), nets.images(count)
    before = model.get_weights()
    result = convert(model, data)
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))
    supply = user_supply(build_graph(model), CalibrationOptions(data=data))  # the same division
    held_out = supply.held_out
    plain = octconvert.convert(model, min_size=1, calibration=False).model
    found = error(model, result.model, held_out)
    assert found <= error(model, plain, held_out)
    distance, told = named(result.report, "relative error"), result.report.calibration
    assert distance.after == pytest.approx(found, rel=1e-3) and distance.after <= distance.before
    assert (told.samples, told.held_out) == (supply.count, held_out.count) == (count * 7 // 8, count // 8)
    assert told.steps[-1].name == "refine" and told.steps[-1].detail.startswith("needs") == (count < 40)
    assert not [step for step in told.steps if step.detail.startswith("failed")]
    assert result.model.count_params() == plain.count_params()


@pytest.mark.long
def test_a_net_that_is_called_on_two_images_is_as_near_as_it_is_on_one():
    """The same net, the same images: what two calls of it are fitted to is what one is."""
    part, images = nets.backbone_with_head(), nets.images(40)
    alone = convert(part, images, calibration_steps=SOLVE).report
    first, second = keras.Input((16, 16, 3)), keras.Input((16, 16, 3))
    twice = keras.Model([first, second], keras.layers.Concatenate()([part(first), part(second)]))
    both = convert(twice, [images, images[::-1].copy()], calibration_steps=SOLVE).report
    single, joined = named(alone, "relative error"), named(both, "relative error")
    assert joined.after < 2 * single.after + 1e-3
    assert joined.after < 0.25 * joined.before and single.after < 0.25 * single.before
    told = [{step.name: step for step in each.calibration.steps}["solve"] for each in (alone, both)]
    assert told[1].kept and told[1].detail == told[0].detail
    assert not [note for note in both.notes if "not fitted" in note]


@pytest.mark.long
def test_built_in_layers_compute_the_same():
    model, data = nets.inverted_residual(blocks=1), nets.images(16)
    octave = convert(model, data, calibration_steps=SOLVE)
    portable = convert(model, data, calibration_steps=SOLVE, portable=True)
    x = [nets.images(4, seed=8)]
    assert largest_difference(run(octave.model, x), run(portable.model, x)) < 1e-4
    assert not [each for each in portable.model._flatten_layers() if type(each).__module__.startswith("octconvert")]
    assert portable.report.calibration is not None
    assert portable.plan.groups == octave.plan.groups
    assert portable.plan.portable and not octave.plan.portable


@pytest.mark.parametrize(
    "options",
    [
        dict(octave=1),
        dict(weights="fresh", calibration=None),
        dict(calibration=False, calibration_budget=None),
        dict(alpha=0.0),
    ],
    ids=str,
)
def test_where_there_is_nothing_to_calibrate(options):
    result = octconvert.convert(nets.small(), **{**QUICK, "calibration": nets.images(8), **options})
    assert result.report.calibration is None


@pytest.mark.quick("small")
@pytest.mark.parametrize("make", [nets.small, nets.inverted_residual])
def test_whole_low_interiors(make):
    """Nothing is chosen in them; they are fitted as all others."""
    model = make()
    result = convert(model, nets.images(24), alpha=0.0, interior=1.0)
    told = {step.name: step for step in result.report.calibration.steps}
    assert told["solve"].kept and not told["select"].kept and not told["rotate"].kept
    assert not [step for step in told.values() if step.detail.startswith("failed")]
    distance = named(result.report, "relative error")
    assert distance.after < 0.7 * distance.before
    assert all(group.selection is None and group.low == group.channels for group in result.plan.groups if group.alpha)


@pytest.mark.long
@pytest.mark.parametrize("make", [nets.small, nets.inverted_residual, nets.assorted])
def test_whole_low_everywhere(make):
    model = make()
    result = convert(model, nets.images(24, model.inputs[0].shape[1]), alpha=1.0)
    assert not [step for step in result.report.calibration.steps if step.detail.startswith("failed")]
    distance = named(result.report, "relative error")
    assert distance.after <= distance.before


@pytest.mark.long
def test_whole_low_tensors_of_built_in_layers():
    model, data, options = nets.small(), nets.images(16), dict(interior=1.0, alpha=0.0, calibration_steps=SOLVE)
    octave, portable = (convert(model, data, portable=each, **options) for each in (False, True))
    x = [nets.images(4, seed=8)]
    assert largest_difference(run(octave.model, x), run(portable.model, x)) < 1e-4


def test_fresh_weights_are_not_calibrated():
    with pytest.raises(UsageError, match="fresh"):
        convert(nets.residual(), nets.images(8), weights="fresh")


def test_synthetic_images_by_default():
    result = octconvert.convert(nets.small(), calibration_samples=64, calibration_steps=SOLVE, **QUICK)
    assert result.report.calibration.synthetic and result.report.calibration.samples <= 64
    told = named(result.report, "relative error")
    assert told.after < told.before


def test_inputs_for_which_nothing_can_be_made_up():
    model = nets.small()
    number = keras.Input((1,), dtype="int32")
    wider = keras.Model([model.input, number], [model.output, keras.layers.Identity()(number)])
    result = octconvert.convert(wider, **QUICK)
    assert result.report.calibration is None
    assert any("not calibrated" in note for note in result.report.notes)


@pytest.mark.long
def test_the_seed_decides():
    model, data = nets.small(), nets.images(16)
    first, again, other = (
        convert(model, data, seed=seed, calibration_steps=SOLVE).model.get_weights() for seed in (1, 1, 2)
    )
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not all(a.shape == b.shape and np.array_equal(a, b) for a, b in zip(first, other, strict=True))


def test_saved_and_loaded(usual):
    _, x, _, path, result = usual
    assert largest_difference(run(result.model, [x]), run(octconvert.load(path), [x])) < 1e-6


@pytest.mark.long
def test_its_plan_brings_another_conversion_as_near(usual, tmp_path):
    model, *_, result = usual
    plan, options = tmp_path / "plan.json", dict(calibration_budget=3_600.0, calibration_steps=SOLVE)
    plan.write_text(result.plan.to_json())
    again = octconvert.convert(model, plan=plan, calibration=nets.images(32), **options)
    assert again.plan.groups == result.plan.groups
    told = [named(each.report, "relative error").after for each in (result, again)]
    assert told[1] < 2 * told[0] + 1e-3


@pytest.mark.long
def test_what_a_plan_selects_is_kept():
    model = nets.inverted_residual(gate=False, blocks=1)
    plan = octconvert.plan(model, min_size=1)
    group = plan.groups[1]
    mine = type(group)(**{**vars(group), "selection": tuple(tuple(range(low)) for low in group.low)})
    groups = (plan.groups[0], mine, *plan.groups[2:])
    given = type(plan)(**{**vars(plan), "groups": groups})
    result = octconvert.convert(model, plan=given, calibration=nets.images(16), calibration_budget=3_600.0)
    assert result.plan.groups[1].selection == mine.selection


@pytest.mark.long
@pytest.mark.parametrize("target", [0.65, 0.3])
def test_target_macs(target):
    model, data = nets.residual(width=16), nets.images(96)
    result = convert(model, data, target_macs=target, calibration_steps=SOLVE, calibration_budget=3_600.0)
    share = result.report.after.macs / result.report.before.macs
    assert target - 0.1 < share < target + 0.02
    search = next(step for step in result.report.calibration.steps if step.name == "search")
    assert search.kept and any(name in search.detail for name in ("by damage", "one alpha", "interiors"))


def test_target_macs_out_of_reach():
    with pytest.raises(UsageError, match="out of reach"):
        convert(nets.small(), nets.images(16), target_macs=0.05)


def test_accuracy_is_told(usual):
    _, x, labels, _, result = usual
    told = result.report.evaluation
    assert told.samples == 40 and told.before == 1.0
    assert told.after == (result.model.predict(x, verbose=0).argmax(axis=1) == labels).mean()


def test_no_steps_at_all():
    result = convert(nets.small(), nets.images(16), calibration_steps=())
    told = named(result.report, "relative error")
    assert told.after == told.before
    assert not [step for step in result.report.calibration.steps if step.kept]


@pytest.mark.quick("10.0")
@pytest.mark.parametrize("each", [1e-4, 10.0])
def test_a_second_is_enough_to_say_something(monkeypatch, each):
    """By a clock that moves on whenever it is asked, so that it says the same on every machine."""
    monkeypatch.setattr(start, "Budget", lambda seconds, clock: Budget(seconds, nets.Clock(each)))
    result = convert(nets.small(), nets.images(16), calibration_budget=1.0)
    assert (result.report.calibration is None) == (each > 1)
    if each > 1:
        assert any("`calibration_budget`" in note for note in result.report.notes)
    else:
        told = named(result.report, "relative error")
        assert told.after <= told.before


@pytest.mark.long
def test_two_samples():
    result = convert(nets.small(), nets.images(2))
    told = named(result.report, "relative error")
    assert told.after <= told.before
    assert all(np.isfinite(weight).all() for weight in result.model.get_weights())


@pytest.mark.long
def test_samples_that_are_all_zero_are_doubted():
    """Nearer on them may be further on all else, so no error on them is asked for; see `test_doubts`."""
    result = convert(nets.small(), np.zeros((16, 16, 16, 3), "float32"))
    assert any("16 samples are the same" in note for note in result.report.notes)
    assert all(np.isfinite(weight).all() for weight in result.model.get_weights())


def test_a_source_whose_outputs_are_no_numbers():
    model = nets.small()
    model.layers[-1].bias.assign([np.nan] * 5)
    with pytest.raises(InputError, match="not finite"):
        convert(model, nets.images(16), calibration_steps=SOLVE)


def test_one_sample_is_too_few():
    with pytest.raises(InputError, match="two or more"):
        convert(nets.small(), nets.images(1))


def test_errors_of_layers_are_told(usual):
    told = [row.error for row in usual[-1].report.convolutions]
    assert None not in told and all(value >= 0 for value in told) and max(told) > 1e-4


class OnlyEager(keras.layers.Layer):
    """Runs as Python, so that no graph with a way back can be made of it."""

    def call(self, inputs):
        return keras.ops.convert_to_tensor(inputs.numpy())

    def compute_output_spec(self, inputs):
        return keras.KerasTensor(inputs.shape, inputs.dtype)


@pytest.mark.long
def test_outputs_that_can_not_be_asked_leave_the_choice_to_the_next_layers():
    model = nets.small()
    eager = keras.Model(model.inputs, OnlyEager()(model.output))
    for each, wanted in ((model, False), (eager, True)):
        steps = convert(each, nets.images(16), target_macs=0.7, calibration_steps=SOLVE).report.calibration.steps
        told = {step.name: step for step in steps}
        assert all(told[name].kept for name in ("search", "select", "solve"))
        assert ("by the next layers alone" in told["search"].detail) == wanted  # select follows the same damages


@pytest.mark.long
def test_comparisons_between_the_layers():
    """What they give is no number, and can be a pair all the same."""
    x = inputs = keras.Input((16, 16, 3))
    for _ in range(2):
        x = keras.layers.Conv2D(8, 3, padding="same")(x)
        x = keras.ops.where(keras.ops.logical_and(x > 0, x < 1), x, 0.1 * x)
    outputs = keras.layers.Dense(3)(keras.layers.GlobalAveragePooling2D()(x))
    result = convert(randomise(keras.Model(inputs, outputs)), nets.images(32, size=16))
    assert len(result.plan.converted) == 2 and named(result.report, "relative error").after < 1
