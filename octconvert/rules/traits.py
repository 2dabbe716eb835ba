"""What is known about a family of layers besides how pairs go through it, as values: costs, forms for inference,
calibration and training ask for these and know no layer class themselves.

A rule declares them (`octconvert.rules.base.Family.traits`); `octconvert.rules.traits_of` looks them up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from octconvert.octave.geometry import Octave, Pads

CONV, DEPTHWISE, TRANSPOSED, DENSE = "conv", "depthwise", "transposed", "dense"
"""Kinds of a convolution. Kernels are as Keras has them: (..., inputs / groups, outputs); (..., channels, multiplier);
(..., outputs, inputs); (inputs, outputs)."""
HIGH, LOW, POOLED = "high", "low", "pooled"
"""Maps of a pair that a path reads, and the high map averaged to the low resolution."""


@dataclass(frozen=True)
class ConvolutionStage:
    """A convolution that a layer computes, with everything that comes before its activation.

    Attributes:
        kind: CONV, DEPTHWISE, TRANSPOSED or DENSE.
        kernel, bias: names of the layer's attributes that hold the variables; no bias: ``""``.
        strides, dilation: one number an axis; empty for DENSE.
        padding: 'same' or 'valid'.
        groups: of channels, for CONV.
        output_padding: for TRANSPOSED.
        suffix: of the stage's name where the layer has more than one.
    """

    kind: str
    kernel: str = "kernel"
    bias: str = "bias"
    strides: tuple[int, ...] = ()
    padding: str = "valid"
    dilation: tuple[int, ...] = ()
    groups: int = 1
    output_padding: Any = None
    suffix: str = ""

    @property
    def rank(self) -> int:
        """Axes that its window moves along; 0 for DENSE."""
        return len(self.strides)

    @property
    def is_planar(self) -> bool:
        """Whether it moves over rows and columns."""
        return self.rank == 2


@dataclass(frozen=True)
class OctavePath:
    """A kernel, by the name of the layer's weight, and the map that it reads: HIGH, LOW or POOLED."""

    kernel: str
    reads: str

    @property
    def label(self) -> str:
        """``HH`` for ``hh_kernel``."""
        return self.kernel.removesuffix("_kernel").upper()


@dataclass(frozen=True)
class OctaveOutput:
    """One output map of an octave layer: the sum of its paths and a bias. ``resolution``: HIGH or LOW."""

    resolution: str
    paths: tuple[OctavePath, ...]
    bias: str


@dataclass(frozen=True)
class OctaveStage:
    """The convolution of a pair that an octave layer computes before its activation.

    Attributes:
        kind: CONV, DEPTHWISE or TRANSPOSED.
        outputs: those that the layer has.
    """

    kind: str
    outputs: tuple[OctaveOutput, ...]


@dataclass(frozen=True)
class PoolingTraits:
    """Pooling by windows.

    Attributes:
        kind: 'average' or 'max'.
        size, strides: one number an axis, or one for all.
        padding: 'same' or 'valid'.
    """

    kind: str
    size: tuple[int, ...]
    strides: tuple[int, ...]
    padding: str


@dataclass(frozen=True)
class OutputActivation:
    """The function behind the outputs, by the name Keras has for it; ``axis``: the one that softmax is taken over."""

    name: str
    axis: int | Sequence[int] = -1


@dataclass(frozen=True, eq=False)
class InnerLayer:
    """The layer that a wrapper calls; ``each_step``: once for every entry of the second axis."""

    layer: Any
    each_step: bool = False


@dataclass(frozen=True)
class PairMerge:
    """Both maps of a pair as one tensor; ``order``: of its channels, as positions in [high | low], or None."""

    octave: Octave
    order: tuple[int, ...] | None


@dataclass(frozen=True, eq=False)
class Traits:
    """What is known about a layer; empty where nothing is.

    Attributes:
        stages: the convolutions that its output is before the activation, one after another.
        octave: the same for an octave layer.
        data_format: of the maps it reads; None where it takes any (DENSE reads the last axis).
        adapted: whether its kernel is more than one array (low-rank adapters, quantisation).
        activation: what it ends with.
        pooling: for a pooling by windows.
        pair_pooling: 'average' or 'max', for a pooling of both maps of a pair by windows.
        global_pooling: 'average' or 'max', for a pooling over all positions.
        joins_axis: the axis along which it joins its inputs.
        elementwise: whether each element of the output follows from those at its place in the inputs, which are
            repeated where they are shorter.
        upsampling: how often it repeats what is along each axis; empty for any other layer.
        padding: (before, after) zeros that it puts around a map along each axis, negative where it crops; None for any
            other layer.
        channelwise: whether it does the same on every channel, whatever their order.
        pointwise: whether each element of the output follows from that element of the input alone, in the same way.
        passes_values: whether it hands its input's values on at inference, in this or another shape.
        folds_time: whether it only moves time steps into the batch axis or out of it.
        inner: for a wrapper.
        merge: for a layer that makes a plain tensor of a pair.
        constant: name of the attribute that holds the variable that the layer returns, whatever it reads.
        no_inference_form: what there is no form for inference of, if that is so, as the report says it.
    """

    stages: tuple[ConvolutionStage, ...] = ()
    octave: OctaveStage | None = None
    data_format: str | None = None
    adapted: bool = False
    activation: OutputActivation | None = None
    pooling: PoolingTraits | None = None
    pair_pooling: str = ""
    global_pooling: str = ""
    joins_axis: int | None = None
    elementwise: bool = False
    upsampling: tuple[int, ...] = ()
    padding: Pads | None = None
    channelwise: bool = False
    pointwise: bool = False
    passes_values: bool = False
    folds_time: bool = False
    inner: InnerLayer | None = None
    merge: PairMerge | None = None
    constant: str = ""
    no_inference_form: str = ""

    @property
    def window_padding(self) -> str:
        """'same' or 'valid' where a window moves over the map that is read; else empty."""
        if self.stages:
            first = self.stages[0]
            return first.padding if first.strides and first.kind in (CONV, DEPTHWISE) else ""
        return "" if self.pooling is None else self.pooling.padding


def convolution_traits(layer: Any, *stages: ConvolutionStage) -> Traits:
    """Traits of a layer with a ``data_format`` (or none) and these stages."""
    adapted = bool(getattr(layer, "lora_enabled", False) or getattr(layer, "quantization_mode", None))
    return Traits(stages, data_format=getattr(layer, "data_format", None), adapted=adapted)


def convolution_stage(layer: Any, kind: str, **changes: Any) -> ConvolutionStage:
    """A stage with the window of a layer that has the attributes of Keras' convolutions."""
    window = {
        "strides": tuple(layer.strides),
        "padding": layer.padding,
        "dilation": tuple(layer.dilation_rate),
        "groups": getattr(layer, "groups", 1) if kind == CONV else 1,
    }
    return ConvolutionStage(kind, **{**window, **changes})
