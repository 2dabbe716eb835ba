"""Reading models of any Keras since 1.2 safely.

The steps of reading a file, each a module whose function takes one value and returns the next:

1. `inspection`: path -> `InspectedFile`. `file_format` recognizes the format; `inspector` examines the file in a
   process of its own, under limits of time and memory.
2. `configuration`: `InspectedFile` -> `Configuration`, the decoded architecture.
3. `repairing`: `Configuration` -> `RepairedConfiguration`. The modules in `repairs` and `tensorflow` bring layers,
   arguments and calls into the form of Keras 3; `trust` refuses unsafe content (found by `unsafe_content` and
   `known_objects`), `size_limits` and `call_order` refuse what would take any amount of memory or time.
4. `building`: `RepairedConfiguration` -> Keras model, with weights (`h5_weights`, `keras_archive`) and training
   settings (`training_settings`).

`reading` calls them in this order and returns a `Loaded`. `context` has what all steps know about the file, `records`
functions on the layers of a configuration. `keras2_models` converts a model of Keras 2 in memory by the same steps,
and `custom_objects` imports the user's own layers. Models are written in `octconvert.verification`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from octconvert.loading.custom_objects import parse_custom_object as parse_custom_object
    from octconvert.loading.keras2_models import from_keras2 as from_keras2
    from octconvert.loading.keras2_models import is_keras2 as is_keras2
    from octconvert.loading.reading import Loaded as Loaded
    from octconvert.loading.reading import load as load
    from octconvert.loading.reading import read as read

_PUBLIC = {
    "Loaded": "reading",
    "from_keras2": "keras2_models",
    "is_keras2": "keras2_models",
    "load": "reading",
    "parse_custom_object": "custom_objects",
    "read": "reading",
}
__all__ = sorted(_PUBLIC)


def __getattr__(name: str) -> Any:
    """Imported where it is used: the format of a file is checked without Keras."""
    if name not in _PUBLIC:
        raise AttributeError(f"module '{__name__}' has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_PUBLIC[name]}"), name)
