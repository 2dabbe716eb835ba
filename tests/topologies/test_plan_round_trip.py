"""A plan goes to JSON and back; an edited plan is obeyed; a plan for another model is refused."""

import dataclasses
import json

import pytest
from keras import Input, Model, Sequential, layers
from oracle import assert_oracle, example, largest_difference, randomise, roles, run

import octconvert
from octconvert import Plan


def conv(filters, name, **options):
    return layers.Conv2D(filters, 3, padding="same", name=name, **options)


def network():
    inputs = Input((14, 13, 3))
    x = conv(8, "a")(inputs)
    x = layers.Add()([x, conv(8, "b")(layers.ReLU()(x))])
    nested = Sequential([Input((14, 13, 8)), conv(12, "deep", groups=2), layers.ReLU()], name="nested")
    g = layers.Reshape((1, 1, 12))(layers.Dense(12, activation="sigmoid")(layers.GlobalAveragePooling2D()(nested(x))))
    x = layers.Multiply()([nested(x), g])
    return Model(inputs, conv(4, "z")(x), name="network")


OPTIONS = {"min_size": 1, "alpha": 0.4, "weights": "fold", "alpha_map": {"deep": 0.7}}


@pytest.mark.quick("2")
@pytest.mark.parametrize("octave", [1, 2])
def test_round_trip_gives_the_same_model(octave, tmp_path):
    model = randomise(network())
    result = octconvert.convert(model, octave=octave, calibration=False, **OPTIONS)
    plan = Plan.from_json(result.plan.to_json())
    assert plan == result.plan == octconvert.plan(model, octave=octave, **OPTIONS)
    path = tmp_path / "plan.json"
    path.write_text(plan.to_json())
    for given in (plan, path, str(path)):
        again = octconvert.convert(model, plan=given, calibration=False)
        assert again.plan == plan
        assert largest_difference(run(result.model, example(model)), run(again.model, example(model))) == 0


def edited(plan, **changes):
    data = json.loads(plan.to_json())
    for group in data["groups"]:
        group.update(changes.get(group["name"], {}))
    for convolution in data["convolutions"]:
        convolution.update(changes.get(convolution["name"], {}))
    return Plan.from_json(json.dumps(data))


def check_oracle(model, plan):
    """The edited plan without a change of resolution is the source's function."""
    twin = octconvert.convert(model, plan=dataclasses.replace(plan, octave=1, weights="slice"), calibration=False)
    assert largest_difference(run(model, example(model)), run(twin.model, example(model))) < 1e-5


def test_group_with_alpha_zero_becomes_plain():
    model = randomise(network())
    plan = octconvert.plan(model, **OPTIONS)
    group = next(group.name for group in plan.groups if "a" in group.producers)
    result = octconvert.convert(model, plan=edited(plan, **{group: {"alpha": 0.0}}), calibration=False)
    assert roles(result) == {"a": "plain", "b": "plain", "nested/deep": "first", "z": "last"}
    check_oracle(model, result.plan)


def test_group_with_alpha_one_becomes_whole_low():
    model = randomise(network())
    plan = octconvert.plan(model, **OPTIONS)
    group = next(group.name for group in plan.groups if "a" in group.producers)
    result = octconvert.convert(model, plan=edited(plan, **{group: {"alpha": 1.0}}), calibration=False)
    assert next(entry for entry in result.plan.groups if entry.name == group).whole_low
    assert [row.high_shape for row in result.convolutions if row.name in ("a", "b")] == [None, None]
    assert not next(entry for entry in plan.groups if entry.name == group).whole_low
    check_oracle(model, result.plan)


def test_frozen_convolution_stays_plain():
    model = randomise(network())
    plan = edited(octconvert.plan(model, **OPTIONS), b={"frozen": True})
    result = octconvert.convert(model, plan=plan, calibration=False)
    assert roles(result)["b"] == "plain"
    check_oracle(model, result.plan)


def test_selected_channels_are_the_low_ones():
    model = randomise(network())
    plan = octconvert.plan(model, **OPTIONS)
    group = next(group for group in plan.groups if "a" in group.producers)
    chosen = [[0, 3, 5]] * len(group.producers)
    plan = edited(plan, **{group.name: {"selection": chosen}})
    result = octconvert.convert(model, plan=plan, calibration=False)
    found = next(g for g in result.plan.groups if g.name == group.name)
    assert found.low == (3,) * len(group.producers) and found.selection == ((0, 3, 5),) * len(group.producers)
    check_oracle(model, result.plan)
    assert octconvert.convert(model, plan=result.plan, calibration=False).plan == result.plan


def test_a_selection_of_every_channel_makes_the_group_whole_low():
    model = randomise(network())
    plan = octconvert.plan(model, **OPTIONS)
    group = next(group for group in plan.groups if "a" in group.producers)
    plan = edited(plan, **{group.name: {"selection": [list(range(8))] * len(group.producers)}})
    result = octconvert.convert(model, plan=plan, calibration=False)
    assert roles(result)["a"] == "first"
    assert next(c for c in result.plan.convolutions if c.name == "a").alpha_out == 1.0
    assert not any(layer.name.endswith("-H") for layer in result.model.layers if layer.name[:-2] in group.producers)
    check_oracle(model, result.plan)


def test_selection_that_groups_can_not_share_makes_the_grouped_convolution_plain():
    model = randomise(network())
    plan = octconvert.plan(model, **OPTIONS)
    group = next(group for group in plan.groups if "a" in group.producers)
    plan = edited(plan, **{group.name: {"selection": [[0, 1, 2]] * len(group.producers)}})
    result = octconvert.convert(model, plan=plan, calibration=False)
    assert roles(result)["nested/deep"] == "plain"
    check_oracle(model, result.plan)


def test_plan_for_another_model_is_refused():
    plan = octconvert.plan(network(), **OPTIONS)
    inputs = Input((14, 13, 3))
    other = Model(inputs, conv(4, "z")(conv(4, "other")(inputs)))
    with pytest.raises(octconvert.UsageError, match=r"no layer 'a' .* 'network'") as caught:
        octconvert.convert(other, plan=plan, calibration=False)
    assert "\n" not in str(caught.value)


def test_tied_layers_with_two_alphas_are_refused():
    model = network()
    plan = octconvert.plan(model, **OPTIONS, exclude="b$")
    data = json.loads(plan.to_json())
    own = {"name": "extra", "producers": ["b"], "channels": [8], "low": [7], "alpha": 0.9}
    data["groups"].append({**data["groups"][0], **own})
    for convolution in data["convolutions"]:
        convolution["frozen"] = False
    with pytest.raises(octconvert.UsageError, match="one alpha"):
        octconvert.convert(model, plan=Plan.from_json(json.dumps(data)), calibration=False)


@pytest.mark.parametrize("selection", [[[0, 8], [0, 8]], [[-1], [-1]], [[0]], [["a"], ["b"]]])
def test_senseless_selection_is_refused(selection):
    model = network()
    plan = octconvert.plan(model, **OPTIONS)
    group = next(group for group in plan.groups if group.producers == ("a", "b"))
    with pytest.raises(octconvert.UsageError, match=rf"{group.name}: |groups\[\d+\]: ") as caught:
        octconvert.convert(model, plan=edited(plan, **{group.name: {"selection": selection}}), calibration=False)
    assert "\n" not in str(caught.value)


def test_plan_of_a_fully_convolutional_model():
    inputs = Input((None, None, 3))
    model = Model(inputs, conv(4, "b")(conv(8, "a")(inputs)))
    result = assert_oracle(model, converted=2)
    assert Plan.from_json(result.plan.to_json()) == result.plan
