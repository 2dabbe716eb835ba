"""The octave layers: public, usable without the rewriter, and what rewritten models are made of."""

from octconvert.layers.conv import OctaveConv2D
from octconvert.layers.conv_transpose import OctaveConv2DTranspose
from octconvert.layers.depthwise import OctaveDepthwiseConv2D
from octconvert.layers.dual import octave_dual
from octconvert.layers.merge import OctaveCrop, OctaveMerge
from octconvert.layers.normalization import OctaveGroupNormalization, OctaveLayerNormalization
from octconvert.layers.pooling import OctavePooling2D
from octconvert.layers.portable_conv import octave_conv_2d

__all__ = [
    "OctaveConv2D",
    "OctaveConv2DTranspose",
    "OctaveCrop",
    "OctaveDepthwiseConv2D",
    "OctaveGroupNormalization",
    "OctaveLayerNormalization",
    "OctaveMerge",
    "OctavePooling2D",
    "octave_conv_2d",
    "octave_dual",
]
