"""Checks of a converted model, run before anything is written: `Check` values that say what was compared."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from pathlib import Path

import keras
import numpy as np

from octconvert.errors import first_line
from octconvert.model.examples import Example, example
from octconvert.model.execution import run
from octconvert.model.graph import CallGraph
from octconvert.model.graph_reader import build_graph
from octconvert.planning.planned import Planned
from octconvert.results.report import Check
from octconvert.rewriting import rewrite

TOLERANCE = 1e-4
"""Largest difference allowed, relative to the largest output, where two models should be the same function."""
INFERENCE_TOLERANCE = 1e-5
"""The same for a model and its form for inference, where normalisation is folded into kernels."""
_HALF_TOLERANCES = {"float16": 1e-2, "bfloat16": 8e-2}
"""About ten roundings: sums in another order differ by that much in half precision."""
NOTHING_TO_COMPARE = "the model's own outputs on a random input are not finite: there is nothing to compare with"


def largest_difference(expected: Sequence[np.ndarray], actual: Sequence[np.ndarray]) -> float:
    """The largest difference between outputs, relative to the largest finite expected value of each.

    The same nan or infinity in the same place is no difference; any other is an infinite one.
    """
    worst = 0.0
    for a, b in zip(expected, actual, strict=True):
        if a.shape != b.shape:
            return math.inf
        differs = ~((a == b) | (np.isnan(a) & np.isnan(b)))
        if differs.any():
            difference = np.abs(a[differs] - b[differs]).max()
            scale = np.abs(a[np.isfinite(a)]).max(initial=0.0)
            worst = max(worst, float(difference / max(scale, 1e-30)) if np.isfinite(difference) else math.inf)
    return worst


def check_shapes(source: keras.Model, converted: keras.Model) -> Check:
    """Shapes and dtypes of the outputs are those of the source."""
    before, after = ([(tuple(t.shape), str(t.dtype)) for t in model.outputs] for model in (source, converted))
    wrong = [f"{a} became {b}" for a, b in zip(before, after, strict=False) if a != b]
    if len(before) != len(after):
        wrong.append(f"{len(before)} outputs became {len(after)}")
    detail = "; ".join(wrong) or f"{len(before)} output(s), shapes and dtypes as before"
    return Check("output shapes", not wrong, detail)


def check_parameters(source: keras.Model, converted: keras.Model, expected_difference: int) -> Check:
    """The converted model has as many parameters as the source, less ``expected_difference``."""
    before, after = source.count_params(), converted.count_params()
    difference = before - after - expected_difference
    if difference:
        return Check("parameters", False, f"{before:,} became {after:,}: {difference:,} not accounted for")
    change = "" if not expected_difference else f" ({expected_difference:,} fewer, as noted)"
    return Check("parameters", True, f"{after:,}{change or ', as before'}")


def check_finite(source: Example, converted: keras.Model, because: str = "") -> Check:
    """Outputs are finite, or infinite where the source has infinite ones too.

    Args:
        because: a possible reason why they are not, for the detail.
    """
    outputs = run(converted, source.samples)
    if not source.is_comparable:
        return Check("finite outputs", False, NOTHING_TO_COMPARE)
    if all(np.isfinite(output).all() for output in outputs):
        return Check("finite outputs", True, "on a random input")
    if source.is_finite or any(np.isnan(output).any() for output in outputs):
        detail = "nan or infinity on a random input where the source is finite"
        return Check("finite outputs", False, f"{detail}; {because}" if because else detail)
    return Check("finite outputs", True, "infinite on a random input, as the source's are")


def check_oracle(planned: Planned, source: Example) -> Check:
    """The octave=1 oracle: without a change of resolution the same rewrite is the function of the source."""
    graph = planned.graph
    plan = dataclasses.replace(planned.plan, octave=1, weights="slice", stride_mode="keep")
    if isinstance(planned.options.octave, tuple):  # which axes count for `min_size` follows from it
        plan = dataclasses.replace(plan, min_size=1)
    twin = rewrite(Planned.from_plan(graph, plan)).model
    difference = largest_difference(run(graph.model, source.samples), run(twin, source.samples))
    allowed = max(TOLERANCE, _HALF_TOLERANCES.get(_coarsest(graph), 0.0))
    detail = f"largest difference {difference:.1e} of the output's scale at octave=1 (allowed {allowed:.0e})"
    return Check("octave=1 oracle", difference <= allowed, detail)


def _coarsest(graph: CallGraph) -> str:
    """The least exact dtype of the model's activations."""
    return max({tensor.dtype for tensor in graph.tensors}, key=lambda name: _HALF_TOLERANCES.get(name, 0.0))


def check_inference(model: keras.Model, deployed: keras.Model) -> Check:
    """The form for inference is the same function, with the same shapes."""
    shapes = check_shapes(model, deployed)
    if not shapes.passed:
        return dataclasses.replace(shapes, name="inference")
    own = example(model)
    if not own.is_comparable:
        return Check("inference", False, NOTHING_TO_COMPARE)
    difference = largest_difference(own.outputs, run(deployed, own.samples))
    allowed = max(INFERENCE_TOLERANCE, _HALF_TOLERANCES.get(_coarsest(build_graph(model)), 0.0))
    return _same("inference", "the form for inference", difference, allowed)


def check_reload(
    path: Path, load: Callable[[Path], keras.Model], expected: Sequence[np.ndarray], samples: list[np.ndarray]
) -> Check:
    """The saved file loads again and predicts the same."""
    try:
        reloaded = load(path)
    except Exception as error:  # anything Keras raises about a file it can not load
        hint = "" if path.suffix == ".keras" else " (raw keras.ops need the .keras format)"
        return Check("reload", False, f"the saved file does not load: {first_line(error)}{hint}")
    difference = largest_difference(expected, run(reloaded, samples))
    return _same("reload", "the saved file", difference, TOLERANCE)


def check_exported(model: keras.Model, samples: list[np.ndarray], outputs: Sequence[np.ndarray]) -> Check:
    """The outputs of an exported file for the samples are those of the model."""
    own = Example(samples, run(model, samples))
    if not own.is_comparable:
        return Check("export", False, NOTHING_TO_COMPARE)
    difference = largest_difference(own.outputs, [np.asarray(output, dtype="float64") for output in outputs])
    allowed = max(TOLERANCE, _HALF_TOLERANCES.get(_coarsest(build_graph(model)), 0.0))
    return _same("export", "the exported file", difference, allowed)


def _same(check: str, subject: str, difference: float, allowed: float) -> Check:
    passed = difference <= allowed
    result = f"predicts {'the same' if passed else 'something else'}"
    return Check(check, passed, f"{subject} {result} (largest difference {difference:.1e}, allowed {allowed:.0e})")
