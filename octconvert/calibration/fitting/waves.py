"""The order in which the layers of a converted model are fitted, planned before anything runs.

The layers whose inputs are available form a *wave*. A layer that is called more than once is fitted to all its calls
together, when all their inputs are available. Where a later call reads something that the layer itself has a part in,
that is never so; such a call is fitted on what it should read: the source's own tensors, split and pooled.
"""

from __future__ import annotations

from dataclasses import dataclass

import keras

from octconvert.calibration.alignment import AlignedCall, Alignment
from octconvert.calibration.fitting.linear import regressions
from octconvert.calibration.fitting.targets import Target, target_of
from octconvert.model.graph import SOURCE_INPUT, Call
from octconvert.model.tensors import BackendTensor


@dataclass(frozen=True, eq=False)
class FittedCall:
    """One call of a layer as it is fitted.

    Attributes:
        target: the outputs that it should have.
        ideal: (source tensor, part of it) for each input, where the converted model's own are not available in time.
    """

    target: Target
    ideal: tuple[tuple[int, int], ...] = ()

    @property
    def aligned(self) -> AlignedCall:
        return self.target.aligned

    @property
    def needs(self) -> tuple[int, ...]:
        """Source tensors."""
        return (*self.target.needs(), *(tensor for tensor, _ in self.ideal))

    @property
    def reads(self) -> tuple[int, ...]:
        """Converted tensors."""
        return (*(() if self.ideal else self.aligned.call.inputs), *self.target.borrows())

    def inputs(
        self, alignment: Alignment, source: dict[int, BackendTensor], converted: dict[int, BackendTensor]
    ) -> list[BackendTensor]:
        if not self.ideal:
            return [converted[number] for number in self.aligned.call.inputs]
        counterparts = alignment.counterparts
        return [alignment.parts(source[tensor], counterparts[tensor].split)[part] for tensor, part in self.ideal]


@dataclass(frozen=True, eq=False)
class FittedLayer:
    """A layer and all its calls."""

    layer: keras.layers.Layer
    calls: tuple[FittedCall, ...]

    @property
    def name(self) -> str:
        return self.calls[0].aligned.source.layer_name


@dataclass(frozen=True, eq=False)
class Wave:
    """Calls of the converted model that run first, then layers whose inputs are available.

    Attributes:
        calls: of any kind, in execution order.
        layers: that are fitted.
        unfitted: notes on layers that can not be fitted.
    """

    calls: tuple[Call, ...]
    layers: tuple[FittedLayer, ...]
    unfitted: tuple[str, ...] = ()

    @property
    def needs(self) -> set[int]:
        """Source tensors that are read for targets."""
        return {number for layer in self.layers for call in layer.calls for number in call.needs}

    @property
    def reads(self) -> set[int]:
        """Converted tensors that are read."""
        return {number for layer in self.layers for call in layer.calls for number in call.reads}


@dataclass(frozen=True)
class LaterReads:
    """Tensors that are read after a wave, for targets (source) or by calls and for targets (converted)."""

    source: frozenset[int]
    converted: frozenset[int]

    @classmethod
    def after(cls, waves: list[Wave], number: int) -> LaterReads:
        later = waves[number + 1 :]
        reads = {tensor for wave in later for call in wave.calls for tensor in call.inputs}
        for wave in waves[number:]:
            reads.update(tensor for layer in wave.layers for call in layer.calls for tensor in call.aligned.call.inputs)
        return cls(
            frozenset(tensor for wave in later for tensor in wave.needs),
            frozenset(reads.union(*(wave.reads for wave in later))),
        )


def waves_of(alignment: Alignment) -> list[Wave]:
    """All waves, in order."""
    left = {id(calls[0].layer): calls for calls in alignment.layers if regressions(calls[0].layer)}
    layer_of = {aligned.call.index: key for key, calls in left.items() for aligned in calls}
    available = set(alignment.converted.inputs)
    pending = [call for call in alignment.converted.calls if call.kind != SOURCE_INPUT]
    waves = []
    while pending:
        ran, blocked = [], []
        for call in pending:
            if layer_of.get(call.index) in left or not available.issuperset(call.inputs):
                blocked.append(call)
            else:
                ran.append(call)
                available.update(call.outputs)
        begun = [key for key, calls in left.items() if any(available.issuperset(a.call.inputs) for a in calls)]
        ready = [key for key in begun if all(available.issuperset(a.call.inputs) for a in left[key])]
        layers, unfitted = [], []
        for key in ready or begun[:1]:  # a layer that waits for itself is fitted when nothing else can be
            result = _fitted_layer(alignment, left.pop(key), available)
            if isinstance(result, FittedLayer):
                layers.append(result)
            elif result:
                unfitted.append(result)
        waves.append(Wave(tuple(ran), tuple(layers), tuple(unfitted)))
        pending = blocked
    return waves


def _fitted_layer(alignment: Alignment, calls: list[AlignedCall], available: set[int]) -> FittedLayer | str:
    """The layer with all its calls, or why it can not be fitted."""
    origins = {n: (tensor, i) for tensor, c in alignment.counterparts.items() for i, n in enumerate(c.numbers)}
    fitted = []
    for aligned in calls:
        target = target_of(alignment, aligned, available)
        own = available.issuperset(aligned.call.inputs)
        if target is None or not (own or all(number in origins for number in aligned.call.inputs)):
            name, reason = aligned.source.layer_name, "reads its own output in a form that the source does not have"
            return f"'{name}' is not fitted: one of its calls {reason}" if len(calls) > 1 else ""
        fitted.append(FittedCall(target, () if own else tuple(origins[number] for number in aligned.call.inputs)))
    return FittedLayer(calls[0].layer, tuple(fitted))
