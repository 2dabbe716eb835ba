"""Reading models of any Keras since 1.2 and saving them safely."""

from octconvert.io.custom import parse_custom_object
from octconvert.io.reading import Loaded, load, read
from octconvert.io.saving import check_target, save

__all__ = ["Loaded", "check_target", "load", "parse_custom_object", "read", "save"]
