"""Reading models of any Keras since 1.2 and saving them safely."""

from octconvert.loading.custom_objects import parse_custom_object
from octconvert.loading.keras2_models import from_keras2, is_keras2
from octconvert.loading.reading import Loaded, load, read
from octconvert.loading.saving import check_target, save

__all__ = ["Loaded", "check_target", "from_keras2", "is_keras2", "load", "parse_custom_object", "read", "save"]
