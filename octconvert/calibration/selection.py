"""Which channels become low: those whose loss of detail matters least.

A channel's *roughness* is the response of the kernels that read it to its lost detail (its map less the same map pooled
and upsampled again), as a share of their whole response. It is measured where the maps are used, at the input of
convolutions and behind activations. Tied channels share one value, the sum over all places.

Roughness measures the effect on the next layer, `sensitivity` that on the outputs, but only to first order. Their
geometric mean, the *damage*, ranks channels better than either of them (least squares and refinement compensate for
most of the loss, and the rest follows neither). Channels that no convolution reads have no roughness; they go by the
sensitivity alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np
from keras import ops

from octconvert.layers.spatial import pool_octave, sizes, upsample_to
from octconvert.model.execution import observe
from octconvert.model.graph import OPERATION, Call, CallGraph
from octconvert.model.tensors import BackendTensor
from octconvert.octave.geometry import Octave
from octconvert.planning.convolutions import is_convolution
from octconvert.planning.layout import Layout
from octconvert.results.plan import Group, Plan
from octconvert.rules import rule_of, traits_of
from octconvert.rules.causality import is_causal
from octconvert.rules.traits import DEPTHWISE, TRANSPOSED, ConvolutionStage

POSITIONS = 16_000
"""Positions of a map that go into its covariances, for each batch."""
UNREAD = 0.5
"""Damage of channels that no convolution reads, as a share of their sensitivity: the geometric mean of the others is
as much of theirs where that is measured in the same place, before activations."""


@dataclass(eq=False)
class Moments:
    """Sums over the positions of one map.

    Attributes:
        count: positions.
        total: sum of the channels (channels,).
        product: sum of outer products (channels, channels), or of squares (channels,).
        lost: ``product`` of the detail that the low resolution loses.
    """

    count: float
    total: np.ndarray
    product: np.ndarray
    lost: np.ndarray

    @property
    def covariance(self) -> np.ndarray:
        """(channels, channels), of a map for which outer products were taken."""
        mean = self.total / self.count
        return self.product / self.count - np.outer(mean, mean)

    @property
    def variance(self) -> np.ndarray:
        """(channels,)."""
        return _diagonal(self.product) / self.count - np.square(self.total / self.count)

    @property
    def roughness(self) -> np.ndarray:
        """Mean products of the lost detail, (channels, channels) or its diagonal."""
        return self.lost / self.count


def readers(layout: Layout) -> dict[int, list[Call]]:
    """Maps that are planned as pairs -> the convolutions that read them so.

    Tensors that are whole-low are left out: there is nothing to choose.
    """
    result: dict[int, list[Call]] = {}
    for call in layout.graph.calls:
        trace = layout.traces.get(call.index)
        for tensor in call.inputs:
            if trace is not None and trace.gains and _is_pair(layout, tensor) and is_convolution(layout.graph, call):
                result.setdefault(tensor, []).append(call)
    return result


def unread(layout: Layout) -> list[int]:
    """Maps that are planned as pairs, of channels that no convolution reads so: behind the last one, mostly."""
    components = layout.channels
    known = {component for tensor in readers(layout) for component in components[tensor].tolist()}
    return [t for t in components if _is_pair(layout, t) and known.isdisjoint(components[t].tolist())]


def _is_pair(layout: Layout, tensor: int) -> bool:
    split, graph = layout.splits.get(tensor), layout.graph
    return split is not None and not split.whole_low and graph.is_map(graph.tensors[tensor].shape)


def survey(
    layout: Layout,
    batches: Iterable[list[np.ndarray]],
    octave: Octave,
    whole: Iterable[int] | None = None,
    seed: int = 0,
) -> dict[int, Moments]:
    """`Moments` of every map that convolutions read as a pair; with ``whole``: of these maps, with outer products."""
    graph, full = layout.graph, whole is not None
    causal = is_causal(graph)
    tensors = set(readers(layout) if whole is None else whole)
    moments: dict[int, Moments] = {}
    rng = np.random.default_rng(seed)
    for samples in batches:
        for tensor, value in observe(graph, samples, tensors):
            rows = [_rows(each, graph) for each in (value, lost_detail(value, octave, graph, causal))]
            new = _moments(rows, rng, full)
            old = moments.get(tensor)
            parts = (getattr(new, name) + (getattr(old, name) if old else 0.0) for name in vars(new))
            moments[tensor] = Moments(*parts)
    return moments


def _moments(rows: list[BackendTensor], rng: np.random.Generator, full: bool) -> Moments:
    """Of a map and its lost detail, (positions, channels) each."""
    count = rows[0].shape[0]
    if count > POSITIONS:
        chosen = np.sort(rng.choice(count, POSITIONS, replace=False))
        rows = [ops.take(part, chosen, axis=0) for part in rows]
    total = ops.convert_to_numpy(ops.sum(rows[0], axis=0)).astype("float64")
    multiply = (
        (lambda part: ops.matmul(ops.transpose(part), part)) if full else lambda part: ops.sum(part * part, axis=0)
    )
    products = [ops.convert_to_numpy(multiply(part)).astype("float64") for part in rows]
    return Moments(float(min(count, POSITIONS)), total, *products)


def lost_detail(x: BackendTensor, octave: Octave, graph: CallGraph, causal: bool = False) -> BackendTensor:
    """A map less the same map pooled to the low resolution (signals to causal cells?) and upsampled again, float32."""
    data_format = graph.data_format
    x = ops.cast(x, "float32")
    low = pool_octave(x, octave, data_format, causal and len(x.shape) == 3)
    return x - upsample_to(low, octave, sizes(x, data_format), data_format)


def _rows(x: BackendTensor, graph: CallGraph) -> BackendTensor:
    """(positions, channels), float32."""
    x = ops.cast(x, "float32")
    if graph.data_format == "channels_first":
        x = ops.moveaxis(x, 1, -1)
    return ops.reshape(x, (-1, x.shape[-1]))


def response(layout: Layout, call: Call) -> np.ndarray:
    """Response of a convolution, and of the scale behind it, to its input: (channels, channels) or a diagonal."""
    rule = rule_of(call)
    scale = _scale_behind(layout.graph, call)
    kernel = rule.mixing(call) if rule is not None else None
    if kernel is not None:
        scaled = kernel * scale
        return np.einsum("tco,tdo->cd", scaled, scaled)
    return _response_of_channels(call.operation, np.square(scale))


def _response_of_channels(layer: Any, squared: np.ndarray) -> np.ndarray:
    """The diagonal for a convolution that does not simply mix; ``squared``: scale of its outputs."""
    for stage in reversed(traits_of(layer).stages):
        squared = _response_of_stage(_squares(getattr(layer, stage.kernel)), stage, squared)
    return squared


def _response_of_stage(kernel: np.ndarray, stage: ConvolutionStage, squared: np.ndarray) -> np.ndarray:
    if stage.kind == DEPTHWISE:
        return _depthwise_response(kernel, squared)
    taps = kernel.reshape(-1, *kernel.shape[-2:])
    if stage.kind == TRANSPOSED:  # (taps, outputs, inputs)
        return np.broadcast_to(squared, kernel.shape[-2]) @ taps.sum(0)
    grouped = (taps * squared).sum(0)
    return grouped.reshape(len(grouped), stage.groups, -1).sum(2).T.reshape(-1)


def _depthwise_response(kernel: np.ndarray, squared: np.ndarray) -> np.ndarray:
    channels, multiplier = kernel.shape[-2:]
    scaled = kernel * np.broadcast_to(squared, channels * multiplier).reshape(channels, -1)
    return scaled.reshape(-1, channels, multiplier).sum((0, 2))


def _squares(kernel: keras.Variable) -> np.ndarray:
    return np.square(np.asarray(ops.convert_to_numpy(kernel), dtype="float64"))


def _scale_behind(graph: CallGraph, call: Call) -> np.ndarray:
    """Scale of the normalisation right behind a convolution."""
    consumers = graph.consumers.get(call.outputs[0], ())
    rule = rule_of(consumers[0]) if len(consumers) == 1 and consumers[0].kind == OPERATION else None
    affine = rule.affine(consumers[0]) if rule is not None else None
    return np.ones(1) if affine is None else affine[0]


def roughness(layout: Layout, moments: dict[int, Moments]) -> np.ndarray:
    """One value for each component of tied channels; infinite where none of its channels is measured."""
    shares = {}
    for tensor, calls in readers(layout).items():
        each = [_share_lost(_diagonal(response(layout, call)), moments[tensor]) for call in calls]
        shares[tensor] = np.sum(each, axis=0)
    return by_component(layout, shares)


def _share_lost(answer: np.ndarray, moments: Moments) -> np.ndarray:
    """Response of a reader to each channel's lost detail, as a share of its whole response."""
    return answer * _diagonal(moments.roughness) / max(float(np.sum(answer * moments.variance)), 1e-30)


def by_component(layout: Layout, values: dict[int, np.ndarray], joined: np.ufunc = np.add) -> np.ndarray:
    """Values of the channels of some tensors, joined for each component of tied channels; infinite where none is."""
    count = layout.components.ledger.count
    total, seen = np.zeros(count), np.zeros(count, dtype=bool)
    for tensor, own in values.items():
        joined.at(total, layout.channels[tensor], own)
        seen[layout.channels[tensor]] = True
    return np.where(seen, total, np.inf)


def damage(rough: np.ndarray, sensed: np.ndarray | None) -> np.ndarray:
    """Damage of the low resolution of a component: the geometric mean of both; ``rough`` where there is no other.

    A share of ``sensed`` where no convolution reads the component.
    """
    if sensed is None:
        return rough
    with np.errstate(invalid="ignore"):
        return np.where(np.isfinite(rough), np.sqrt(rough * sensed), UNREAD * sensed)


def _diagonal(matrix: np.ndarray) -> np.ndarray:
    return np.diag(matrix) if matrix.ndim == 2 else matrix


def transferred(damages: np.ndarray, source: Layout, target: Layout) -> np.ndarray:
    """The damages of the components of one layout, for those of another one of the same model."""
    known = source.components.ledger.producers
    values = np.full(target.components.ledger.count, np.inf)
    for key, producer in target.components.ledger.producers.items():
        if key in known:
            own = damages[source.components.of[known[key].channels]]
            values[target.components.of[producer.channels]] = own
    return values


def is_open(group: Group) -> bool:
    """Whether there are channels to choose in a group: the plan selects none, and not all of them are low."""
    return group.selection is None and group.low != group.channels


def select(layout: Layout, plan: Plan, damages: np.ndarray) -> Plan:
    """The plan with the channels low that do the least damage, as many in each group as before.

    Groups that are whole-low stay as they are.
    """
    choices = dict(zip((id(tied) for tied, _ in layout.groups), layout.choices, strict=True))
    low = layout.components.assign(lambda group: choices[id(group)], damages)
    groups = []
    for group, (tied, _) in zip(plan.groups, layout.groups, strict=True):
        if group.selection is None and not is_open(group):
            groups.append(group)
            continue
        selection = tuple(tuple(np.flatnonzero(low[p.channels]).tolist()) for p in tied.producers)
        groups.append(replace(group, selection=selection, low=tuple(map(len, selection))))
    return replace(plan, groups=tuple(groups))
