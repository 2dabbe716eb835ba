"""Converts a trained model at two alphas, and compares MACs and accuracy with the source.

    python examples/convert_and_compare.py

The model and the 200 labelled test images are in fixtures/. Half of the images are used to fit the converted model,
without their labels; the accuracy is measured on the other half.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

import octconvert

FIXTURES = Path(__file__).parents[1] / "fixtures"


def main() -> None:
    source = octconvert.load(FIXTURES / "fashion_cnn.h5")
    data = np.load(FIXTURES / "fashion_test_200.npz")
    images, labelled = data["x"][:100], (data["x"][100:], data["y"][100:])
    fitted: dict[str, Any] = {
        "calibration": images,
        "calibration_steps": ("select", "solve"),  # not the short training: this example shall be quick
        "calibration_budget": 20,
    }
    print("alpha   MACs  top-1: source  only sliced  fitted")
    for alpha in (0.25, 0.5):
        sliced = octconvert.convert(source, alpha, calibration=False, evaluate=labelled).report
        report = octconvert.convert(source, alpha, evaluate=labelled, **fitted).report
        assert sliced.evaluation is not None and report.evaluation is not None
        print(
            f"{alpha:5.2f}  {report.after.macs / report.before.macs:5.1%}  {report.evaluation.before:13.1%}"
            f"  {sliced.evaluation.after:11.1%}  {report.evaluation.after:6.1%}"
        )


if __name__ == "__main__":
    main()
