"""Layers of Keras whose ``call`` is read as calls of other layers: Lambda and SpectralNormalization -> what they call.

SpectralNormalization divides its layer's kernel by the largest singular value while it trains, and keeps the result as
the kernel: at inference it is its layer.
"""

from __future__ import annotations

from keras import layers

from octconvert.rules.base import Family
from octconvert.rules.registry import register
from octconvert.rules.time import WrapperFamily


@register
class LambdaFamily(Family):
    """A function of the user's."""

    layers = (layers.Lambda,)
    opened = True


@register
class SpectralNormalizationFamily(WrapperFamily):
    """A convolution, or Dense, whose kernel is normalised in training."""

    layers = (layers.SpectralNormalization,)
    opened = True
