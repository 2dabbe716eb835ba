"""The line about a process that died, and the second try without the step."""

import signal

import pytest

from octconvert.cli.console import Console
from octconvert.cli.supervision.deaths import Death, activity, death_message, retry_of
from octconvert.cli.task import Task
from octconvert.options.calibration import STEPS


def task(command="convert", **arguments):
    return Task(command, ("net.keras",), {"output": "out.keras", **arguments}, Console(None))


def without(task, *stages):
    retry = retry_of(task, Death(signal.SIGSEGV, stages))
    return retry and {name: retry.task.arguments[name] for name in retry.task.arguments if name != "output"}


@pytest.mark.parametrize("step", STEPS)
def test_a_step_of_the_calibration_is_left_out(step):
    others = tuple(name for name in STEPS if name != step)
    assert without(task(), "read", "calibrate: start", f"calibrate: {step}") == {"calibration_steps": others}


def test_other_requested_steps_stay():
    requested = task(calibration_steps=("solve", "refine"))
    assert without(requested, "calibrate: solve", "calibrate: least squares") == {"calibration_steps": ("refine",)}
    assert without(task(calibration_steps=("refine",)), "calibrate: refine") == {"calibration_steps": ()}


def test_both_steps_that_compute_gradients_go_where_one_can_not():
    others = ("rotate", "solve", "renormalize")
    assert without(task(), "calibrate: select", "calibrate: sensitivity") == {"calibration_steps": others}


@pytest.mark.parametrize(
    "arguments, stages",
    [
        ({}, ()),
        ({}, ("read",)),
        ({}, ("calibrate: samples",)),
        ({}, ("calibrate: refine", "check")),
        ({}, ("check", "save")),
        ({"target_macs": 0.5}, ("calibrate: search", "calibrate: sensitivity")),
        ({"benchmark": True, "objective": "latency"}, ("plan", "export for tf")),
    ],
)
def test_there_is_no_result_without_the_other_stages(arguments, stages):
    assert without(task(**arguments), *stages) is None


def test_what_comes_after_the_result_is_left_out():
    requested = task(benchmark=True, evaluate="data.npz")
    assert without(requested, "check", "export for tf") == {"benchmark": False, "evaluate": "data.npz"}
    assert without(requested, "check", "evaluate") == {"benchmark": True, "evaluate": None}


def test_an_evaluation_is_left_out_with_all_that_is_for_it():
    requested = task(evaluate="data.npz", metric="auc", preprocess="resnet50", overwrite=False)
    nothing = {"evaluate": None, "metric": None, "preprocess": None}
    assert without(requested, "read", "evaluate") == {**nothing, "overwrite": False}
    assert without(requested, "evaluate", "check", "save", "evaluate") == {**nothing, "overwrite": True}
    assert without(task("export", evaluate="data.npz"), "export for litert", "evaluate")["overwrite"]
    calibrated = task(evaluate="data.npz", calibration="more.npz", preprocess="resnet50")
    assert without(calibrated, "evaluate")["preprocess"] == "resnet50"


def test_the_second_try_is_noted():
    retry = retry_of(task(), Death(signal.SIGSEGV, ("calibrate: refine",)))
    assert retry.message == (
        "net.keras: segmentation fault (SIGSEGV) while calibrating (refine); trying again "
        "with --calibration-steps rotate,select,solve,renormalize"
    )
    assert retry.task.notes == ("step refine is left out: segmentation fault (SIGSEGV) in it",)


@pytest.mark.parametrize(
    "arguments, number, stages, message",
    [
        ({}, signal.SIGSEGV, ("calibrate: refine",), "Try --calibration-steps rotate,select,solve,renormalize;"),
        ({}, signal.SIGILL, ("calibrate: start",), "Try --no-calibration; TF_ENABLE_ONEDNN_OPTS=0"),
        ({"input_shape": (9, 9, 3)}, signal.SIGKILL, ("calibrate: start",), "--calibration-samples or a smaller --inp"),
        ({"target_macs": 0.5}, signal.SIGSEGV, ("calibrate: search", "calibrate: sensitivity"), "--alpha in place of"),
        (
            {"objective": "latency"},
            signal.SIGSEGV,
            ("plan", "time layers on tf"),
            "--objective macs, which",
        ),
        ({"benchmark": True}, signal.SIGSEGV, ("check", "measure on tf"), "Try without --benchmark"),
        ({"output": "out.h5"}, signal.SIGSEGV, ("save",), "disk may be full"),
        ({}, signal.SIGSEGV, ("inference",), "without --for-inference"),
    ],
)
def test_the_line_names_what_to_try(monkeypatch, arguments, number, stages, message):
    monkeypatch.delenv("TF_ENABLE_ONEDNN_OPTS", raising=False)
    line = death_message(task(**arguments), Death(number, stages), "nothing was written")
    assert (
        line.startswith("net.keras: ") and number.name in line and "; nothing was written. " in line and message in line
    )


def test_onednn_is_not_mentioned_where_it_is_off(monkeypatch):
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "0")
    assert "ONEDNN" not in death_message(task(), Death(signal.SIGSEGV, ("check",)), "nothing was written")


def test_stages_in_words():
    assert [activity(stage) for stage in ("calibrate: solve", "export for tf", "save", "something")] == [
        "calibrating (solve)",
        "exporting for tf",
        "saving",
        "something",
    ]
