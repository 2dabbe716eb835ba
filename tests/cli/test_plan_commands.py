"""A dry run prints or writes a plan, and --plan follows it."""

import json
from pathlib import Path

import pytest
from command_line import assert_one_error_line, files


def test_dry_run_prints_the_plan_and_writes_nothing(net, run):
    Path("net-octave.keras").write_text("an older result is no obstacle")
    code, out, err = run("net.keras", "--dry-run")
    assert (code, err) == (0, "") and "3 of 3 convolutions would become octave layers" in out
    assert files() == ["net-octave.keras", "net.keras"]


def test_dry_run_of_a_model_that_can_not_be_converted(net, run):
    code, out, err = run("net.keras", "--dry-run", "--min-size", "64")
    assert code == 3 and "all 3 convolutions stay plain" in out and err.count("\n") == 1


def test_plan_is_written_edited_and_followed(net, run):
    code, out, _ = run("net.keras", "--dry-run", "--json", "plan.json")
    assert code == 0 and "would become" in out
    plan = json.loads(Path("plan.json").read_text())
    next(row for row in plan["convolutions"] if row["name"] == "conv3")["frozen"] = True
    Path("plan.json").write_text(json.dumps(plan))
    code, out, _ = run("net.keras", "--plan", "plan.json", "--json", "--no-calibration")
    roles = {row["name"]: row["role"] for row in json.loads(out)["convolutions"]}
    assert code == 0 and roles["conv3"] == "plain" and roles["conv1"] == "first"
    code, out, _ = run("net.keras", "--plan", "plan.json", "--dry-run", "--json")
    assert code == 0 and {row["name"]: row["role"] for row in json.loads(out)["convolutions"]} == roles


def test_dry_run_json_on_stdout_is_the_plan(net, run):
    code, out, err = run("net.keras", "--dry-run", "--json", "-")
    assert (code, err) == (0, "") and json.loads(out)["format"] == "octconvert-plan/1"


@pytest.mark.quick("alpha-1.5-from 0 to 1", "selection-value2-different indices")
@pytest.mark.parametrize(
    "key, value, message",
    [
        ("alpha", 1.5, "from 0 to 1"),
        ("alpha", "x", '"alpha" must be a number'),
        ("selection", [[0, 999]], "different indices"),
        ("selection", [[0, 0]], "different indices"),
        ("selection", [[0], [1]], "one entry for each producer"),
        ("producers", 5, "producers"),
    ],
)
def test_a_plan_edited_wrongly_is_refused(net, run, key, value, message):
    run("net.keras", "--dry-run", "--json", "plan.json", "-q")
    plan = json.loads(Path("plan.json").read_text())
    plan["groups"][0][key] = value
    Path("plan.json").write_text(json.dumps(plan))
    assert_one_error_line(run("net.keras", "--plan", "plan.json"), 2, "plan.json", "groups[0]", message)


@pytest.mark.parametrize("content", ["{}", "no json", '{"format": "octconvert-plan/1"}'])
def test_broken_plan(net, run, content):
    Path("plan.json").write_text(content)
    assert_one_error_line(run("net.keras", "--plan", "plan.json"), 2, "plan.json")


def test_plan_of_another_model_is_refused(net, run):
    run("net.keras", "--dry-run", "--json", "plan.json")
    Path("plan.json").write_text(Path("plan.json").read_text().replace("conv2", "elsewhere"))
    assert_one_error_line(run("net.keras", "--plan", "plan.json"), 2, "elsewhere")
    assert files() == ["net.keras", "plan.json"]


def test_a_factor_for_each_axis(net, run):
    code, out, err = run("net.keras", "--dry-run", "--octave", "1,2", "--json", "plan.json")
    assert (code, err) == (0, "") and "octave 1,2," in out
    assert json.loads(Path("plan.json").read_text())["octave"] == [1, 2]
    code, _, err = run("net.keras", "--dry-run", "--octave", "1,2,2")
    assert code == 2 and err.count("\n") == 1 and "has 3 numbers" in err and "have rows and columns" in err
    code, _, err = run("net.keras", "--dry-run", "--octave", "1,x")
    assert code == 2 and err.count("\n") == 1 and "must be a power of two" in err
