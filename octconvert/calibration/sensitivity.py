"""How much a model's outputs change when a channel loses its detail: to first order, by gradients.

The loss of detail in a channel (its map less the same map pooled and upsampled again) moves the outputs by J d, with J
their Jacobian at that map. Random projections of the outputs give the mean square of that without the Jacobian:
E (r' J d)^2 = |J d|^2 for signs r (Hutchinson 1989); every projection is one pass back through the model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from keras import backend, ops

from octconvert.calibration.effort import Pace
from octconvert.calibration.selection import by_component, lost_detail, readers, unread
from octconvert.layers.gradients import safe_gradients
from octconvert.model.execution import observe
from octconvert.model.graph import CallGraph
from octconvert.model.tensors import BackendTensor
from octconvert.octave.geometry import Octave
from octconvert.planning.layout import Layout
from octconvert.rules.causality import is_causal
from octconvert.samples import Samples

Changes: TypeAlias = Callable[[list[np.ndarray], np.ndarray], list[BackendTensor] | None]
"""(a batch, a seed of two numbers) -> for each place the squared changes of the outputs; None: no gradients."""
PASSES = 4
"""Through the samples, each with other projections."""


def sensitivity(
    layout: Layout,
    samples: Samples,
    batch_size: int,
    spreads: Sequence[float],
    octave: Octave,
    seed: int = 0,
    progress: Callable[[int, int], None] = lambda done, total: None,
    pace: Pace | None = None,
) -> np.ndarray | None:
    """Squared change of the source's outputs without the detail of a channel, as a share of their variance.

    Args:
        layout: whose pairs are looked at: the maps that convolutions read so, and those of channels that none reads.
        samples: inputs of the source.
        spreads: variance of each output.
        progress: called with (samples done, samples in all), counted in every pass.
        pace: the time it may take; the samples that were run by then count.

    Returns:
        One value for each component of tied channels, the mean over samples. It is summed over the places at which
        convolutions read it; where none does, it is the largest one of its maps (an activation hides what is lost
        before it, where only means are taken behind it). Infinite where it has no map. None where there are no
        gradients (integer outputs, operations without one, layers that can not be traced), or no finite ones.
    """
    graph, read, others = layout.graph, list(readers(layout)), unread(layout)
    places, count = [*read, *others], len(read)
    changes = _BACKENDS[backend.backend()](_Projection(graph, places, count, spreads, octave, is_causal(graph)))
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
    summed = by_component(layout, dict(zip(read, means[:count], strict=True)))
    largest = by_component(layout, dict(zip(others, means[count:], strict=True)), np.maximum)
    return np.minimum(summed, largest)  # a component has one of them; the other one is infinite


def _with_random_signs(changes: Changes, batch: list[np.ndarray], rng: np.random.Generator) -> list[np.ndarray] | None:
    """For each place, squared changes of the projected outputs by channel; None where there are no gradients."""
    seed = rng.integers(2**31, size=2, dtype="int32")
    try:
        with safe_gradients():
            result = changes(batch, seed)
    except Exception:  # an operation without a gradient, a layer that only runs eagerly, too little memory
        return None
    return None if result is None else [ops.convert_to_numpy(squares).astype("float64") for squares in result]


@dataclass(frozen=True, eq=False)
class _Projection:
    """The sum of all outputs with random signs, and what it is differentiated by: the tensors ``places``.

    The first ``read`` of them need a gradient; the others have none where nothing differentiable reads them.
    """

    graph: CallGraph
    places: list[int]
    read: int
    spreads: Sequence[float]
    octave: Octave
    causal: bool

    @property
    def observed(self) -> list[int]:
        return [*self.places, *self.graph.outputs]

    def of(self, values: Mapping[int, BackendTensor], signs: Callable[[Any, int], BackendTensor]) -> BackendTensor:
        """``signs``: for a shape, and the number of an output."""
        outputs = [ops.cast(values[number], "float32") for number in self.graph.outputs]
        parts = [
            _signed(output, signs(ops.shape(output), place), spread)
            for place, (output, spread) in enumerate(zip(outputs, self.spreads, strict=True))
        ]
        return sum(parts) / len(outputs) ** 0.5

    def squares(self, slopes: Sequence[BackendTensor], values: Mapping[int, BackendTensor]) -> list[BackendTensor]:
        """For each place: the squared changes by channel, summed over the samples."""
        details = [lost_detail(values[number], self.octave, self.graph, self.causal) for number in self.places]
        axes = [self.graph.spatial_axes_of(detail.shape) for detail in details]
        triples = zip(slopes, details, axes, strict=True)
        changes = [ops.sum(ops.cast(slope, "float32") * detail, axis=own) for slope, detail, own in triples]
        return [ops.sum(ops.square(change), axis=0) for change in changes]


def _signed(output: BackendTensor, signs: BackendTensor, spread: float) -> BackendTensor:
    """Sum of an output's values with signs, scaled so that its mean square is their mean relative error."""
    size = ops.cast(ops.size(output[:1]), "float32")
    return ops.sum(signs * output) / ops.sqrt(size * spread)


def _on_tensorflow(projection: _Projection) -> Changes:
    import tensorflow as tf

    def changes(batch: list[Any], seed: Any) -> list[Any] | None:
        values: dict[int, Any] = {}
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            for number, value in observe(projection.graph, batch, projection.observed):
                if number in projection.places:
                    tape.watch(value)
                values[number] = value
            total = projection.of(
                values,
                lambda shape, place: ops.sign(tf.random.stateless_uniform(shape, ops.add(seed, (0, place)), -1.0, 1.0)),
            )
        slopes = tape.gradient(total, [values[number] for number in projection.places])
        if any(slope is None for slope in slopes[: projection.read] or slopes):
            return None
        known = [
            tf.zeros_like(values[n]) if slope is None else slope
            for n, slope in zip(projection.places, slopes, strict=True)
        ]
        return projection.squares(known, values)

    # No loop or branch here depends on a tensor's value, and Keras' layers are not converted.
    traced = tf.function(changes, autograph=False)
    return lambda batch, seed: traced([tf.convert_to_tensor(x) for x in batch], tf.convert_to_tensor(seed))


def _on_jax(projection: _Projection) -> Changes:
    import jax

    def changes(batch: list[Any], seed: Any) -> list[Any]:
        key = jax.random.fold_in(jax.random.key(seed[0]), seed[1])

        def total(nudges: dict[int, Any]) -> tuple[Any, dict[int, Any]]:
            nudged = lambda number, value: value + nudges[number] if number in nudges else value  # noqa: E731
            values = dict(observe(projection.graph, batch, projection.observed, nudged))
            signs = lambda shape, place: jax.random.rademacher(jax.random.fold_in(key, place), shape, "float32")  # noqa: E731
            return projection.of(values, signs), values

        maps = dict(observe(projection.graph, batch, projection.places))
        slopes, values = jax.grad(total, has_aux=True)({number: ops.zeros_like(maps[number]) for number in maps})
        return projection.squares([slopes[number] for number in projection.places], values)

    return jax.jit(changes)


_BACKENDS: dict[str, Callable[[_Projection], Changes]] = {"tensorflow": _on_tensorflow, "jax": _on_jax}
