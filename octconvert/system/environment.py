"""Environment variables that the command line sets where the user has not, before TensorFlow reads them."""

from __future__ import annotations

import os
from importlib import metadata

LOG_LEVEL = "TF_CPP_MIN_LOG_LEVEL"
ONEDNN = "TF_ENABLE_ONEDNN_OPTS"
DEFAULTS = {"KERAS_BACKEND": "tensorflow", LOG_LEVEL: "3", ONEDNN: "1"}
"""oneDNN: TensorFlow leaves it off without AVX-512, and has no channels_first convolutions without oneDNN."""

_set_here: set[str] = set()


def set_defaults() -> None:
    """Set the variables of `DEFAULTS` that are not set."""
    for name, value in DEFAULTS.items():
        if name not in os.environ:
            os.environ[name] = value
            _set_here.add(name)


def users_environment() -> dict[str, str]:
    """The environment without what `set_defaults` has added, so that models are timed as they will be run."""
    return {name: value for name, value in os.environ.items() if name not in _set_here}


def version() -> str:
    """Of octconvert; empty where it is not installed."""
    try:
        return metadata.version("octconvert")
    except metadata.PackageNotFoundError:
        return ""
