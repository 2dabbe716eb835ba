"""Octave layers: convolution, depthwise and transposed convolution, pooling, normalisation and merging of pairs.

In and out: one tensor, or a pair ``[high, low]`` of maps at two resolutions. The layers are public, work without the
converter on every Keras backend, and are registered with Keras for saved models. `octconvert.layers.portable` has the
same steps out of built-in layers.
"""

from octconvert.layers.conv import OctaveConv2D
from octconvert.layers.conv_transpose import OctaveConv2DTranspose
from octconvert.layers.depthwise import OctaveDepthwiseConv2D
from octconvert.layers.dual import octave_dual
from octconvert.layers.merge import OctaveCrop, OctaveMerge
from octconvert.layers.normalization import OctaveGroupNormalization, OctaveLayerNormalization
from octconvert.layers.pooling import OctavePooling2D
from octconvert.layers.portable_conv import octave_conv_2d
from octconvert.layers.size import OctaveSize

__all__ = [
    "OctaveConv2D",
    "OctaveConv2DTranspose",
    "OctaveCrop",
    "OctaveDepthwiseConv2D",
    "OctaveGroupNormalization",
    "OctaveLayerNormalization",
    "OctaveMerge",
    "OctavePooling2D",
    "OctaveSize",
    "octave_conv_2d",
    "octave_dual",
]
