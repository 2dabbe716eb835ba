"""Progress, and what must not reach stdout."""

import io
import json
import re
from pathlib import Path

import keras
from calibration_nets import Clock
from command_line import assert_one_error_line, files, shell

from octconvert.cli.progress import plain_lines, progress_bar
from octconvert.system.progress import NOTICE


def test_progress_forgets_the_stage_before(monkeypatch):
    """A bar that is full already, or the count of another stage, would mislead."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "xterm")
    screen = io.StringIO()
    screen.isatty = lambda: True
    with progress_bar("starting TensorFlow", screen) as show:
        shown = []
        for stage, done, total in [("read", 0, 1), ("calibrate: refine", 400, 400), ("check", 0, 0), ("save", 0, 1)]:
            screen.truncate(0)
            show(stage, done, total)  # a stage that begins is drawn at once
            lines = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", screen.getvalue()).replace("\0", "").split("\r")
            shown.append(lines[-1])
    assert [line.split()[0] for line in shown] == ["read", "calibrate:", "check", "save"]
    assert [re.findall(r"\d+/\d+", line) for line in shown] == [["0/1"], ["400/400"], [], ["0/1"]]
    assert len({line.index("━") for line in shown}) == 1 and max(map(len, shown)) <= 80
    with progress_bar("starting TensorFlow", screen) as show:
        show(f"{NOTICE}about 30 s", 0, 0)
    assert "about 30 s" in screen.getvalue()


def test_a_pipe_gets_a_line_every_ten_seconds():
    clock, lines = Clock(), []
    show = plain_lines(lines.append, clock)
    for seconds, stage, done in [(1.0, "read", 0), (1.0, f"{NOTICE}about 30 s", 0), (7.0, "fit", 4), (3.0, "fit", 5)]:
        clock.pass_by(seconds)
        show(stage, done, 8)
    assert lines == ["about 30 s", "fit, 5 of 8 (12 s)"]
    for seconds in (1.0, 8.9, 0.1, 1.0):
        clock.pass_by(seconds)
        show("save", 0, 0)
    assert lines[2:] == ["save (22 s)"]


def test_a_fresh_process_prints_nothing_but_the_result(net):
    """Descriptors 1 and 2 of a real process: TensorFlow logs from C++, which capturing in Python would not see."""
    result = shell(["net.keras", "-o", "out.h5", "--json", "--no-calibration", "-q"], cwd=net.parent)
    assert (result.returncode, result.stderr) == (0, "")
    assert json.loads(result.stdout)["convolutions_converted"] == 3


def test_json_alone_is_alone_on_stdout(net, run):
    code, out, err = run("net.keras", "--json", "--verify", "deep", "--alpha", "0.25", "--no-calibration")
    result = json.loads(out)
    assert (code, err) == (0, "")
    assert result["passed"] and result["convolutions_converted"] == 3
    assert {row["alpha_out"] for row in result["convolutions"][:2]} == {0.25}
    assert Path("net-octave.keras").exists()


def test_json_file_comes_beside_the_printed_report(net, run):
    code, out, _ = run("--json", "report.json", "net.keras", "--no-calibration")
    assert code == 0 and "3 of 3 convolutions converted" in out
    assert json.loads(Path("report.json").read_text())["target"] == "net-octave.keras"
    assert files() == ["net-octave.keras", "net.keras", "report.json"]


def test_json_files_are_not_overwritten(net, run):
    """A hand-edited plan is work that must not get lost."""
    run("net.keras", "--dry-run", "--json", "plan.json", "-q")
    before = Path("plan.json").read_bytes()
    assert_one_error_line(run("net.keras", "--dry-run", "--json", "plan.json"), 2, "plan.json", "--force")
    over_itself = ["--plan", "plan.json", "--json=plan.json", "--force"]
    assert_one_error_line(run("net.keras", *over_itself), 2, "plan.json", "read")
    assert_one_error_line(run("diff", "net.keras", "net.keras", "--json", "plan.json"), 2, "plan.json", "--force")
    assert Path("plan.json").read_bytes() == before
    assert run("net.keras", "--dry-run", "--json", "plan.json", "-q", "--force")[0] == 0


def test_custom_objects_are_imported_and_their_prints_stay_off_stdout(net, run, capsys):
    Path("own.py").write_text(
        "import keras\nprint('imported')\n\n@keras.saving.register_keras_serializable('own')\n"
        "class Scale(keras.layers.Layer):\n    def call(self, x):\n        return 2 * x\n"
    )
    namespace = {}
    exec(Path("own.py").read_text(), namespace)
    model = keras.saving.load_model("net.keras")
    keras.Model(model.inputs, namespace["Scale"](name="scale")(model.outputs[0])).save("scaled.keras")
    del keras.saving.get_custom_objects()["own>Scale"]
    capsys.readouterr()
    assert_one_error_line(run("scaled.keras", "--dry-run"), 2, "Scale")
    code, out, _ = run("scaled.keras", "--dry-run", "--json", "--custom-objects", "own.py:Scale")
    assert code == 0 and json.loads(out)["format"] == "octconvert-plan/1"
