"""The octave layers: no rule rewrites them again, but costs, inference and calibration know what they compute."""

from __future__ import annotations

from typing import Any

from octconvert.layers import (
    OctaveConv1D,
    OctaveConv1DTranspose,
    OctaveConv2D,
    OctaveConv2DTranspose,
    OctaveConv3D,
    OctaveConv3DTranspose,
    OctaveDepthwiseConv1D,
    OctaveDepthwiseConv2D,
    OctaveDepthwiseConv3D,
    OctaveMerge,
    OctavePooling1D,
    OctavePooling2D,
    OctavePooling3D,
)
from octconvert.layers.normalization import OctaveGroupNormalization, OctaveLayerNormalization
from octconvert.rules.base import Family
from octconvert.rules.registry import register
from octconvert.rules.traits import (
    CONV,
    DEPTHWISE,
    HIGH,
    LOW,
    POOLED,
    TRANSPOSED,
    OctaveOutput,
    OctavePath,
    OctaveStage,
    PairMerge,
    Traits,
)

TO_HIGH = (OctavePath("hh_kernel", HIGH), OctavePath("lh_kernel", LOW))
TO_LOW = (OctavePath("hl_kernel", POOLED), OctavePath("ll_kernel", LOW))


@register
class OctaveConvolutionFamily(Family):
    """OctaveConv2D and its 1-D and 3-D forms: four paths (paper, equations 2-4)."""

    layers = (OctaveConv1D, OctaveConv2D, OctaveConv3D)

    def traits(self, operation: Any) -> Traits:
        return _octave_traits(operation, CONV, TO_HIGH, TO_LOW)


@register
class OctaveDepthwiseFamily(Family):
    """OctaveDepthwiseConv2D and its 1-D and 3-D forms: each map alone."""

    layers = (OctaveDepthwiseConv1D, OctaveDepthwiseConv2D, OctaveDepthwiseConv3D)

    def traits(self, operation: Any) -> Traits:
        to_high, to_low = (OctavePath("hh_kernel", HIGH),), (OctavePath("ll_kernel", LOW),)
        return _octave_traits(operation, DEPTHWISE, to_high, to_low)


def _octave_traits(layer: Any, kind: str, to_high: tuple[OctavePath, ...], to_low: tuple[OctavePath, ...]) -> Traits:
    """With the paths and outputs that this layer has."""
    outputs = []
    for resolution, paths, bias in ((HIGH, to_high, "high_bias"), (LOW, to_low, "low_bias")):
        present = tuple(path for path in paths if getattr(layer, path.kernel, None) is not None)
        if present:
            outputs.append(OctaveOutput(resolution, present, bias))
    return Traits(octave=OctaveStage(kind, tuple(outputs)), data_format=layer.data_format)


@register
class OctaveTransposedFamily(Family):
    """OctaveConv2DTranspose and its 1-D and 3-D forms: the same four paths."""

    layers = (OctaveConv1DTranspose, OctaveConv2DTranspose, OctaveConv3DTranspose)

    def traits(self, operation: Any) -> Traits:
        return _octave_traits(operation, TRANSPOSED, TO_HIGH, TO_LOW)


@register
class OctavePoolingFamily(Family):
    """OctavePooling2D and its 1-D and 3-D forms: each map alone."""

    layers = (OctavePooling1D, OctavePooling2D, OctavePooling3D)

    def traits(self, operation: Any) -> Traits:
        kind, lacking, window = "average", "", operation.window
        if operation.mode == "max":
            leaves_out = isinstance(window.padding, str) and window.filtered((None,) * operation.rank)
            kind, lacking = "max", "maxima of windows that leave positions out" if leaves_out else ""
        return Traits(pair_pooling=kind, data_format=operation.data_format, no_inference_form=lacking)


@register
class OctaveLayerNormalizationFamily(Family):
    """OctaveLayerNormalization: its statistics are those of both maps."""

    layers = (OctaveLayerNormalization,)

    def traits(self, operation: Any) -> Traits:
        return Traits(no_inference_form="normalisations over the channels of both maps")


@register
class OctaveGroupNormalizationFamily(Family):
    """OctaveGroupNormalization, likewise."""

    layers = (OctaveGroupNormalization,)

    def traits(self, operation: Any) -> Traits:
        return Traits(no_inference_form="normalisations over groups of the channels of both maps")


@register
class OctaveMergeFamily(Family):
    """OctaveMerge: both maps as one tensor."""

    layers = (OctaveMerge,)

    def traits(self, operation: Any) -> Traits:
        order = None if operation.order is None else tuple(operation.order)
        return Traits(merge=PairMerge(operation.octave, order), data_format=operation.data_format)
