"""The octave=1 oracle for tests: random weights, two conversions, numbers compared with the source model's own."""

from __future__ import annotations

import os

import keras
import numpy as np

import octconvert

LAST: dict = {}
"""Of the last `assert_oracle`: an `assert_portable` of the same model with the same options need not convert again."""
PLAIN: set = set()
"""Classes of the layers, and options, of the models that `assert_oracle` has converted at alpha=0."""
WHOLE_LOW: set = set()
"""Classes of the layers that were in a model that `assert_oracle` has converted at alpha=1."""
EVERY_MODEL = bool(os.environ.get("OCTCONVERT_WHOLE_LOW"))
"""Whether every model is converted at alpha=1, not only those with a layer of another class."""
NOTHING_ELSE = os.environ.get("OCTCONVERT_WHOLE_LOW") == "alone"
"""Whether nothing else is checked of a model: where the same tests run without it as well."""


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
    for layer in all_layers(model):
        if hasattr(layer, "finalize_state"):  # Normalization keeps numbers that follow from its weights
            layer.finalize_state()
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


def roles(result) -> dict[str, str]:
    """Role of every convolution by its name, of a conversion or plan."""
    plan = getattr(result, "plan", result)
    return {convolution.name: convolution.role for convolution in plan.convolutions}


def reasons(result) -> dict[str, str]:
    """Why convolutions, or their outputs, stay plain."""
    plan = getattr(result, "plan", result)
    return {convolution.name: convolution.reason for convolution in plan.convolutions if convolution.reason}


def ends(result) -> dict[str, str]:
    """Where chains end, and why."""
    return {end.name: end.reason for chain in getattr(result, "plan", result).chains for end in chain.ends}


def all_layers(model) -> list:
    """Layers of a model and of the models in it."""
    return list(model._flatten_layers(include_self=False))


def assert_well_named(source, converted) -> None:
    """Outputs keep their names (losses are keyed by them); within a model every name is there once."""
    names = getattr(source, "output_names", None) or source._functional.output_names
    assert converted.output_names == names
    assert converted.name == source.name
    models = [converted, *(layer for layer in all_layers(converted) if isinstance(layer, keras.Model))]
    for model in models:
        names = [layer.name for layer in model.layers]
        assert len(set(names)) == len(names)
        assert not any("/" in name for name in names)


def assert_oracle(model, converted: int | None = None, inputs=None, tolerance: float = 1e-5, **options):
    """Octave=1 gives the source's numbers, alpha=0 as well; octave=2 gives its shapes. Returns the octave=2 conversion.

    The source model is left as it was, and outputs keep their names. At alpha=0 every layer is copied with all its
    arguments, so models of the same layers are converted so once. Models with a layer of a new class, or all of them
    with OCTCONVERT_WHOLE_LOW=1 in the environment, are converted at alpha=1 as well (`assert_whole_low`); with
    OCTCONVERT_WHOLE_LOW=alone nothing else is checked.

    ``converted``: how many convolutions must have become octave layers.
    """
    randomise(model)
    options = {"min_size": 1, "calibration": False, **options}
    inputs = example(model) if inputs is None else inputs
    expected = run(model, inputs)
    if NOTHING_ELSE:
        assert_whole_low(model, inputs, expected, tolerance, options)
        return octconvert.convert(model, **options)
    before = [np.array(weight) for weight in model.weights]
    nodes = [len(layer._inbound_nodes) for layer in all_layers(model)]
    twin = octconvert.convert(model, octave=1, **options)
    assert largest_difference(expected, run(twin.model, inputs)) <= tolerance
    parts = [*all_layers(model), *getattr(model, "operations", ())]
    kind = (*(type(part).__name__ for part in parts), repr(options))
    if kind not in PLAIN:
        PLAIN.add(kind)
        identity = octconvert.convert(model, **{**options, "alpha": 0.0, "alpha_map": None, "interior": None})
        assert largest_difference(expected, run(identity.model, inputs)) <= 1e-6
    if EVERY_MODEL or not WHOLE_LOW.issuperset(kind[:-1]):
        WHOLE_LOW.update(kind[:-1])
        assert_whole_low(model, inputs, expected, tolerance, options)
    result = octconvert.convert(model, **options)
    LAST.update(model=model, options=options, result=result)
    found = run(result.model, inputs)
    assert [o.shape for o in found] == [e.shape for e in expected]
    assert all(np.isfinite(o).all() for o in found)
    for plan in (twin.plan, result.plan):
        told = [(c.name, c.role, c.reason) for c in plan.convolutions]
        assert converted in (None, len(plan.converted)), told
        assert "could not be rewritten" not in repr((told, plan.chains)), told
    assert_well_named(model, result.model)
    assert nodes == [len(layer._inbound_nodes) for layer in all_layers(model)]
    assert all(np.array_equal(a, np.array(b)) for a, b in zip(before, model.weights, strict=True))
    return result


def assert_whole_low(model, inputs, expected, tolerance: float, options: dict) -> None:
    """At alpha=1 octave=1 gives the source's numbers, and octave=2 its shapes; built-in layers compute the same."""
    options = {**options, "alpha": 1.0, "alpha_map": None, "interior": None}
    twin = octconvert.convert(model, octave=1, **options)
    assert largest_difference(expected, run(twin.model, inputs)) <= tolerance, "alpha=1"
    result, portable = (octconvert.convert(model, **{**options, "portable": choice}) for choice in (False, True))
    found = run(result.model, inputs)
    assert [o.shape for o in found] == [e.shape for e in expected]
    assert all(np.isfinite(o).all() for o in found)
    for plan in (twin.plan, result.plan):
        assert "could not be rewritten" not in repr((plan.convolutions, plan.chains))
    assert_well_named(model, result.model)
    if roles(portable) == roles(result):  # built-in layers can not do everything where a size is open
        assert largest_difference(found, run(portable.model, inputs)) <= tolerance, "alpha=1, portable"


def assert_portable(model, inputs=None, tolerance: float = 1e-5, **options) -> None:
    """At octave=2 built-in layers compute what the octave layers compute, and there is no other layer."""
    if NOTHING_ELSE:
        return
    randomise(model)
    options = {"min_size": 1, "calibration": False, **options}
    inputs = example(model) if inputs is None else inputs
    converted = LAST.get("model") is model and LAST["options"] == options
    octave = LAST["result"] if converted else octconvert.convert(model, **options)
    portable = octconvert.convert(model, portable=True, **options)
    assert portable.plan.converted and roles(portable) == roles(octave)
    assert not [layer for layer in all_layers(portable.model) if type(layer).__module__.startswith("octconvert")]
    assert largest_difference(run(octave.model, inputs), run(portable.model, inputs)) <= tolerance
