"""`octconvert bench`: what is told of every model, and what becomes of those that can not be measured."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import keras
import pytest
from deployables import converted, installed, source, unsupported
from keras import layers

import octconvert
from octconvert.benchmarking import measure as measuring
from octconvert.benchmarking.process import Worker, WorkerError
from octconvert.errors import InputError, UsageError
from octconvert.model.examples import example_inputs
from octconvert.model.graph_reader import build_graph
from octconvert.runtimes import RUNTIMES
from octconvert.system.installation import install_command

ROOT = Path(__file__).resolve().parents[2]
LINUX = sys.platform == "linux"


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    source().save(folder / "net.keras")
    converted().save(folder / "net-octave.keras")
    return folder


@pytest.fixture
def nets(saved, tmp_path, monkeypatch):
    """A model and its conversion alone in the working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    for path in saved.iterdir():
        Path(path.name).write_bytes(path.read_bytes())
    return ["net.keras", "net-octave.keras"]


def assert_measured(row, rounds):
    low, high = row.quartiles
    assert 0 < low <= row.median <= high and row.runs >= rounds and not row.error
    assert (row.memory >= 0) if LINUX else row.memory is None
    assert row.efficiency == pytest.approx(row.speedup / row.mac_ratio)


# --- measuring ------------------------------------------------------------------------------------------------------


@pytest.mark.long
def test_models_and_files_are_held_against_the_first(nets):
    stages = []
    show = lambda *told: stages.append(told)  # noqa: E731
    found = octconvert.bench({"plain": source(), "octave": nets[1]}, rounds=2, threads=1, progress=show)
    assert [(row.model, row.runtime) for row in found.rows] == [("plain", "tf"), ("octave", "tf")]
    for row in found.rows:
        assert_measured(row, rounds=2)
    first, second = found.rows
    assert (first.speedup, first.mac_ratio) == (1, 1) and second.mac_ratio == first.macs / second.macs > 1
    assert second.speedup == first.median / second.median
    assert ("read", 0, 2) in stages and ("measure on tf", 1, 2) in stages


@pytest.mark.long
def test_the_command_line_prints_json_and_nothing_else(nets, command):
    installed("litert")
    argv = ["--runtime", "litert", "--rounds", "2", "--batch", "2", "--for-inference", "--json"]
    code, out, err = command("bench", *nets, *argv)
    found = json.loads(out)
    assert (code, err) == (0, "") and found["format"] == "octconvert-bench/1"
    assert (found["threads"], found["batch"], found["rounds"], found["for_inference"]) == (2, 2, 2, True)
    assert [row["model"] for row in found["rows"]] == nets and all(row["median"] > 0 for row in found["rows"])


def test_the_command_line_prints_a_table(nets, command):
    installed("onnx")
    code, out, err = command("bench", *nets, "--runtime", "onnx", "--rounds", "1")
    assert (code, err) == (0, "") and max(map(len, out.splitlines())) <= 80
    assert "net-octave.keras" in out and "onnx" in out and "2 threads, batch 1" in out
    assert sorted(path.name for path in Path().iterdir()) == sorted(nets)


@pytest.mark.quick("openvino")
@pytest.mark.parametrize("name", ["xla", "openvino"])
def test_other_runtimes(name):
    installed(name)
    (row,) = octconvert.bench(source(), runtimes=name, rounds=1).rows
    assert_measured(row, rounds=1)


@pytest.mark.long
def test_open_sizes_are_those_that_the_macs_are_counted_for():
    installed("litert")
    inputs = keras.Input((None, None, 3))
    model = keras.Model(inputs, layers.Conv2D(2, 1)(inputs), name="open")
    found = octconvert.bench(model, runtimes="litert", rounds=1)
    assert found.rows[0].macs == 224 * 224 * 6
    assert found.notes == ("open: measured with the input 224x224x3; the model leaves its size open",)
    assert octconvert.bench(model, runtimes="litert", rounds=1, input_shape=(8, 8, 3)).rows[0].macs == 8 * 8 * 6


@pytest.mark.long
def test_models_of_one_name_are_told_apart():
    installed("litert")
    found = octconvert.bench([source(), source(), source()], runtimes="litert", rounds=1)
    assert [row.model for row in found.rows] == ["small", "small (2)", "small (3)"]


# --- what can not be measured ---------------------------------------------------------------------------------------


@pytest.mark.long
def test_a_model_that_the_runtime_can_not_take_has_the_reason_in_its_row(nets, command):
    installed("litert")
    unsupported().save("rare.keras")
    argv = ["--runtime", "litert", "--rounds", "1"]
    code, out, err = command("bench", "net.keras", "rare.keras", *argv, "--json")
    plain, rare = json.loads(out)["rows"]
    assert (code, err) == (0, "") and plain["median"] > 0 and not plain["error"]
    assert rare["median"] is None and rare["error"].endswith("it does not support Erfinv")
    code, out, err = command("bench", "rare.keras", *argv)
    assert code == 1 and "failed" in out and "Could not be measured" in out
    assert err.startswith("octconvert: nothing could be measured: rare.keras: ") and err.count("\n") == 1


@pytest.mark.long
def test_a_file_that_the_worker_can_not_open_is_a_row_as_well(monkeypatch):
    runtime = installed("litert")
    write = type(runtime)._write

    def broken(self, model, signature, path, settings):
        if path.stem in ("0", "2"):  # the first model in one form, then in the other
            path.write_bytes(b"no model")
        else:
            write(self, model, signature, path, settings)

    monkeypatch.setattr(type(runtime), "_write", broken)
    failed, other = octconvert.bench([source(), source()], runtimes="litert", rounds=1).rows
    assert failed.median is None and "Traceback" not in failed.error and "\n" not in failed.error
    assert failed.error and other.median > 0 and other.speedup is None and other.efficiency is None


def test_a_worker_that_dies_says_how(tmp_path):
    with Worker(runtime="tf", path=str(tmp_path), threads=1, inputs="", names=[]) as worker:
        os.kill(worker._process.pid, signal.SIGKILL)
        with pytest.raises(WorkerError, match="its process ended by SIGKILL"):
            worker.run(1, 1)


def test_a_missing_runtime_is_left_out_with_the_command_that_installs_it(monkeypatch):
    installed("litert")
    monkeypatch.setattr(type(RUNTIMES["onnx"]), "runs_with", ("no_such_package",))
    found = octconvert.bench(source(), runtimes=("onnx", "litert"), rounds=1)
    assert [row.runtime for row in found.rows] == ["litert"]
    assert found.notes == (f"onnx was not measured: it needs no_such_package: {install_command('bench')}",)
    with pytest.raises(UsageError, match="onnx was not measured"):
        octconvert.bench(source(), runtimes="onnx")


@pytest.mark.parametrize(
    "argv, said",
    [
        ([], "name a model"),
        (["net.keras", "--runtime", "tvm"], "--runtime"),
        (["net.keras", "--threads", "0"], "--threads takes a whole number from 1"),
        (["net.keras", "--rounds", "2.5"], "--rounds takes a whole number"),
        (["net.keras", "--batch", "-1"], "--batch takes a whole number from 1"),
        (["net.keras", "--input-shape", "8,8"], "--input-shape takes"),
        (["net.keras", "none.keras"], "none.keras: there is no such file"),
        (["net.keras", "--json=net-octave.keras"], "net-octave.keras: exists already"),
        (["net.keras", "net-octave.keras", "--json=net.keras", "--force"], "is a file that is read"),
    ],
)
def test_bad_usage_is_one_line(nets, command, argv, said):
    code, out, err = command("bench", *argv)
    assert (code, out) == (2, "") and said in err and err.startswith("octconvert: ") and err.count("\n") == 1


@pytest.mark.parametrize(
    "options, said",
    [
        ({"runtimes": ()}, "`runtimes` takes names"),
        ({"runtimes": "tvm"}, "must be one of tf, xla, litert, onnx, openvino; received 'tvm'"),
        ({"threads": 0}, "`threads` takes a whole number"),
        ({"rounds": True}, "`rounds` takes a whole number"),
        ({"batch": 1.5}, "`batch` takes a whole number"),
    ],
)
def test_options_that_make_no_sense(options, said):
    with pytest.raises(UsageError, match=said):
        octconvert.bench(source(), **options)


def test_models_that_can_not_be_measured_at_all():
    with pytest.raises(UsageError, match="bench needs a model"):
        octconvert.bench([])
    with pytest.raises(InputError):
        octconvert.bench([3])
    fixed = keras.Sequential([keras.Input(batch_shape=(4, 3)), layers.Dense(1)])
    with pytest.raises(UsageError, match="fixed batch size of 4"):
        octconvert.bench(fixed, batch=2)


def test_nothing_but_help_is_needed_to_answer():
    code = """
import sys
from octconvert import cli
missing = ["export", "none.h5", "-o", "x", "--format=tf"]
for argv in (["bench", "--help"], ["export", "--help"], ["bench", "none.h5"], missing):
    try:
        cli.main(argv)
    except SystemExit as ended:
        print("exit", ended.code, [name for name in ("tensorflow", "keras", "onnxruntime") if name in sys.modules])
"""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    ended = [line for line in found.stdout.splitlines() if line.startswith("exit")]
    assert ended == ["exit 0 []", "exit 0 []", "exit 2 []", "exit 2 []"]
    assert all(option in found.stdout for option in ("--runtime", "--batch", "--input-shape", "--format", "--output"))


# --- turns ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def turns(monkeypatch):
    """Measure models that take so many seconds, with workers that run nothing: what was asked of them, in order."""
    asked = []

    class Pretended:
        def __init__(self, takes):
            self.takes = takes

        def __enter__(self):
            return self

        def __exit__(self, *_):
            asked.append((self.takes, "ended"))

        def run(self, untimed, timed):
            asked.append((self.takes, untimed, timed))
            if self.takes is None:
                raise WorkerError("no")
            return [self.takes] * timed, 1.0

    monkeypatch.setattr(measuring, "Worker", Pretended)

    def call(*seconds, rounds):
        return measuring.measure([{"takes": item} for item in seconds], rounds, lambda *_: None), asked

    return call


def test_the_order_alternates(turns):
    _, asked = turns(0.1, 0.2, rounds=3)
    assert [turn[0] for turn in asked[2:-2]] == [0.1, 0.2, 0.2, 0.1, 0.1, 0.2]
    assert [turn[1] for turn in asked[-2:]] == ["ended", "ended"]


def test_slow_models_run_less_often(turns):
    found, asked = turns(0.001, 0.1, 30.0, rounds=1)
    assert asked[:3] == [(0.001, 1, 1), (0.1, 1, 1), (30.0, 1, 1)]
    assert asked[3:6] == [(0.001, 1, 5), (0.1, 1, 2), (30.0, 0, 1)]
    assert [len(model.seconds) for model in found] == [5, 2, 1]


def test_a_very_slow_model_has_fewer_turns(turns):
    found, _ = turns(30.0, 0.1, rounds=9)
    assert [len(model.seconds) for model in found] == [3, 18]


@pytest.mark.parametrize("rounds, starts", [(1, 1), (9, 1), (10, 2), (15, 3), (17, 3), (40, 3)])
def test_new_processes_every_few_rounds(turns, rounds, starts):
    """What differs from one process to the next is in the median as well."""
    found, asked = turns(0.3, 0.1, rounds=rounds)
    assert [len(model.seconds) for model in found] == [rounds, 2 * rounds]
    for takes in (0.3, 0.1):
        assert asked.count((takes, "ended")) == starts
        assert asked.count((takes, 1, 1)) == starts + (rounds if takes == 0.3 else 0)  # each is warmed up


def test_what_takes_long_to_open_is_opened_once(turns, monkeypatch):
    monkeypatch.setattr(measuring, "OPENING_SECONDS", -1.0)
    found, asked = turns(0.3, rounds=15)
    assert asked.count((0.3, "ended")) == 1 and len(found[0].seconds) == 15


def test_a_slow_model_that_has_had_its_turns_is_not_opened_again(turns):
    found, asked = turns(30.0, 0.1, rounds=15)
    assert [len(model.seconds) for model in found] == [3, 30]
    assert asked.count((30.0, "ended")) == 1 and asked.count((0.1, "ended")) == 3


def test_a_failing_model_has_no_more_turns(turns):
    found, asked = turns(None, 0.1, rounds=2)
    assert [turn for turn in asked if turn[0] is None] == [(None, 1, 1), (None, "ended")]
    assert found[0].error == "no" and len(found[1].seconds) == 4


def gated(threshold: float) -> keras.Model:
    """A map times gates, which are 0 where the sum of an image's means is below a threshold."""
    image = keras.Input((16, 16, 3))
    means = layers.GlobalAveragePooling2D(keepdims=True)(image)
    bias = keras.initializers.Constant(-threshold)
    gates = layers.Conv2D(4, 1, activation="relu", kernel_initializer="ones", bias_initializer=bias)(means)
    gates = layers.Conv2D(8, 1, activation="sigmoid")(gates)
    return keras.Model(image, layers.Multiply()([layers.Conv2D(8, 3, padding="same")(image), gates]))


def test_maps_that_are_nearly_0_for_random_inputs_have_ranges():
    """XNNPACK refuses a convolution whose results have no range beside its inputs."""
    (noise,) = example_inputs(build_graph(gated(0.0)))
    threshold = float(noise.mean(axis=(1, 2)).sum()) - 1e-6
    (row,) = octconvert.bench(gated(threshold), runtimes=["litert"], quantize="int8", rounds=1).rows
    assert row.median is not None and not row.error
