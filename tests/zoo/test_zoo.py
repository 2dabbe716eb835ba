"""Whole models of keras.applications: the octave=1 oracle and the paper's arithmetic. Slow: ``pytest -m zoo``."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.zoo

MODELS = [
    "ResNet50",
    "ResNet50V2",
    "VGG16",
    "MobileNet",
    "MobileNetV2",
    "DenseNet121",
    "EfficientNetB0",
    "InceptionV3",
    "Xception",
]

WHOLE_LOW = ["ResNet50V2", "VGG16", "MobileNetV2", "EfficientNetB0", "InceptionV3"]
"""One of each kind: residual, plain, inverted residual, with squeeze and excite, with branches."""

PAPER = [
    ("ResNet50", [0.125, 0.25, 0.5, 0.75], {"preset": "paper"}, [0.861, 0.740, 0.552, 0.436]),
    ("ResNet101", [0.5], {"preset": "paper"}, [0.496]),
    ("ResNet152", [0.5], {"preset": "paper"}, [0.477]),
    ("MobileNet", [0.5], {}, [0.524]),
]


def child(**request) -> dict:
    """Run in a process of its own, so that a model's memory is free again when it ends."""
    command = [sys.executable, str(Path(__file__).with_name("zoo_child.py")), json.dumps(request)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("name", MODELS)
def test_octave_1_is_the_source(name):
    found = child(what="oracle", name=name)
    for label, result in found.items():
        assert result["difference"] <= 1e-4, label
        assert result["parameters"] == 0, label
    assert found["everything"]["share"] >= 0.9
    assert found["defaults"]["share"] > 0
    assert found["alpha 0"]["share"] == 0


@pytest.mark.parametrize("name, alphas, options, ratios", PAPER, ids=[row[0] for row in PAPER])
def test_macs_of_the_paper(name, alphas, options, ratios):
    """The closed form: first and last 1 - 3a/4, between them 1 - 3a(2-a)/4."""
    found = child(what="macs", name=name, alphas=alphas, options=options)
    assert found["ratios"] == pytest.approx(ratios, rel=0.01)
    assert found["parameters"] == [0] * len(alphas)


@pytest.mark.parametrize("name", WHOLE_LOW)
def test_whole_low_tensors(name):
    """On interiors, on every second group, and everywhere; a chain without blocks has interiors too."""
    for label, result in child(what="whole_low", name=name).items():
        assert result["octave 1"] <= 1e-4, label
        assert result["loaded"] <= 1e-6 and result["portable"] <= 1e-4, label
        assert result["whole-low"] > 0 and result["parameters"] == 0, label


@pytest.mark.parametrize("name, most, depthwise", [("ResNet50", 0.57, 0), ("MobileNetV2", 0.60, 9)])
def test_macs_of_whole_low_interiors(name, most, depthwise):
    found = child(what="interiors", name=name)
    assert found["ratio"] <= most and found["parameters"] == 0
    assert len(found["depthwise"]) >= depthwise
    for output, low, saved in found["depthwise"]:
        assert low == [-(-output[0] // 2), -(-output[1] // 2), output[2]] and saved == pytest.approx(4, rel=0.1)
