"""What reports and plans print, compared with golden files: text at 80 columns without colour.

To record them anew after a change on purpose: ``UPDATE_GOLDEN=1 pytest tests/display/test_golden.py``, and read the
difference.
"""

import os
from pathlib import Path

import pytest
from results_to_show import (
    bench,
    calibrated,
    diff,
    empty_plan,
    exported,
    failed,
    five,
    five_hundred,
    five_hundred_errors,
    not_calibrated,
    nothing,
    plain_diff,
    plan,
    synthetic,
    text,
    whole_low,
    whole_low_plan,
)

from octconvert.cli.spelling import shell_command, spell
from octconvert.results.shown import View
from octconvert.results.shown import renderable as render

GOLDEN = Path(__file__).resolve().parents[1] / "golden"


CASES = {
    "five_layers": lambda: render(five()),
    "five_hundred_layers": lambda: render(five_hundred()),
    "nothing_converted": lambda: render(nothing()),
    "failed_check": lambda: render(failed()),
    "calibrated_on_synthetic_images": lambda: render(synthetic()),
    "calibrated_on_data_and_evaluated": lambda: render(calibrated()),
    "no_step_kept": lambda: render(not_calibrated()),
    "five_hundred_errors": lambda: render(five_hundred_errors()),
    "plan": lambda: render(plan()),
    "whole_low": lambda: render(whole_low()),
    "plan_whole_low": lambda: render(whole_low_plan()),
    "plan_without_convolutions": lambda: render(empty_plan()),
    "bench": lambda: render(bench()),
    "exported": lambda: render(exported()),
    "on_the_command_line": lambda: render(synthetic(), View(spell=spell, command=shell_command, continued=" \\")),
    "diff": lambda: render(diff()),
    "diff_of_plain_models": lambda: render(plain_diff()),
}


@pytest.mark.parametrize("name", CASES)
def test_golden(name):
    path, result = GOLDEN / f"{name}.txt", text(CASES[name]())
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(result, encoding="utf-8")
    assert result == path.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_no_line_is_wider_than_the_console(name, width):
    wide = [line for line in text(CASES[name](), width).splitlines() if len(line) > width]
    assert wide == []


def test_report_is_ascii_and_survives_a_console_that_is_not_utf8():
    for make in CASES.values():
        assert text(make()).isascii()
        assert text(make(), encoding="ascii") == text(make())
