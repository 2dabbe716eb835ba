"""The octave=1 oracle for tests: random weights, two conversions, numbers compared with the source model's own."""

from __future__ import annotations

import keras
import numpy as np

import octconvert


def randomise(model, seed: int = 0):
    """Random weights of a useful size, BatchNormalization statistics too; returns the model."""
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        shape, name = tuple(weight.shape), weight.path.rsplit("/", 1)[-1]
        if "variance" in name or "gamma" in name:
            value = rng.uniform(0.5, 1.5, shape)
        elif len(shape) > 1:
            depthwise = "depthwise" in weight.path
            value = rng.standard_normal(shape) / np.sqrt(np.prod(shape[:2] if depthwise else shape[:-1]))
        else:
            value = 0.3 * rng.standard_normal(shape)
        if np.issubdtype(np.dtype(weight.dtype if weight.dtype != "bfloat16" else "float32"), np.floating):
            weight.assign(value)
    return model


def run(model, inputs) -> list[np.ndarray]:
    outputs = keras.tree.flatten(model(inputs, training=False))
    return [np.asarray(keras.ops.convert_to_numpy(output), dtype="float64") for output in outputs]


def example(model, size: int = 24, batch: int = 2, seed: int = 1):
    """Random inputs in the model's own structure; unknown rows and columns become ``size``."""
    rng = np.random.default_rng(seed)
    shapes = [tuple(size if n is None else n for n in t.shape[1:]) for t in model.inputs]
    samples = [rng.standard_normal((batch, *shape)).astype("float32") for shape in shapes]
    structure = getattr(model, "_inputs_struct", None)
    if structure is None:
        structure = model._functional._inputs_struct
    return keras.tree.pack_sequence_as(structure, samples)


def largest_difference(expected, found) -> float:
    """Relative to the largest value of each output."""
    assert [e.shape for e in expected] == [f.shape for f in found]
    return max(float(np.abs(e - f).max() / max(np.abs(e).max(), 1e-30)) for e, f in zip(expected, found, strict=True))


def assert_oracle(model, converted: int | None = None, inputs=None, tolerance: float = 1e-5, **options):
    """Octave=1 gives the source's numbers, alpha=0 as well; octave=2 gives its shapes. Returns the octave=2 conversion.

    ``converted``: how many convolutions must have become octave layers.
    """
    randomise(model)
    options = {"min_size": 1, **options}
    inputs = example(model) if inputs is None else inputs
    expected = run(model, inputs)
    before = [np.array(weight) for weight in model.weights]
    twin = octconvert.convert(model, octave=1, **options)
    assert largest_difference(expected, run(twin.model, inputs)) <= tolerance
    if converted is not None:
        assert len(twin.plan.converted) == converted, [(c.name, c.role, c.reason) for c in twin.plan.convolutions]
    identity = octconvert.convert(model, **{**options, "alpha": 0.0, "alpha_map": None})
    assert largest_difference(expected, run(identity.model, inputs)) <= 1e-6
    result = octconvert.convert(model, **options)
    assert [o.shape for o in run(result.model, inputs)] == [e.shape for e in expected]
    assert all(np.isfinite(o).all() for o in run(result.model, inputs))
    assert all(np.array_equal(a, np.array(b)) for a, b in zip(before, model.weights, strict=True))
    return result
