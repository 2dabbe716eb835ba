"""The sections of a report."""

import ast
import re
import subprocess
from dataclasses import replace

from results_to_show import five, five_hundred, nothing, text

from octconvert.cli.spelling import shell_command
from octconvert.results.shown import View
from octconvert.results.shown import renderable as render


def test_verbose_names_every_layer_chain_end_and_repair():
    report = five_hundred()
    result = re.sub(r"\s+", "", text(render(report, View(verbose=True)), width=200))
    names = [item.name for item in (*report.convolutions, *(end for chain in report.chains for end in chain.ends))]
    assert [name for name in (*names, *report.chains[0].dual) if name not in result] == []
    assert [sentence for sentence in report.repairs if sentence.replace(" ", "") not in result] == []
    assert "more" not in result


def test_collapsed_table_accounts_for_every_layer():
    """Shown rows and the counts of those left out add up to all rows, and so do their MACs."""
    lines = text(render(five_hundred())).splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("---") and len(line) > 60)
    table = lines[start + 1 : next(i for i, line in enumerate(lines) if line.startswith("all 500"))]
    hidden = [int(line.split()[1]) for line in table if line.startswith("...")]
    assert sum(hidden) + len(table) - len(hidden) == 500
    assert len(table) < 40


def test_the_heaviest_layer_is_never_collapsed():
    report = five_hundred()
    rows = list(report.convolutions)
    rows[237] = replace(rows[237], macs_before=10**9, name="needle")
    assert "needle" in text(render(replace(report, convolutions=tuple(rows))))


def test_names_with_markup_brackets_and_wide_letters_are_printed_as_they_are():
    report = five()
    name = "[bold]:smile:/畳み込み"
    rows = (replace(report.convolutions[0], name=name), *report.convolutions[1:])
    result = text(
        render(replace(report, convolutions=rows, notes=("see [red]this[/red]",)), View(verbose=True)), width=160
    )
    assert name in result and "see [red]this[/red]" in result


def test_next_command_stays_one_shell_command_when_it_takes_two_lines():
    view = View(command=shell_command, continued=" \\")
    last = text(render(five_hundred(), view)).split("Next\n  Time both models here:\n")[1]
    assert last.count("\n") == 2
    words_of_shell = subprocess.run(["sh", "-c", f"printf '%s\n' {last}"], capture_output=True, text=True, check=True)
    assert words_of_shell.stdout.splitlines() == ["octconvert", "bench", *five_hundred().next_steps[0].models]


def test_next_steps_are_calls_in_python():
    last = text(render(five())).split("Next\n")[1].splitlines()[1::2]
    expected = "octconvert.bench(['small.h5', 'small-octave.keras'], runtimes='litert')"
    assert [ast.unparse(ast.parse(line.strip())) for line in last] == [
        expected,
        "octconvert.export('small-octave.keras', output='small-octave.tflite')",
    ]
    long = text(render(five_hundred())).split("Next\n  Time both models here:\n")[1]
    assert ast.literal_eval(ast.parse(long.strip()).body[0].value.args[0]) == list(five_hundred().next_steps[0].models)


def test_a_report_without_checks_or_convolutions():
    bare = replace(nothing(), convolutions=())
    assert "none were run" in text(render(bare))
    assert "Nothing was converted: the model has no convolutions." in text(render(bare))
