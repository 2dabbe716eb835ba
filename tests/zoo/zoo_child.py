"""One model of keras.applications in a process of its own: what the zoo tests assert, as one line of JSON."""

from __future__ import annotations

import json
import re
import sys
import tempfile
from pathlib import Path

import keras

sys.path.insert(0, str(Path(__file__).parents[1]))

from oracle import all_layers, example, largest_difference, randomise, roles, run

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


def whole_low(name: str) -> dict:
    """With whole-low tensors: differences at octave=1, after saving and loading, and of built-in layers."""
    model = randomise(getattr(keras.applications, name)(weights=None, classifier_activation=None))
    inputs = example(model, batch=1)
    expected = run(model, inputs)
    groups = octconvert.plan(model).groups[::2]
    every_second = {f"^{re.escape(producer)}$": 1.0 for group in groups for producer in group.producers}
    found = {}
    for label, options in (
        ("interiors", {"alpha": 0.0, "interior": 1.0}),
        ("every second group", {"alpha_map": every_second}),
        ("everything", {"alpha": 1.0, "min_size": 1}),
    ):
        twin = octconvert.convert(model, octave=1, calibration=False, **options)
        result = octconvert.convert(model, calibration=False, **options)
        portable = octconvert.convert(model, calibration=False, portable=True, **options)
        outputs = run(result.model, inputs)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.keras"
            result.save(path)
            loaded = run(octconvert.load(path), inputs)
        assert roles(portable) == roles(result) and [o.shape for o in outputs] == [e.shape for e in expected]
        assert not [layer for layer in all_layers(portable.model) if type(layer).__module__.startswith("octconvert")]
        found[label] = {
            "octave 1": largest_difference(expected, run(twin.model, inputs)),
            "loaded": largest_difference(outputs, loaded),
            "portable": largest_difference(outputs, run(portable.model, inputs)),
            "whole-low": sum(row.writes_whole_low for row in result.convolutions),
            "parameters": result.after.parameters - result.before.parameters,
        }
    return found


def interiors(name: str) -> dict:
    """Costs with whole-low interiors and a plain main path, and what depthwise convolutions of low maps write."""
    model = getattr(keras.applications, name)(weights=None)
    result = octconvert.convert(model, alpha=0.0, interior=1.0, calibration=False)
    depthwise = [row for row in result.convolutions if row.class_name == "DepthwiseConv2D" and row.alpha_in == 1]
    return {
        "ratio": result.after.macs / result.before.macs,
        "parameters": result.after.parameters - result.before.parameters,
        "depthwise": [(row.output_shape, row.low_shape, row.macs_before / row.macs_after) for row in depthwise],
    }


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
    answer = {"oracle": oracle, "whole_low": whole_low, "interiors": interiors, "macs": macs}[request.pop("what")](
        **request
    )
    print(json.dumps(answer))
