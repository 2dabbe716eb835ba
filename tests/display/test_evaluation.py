"""The headline about an evaluation: names, units, and what was not measured."""

from dataclasses import replace

from results_to_show import calibrated, exported, five, text

from octconvert.results.export import QuantizationReport
from octconvert.results.report import Evaluation, Metric
from octconvert.results.shown import renderable as render


def shown(*metrics, report=None) -> str:
    evaluation = Evaluation("test.npz", 5000, metrics[0].before, metrics[0].after, metrics=metrics)
    return text(render(replace(five(), evaluation=evaluation)))


def test_names_and_units():
    accuracy, auc = Metric("accuracy", "share", 0.91, 0.9), Metric("auc", "", 0.97123, 0.96)
    assert "Accuracy 91.0% -> 90.0%, AUC 0.9712 -> 0.96 of 5,000 samples (test.npz)." in shown(accuracy, auc)
    maps = shown(Metric("mean-iou", "share", 0.5, 0.4), Metric("pixel-accuracy", "share", 0.9, 0.8))
    assert "Mean IoU 50.0% -> 40.0%, pixel accuracy 90.0% -> 80.0% of" in maps
    images = shown(Metric("mae", "", 0.01234, 0.02), Metric("psnr", "dB", 31.26, 30.0))
    assert "MAE 0.01234 -> 0.02, PSNR 31.3 dB -> 30.0 dB of" in images
    assert "\ndice 0.5 -> not measured of" in shown(Metric("dice", "", 0.5, float("nan")))


def test_the_accuracy_of_an_older_report():
    evaluation = Evaluation(**{"data": "test.npz", "samples": 5000, "before": 0.841, "after": 0.83, "smaller": None})
    assert "Accuracy 84.1% -> 83.0% of 5,000" in text(render(replace(five(), evaluation=evaluation)))
    assert calibrated().evaluation.measured == evaluation.measured


def test_of_a_rounded_export():
    metric = Metric("psnr", "dB", 31.26, float("nan"))
    evaluation = Evaluation("test.npz", 9, metric.before, metric.after, metrics=(metric,))
    rounded = QuantizationReport("int8", False, "9 samples", 3, (), evaluation)
    result = replace(exported(), quantization=rounded)
    assert "PSNR 31.3 dB -> not measured of 9 samples" in text(render(result))
    assert result.to_dict()["quantization"]["evaluation"]["after"] is None
