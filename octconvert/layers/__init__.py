"""Octave layers: convolution, depthwise and transposed convolution, pooling, normalisation and merging of pairs.

In and out: one tensor, or a pair ``[high, low]`` of maps at two resolutions. The layers are public, work without the
converter on every Keras backend, and are registered with Keras for saved models. `octconvert.layers.portable` has the
same steps out of built-in layers. Signals (1D), images (2D) and volumes (3D) have one implementation.
"""

from octconvert.layers.conv import OctaveConv1D, OctaveConv2D, OctaveConv3D
from octconvert.layers.conv_transpose import OctaveConv1DTranspose, OctaveConv2DTranspose, OctaveConv3DTranspose
from octconvert.layers.depthwise import OctaveDepthwiseConv1D, OctaveDepthwiseConv2D, OctaveDepthwiseConv3D
from octconvert.layers.dual import octave_dual
from octconvert.layers.merge import OctaveCrop, OctaveMerge
from octconvert.layers.normalization import OctaveGroupNormalization, OctaveLayerNormalization
from octconvert.layers.pooling import OctavePooling1D, OctavePooling2D, OctavePooling3D
from octconvert.layers.portable_conv import octave_conv_1d, octave_conv_2d, octave_conv_3d
from octconvert.layers.size import OctaveSize
from octconvert.layers.weight import WeightTensor

__all__ = [
    "OctaveConv1D",
    "OctaveConv1DTranspose",
    "OctaveConv2D",
    "OctaveConv2DTranspose",
    "OctaveConv3D",
    "OctaveConv3DTranspose",
    "OctaveCrop",
    "OctaveDepthwiseConv1D",
    "OctaveDepthwiseConv2D",
    "OctaveDepthwiseConv3D",
    "OctaveGroupNormalization",
    "OctaveLayerNormalization",
    "OctaveMerge",
    "OctavePooling1D",
    "OctavePooling2D",
    "OctavePooling3D",
    "OctaveSize",
    "WeightTensor",
    "octave_conv_1d",
    "octave_conv_2d",
    "octave_conv_3d",
    "octave_dual",
]
