"""Calibration as a whole: what a user relies on."""

import keras
import numpy as np
import pytest
import twin_models as nets
from oracle import largest_difference, run

import octconvert
from octconvert.calibration import sweep
from octconvert.calibration.evidence import Outputs
from octconvert.calibration.settings import Settings
from octconvert.calibration.supply import given_supply
from octconvert.errors import InputError, UsageError
from octconvert.graph import build_graph

SOLVE = ("rotate", "select", "solve")
QUICK = dict(min_size=1, calibration_budget=5.0)


@pytest.fixture(autouse=True)
def few_rows(monkeypatch):
    """Quick, and still many more rows than weights."""
    monkeypatch.setattr(sweep, "MOST_ROWS", 8_000)


def convert(model, data, **options):
    return octconvert.convert(model, calibration=data, **{**QUICK, **options})


def error(source, converted, held_out) -> float:
    expected, found = (Outputs.of(build_graph(model), held_out, 16) for model in (source, converted))
    return expected.error(found)


def named(report, name) -> object:
    return next(measure for measure in report.calibration.measures if measure.name == name)


@pytest.mark.parametrize("make", [nets.residual, nets.inverted_residual, nets.unet])
def test_never_further_from_the_source_than_moved_weights(make):
    model, data = make(), nets.images(40)
    before = model.get_weights()
    result = convert(model, data)
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))
    supply = given_supply(build_graph(model), Settings(data=data))  # the same division
    held_out = supply.held_out
    plain = octconvert.convert(model, min_size=1, calibration=False).model
    found = error(model, result.model, held_out)
    assert found <= error(model, plain, held_out)
    told = named(result.report, "relative error")
    assert told.after == pytest.approx(found, rel=1e-3) and told.after <= told.before
    assert result.report.calibration.held_out == 5 and result.report.calibration.samples == supply.fit.count
    assert [step.name for step in result.report.calibration.steps][-1] == "refine"
    assert not [step for step in result.report.calibration.steps if step.detail.startswith("failed")]
    assert result.model.count_params() == plain.count_params()


def test_built_in_layers_compute_the_same():
    model, data = nets.inverted_residual(blocks=1), nets.images(32)
    octave = convert(model, data, calibration_steps=SOLVE)
    portable = convert(model, data, calibration_steps=SOLVE, portable=True)
    x = [nets.images(4, seed=8)]
    assert largest_difference(run(octave.model, x), run(portable.model, x)) < 1e-4
    assert not [each for each in portable.model._flatten_layers() if type(each).__module__.startswith("octconvert")]
    assert portable.report.calibration is not None
    assert portable.plan.groups == octave.plan.groups


def test_the_plan_of_a_portable_conversion_is_portable():
    result = convert(nets.residual(), nets.images(16), calibration_steps=SOLVE, portable=True)
    assert result.plan.portable


@pytest.mark.parametrize(
    "options", [dict(octave=1), dict(weights="fresh"), dict(calibration=False), dict(alpha=0.0)], ids=str
)
def test_where_there_is_nothing_to_calibrate(options):
    result = octconvert.convert(nets.residual(), **{**QUICK, "calibration": nets.images(8), **options})
    assert result.report.calibration is None


def test_synthetic_images_by_default():
    model = nets.residual()
    result = octconvert.convert(model, min_size=1, calibration_budget=2.0, calibration_steps=SOLVE)
    assert result.report.calibration.synthetic
    told = named(result.report, "relative error")
    assert told.after < told.before


def test_inputs_for_which_nothing_can_be_made_up():
    model = nets.residual()
    number = keras.Input((1,), dtype="int32")
    wider = keras.Model([model.input, number], [model.output, keras.layers.Identity()(number)])
    result = octconvert.convert(wider, **QUICK)
    assert result.report.calibration is None
    assert any("not calibrated" in note for note in result.report.notes)


def test_the_seed_decides():
    model, data = nets.residual(), nets.images(32)
    first, again, other = (
        convert(model, data, seed=seed, calibration_steps=SOLVE, calibration_budget=100.0).model.get_weights()
        for seed in (1, 1, 2)
    )
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not all(a.shape == b.shape and np.array_equal(a, b) for a, b in zip(first, other, strict=True))


def test_saved_and_loaded(tmp_path):
    path, plan = tmp_path / "octave.keras", tmp_path / "plan.json"
    model, data, x = nets.residual(), nets.images(32), [nets.images(4, seed=8)]
    result = convert(model, data, output=path, calibration_steps=SOLVE)
    assert largest_difference(run(result.model, x), run(octconvert.load(path), x)) < 1e-6
    plan.write_text(result.plan.to_json())
    again = octconvert.convert(model, plan=plan, calibration=data, calibration_budget=5.0, calibration_steps=SOLVE)
    assert again.plan.groups == result.plan.groups
    told = [named(each.report, "relative error").after for each in (result, again)]
    assert told[1] < 2 * told[0] + 1e-3


def test_what_a_plan_selects_is_kept():
    model = nets.inverted_residual()
    plan = octconvert.plan(model, min_size=1)
    group = plan.groups[1]
    mine = type(group)(**{**vars(group), "selection": tuple(tuple(range(low)) for low in group.low)})
    groups = (plan.groups[0], mine, *plan.groups[2:])
    given = type(plan)(**{**vars(plan), "groups": groups})
    result = octconvert.convert(model, plan=given, calibration=nets.images(32), calibration_budget=5.0)
    assert result.plan.groups[1].selection == mine.selection


def test_target_macs():
    target = 0.65
    model, data = nets.residual(size=32, width=16), nets.images(24, 32)
    result = convert(model, data, target_macs=target, calibration_steps=SOLVE)
    share = result.report.after.macs / result.report.before.macs
    assert target - 0.1 < share < target + 0.02


def test_target_macs_out_of_reach():
    with pytest.raises(UsageError, match="out of reach"):
        convert(nets.residual(), nets.images(16), target_macs=0.05)


def test_accuracy_is_told():
    model, x = nets.residual(), nets.images(40, seed=8)
    labels = model.predict(x, verbose=0).argmax(axis=1)
    result = convert(model, nets.images(32), evaluate=(x, labels), calibration_steps=SOLVE)
    told = result.report.evaluation
    assert told.samples == 40 and told.before == 1.0
    assert told.after == (result.model.predict(x, verbose=0).argmax(axis=1) == labels).mean()


def test_no_steps_at_all():
    model = nets.residual()
    result = convert(model, nets.images(16), calibration_steps=())
    told = named(result.report, "relative error")
    assert told.after == told.before
    assert not [step for step in result.report.calibration.steps if step.kept]


def test_a_second_is_enough_to_say_something():
    result = convert(nets.residual(), nets.images(24), calibration_budget=1.0)
    told = named(result.report, "relative error")
    assert told.after <= told.before


@pytest.mark.parametrize("kind", ["zeros", "two"])
def test_degenerate_data(kind):
    data = np.zeros((16, 16, 16, 3), "float32") if kind == "zeros" else nets.images(2)
    result = convert(nets.residual(), data)
    told = named(result.report, "relative error")
    assert told.after <= told.before
    assert all(np.isfinite(weight).all() for weight in result.model.get_weights())


def test_a_source_whose_outputs_are_no_numbers():
    model = nets.residual()
    model.layers[-1].bias.assign([np.nan] * 5)
    result = convert(model, nets.images(16), calibration_steps=SOLVE)
    assert result.report.calibration is not None


def test_one_sample_is_too_few():
    with pytest.raises(InputError, match="two or more"):
        convert(nets.residual(), nets.images(1))


def test_errors_of_layers_are_told():
    result = convert(nets.residual(), nets.images(16), calibration_steps=SOLVE)
    told = [row.error for row in result.report.convolutions]
    assert None not in told and all(value >= 0 for value in told) and max(told) > 1e-4
