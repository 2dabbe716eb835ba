"""Options in what is printed: as Python names them, or as a view spells them."""

from dataclasses import replace

import pytest
from results_to_show import bench, calibrated, exported, failed, oneline, plan, synthetic

from octconvert.results.shown import View

SENTENCE = "give `alpha`"


def spelled(result):
    return oneline(result, View(verbose=True, spell=lambda text: text.replace("`", "|")))


def with_sentences(report):
    """The report with an option in every sentence that the library can write."""
    check = replace(report.checks[0], detail=SENTENCE)
    rows = tuple(replace(row, reason=SENTENCE) for row in report.convolutions)
    end = replace(report.chains[0].ends[0], reason=SENTENCE)
    step = replace(report.calibration.steps[0], detail=SENTENCE)
    return replace(
        report,
        checks=(check,),
        convolutions=rows,
        chains=(replace(report.chains[0], ends=(end,)),),
        repairs=(SENTENCE,),
        notes=(SENTENCE,),
        calibration=replace(report.calibration, data=SENTENCE, input_range=SENTENCE, steps=(step,)),
        bench=replace(bench(), notes=(SENTENCE,)),
    )


RESULTS = {
    "report": lambda: with_sentences(synthetic()),
    "evaluated": lambda: with_sentences(calibrated()),
    "failed": lambda: replace(failed(), notes=(SENTENCE,)),
    "plan": lambda: replace(plan(), convolutions=tuple(replace(c, reason=SENTENCE) for c in plan().convolutions)),
    "bench": lambda: replace(bench(), rows=tuple(replace(row, error=SENTENCE) for row in bench().rows)),
    "export": lambda: replace(exported(), notes=(SENTENCE,), check=replace(exported().check, detail=SENTENCE)),
}


@pytest.mark.parametrize("name", RESULTS)
def test_a_view_spells_every_option(name):
    plain = oneline(RESULTS[name](), View(verbose=True))
    assert SENTENCE in plain and "`" not in spelled(RESULTS[name]())
    assert spelled(RESULTS[name]()) == plain.replace("`", "|")


def test_the_report_itself_names_options_as_python_does():
    assert "`evaluate`" in oneline(synthetic()) and "`calibration`" in oneline(synthetic())
