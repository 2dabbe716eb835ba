"""Results show themselves in a terminal and a notebook, although they import nothing of the display."""

import subprocess
import sys

from results_to_show import five, plan, text

from octconvert.results.shown import renderable as render


def test_report_shows_in_a_notebook():
    bundle = five()._repr_mimebundle_((), ())
    assert "4 of 5 convolutions converted" in bundle["text/html"] and "conv2" in bundle["text/plain"]


def test_plan_prints_itself(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert text(plan()) == text(render(plan()))
    assert [line.rstrip() for line in str(plan()).splitlines()] == text(plan()).splitlines()


def test_a_plan_shows_itself_where_nothing_else_was_imported():
    """Values know nothing of the display; the package sees to it that both are there."""
    code = """
import octconvert, sys
plan = octconvert.Plan("net", 2, 8, "keep", "slice", False, (), (), ())
print(plan, repr(plan), "keras" in sys.modules, sep="\\n")
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    first, summary, name, keras = result.stdout.splitlines()
    assert first == "Plan for net: octave 2, weights slice" and summary.startswith("Nothing would be converted")
    assert name.startswith("<Plan for net") and keras == "False"


def test_renderers_do_not_import_keras():
    code = "import sys; import octconvert.display, octconvert.display.serialized; print('keras' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "False"
