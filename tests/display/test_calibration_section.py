"""The calibration in a report: headlines, the section, and the errors of layers."""

from dataclasses import replace

import pytest
from results_to_show import (
    calibrated,
    five,
    five_hundred_errors,
    not_calibrated,
    oneline,
    synthetic,
    text,
    with_errors,
)

from octconvert.display.calibration import verdict
from octconvert.results.report import Measure, Step
from octconvert.results.shown import View
from octconvert.results.shown import renderable as render


def bars(report, width=80) -> dict[str, list[str]]:
    """Layer -> its bar and number."""
    rows = text(render(report), width).splitlines()
    return {line.split()[0]: line.split()[-2:] for line in rows if line.endswith("%") and "x " in line}


def test_the_error_of_a_layer_is_a_bar_on_one_scale():
    ends = bars(synthetic())
    assert ends["conv2"] == ["######..", "12.4%"] and ends["conv1"] == ["####....", "3.1%"]
    assert ends["separable"] == ["#.......", "0.04%"] and ends["conv3"] == ["........", "0%"]
    same = bars(with_errors(five(), (0.031, 0.5, None, None, None)))  # whatever the other layers are
    assert same["conv1"] == ends["conv1"]
    assert "#" not in text(render(with_errors(five(), [0.0] * 5))).split("error:")[0]
    assert "bars: logarithmic, from 0.01% (empty) to 100% (full)" in text(render(synthetic()))


@pytest.mark.parametrize("power", [-9, -3, 0, 4, 9])
def test_errors_that_differ_are_shown_apart(power):
    first, second = 1.38 * 10.0**power, 1.34 * 10.0**power
    done = replace(calibrated().calibration, measures=(Measure("relative error", first, 0.9999 * first),))
    report = replace(with_errors(five(), (first, second, None, None, None)), calibration=done)
    shown = [float(number.rstrip("%")) / 100 for _, number in bars(report).values()]
    assert shown == pytest.approx([first, second])
    before, after = text(render(report)).split("relative error ")[1].split()[:2]
    assert before != after


def test_no_number_is_cut_whatever_the_width():
    """Short names leave the least room for their column."""
    report = with_errors(five(), (1.38e-9, 0.5, 1.38e9, 0.0, None))
    rows = (replace(row, name=f"c{i}") for i, row in enumerate(report.convolutions))
    report = replace(report, convolutions=tuple(rows), chains=(), checks=())
    assert [width for width in (50, *range(60, 90)) if "\u2026" in text(render(report), width)] == []


def test_the_error_goes_where_the_names_have_no_room():
    result = text(render(five_hundred_errors()), width=50)
    assert "ratio" in result and "error:" not in result and "###" not in result


def test_the_worst_layers_are_never_collapsed():
    result = text(render(five_hundred_errors()))
    assert result.count(" 50%\n") == 3 and "first, last, heaviest and worst" in result


def test_a_headline_says_calibrated_only_where_a_step_was_kept():
    assert "Calibrated on synthetic images." in text(render(synthetic()))
    nothing_kept = text(render(not_calibrated()))
    assert (
        "Not calibrated: no step on synthetic images was kept." in nothing_kept and " calibrated\n" not in nothing_kept
    )
    bare = replace(not_calibrated().calibration, steps=())
    assert "no step on synthetic images was run" in text(render(replace(five(), calibration=bare)))


def test_the_verdict_says_what_was_kept_and_against_what():
    assert verdict(synthetic().calibration) == (
        "Kept: rotate, solve (least squares), renormalize and refine. On 128 held-out synthetic images the error "
        "against the source is 2.41%; with sliced weights it is 31.2%."
    )
    assert verdict(calibrated().calibration) == (
        "Kept: select and solve (least squares). On 10 held-out samples of photos/ (96 of 5,200 images) the error "
        "against the source and the top-1 agreement with it are 0.0412% and 100.0%; with sliced weights they are "
        "12.4% and 80.0%."
    )


def test_the_verdict_where_nothing_was_kept():
    assert verdict(not_calibrated().calibration) == (
        "Nothing was kept: each step below says why. The model has sliced weights; on 128 held-out synthetic images "
        "the PSNR is 31.0 dB."
    )
    bare = replace(not_calibrated().calibration, steps=(), base="fold", measures=(), synthetic=False)
    assert verdict(bare) == "Nothing was kept: no step was run. The model has folded weights."


def test_the_verdict_of_chosen_alphas():
    """The weights that it is compared with have other ones."""
    done = synthetic().calibration
    done = replace(done, steps=(Step("search", True, "one alpha, for 60% of the MACs", 1.0), *done.steps))
    assert "with sliced weights at the alphas before the search it is" in verdict(done)


def test_an_unknown_accuracy_is_mentioned_for_classifiers():
    assert "accuracy was not measured: `evaluate` with labelled data" in oneline(synthetic())  # a classifier
    assert "ccuracy" not in oneline(not_calibrated()).split("Calibration")[0]  # a regression model
    assert "not measured" not in text(render(calibrated()))


def test_the_number_of_samples_is_shown_once():
    result = replace(calibrated().evaluation, data="test.npz (5,000 images)")
    assert "Accuracy 84.1% -> 83.0% on test.npz (5,000 images)." in text(render(replace(five(), evaluation=result)))


def test_weights_that_were_folded_are_not_called_sliced():
    done = replace(calibrated().calibration, base="fold")
    result = text(render(replace(calibrated(), calibration=done)))
    assert "folded   calibrated" in result and "with folded weights" in result and "sliced" not in result


def test_many_steps_are_cut_short_and_verbose_shows_all():
    done = calibrated().calibration
    report = replace(five(), calibration=replace(done, steps=done.steps * 6))
    assert "and 6 more steps (verbose shows all)" in text(render(report))
    assert "more steps" not in text(render(report, View(verbose=True)))
