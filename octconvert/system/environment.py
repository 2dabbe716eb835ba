"""Environment variables that the command line sets where the user has not, before TensorFlow reads them."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from importlib import metadata
from pathlib import Path

from octconvert.errors import UsageError
from octconvert.system.installation import install_command

BACKEND = "KERAS_BACKEND"
BACKENDS = ("tensorflow", "jax")
LOG_LEVEL = "TF_CPP_MIN_LOG_LEVEL"
ONEDNN = "TF_ENABLE_ONEDNN_OPTS"
DEFAULTS = {BACKEND: "tensorflow", LOG_LEVEL: "3", ONEDNN: "1"}
"""oneDNN: TensorFlow leaves it off without AVX-512, and has no channels_first convolutions without oneDNN."""

_set_here: set[str] = set()


def set_defaults() -> None:
    """Set the variables of `DEFAULTS` that are not set."""
    for name, value in DEFAULTS.items():
        if name not in os.environ:
            os.environ[name] = value
            _set_here.add(name)


def keras_backend() -> str:
    """The one that Keras runs on, or will: from the environment, else from its own settings."""
    if "keras" in sys.modules:
        return str(sys.modules["keras"].config.backend())
    return os.environ.get(BACKEND) or _configured() or DEFAULTS[BACKEND]


def backend_obstacle(needed: str) -> str:
    """Why something that needs Keras on this backend does not work; empty where it does."""
    own = keras_backend()
    return "" if own == needed else f"needs Keras on {needed}, not on {own}; set {BACKEND}={needed}"


def check_backend() -> None:
    """
    Raises:
        UsageError: Keras is going to run on another backend than `BACKENDS`, or that one is not installed.
    """
    backend = keras_backend()
    if backend not in BACKENDS:
        raise UsageError(f"Keras is set to run on '{backend}'; set {BACKEND} to {' or '.join(BACKENDS)}")
    if importlib.util.find_spec(backend) is None:
        raise UsageError(f"Keras is set to run on {backend}, which is not installed: {install_command('jax')}")


def _configured() -> str | None:
    home = Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras")
    try:
        return json.loads((home / "keras.json").read_text(encoding="utf-8")).get("backend")
    except (OSError, ValueError, AttributeError):
        return None


def users_environment() -> dict[str, str]:
    """The environment without what `set_defaults` has added, so that models are timed as they will be run.

    With the backend of Keras in this process.
    """
    kept = {name: value for name, value in os.environ.items() if name not in _set_here}
    return {**kept, BACKEND: keras_backend()}


def version() -> str:
    """Of octconvert; empty where it is not installed."""
    try:
        return metadata.version("octconvert")
    except metadata.PackageNotFoundError:
        return ""
