"""A command line that is nearly right: one line says what is meant, before TensorFlow is started."""

import re
import shlex
import subprocess
from pathlib import Path

import pytest
from command_line import ROOT, assert_one_error_line, files, shell


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Files that are there, and that nothing reads."""
    monkeypatch.chdir(tmp_path)
    for name in ("net.keras", "net.h5", "other one.h5", "net-octave.keras", "data.npz", "plan.json"):
        Path(name).write_bytes(b"\x89HDF\r\n\x1a\n" if name.endswith(".h5") else b"PK\x03\x04")
    Path("photos").mkdir()
    Path("photos/a.png").touch()
    Path("empty").mkdir()
    Path("broken.py").write_text("def f(:")
    Path("text.npz").write_text("no arrays")


CASES = {
    "net.keras 0.5": "unexpected argument '0.5'; did you mean --alpha 0.5?",
    "net.keras photos": "unexpected argument 'photos'; did you mean --calibrate photos?",
    "net.keras data.npz": "did you mean --calibrate data.npz?",
    "net.keras out.keras": "unexpected argument 'out.keras'; did you mean -o out.keras?",
    "net.keras plan.json": "did you mean --plan plan.json?",
    "net.keras litert": "did you mean --runtime litert?",
    "net.keras bench": "the command comes first: octconvert bench net.keras",
    "net.keras --seed 1 net.h5 'other one.h5'": (
        "convert takes one model at a time; for all of them: "
        "for model in net.keras net.h5 'other one.h5'; do octconvert \"$model\" --seed 1; done"
    ),
    "diff net.keras net.h5 net-octave.keras": "diff compares two models; octconvert bench takes several",
    "export net.keras net.tflite": "did you mean -o net.tflite?",
    "export 'other one.h5'": "name what to write with -o, for example -o 'other one.tflite'",
    "export net.keras -o x.tflite int8": "did you mean --quantize int8?",
    "convert": "convert: MODEL is missing, for example: octconvert model.h5",
    "": "convert: MODEL is missing, for example: octconvert model.h5",
    "diff net.keras": "diff: B is missing, for example: octconvert diff model.h5 model-octave.keras",
    "bench": "bench: name a model, for example: octconvert bench model.h5 model-octave.keras",
    "benhc net.keras net.h5": "unknown command 'benhc'; did you mean 'octconvert bench'?",
    "cnvert net.keras": "unknown command 'cnvert'; did you mean 'octconvert convert'?",
    "quantize net.keras": "unknown command 'quantize'; did you mean 'octconvert export'?",
    "plan net.keras": "unknown command 'plan'; did you mean 'octconvert MODEL --dry-run'?",
    "calibrate net.keras": "did you mean 'octconvert MODEL --calibrate DATA'?",
    "help benhc": "there is no command 'benhc'; did you mean 'bench'?",
    "net.keras --alhpa 0.5": "unknown option --alhpa; did you mean --alpha?",
    "net.keras --int8": "unknown option --int8; did you mean --quantize int8?",
    "net.keras --litert": "unknown option --litert; did you mean --runtime litert?",
    "net.keras --opset 17": "unknown option --opset, which is one of octconvert export",
    "bench net.keras --alpha 0.5": "unknown option --alpha, which is one of octconvert convert",
    "net.keras --alpha x": "--alpha takes a number; received 'x'",
    "net.keras --target-macs 60%": "--target-macs takes a number; received '60%'",
    "net.keras --alpha 0.5 --alpha 0.6": "--alpha can be given only once",
    "net.keras --runtime": "--runtime needs a value: tf, xla, litert, onnx or openvino",
    "net.keras --weights slicc": "--weights takes slice, fold or fresh; received 'slicc'; did you mean 'slice'?",
    "net.keras --weights SLICE": "did you mean 'slice'?",
    "bench net.keras --runtime tf,onx": "litert, onnx or openvino; received 'onx'; did you mean 'onnx'?",
    "bench net.keras litert": "litert: there is no such file; did you mean --runtime litert?",
    "net.keras --calibration-steps slove": "received 'slove'; did you mean 'solve'?",
    "net.keras --calibration-steps search": "runs by itself with --target-macs, --target-time or --max-drop",
    "net.keras --evaluate data.npz --metric acuracy": "did you mean 'accuracy'?",
    "net.kears": "net.kears: there is no such file; did you mean net.keras?",
    "other_one.h5": "there is no such file; did you mean other one.h5?",
    "net.onnx": "there is no such file; did you mean net.",
    "net.keras --calibrate phtos": "there is no such file or directory (--calibrate); did you mean photos?",
    "net.keras --calibrate nowhere": "octconvert: nowhere: there is no such file or directory (--calibrate)",
    "net.keras --calibrate text.npz": "text.npz: is not an .npz file, or damaged",
    "net.keras --plan plan.jsno": "plan.jsno: there is no such file (--plan); did you mean plan.json?",
    "net.keras -o out": "did you mean -o out.keras?",
    "net.keras -o net.tflite": (
        "a conversion writes .keras or .h5; octconvert export net-octave.keras -o net.tflite"
    ),
    "net.keras -o net.onnx --quantize int8 --runtime onnx": (
        "octconvert export net-octave.keras -o net.onnx --quantize int8"
    ),
    "'other one.h5' -o 'a b.tflite'": (
        "convert without it first, then octconvert export 'other one-octave.keras' -o 'a b.tflite'"
    ),
    "net.keras --calibrate empty": "empty: a directory without images (.jpg, .jpeg, .png, .bmp, .gif) (--calibrate)",
    "net.keras --calibrate broken.py": "broken.py: is neither .npz nor .npy, nor an image",
    "net.keras --calibrate data.npz --preprocess resnet5O": "or file.py:function; did you mean resnet50?",
    "net.keras --preprocess broken.py:f": "--preprocess: 'broken.py:f': broken.py, line 1: invalid syntax",
    "net.keras --preprocess nowhere.py:f": "--preprocess: 'nowhere.py:f': no such file: nowhere.py",
    "net.keras --preprocess no_such_module:f": "there is no module no_such_module",
    "net.keras --custom-objects Own": "--custom-objects takes module.py:Name or package.module:Name; received 'Own'",
    "diff net.keras net.h5 --custom-objects own.py:Own": "'own.py:Own': no such file: own.py",
    "net.keras --evaluate data.npz --metric own.py:f": "--metric: 'own.py:f': no such file: own.py",
    "export net.keras -o x.tflite --quantize int8 --preprocess resnet51": "did you mean resnet5",
    "net.keras --runtime tf --quantize int8": "tf can not be exported with --quantize int8; choose another runtime",
    "net.keras --benchmark --runtime tf --quantize int8": "tf can not be exported with --quantize int8",
    "broken.py": "broken.py: ",
    "photos": "photos: is a directory; use a .keras or .h5 file",
    "diff net.keras photos": "photos: is a directory; use a .keras or .h5 file",
    "bench net.keras photos": "photos: is a directory; use a .keras or .h5 file",
    "export photos -o x.tflite": "photos: is a directory; use a .keras or .h5 file",
    "net.keras -o a.keras --json=a.keras": "--json=a.keras: is the file that -o names; name another one",
    "net.keras --elementwise ''": "--elementwise takes names",
    "net-octave.keras --quantize int8": (
        "octconvert export net-octave.keras -o net-octave.tflite --quantize int8"
    ),
}  # fmt: skip


@pytest.mark.parametrize("line", CASES)
def test_a_line_that_is_nearly_right(folder, run, line):
    before = files()
    assert_one_error_line(run(*shlex.split(line)), 2, CASES[line])
    assert files() == before


def test_none_of_them_starts_tensorflow(folder):
    """One process for all lines: none of them has imported it, nor Keras."""
    code = f"""
import shlex, sys
from octconvert import cli
for line in {list(CASES)!r}:
    try:
        cli.main(shlex.split(line))
    except SystemExit as ended:
        print(ended.code, "tensorflow" in sys.modules or "keras" in sys.modules)
"""
    result = shell(code, cwd=Path.cwd())
    assert set(result.stdout.splitlines()) == {"2 False"} and "Traceback" not in result.stderr


def test_the_loop_for_several_models_is_a_command_of_the_shell(folder, run):
    line = run("net.keras", "other one.h5", "--seed", "1")[2]
    loop = re.search(r"for model in .*; done", line)[0]
    script = f'octconvert() {{ printf "%s|" "$@"; echo; }}; {loop}'
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True).stdout
    assert done.splitlines() == ["net.keras|--seed|1|", "other one.h5|--seed|1|"]


@pytest.mark.parametrize("name", ["convert", "bench"])
def test_files_and_directories_with_the_name_of_a_command(tmp_path, monkeypatch, run, name):
    monkeypatch.chdir(tmp_path)
    Path(name).mkdir()
    assert_one_error_line(run(f"./{name}", "--json", "x.json", "-o", "y.keras"), 2, f"./{name}: ", "directory")
    assert_one_error_line(run(name), 2, f"{name}: ", "for example")


def test_convert_is_a_command_and_can_be_left_out(net, run):
    with_name = run("convert", "net.keras", "--dry-run", "--alpha", "0.25", "--json")
    without = run("net.keras", "--dry-run", "--alpha", "0.25", "--json")
    assert with_name == without and with_name[0] == 0
    code, out, err = run("convert", "net.keras", "-q", "--no-calibration")
    assert (code, out, err) == (0, "", "") and files() == ["net-octave.keras", "net.keras"]


def test_the_first_process_is_light():
    """What it imports to check a line: none of the packages that take long."""
    heavy = {"tensorflow", "keras", "numpy", "h5py", "networkx"}
    model = ROOT / "fixtures" / "fashion_cnn.h5"
    code = f"""
import sys
from octconvert.cli.app import app
app.parse_args([{str(model)!r}, "--alpha", "0.5"], exit_on_error=False, print_error=False)
print(*sorted({heavy!r} & set(sys.modules)))
"""
    assert shell(code).stdout.split() == []


def test_times_are_measured_where_keras_runs():
    """Keras on JAX has no TensorFlow behind it."""
    code = "from octconvert.options.timing import bench_settings; print(*bench_settings().runtimes)"
    assert shell(code, KERAS_BACKEND="jax").stdout == "xla\n"
    assert shell(code, KERAS_BACKEND="tensorflow").stdout == "tf\n"
