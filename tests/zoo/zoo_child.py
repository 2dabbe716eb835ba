"""One model of keras.applications in a process of its own: what the zoo tests assert, as one line of JSON."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import keras

sys.path.insert(0, str(Path(__file__).parents[1]))

from oracle import example, largest_difference, randomise, run

import octconvert


def oracle(name: str) -> dict:
    """Differences at octave=1 and alpha=0, and how much lies inside octave layers."""
    model = randomise(getattr(keras.applications, name)(weights=None, classifier_activation=None))
    inputs = example(model, batch=1)
    expected = run(model, inputs)
    found = {}
    for label, options in (
        ("everything", {"octave": 1, "min_size": 1}),
        ("defaults", {"octave": 1}),
        ("alpha 0", {"alpha": 0.0}),
        ("alpha 0, octave 1", {"alpha": 0.0, "octave": 1}),
    ):
        result = octconvert.convert(model, calibration=False, **options)
        found[label] = {
            "difference": largest_difference(expected, run(result.model, inputs)),
            "share": result.report.octave_mac_share,
            "parameters": result.after.parameters - result.before.parameters,
        }
    return found


def macs(name: str, alphas: list[float], options: dict) -> dict:
    """Converted / source MACs, and whether the parameter count is the source's."""
    model = getattr(keras.applications, name)(weights=None)
    options = {"calibration": False, **options}
    results = [octconvert.convert(model, alpha=alpha, **options) for alpha in alphas]
    return {
        "ratios": [result.after.macs / result.before.macs for result in results],
        "parameters": [result.after.parameters - result.before.parameters for result in results],
    }


if __name__ == "__main__":
    request = json.loads(sys.argv[1])
    answer = {"oracle": oracle, "macs": macs}[request.pop("what")](**request)
    print(json.dumps(answer))
