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

from octconvert.loading.custom_objects import parse_custom_object
from octconvert.loading.keras2_models import from_keras2, is_keras2
from octconvert.loading.reading import Loaded, load, read

__all__ = ["Loaded", "from_keras2", "is_keras2", "load", "parse_custom_object", "read"]
