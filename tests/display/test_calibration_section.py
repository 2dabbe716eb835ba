"""The calibration in a report: headlines, the section, and the errors of layers."""

from dataclasses import replace

from results_to_show import (
    OPTIONS,
    calibrated,
    five,
    five_hundred_errors,
    not_calibrated,
    oneline,
    synthetic,
    text,
    with_errors,
)

from octconvert.results.shown import View
from octconvert.results.shown import renderable as render


def test_the_error_of_a_layer_is_a_bar_against_the_worst_layer():
    rows = text(render(synthetic())).splitlines()
    ends = {line.split()[0]: line.split()[-2:] for line in rows if line.endswith("%") and "x " in line}
    assert ends["conv2"] == ["#####", "12.4%"] and ends["conv1"] == ["#....", "3.1%"]
    assert ends["separable"] == [".....", "<0.1%"] and ends["conv3"] == [".....", "0.0%"]
    assert "#" not in text(render(with_errors(five(), [0.0] * 5))).split("error:")[0]


def test_the_error_goes_where_the_names_have_no_room():
    result = text(render(five_hundred_errors()), width=50)
    assert "ratio" in result and "error:" not in result and "###" not in result


def test_the_worst_layers_are_never_collapsed():
    result = text(render(five_hundred_errors()))
    assert result.count(" 50.0%\n") == 3 and "first, last, heaviest and worst" in result


def test_a_headline_says_calibrated_only_where_a_step_was_kept():
    assert "Calibrated on synthetic images." in text(render(synthetic()))
    nothing_kept = text(render(not_calibrated()))
    assert (
        "Not calibrated: no step on synthetic images was kept." in nothing_kept and " calibrated\n" not in nothing_kept
    )
    bare = replace(not_calibrated().calibration, steps=())
    assert "no step on synthetic images was run" in text(render(replace(five(), calibration=bare)))


def test_an_unknown_accuracy_is_mentioned_for_classifiers():
    assert "accuracy was not measured: `evaluate` with labelled data" in oneline(synthetic())  # a classifier
    assert "ccuracy" not in oneline(not_calibrated()).split("Calibration")[0]  # a regression model
    assert "not measured" not in text(render(calibrated()))


def test_the_number_of_samples_is_shown_once():
    result = replace(calibrated().evaluation, data="test.npz (5,000 images)")
    assert "Accuracy 84.1% -> 83.0% on test.npz (5,000 images)." in text(render(replace(five(), evaluation=result)))


def test_weights_that_were_folded_are_not_called_sliced():
    options = tuple({**dict(OPTIONS), "weights": "fold"}.items())
    result = text(render(replace(calibrated(), options=options)))
    assert "folded   calibrated" in result and "sliced" not in result


def test_many_steps_are_cut_short_and_verbose_shows_all():
    done = calibrated().calibration
    report = replace(five(), calibration=replace(done, steps=done.steps * 6))
    assert "and 6 more steps (verbose shows all)" in text(render(report))
    assert "more steps" not in text(render(report, View(verbose=True)))
