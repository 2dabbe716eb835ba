"""Random graphs against their source model: octave=1 and alpha=0 are its function, shapes hold, files load
again, and built-in layers and the form for inference compute the same. Every tied group has an alpha of its own, so one
model has plain tensors, pairs, and tensors that are whole-low.

The long suite runs with ``pytest -m long``; a few graphs run with every test run. A failure prints the description that
hypothesis has shrunk it to: ``build(Graph(...))`` makes the model again.
"""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import cycle

import keras
import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from oracle import all_layers, assert_well_named, largest_difference, randomise, roles, run
from random_graphs.strategy import OTHER_SIZES, SIZES, STEPS, Graph, build, graphs

import octconvert
from octconvert.inference import Forms
from octconvert.inference.step_forms import PATHS, UPSAMPLINGS

SHARDS, EXAMPLES = 10, 52
ALPHAS = st.lists(st.sampled_from([1.0, 0.5, 0.0, 1.0, 0.25, 0.75]), min_size=2, max_size=5)
"""The first one is that of the first tied group, and so on, over and over."""
FORMS = st.builds(Forms, st.sampled_from(PATHS), st.sampled_from(UPSAMPLINGS))
OTHERS, BUILT_IN, FILES = PROMISES = ("other options", "built-in layers", "files")
PROMISE = st.sampled_from(PROMISES)
"""What is checked of a graph besides octave=1 and the shapes; all three would take twice as long."""
SETTINGS = {
    "deadline": None,
    "database": None,
    "suppress_health_check": list(HealthCheck),
    "phases": [Phase.generate, Phase.shrink],
    "print_blob": False,
}
LEAST_CONVERTED, LEAST_WHOLE_LOW = 0.6, 0.1
"""Shares of the convolutions of all shards: else the graphs are not worth their time."""


def samples(graph: Graph, model, size) -> list:
    """One batch for each input."""
    rng = np.random.default_rng(0)
    shapes = [tuple(tensor.shape[1:]) for tensor in model.inputs]
    opened = (3, *size) if graph.first and graph.rank == 2 else (*size, 3)
    shapes = [
        tuple(b if a is None else a for a, b in zip(shape, opened, strict=True)) if None in shape else shape
        for shape in shapes
    ]
    return [rng.standard_normal((2, *shape)).astype("float32") for shape in shapes]


def expected_of(model, inputs):
    """The source's outputs, or None where it does not work at this size, or not to finite numbers."""
    if is_too_small(model, inputs):
        return None
    try:
        outputs = run(model, inputs)
    except Exception:  # the source's own layers refuse the size
        return None
    return outputs if all(output.size and np.isfinite(output).all() for output in outputs) else None


def is_too_small(model, inputs) -> bool:
    """Whether a window of a model with open sizes is larger than its map: TensorFlow with oneDNN gives the map back."""
    try:
        model.compute_output_shape([x.shape for x in inputs])
    except (ValueError, NotImplementedError) as error:
        return "zero or negative" in str(error)
    return False


def alpha_map(model, alphas: list[float]) -> dict[str, float]:
    """An alpha for each tied group, by the names of the layers that write it."""
    groups = octconvert.plan(model, min_size=1).groups
    pairs = [(group, alpha) for group, alpha in zip(groups, cycle(alphas), strict=False)]
    return {f"^{re.escape(name)}$": alpha for group, alpha in pairs for name in group.producers}


def check(graph: Graph, alphas: list[float], forms: Forms, promises: Sequence[str], tmp_path) -> Counter:
    """The convolutions of a graph that holds the promises, those converted, and those with a whole-low output.

    Empty where the source itself does not work.
    """
    keras.backend.clear_session()
    model = build(graph)
    randomise(model)
    sizes = [SIZES[graph.rank][graph.size], *(OTHER_SIZES[graph.rank] if graph.open else ())]
    cases = [(inputs, expected_of(model, inputs)) for inputs in (samples(graph, model, size) for size in sizes)]
    cases = [(inputs, expected) for inputs, expected in cases if expected is not None]
    if not cases:
        return Counter()
    options = {"alpha_map": alpha_map(model, alphas), "min_size": 1, "calibration": False}
    twin = octconvert.convert(model, octave=1, **options)
    halved = octconvert.convert(model, **options)
    results = [twin, halved]
    if OTHERS in promises:
        results += _other_options(model, cases, options)
    if BUILT_IN in promises:
        results += _built_in(model, halved, cases, options, forms)
    for inputs, expected in cases:
        assert largest_difference(expected, run(twin.model, inputs)) <= 2e-5, "octave=1 is not the source"
        assert_same_shapes(expected, run(halved.model, inputs))
    for result in results:
        assert_well_named(model, result.model)
        decisions = repr((result.plan.convolutions, result.plan.chains))
        assert "could not be rewritten" not in decisions, decisions
    for result in (twin, halved) if FILES in promises else ():
        _saved_and_loaded(result, cases[-1][0], tmp_path / "model.keras")
    plan = halved.plan
    whole_low = [entry for entry in plan.convolutions if entry.alpha_out == 1]
    return Counter(
        graphs=1, converted=len(plan.converted), convolutions=len(plan.convolutions), whole_low=len(whole_low)
    )


def assert_same_shapes(expected, outputs):
    assert [o.shape for o in outputs] == [o.shape for o in expected]


def _other_options(model, cases, options) -> list:
    """Nothing low, and octave 4 with folded kernels."""
    identity = octconvert.convert(model, alpha=0.0, calibration=False)
    quartered = octconvert.convert(model, octave=4, weights="fold", **options)
    for inputs, expected in cases:
        assert largest_difference(expected, run(identity.model, inputs)) <= 1e-6, "alpha=0 is not the source"
        assert_same_shapes(expected, run(quartered.model, inputs))
    return [quartered]


def _built_in(model, halved, cases, options, forms: Forms) -> list:
    """The same function in built-in layers, and in a form for inference."""
    portable = octconvert.convert(model, portable=True, **options)
    for inputs, expected in cases:
        outputs, own = run(portable.model, inputs), run(halved.model, inputs)
        assert_same_shapes(expected, outputs)
        if roles(portable) == roles(halved):  # where sizes are open, built-in layers can do less
            assert largest_difference(own, outputs) <= 2e-5, "another one of built-in layers"
    deployed = octconvert.for_inference(halved.model, forms=forms)
    assert largest_difference(own, run(deployed, inputs)) <= 2e-5, "another one for inference"
    return [portable]


def _saved_and_loaded(result, inputs, path):
    result.save(path, overwrite=True)
    loaded = octconvert.load(path)
    assert largest_difference(run(result.model, inputs), run(loaded, inputs)) <= 1e-6, "another model after loading"
    assert len(all_layers(loaded)) == len(all_layers(result.model))


@pytest.mark.long
@pytest.mark.parametrize("rank", [1, 3])
def test_signals_and_volumes(rank, tmp_path_factory):
    @seed(rank)
    @settings(max_examples=EXAMPLES // 2, **SETTINGS)
    @given(graph=graphs, alphas=ALPHAS, forms=FORMS, promise=PROMISE)
    def checked(graph, alphas, forms, promise):
        check(replace(graph, rank=rank), alphas, forms, [promise], tmp_path_factory.mktemp("graph"))

    checked()


@settings(max_examples=2, derandomize=True, **SETTINGS)
@given(graph=graphs, alphas=ALPHAS, forms=FORMS)
def test_a_few(graph, alphas, forms, tmp_path_factory):
    check(graph, alphas, forms, PROMISES, tmp_path_factory.mktemp("graph"))


@pytest.mark.long
@pytest.mark.parametrize("shard", range(SHARDS))
def test_many(shard, tmp_path_factory):
    """The shard that ends last checks that all of them together were worth their time."""
    seen: Counter = Counter()

    @seed(shard)
    @settings(max_examples=EXAMPLES, **SETTINGS)
    @given(graph=graphs, alphas=ALPHAS, forms=FORMS, promise=PROMISE)
    def checked(graph, alphas, forms, promise):
        counts = check(graph, alphas, forms, [promise], tmp_path_factory.mktemp("graph"))
        if counts:
            seen.update(counts)
            seen.update(name for name, _ in graph.steps)

    checked()
    shards = counts_of_shards(shard, seen, tmp_path_factory)
    if len(shards) == SHARDS:
        total = sum(shards, Counter())
        assert total["graphs"] >= 500
        assert total["converted"] >= LEAST_CONVERTED * total["convolutions"] > 0
        assert total["whole_low"] >= LEAST_WHOLE_LOW * total["convolutions"]
        assert {name: total[name] for name in STEPS if total[name] < 10} == {}


def counts_of_shards(shard: int, counts: Counter, tmp_path_factory) -> list[Counter]:
    """Those of the shards that have ended in this run, in whichever of its processes."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent  # which the processes of one run share
    written = tmp_path_factory.mktemp("counts") / "counts"
    written.write_text(json.dumps(counts))
    written.rename(folder / f"shard_{shard}.json")  # at once: others read it
    return [Counter(json.loads(path.read_text())) for path in folder.glob("shard_*.json")]
