"""octconvert: turns a trained Keras CNN into an Octave-Convolution CNN (Chen et al. 2019, arXiv 1904.05049).

The public names load TensorFlow only when they are used. The layers register themselves with Keras as soon as both this
package and Keras are imported, in either order, so saved models load after ``import octconvert``.
"""

from __future__ import annotations

import importlib

from octconvert import _registration

_PUBLIC = {
    "OctaveConv2D": "octconvert.layers",
    "OctaveDepthwiseConv2D": "octconvert.layers",
    "octave_conv_2d": "octconvert.layers",
    "octave_dual": "octconvert.layers",
    "Conversion": "octconvert.results.conversion",
    "Plan": "octconvert.results.plan",
    "bench": "octconvert.api",
    "convert": "octconvert.api",
    "diff": "octconvert.api",
    "distill": "octconvert.training.distillation",
    "export": "octconvert.api",
    "for_inference": "octconvert.inference",
    "load": "octconvert.api",
    "plan": "octconvert.api",
    "OctconvertError": "octconvert.errors",
    "InputError": "octconvert.errors",
    "UsageError": "octconvert.errors",
    "CheckError": "octconvert.errors",
    "NothingToConvert": "octconvert.errors",
}

__all__ = sorted(_PUBLIC)


def __getattr__(name: str):
    if name not in _PUBLIC:
        raise AttributeError(f"module 'octconvert' has no attribute {name!r}")
    value = getattr(importlib.import_module(_PUBLIC[name]), name)
    globals()[name] = value
    return value


def __dir__():
    return __all__


_registration.register_with_keras()
