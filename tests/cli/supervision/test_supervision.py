"""The real command line: what happens when a library, the user or the system ends its worker."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import keras
import pytest
from running import ROOT, is_gone, left_behind, prepare, start, wait_for

pytestmark = pytest.mark.skipif(os.name != "posix", reason="elsewhere the command line has no worker")

PROGRESS = re.compile(r"octconvert: [\w: ]+(, \d+ of \d+)? \(\d+ s\)\n")
"""Its lines, which a slow machine has."""
CALIBRATED = ("--calibrate", "x.npy", "--calibration-steps", "renormalize")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("prepared")
    prepare(folder)
    return folder


@pytest.fixture
def here(prepared, tmp_path):
    """A directory with models, data and own code in it."""
    return Path(shutil.copytree(prepared, tmp_path / "here"))


def quietly(here, *argv, **more):
    """Start it without progress, which has lines of its own where the machine is slow."""
    return start(here, *argv, "-q", **more)


def new(here, prepared):
    return sorted({item.name for item in here.iterdir()} - {item.name for item in prepared.iterdir()} - {"reached"})


def assert_one_line(result, code, *parts):
    assert result[0] == code and result[1] == "", result
    assert result[2].startswith("octconvert: ") and result[2].count("\n") == 1, result[2]
    assert [part for part in parts if part not in result[2]] == [], result[2]


# --- the worker dies ------------------------------------------------------------------------------------------------


def installed_command() -> list[str]:
    script = Path(sys.executable).with_name("octconvert")
    return [str(script)] if script.exists() else ["-c", "from octconvert.cli import main; main()"]


@pytest.mark.long
@pytest.mark.parametrize(
    "command, death, parts",
    [
        (("-m", "octconvert"), "SIGBUS", ["bus error", "TF_ENABLE_ONEDNN_OPTS=0"]),
        (installed_command(), "SIGKILL", ["memory", "--calibration-samples"]),
    ],
    ids=["module", "installed"],
)
def test_a_death_is_one_line_with_the_stage_and_a_way_round(here, prepared, command, death, parts):
    (here / "out.keras").write_text("before")
    argv = ("net.keras", "-o", "out.keras", "--force", *CALIBRATED, "--preprocess", "own.py:dies")
    result = quietly(here, *argv, command=command, env={"DEATH": death}).end()
    parts = [
        f"net.keras: {parts[0]}",
        *parts,
        f"({death})",
        "while calibrating",
        "nothing was written",
        "--no-calibration",
    ]
    assert_one_line(result, 1, *[part for part in parts if part != "net.keras: memory"])
    assert (here / "out.keras").read_text() == "before" and new(here, prepared) == ["out.keras"]
    assert left_behind(here) == []


@pytest.mark.long
def test_what_has_a_result_without_the_step_is_done_again_without_it(here, prepared):
    argv = ("fatal.keras", "--calibrate", "x.npy", "--calibration-steps", "solve,refine")
    more = ("--custom-objects", "own.py:Fatal", "--json")
    code, out, err = quietly(here, *argv, *more, env={"DEATH": "SIGSEGV"}).end()
    report = json.loads(out)
    assert code == 0 and err.count("\n") == 1
    assert "(SIGSEGV) while calibrating (refine)" in err and "--calibration-steps solve" in err
    assert [step["name"] for step in report["calibration"]["steps"]] == ["solve"]
    assert [note for note in report["notes"] if "refine" in note and "SIGSEGV" in note] != []
    assert new(here, prepared) == ["fatal-octave.keras"] and left_behind(here) == []


@pytest.mark.long
def test_a_death_in_the_evaluation_takes_no_file_away(here, prepared):
    metric = ("--evaluate", "labelled.npz", "--metric", "own.py:dies_once_it_is_saved")
    argv = ("net.keras", "-o", "out.keras", "--no-calibration", *metric, "--json")
    code, out, err = quietly(here, *argv, env={"DEATH": "SIGKILL"}).end()
    report = json.loads(out)
    assert code == 0 and err.count("\n") == 1 and "while evaluating; trying again without --evaluate" in err
    assert report["evaluation"] is None and "the evaluation is left out" in report["notes"][0]
    assert new(here, prepared) == ["out.keras"] and left_behind(here) == []


@pytest.mark.long
def test_a_second_death_is_the_last(here, prepared):
    argv = ("fatal.keras", "--calibrate", "x.npy", "--calibration-steps", "solve,refine")
    more = ("--custom-objects", "own.py:Fatal", "--preprocess", "own.py:dies_the_second_time")
    code, out, err = quietly(here, *argv, *more, env={"DEATH": "SIGABRT"}).end()
    first, second = err.splitlines()
    assert (code, out) == (1, "") and "trying again with --calibration-steps solve" in first
    assert "(SIGABRT) while calibrating (samples); nothing was written" in second
    assert new(here, prepared) == [] and left_behind(here) == []


@pytest.mark.long
@pytest.mark.parametrize("target", ["out.keras", "out.h5"])
def test_a_death_while_saving_leaves_what_was_there(here, prepared, target):
    (here / target).write_text("before")
    argv = ("saved.keras", "-o", target, "--force", "--no-calibration", "--custom-objects", "own.py:Saved")
    assert_one_line(quietly(here, *argv, env={"DEATH": "SIGKILL"}).end(), 1, "while saving; nothing was written")
    assert (here / target).read_text() == "before" and new(here, prepared) == [target] and left_behind(here) == []


@pytest.mark.long
@pytest.mark.parametrize("function, parts", [("ends", "code that it ran ended the process"), ("exits", "SystemExit")])
def test_code_that_ends_the_process_is_no_success(here, prepared, function, parts):
    argv = ("net.keras", *CALIBRATED, "--preprocess", f"own.py:{function}")
    assert_one_line(quietly(here, *argv).end(), 1, "net.keras", parts)
    assert new(here, prepared) == [] and left_behind(here) == []


# --- the user or the system ends it ---------------------------------------------------------------------------------


@pytest.mark.quick("INT-130-interrupted")
@pytest.mark.parametrize("name, code, parts", [("INT", 130, "interrupted"), ("TERM", 143, "terminated")])
def test_a_signal_is_one_line_and_nothing_temporary_stays(here, prepared, name, code, parts):
    run = quietly(here, "saved.keras", "-o", "out.keras", "--no-calibration", "--custom-objects", "own.py:Saved")
    worker = run.reached()
    assert left_behind(here) != []
    run.send(getattr(signal, f"SIG{name}"))
    assert_one_line(run.end(), code, f"octconvert: {parts} while saving; nothing was written")
    assert new(here, prepared) == [] and left_behind(here) == [] and is_gone(worker)


@pytest.mark.long
@pytest.mark.parametrize("group", [True, False], ids=["terminal", "kill"])
def test_an_interrupt_of_a_calibration_keeps_what_it_has_done(here, group):
    argv = ("--calibrate", "x.npy", "--calibration-steps", "select,solve", "--custom-objects", "own.py:Waits")
    run = quietly(here, "waits.keras", "-o", "out.keras", "--json", *argv)
    run.reached()
    run.send(signal.SIGINT, group)
    code, out, err = run.end()
    assert code == 0 and err.count("\n") == 1 and "interrupt again" in err
    report = json.loads(out)
    details = [step["detail"] for step in report["calibration"]["steps"]]
    assert details == ["interrupted", "not begun: interrupted"] and report["passed"]
    assert (here / "out.keras").exists() and left_behind(here) == []


@pytest.mark.long
def test_only_an_interrupt_keeps_what_a_calibration_has_done(here, prepared):
    """The system ends programs by other signals, with little time left."""
    (here / "out.keras").write_text("old")
    argv = ("--calibrate", "x.npy", "--calibration-steps", "select,solve", "--custom-objects", "own.py:Waits")
    run = quietly(here, "waits.keras", "-o", "out.keras", "--force", *argv)
    run.reached()
    run.send(signal.SIGTERM)
    assert_one_line(run.end(), 143, "octconvert: terminated while calibrating", "nothing was written")
    assert (here / "out.keras").read_text() == "old" and left_behind(here) == []


@pytest.mark.long
@pytest.mark.parametrize("name, code", [("INT", 130), ("HUP", 129)])
def test_a_worker_that_ignores_signals_is_ended(here, prepared, name, code):
    run = quietly(here, "net.keras", *CALIBRATED, "--preprocess", "own.py:ignores_signals")
    worker = run.reached()
    run.send(getattr(signal, f"SIG{name}"), group=True)  # as a terminal does
    assert_one_line(run.end(), code, "while calibrating", "nothing was written")
    assert new(here, prepared) == [] and left_behind(here) == [] and is_gone(worker)


@pytest.mark.long
def test_a_worker_that_is_terminated_alone_cleans_up(here, prepared):
    run = quietly(here, "net.keras", *CALIBRATED, "--preprocess", "own.py:sleeps")
    os.kill(run.reached(), signal.SIGTERM)
    assert_one_line(run.end(), 143, "terminated while calibrating", "nothing was written")
    assert new(here, prepared) == [] and left_behind(here) == []


@pytest.mark.long
def test_a_worker_does_not_outlive_its_parent(here, prepared):
    run = quietly(here, "saved.keras", "-o", "out.keras", "--no-calibration", "--custom-objects", "own.py:Saved")
    worker = run.reached()
    run.send(signal.SIGKILL)
    assert run.end() == (-signal.SIGKILL, "", "")  # the worker holds stdout and stderr until its end
    wait_for(lambda: is_gone(worker))
    assert new(here, prepared) == [] and left_behind(here) == []


@pytest.mark.long
def test_nohup(here):
    os.mkfifo(here / "go")
    ignore = {"preexec_fn": lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN)}
    run = quietly(here, "net.keras", *CALIBRATED, "--preprocess", "own.py:waits", **ignore)
    run.reached()
    run.send(signal.SIGHUP, group=True)
    (here / "go").write_text("")
    assert run.end() == (0, "", "") and (here / "net-octave.keras").exists()


WATCHED = """
import sys
from octconvert.benchmarking.process import Worker, exported
import keras
from pathlib import Path
model = keras.Sequential([keras.Input((4, 4, 1)), keras.layers.ReLU()])
worker = Worker(**exported(model, "tf", Path(sys.argv[1]), 1, 1))
worker.run(0, 1)
print(worker._process.pid, flush=True)
worker.run(0, 10**9)
"""


@pytest.mark.long
def test_a_measuring_process_does_not_outlive_its_parent(tmp_path):
    command = [sys.executable, "-c", WATCHED, str(tmp_path / "model")]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env) as process:
        worker = int(process.stdout.readline())
        process.kill()
    wait_for(lambda: is_gone(worker))


# --- it can not be started, or has odd surroundings -----------------------------------------------------------------


def test_too_few_descriptors_to_start_a_process(here):
    import resource

    def few():
        resource.setrlimit(resource.RLIMIT_NOFILE, (6, 6))

    assert_one_line(quietly(here, "net.keras", preexec_fn=few).end(), 1, "can not be started")


def test_a_tensorflow_that_can_not_be_imported(here):
    (here / "broken" / "tensorflow").mkdir(parents=True)
    cause = "libtensorflow.so: failed to map segment"
    (here / "broken" / "tensorflow" / "__init__.py").write_text(
        f"try:\n    raise OSError({cause!r})\nexcept OSError:\n    raise ImportError('long\\nstory') from None\n"
    )
    env = {"PYTHONPATH": os.pathsep.join((str(here / "broken"), str(ROOT)))}
    assert_one_line(quietly(here, "net.keras", env=env).end(), 1, "TensorFlow can not be started: OSError", cause)


@pytest.mark.long
@pytest.mark.parametrize("closed", [0, 1])
def test_a_closed_standard_stream_is_no_way_into_the_pipes(here, closed):
    run = start(here, "net.keras", "--no-calibration", "--json=report.json", preexec_fn=lambda: os.close(closed))
    code, out, err = run.end()
    assert code == 0 and (out == "") == (closed == 1)
    assert PROGRESS.sub("", err) == ""
    assert json.loads((here / "report.json").read_text())["convolutions_converted"] == 2
    assert keras.saving.load_model(here / "net-octave.keras").count_params() > 0


def test_the_parent_imports_nothing_slow():
    modules = (
        "octconvert.cli.app, octconvert.cli.supervision, octconvert.verification.exporting, octconvert.options.timing"
    )
    code = f"import sys, {modules}; print({{'numpy', 'keras', 'tensorflow'}} & {{*sys.modules}})"
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env).stdout == "set()\n"
