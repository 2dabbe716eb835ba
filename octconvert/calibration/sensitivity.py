"""How much a model's outputs change when a channel loses its detail: to first order, by gradients.

The loss of detail in a channel (its map less the same map pooled and upsampled again) moves the outputs by J d, with J
their Jacobian at that map. Random projections of the outputs give the mean square of that without the Jacobian:
E (r' J d)^2 = |J d|^2 for signs r (Hutchinson 1989); every projection is one pass back through the model.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from keras import ops

from octconvert.calibration.effort import Pace
from octconvert.calibration.selection import by_component, lost_detail, readers
from octconvert.layers.gradients import safe_gradients
from octconvert.model.execution import observe
from octconvert.model.graph import CallGraph
from octconvert.model.tensors import BackendTensor
from octconvert.planning.layout import Layout
from octconvert.samples import Samples

PASSES = 4
"""Through the samples, each with other projections."""


def sensitivity(
    layout: Layout,
    samples: Samples,
    batch_size: int,
    spreads: Sequence[float],
    octave: int,
    seed: int = 0,
    progress: Callable[[int, int], None] = lambda done, total: None,
    pace: Pace | None = None,
) -> np.ndarray | None:
    """Squared change of the source's outputs without the detail of a channel, as a share of their variance.

    Args:
        layout: whose pairs are looked at: the maps that convolutions read so.
        samples: inputs of the source.
        spreads: variance of each output.
        progress: called with (samples done, samples in all), counted in every pass.
        pace: the time it may take; the samples that were run by then count.

    Returns:
        One value for each component of tied channels, the mean over samples, summed over the places at which it is
        read; infinite where it is read nowhere. None where there are no gradients (integer outputs, operations
        without one, layers that TensorFlow can not trace), or no finite ones.
    """
    graph, places = layout.graph, list(readers(layout))
    changes = tf.function(
        lambda batch, seed: _changes(graph, batch, seed, places, spreads, octave),
        autograph=False,  # no loop or branch here depends on a tensor's value, and Keras' layers are not converted
    )
    rng = np.random.default_rng(seed)
    sums, done = [np.zeros(())] * len(places), 0
    batches = (batch for _ in range(PASSES) for batch in samples.batches(batch_size))
    for batch in (pace or Pace()).units(batches):
        squares_of_batch = _with_random_signs(changes, batch, rng)
        if squares_of_batch is None:
            return None
        sums = [total + squares for total, squares in zip(sums, squares_of_batch, strict=True)]
        done += len(batch[0])
        progress(done, PASSES * samples.count)
    if not done:
        return None
    means = [total / done for total in sums]
    if not all(np.isfinite(mean).all() for mean in means):
        return None
    return by_component(layout, dict(zip(places, means, strict=True)))


def _with_random_signs(
    changes: Callable[..., Any], batch: list[np.ndarray], rng: np.random.Generator
) -> list[np.ndarray] | None:
    """`_changes` with random signs; None where there are no gradients."""
    seed = rng.integers(2**31, size=2, dtype="int32")
    try:
        with safe_gradients():
            result = changes([tf.convert_to_tensor(x) for x in batch], tf.convert_to_tensor(seed))
    except Exception:  # an operation without a gradient, a layer that only runs eagerly, too little memory
        return None
    return None if result is None else [ops.convert_to_numpy(squares).astype("float64") for squares in result]


def _changes(
    graph: CallGraph,
    batch: list[BackendTensor],
    seed: BackendTensor,
    places: list[int],
    spreads: Sequence[float],
    octave: int,
) -> list[BackendTensor] | None:
    """For each place: squared changes of the projected outputs by channel, summed over the samples."""
    values: dict[int, Any] = {}
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        for number, value in observe(graph, batch, [*places, *graph.outputs]):
            if number in places:
                tape.watch(value)
            values[number] = value
        outputs = [values[number] for number in graph.outputs]
        seeds = [ops.add(seed, (0, i)) for i in range(len(outputs))]
        projection = sum(map(_projection, outputs, seeds, spreads)) / len(outputs) ** 0.5
    gradients = tape.gradient(projection, [values[number] for number in places])
    if any(gradient is None for gradient in gradients):
        return None
    details = [lost_detail(values[number], octave, graph) for number in places]
    pairs = zip(gradients, details, strict=True)
    changes = [ops.sum(ops.cast(slope, "float32") * detail, axis=graph.spatial_axes) for slope, detail in pairs]
    return [ops.sum(ops.square(change), axis=0) for change in changes]


def _projection(output: BackendTensor, seed: BackendTensor, spread: float) -> BackendTensor:
    """Sum of an output's values with random signs, scaled so that its mean square is their mean relative error."""
    output = ops.cast(output, "float32")
    signs = ops.sign(tf.random.stateless_uniform(ops.shape(output), seed, -1.0, 1.0))
    size = ops.cast(ops.size(output[:1]), "float32")
    return ops.sum(signs * output) / ops.sqrt(size * spread)
