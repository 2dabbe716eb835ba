"""Which metrics suit labels and outputs, and their values; no model is run."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from octconvert.errors import InputError, UsageError
from octconvert.evaluation import Evaluator
from octconvert.evaluation.labels import LabelFacts
from octconvert.evaluation.metrics import chosen_metrics
from octconvert.evaluation.outputs import OutputForm
from octconvert.evaluation.tallies import area_under_curve
from octconvert.samples import Samples

CLASSES, TWO, LOGIT, SIGMOID = (OutputForm((size,), 0, sigmoid) for size, sigmoid in ((3, 0), (2, 0), (1, 0), (1, 1)))
MAPS, FIRST, MASK = OutputForm((4, 5, 3), 2, False), OutputForm((3, 4, 5), 0, False), OutputForm((4, 5, 1), 2, True)
IMAGES, SIZELESS = OutputForm((4, 5, 3), 2, True), OutputForm((None, None, 3), 2, False)
FORMS = {name: value for name, value in globals().items() if isinstance(value, OutputForm)}


def evaluator(form, labels, metric=None) -> Evaluator:
    labels = np.asarray(labels)
    samples = Samples((np.zeros((len(labels), 1), "float32"),), labels, "test.npz (6 samples)")
    return Evaluator(samples, chosen_metrics(metric, LabelFacts.of(labels, form, samples.origin), form, samples.origin))


def values(form, labels, outputs, metric=None) -> dict[str, float]:
    """By name; the outputs come in two batches."""
    own, outputs = evaluator(form, labels, metric), np.asarray(outputs, "float32")
    result = own.values([outputs[:4], outputs[4:]])
    return {each.name: value for each, value in zip(own.metrics, result, strict=True)}


def random(*shape) -> np.ndarray:
    return np.random.default_rng(0).random(shape)


NUMBERS, MAP_NUMBERS = np.array([0, 1, 2, 0, 1, 2]), np.arange(120).reshape(6, 4, 5) % 3
ONE_HOT, YES_OR_NO = np.eye(3)[NUMBERS], np.array([0, 1, 1, 0, 1, 0])


@pytest.mark.parametrize(
    "form, labels, names",
    [
        ("CLASSES", NUMBERS, "accuracy"),
        ("CLASSES", NUMBERS[:, None], "accuracy"),
        ("CLASSES", NUMBERS * 1.0, "accuracy"),
        ("CLASSES", ONE_HOT, "accuracy"),
        ("CLASSES", 0.9 * ONE_HOT + 0.1 / 3, "accuracy"),
        ("CLASSES", np.minimum(ONE_HOT + ONE_HOT[::-1], 1), "auc"),
        ("CLASSES", random(6, 3) * 9, "mae"),
        ("TWO", YES_OR_NO, "accuracy"),
        ("SIGMOID", YES_OR_NO, "accuracy auc"),
        ("SIGMOID", YES_OR_NO[:, None] > 0, "accuracy auc"),
        ("SIGMOID", YES_OR_NO * 0, "accuracy"),
        ("LOGIT", YES_OR_NO, "accuracy auc"),
        ("LOGIT", random(6), "mae"),
        ("LOGIT", NUMBERS, "mae"),
        ("MAPS", MAP_NUMBERS, "mean-iou pixel-accuracy"),
        ("MAPS", MAP_NUMBERS[..., None], "mean-iou pixel-accuracy"),
        ("MAPS", np.eye(3)[MAP_NUMBERS], "mean-iou pixel-accuracy"),
        ("SIZELESS", MAP_NUMBERS, "mean-iou pixel-accuracy"),
        ("FIRST", MAP_NUMBERS, "mean-iou pixel-accuracy"),
        ("FIRST", MAP_NUMBERS[:, None], "mean-iou pixel-accuracy"),
        ("FIRST", np.moveaxis(np.eye(3)[MAP_NUMBERS], 3, 1), "mean-iou pixel-accuracy"),
        ("MASK", MAP_NUMBERS % 2, "mean-iou pixel-accuracy"),
        ("MASK", random(6, 4, 5), "mae psnr"),
        ("IMAGES", random(6, 4, 5, 3), "mae psnr"),
        ("MAPS", random(6, 4, 5, 3) * 255, "mae psnr"),
    ],
)
def test_what_is_measured_follows_from_labels_and_outputs(form, labels, names):
    assert [metric.name for metric in evaluator(FORMS[form], labels).metrics] == names.split()


@pytest.mark.parametrize(
    "form, labels, metric, message",
    [
        ("CLASSES", NUMBERS + 1, None, "the labels are from 1 to 3, and the model's output has the classes 0 to 2"),
        ("CLASSES", NUMBERS - 1, None, "the labels are from -1 to 1, and the model's output has the classes 0 to 2"),
        ("CLASSES", NUMBERS / 2, None, "some are no whole numbers (from 0 to 1)"),
        ("CLASSES", np.zeros((6, 7)), None, "labels of shape (7,) for each sample do not fit the model: "),
        ("CLASSES", ONE_HOT * np.nan, None, "labels hold nan or infinity"),
        ("CLASSES", np.zeros((6, 0)), None, "the labels are empty"),
        ("SIGMOID", NUMBERS, None, "the labels are from 0 to 2, and the model's output is a probability"),
        ("IMAGES", random(6, 4, 5, 3) * 255, None, "and the model's output is from 0 to 1"),
        ("MAPS", NUMBERS, None, "labels of shape () for each sample do not fit the model: the model's output is (4, 5"),
        (
            "MAPS",
            MAP_NUMBERS + 1,
            "mean-iou",
            "the labels are from 1 to 3, and the model's output has the classes 0 to",
        ),
        ("MAPS", MAP_NUMBERS, "accuracy", "accuracy is for one class for each sample, and the model's output is (4, 5"),
        ("MAPS", MAP_NUMBERS, "auc", "auc is for vectors"),
        ("MAPS", MAP_NUMBERS, "psnr", "psnr is for labels of the output's shape (4, 5, 3), and these are (4, 5)"),
        ("CLASSES", NUMBERS, "auc", "auc is for two classes, or yes or no for each output; the model has 3 classes"),
        ("CLASSES", NUMBERS, "pixel-accuracy", "pixel-accuracy is for maps of classes, and the model's output is (3,)"),
        ("CLASSES", NUMBERS, "mae", "mae is for labels of the output's shape (3,), and these are ()"),
        ("CLASSES", ONE_HOT, "psnr", "psnr is for images"),
        ("CLASSES", random(6, 3) * 9, "accuracy", "the labels are no classes (from 0"),
        ("LOGIT", random(6), "auc", "the labels are no classes (from 0"),
        ("SIGMOID", YES_OR_NO * 0, "auc", "auc needs samples with different labels, and all have the same"),
    ],
)
def test_what_does_not_fit_is_one_line_with_the_data_and_the_reason(form, labels, metric, message):
    with pytest.raises(InputError) as error:
        evaluator(FORMS[form], labels, metric)
    assert str(error.value).startswith("test.npz (6 samples): ") and message in str(error.value)


def test_accuracy():
    outputs = np.eye(3)[[0, 1, 2, 0, 0, 0]]
    for labels in (NUMBERS, NUMBERS[:, None], ONE_HOT):
        assert values(CLASSES, labels, outputs) == {"accuracy": 4 / 6}
    outputs[0] = np.nan
    assert values(CLASSES, NUMBERS, outputs) == {"accuracy": 3 / 6}


def test_yes_or_no():
    scores = np.array([[0.1], [0.9], [0.4], [0.2], [0.6], [0.55]])
    result = values(SIGMOID, YES_OR_NO, scores)
    assert result == {"accuracy": 4 / 6, "auc": pytest.approx(8 / 9, abs=1e-6)}
    as_logits = np.log(scores / (1 - scores))
    assert values(LOGIT, YES_OR_NO, as_logits) == result
    both = np.concatenate([-as_logits, as_logits], axis=1)
    assert values(TWO, YES_OR_NO, both, "auc") == {"auc": pytest.approx(8 / 9, abs=1e-6)}


def test_the_area_under_the_curve_counts_ordered_pairs():
    """Also of a sigmoid that is nearly always 0 or 1, with ties, and for more samples than thresholds."""
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 2, (3000, 2))
    scores = 1 / (1 + np.exp(-20 * (rng.standard_normal((3000, 2)) + labels).round(2)))
    exact = []
    for column in range(2):
        yes, no = (scores[labels[:, column] == answer, column][:, None] for answer in (1, 0))
        exact.append(((yes > no.T) + 0.5 * (yes == no.T)).mean())
    assert area_under_curve(labels, scores) == pytest.approx(np.mean(exact), abs=1e-5)
    labels[:, 1] = 0
    assert area_under_curve(labels, scores) == pytest.approx(exact[0], abs=1e-5)
    assert np.isnan(area_under_curve(labels[:, 1:], scores[:, 1:]))
    assert np.isnan(area_under_curve(labels, scores * np.nan))


@pytest.mark.parametrize("form", [MAPS, FIRST])
def test_maps_of_classes(form):
    predicted = np.where(np.arange(5) < 4, MAP_NUMBERS, 0)  # the last column is class 0 everywhere
    outputs = np.moveaxis(np.eye(3)[predicted], 3, form.axis + 1)
    own, other = (np.arange(3) == numbers[..., None] for numbers in (predicted, MAP_NUMBERS))
    ious = (own & other).sum((0, 1, 2)) / (own | other).sum((0, 1, 2))
    result = values(form, MAP_NUMBERS, outputs)
    right = float((predicted == MAP_NUMBERS).mean())
    assert result == {"mean-iou": pytest.approx(np.mean(ious), abs=1e-6), "pixel-accuracy": right}
    broken = values(form, MAP_NUMBERS, outputs * np.nan)
    assert broken == {"mean-iou": 0.0, "pixel-accuracy": 0.0}


def test_a_mask():
    labels = MAP_NUMBERS % 2
    assert values(MASK, labels, labels[..., None] * 0.6) == {"mean-iou": 1.0, "pixel-accuracy": 1.0}


@pytest.mark.parametrize("scale, offset, peak", [(1, 0, 1), (2, -1, 2), (255, 0, 255)])
def test_images(scale, offset, peak):
    labels = random(6, 4, 5, 3) * scale + offset
    noise = np.full(labels.shape, 0.1 * peak)
    noise[0] = 0  # equal images
    result = values(MAPS, labels, labels + noise)
    assert result["mae"] == pytest.approx(0.1 * peak * 5 / 6, rel=1e-4)
    assert result["psnr"] == pytest.approx((99 + 5 * 20) / 6, rel=1e-4)


def test_a_column_of_values():
    assert values(LOGIT, NUMBERS, NUMBERS[:, None] + 0.5) == {"mae": pytest.approx(0.5)}


def largest(labels, outputs):
    assert labels.shape == (6, 4, 5) and outputs.shape == (6, 4, 5, 3)  # as they are
    return outputs.max()


def test_a_function_of_ones_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.py").write_text("def largest(labels, outputs):\n    return outputs.max()\n")
    for metric in (largest, "own.py:largest", "own:largest"):
        assert values(MAPS, MAP_NUMBERS, random(6, 4, 5, 3), metric) == {
            "largest": pytest.approx(random(6, 4, 5, 3).max())
        }
    recall = keras.metrics.Recall(name="found")
    own = evaluator(SIGMOID, YES_OR_NO, recall)
    outputs = np.array(YES_OR_NO[:, None], "float32")
    assert own.metrics[0].name == "found"
    assert [own.values([outputs]), own.values([1 - outputs])] == [(1.0,), (0.0,)]  # nothing is left of the first


@pytest.mark.parametrize(
    "function, message",
    [
        (lambda labels, outputs: labels + {}, "failed: TypeError"),
        (lambda labels, outputs: outputs, "expected one number, received an array of shape (6, 3)"),
        (lambda labels, outputs: None, "nan"),
        (lambda labels, outputs: "much", "failed: ValueError"),
        ("math:pi", "'math:pi' is not a function"),
        ("nowhere.at.all:f", "importing nowhere.at.all failed"),
    ],
)
def test_a_function_that_is_none(function, message):
    try:
        result = values(CLASSES, NUMBERS, random(6, 3), function)
    except UsageError as error:
        assert message in str(error) and "metric" in str(error)
    else:
        assert message == "nan" and np.isnan(list(result.values())).all()


def test_as_many_outputs_as_samples():
    own = evaluator(CLASSES, NUMBERS)
    for count in (5, 7):
        with pytest.raises(InputError, match="not one output for each sample"):
            own.values([np.zeros((count, 3), "float32")])


@pytest.mark.parametrize("metric, expected", [("mean-iou", 7 / 12), ("pixel-accuracy", 0.75)])
def test_positions_without_a_class_are_left_out(metric, expected):
    """255 stands for them in the usual data sets."""
    labels = np.zeros((6, 4, 5), "uint8")
    labels[:, :2], labels[:, :, 4] = 1, 255
    outputs = np.zeros((6, 4, 5, 3))
    outputs[:, :1, :, 1] = 1  # one of the two rows of class 1, none of class 0
    assert values(MAPS, labels, outputs, metric)[metric] == pytest.approx(expected)


@pytest.mark.parametrize("form", ["MAPS", "MASK"])
def test_a_mask_of_0_and_255_is_no_map_with_positions_to_leave_out(form):
    labels = 255 * (MAP_NUMBERS > 0)
    with pytest.raises(InputError, match="from 0 to 255"):
        evaluator(FORMS[form], labels)
