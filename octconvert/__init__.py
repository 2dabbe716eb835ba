"""octconvert: turns a trained Keras CNN into an Octave-Convolution CNN (Chen et al. 2019, arXiv 1904.05049).

The public names load TensorFlow only when they are used. The layers register themselves with Keras as soon as both this
package and Keras are imported, in either order, so saved models load after ``import octconvert``.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from octconvert import _registration
from octconvert.system.notebooks import quiet_imports

if TYPE_CHECKING:  # editors, type checkers and the API reference: the names of _PUBLIC
    from octconvert.api import bench as bench
    from octconvert.api import convert as convert
    from octconvert.api import diff as diff
    from octconvert.api import export as export
    from octconvert.api import load as load
    from octconvert.api import plan as plan
    from octconvert.api import show as show
    from octconvert.errors import CheckError as CheckError
    from octconvert.errors import InputError as InputError
    from octconvert.errors import NothingToConvert as NothingToConvert
    from octconvert.errors import OctconvertError as OctconvertError
    from octconvert.errors import UsageError as UsageError
    from octconvert.inference import for_inference as for_inference
    from octconvert.layers import OctaveConv1D as OctaveConv1D
    from octconvert.layers import OctaveConv2D as OctaveConv2D
    from octconvert.layers import OctaveConv3D as OctaveConv3D
    from octconvert.layers import OctaveDepthwiseConv1D as OctaveDepthwiseConv1D
    from octconvert.layers import OctaveDepthwiseConv2D as OctaveDepthwiseConv2D
    from octconvert.layers import OctaveDepthwiseConv3D as OctaveDepthwiseConv3D
    from octconvert.layers import octave_conv_1d as octave_conv_1d
    from octconvert.layers import octave_conv_2d as octave_conv_2d
    from octconvert.layers import octave_conv_3d as octave_conv_3d
    from octconvert.layers import octave_dual as octave_dual
    from octconvert.pipeline.conversion import Conversion as Conversion
    from octconvert.results.plan import Plan as Plan
    from octconvert.training.distillation import distill as distill

_PUBLIC = {
    "OctaveConv1D": "octconvert.layers",
    "OctaveConv2D": "octconvert.layers",
    "OctaveConv3D": "octconvert.layers",
    "OctaveDepthwiseConv1D": "octconvert.layers",
    "OctaveDepthwiseConv2D": "octconvert.layers",
    "OctaveDepthwiseConv3D": "octconvert.layers",
    "octave_conv_1d": "octconvert.layers",
    "octave_conv_2d": "octconvert.layers",
    "octave_conv_3d": "octconvert.layers",
    "octave_dual": "octconvert.layers",
    "Conversion": "octconvert.pipeline.conversion",
    "Plan": "octconvert.results.plan",
    "bench": "octconvert.api",
    "convert": "octconvert.api",
    "diff": "octconvert.api",
    "distill": "octconvert.training.distillation",
    "export": "octconvert.api",
    "for_inference": "octconvert.inference",
    "load": "octconvert.api",
    "plan": "octconvert.api",
    "show": "octconvert.api",
    "OctconvertError": "octconvert.errors",
    "InputError": "octconvert.errors",
    "UsageError": "octconvert.errors",
    "CheckError": "octconvert.errors",
    "NothingToConvert": "octconvert.errors",
}

__all__ = sorted(_PUBLIC)


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return importlib.import_module("octconvert.system.environment").version()
    if name not in _PUBLIC:
        raise AttributeError(f"module 'octconvert' has no attribute {name!r}")
    with quiet_imports():
        value = getattr(importlib.import_module(_PUBLIC[name]), name)
    if name == "Plan":  # shows itself, although nothing else that is imported here displays it
        importlib.import_module("octconvert.display")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*__all__, "__version__"]


_registration.register_with_keras()
