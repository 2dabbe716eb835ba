"""The table of TensorFlow functions: their path within TensorFlow -> the function that builds them with Keras."""

from __future__ import annotations

from collections.abc import Callable

from octconvert.loading.tensorflow.values import Function

TABLE: dict[str, Function] = {}
REASONS: dict[str, str] = {}
"""Why a function is missing, where there is a better reason than that Keras has no equivalent."""
DIFFERENT_IN_VERSION_1 = (
    "nn.dropout",
    "where",
    "image.resize",
    "div",
    "nn.moments",
    "gather_nd",
    "scatter_nd",
    "nn.pool",
)
"""Functions that compute something else in TensorFlow 1 than under the same name in TensorFlow 2.

They have entries of their own, or none. All others differ only in arguments, and unknown arguments are refused.
"""


def implements(*paths: str) -> Callable[[Function], Function]:
    """Decorator: adds a function to the table under its paths within TensorFlow."""

    def register(function: Function) -> Function:
        TABLE.update(dict.fromkeys(paths, function))
        return function

    return register


def find(path: str) -> Function:
    """The function of a path.

    Raises:
        KeyError: There is none; `reason_missing` says why.
    """
    return TABLE[_key(path)]


def reason_missing(path: str) -> str:
    """Why there is no function of this path; an empty text where there is one."""
    key = _key(path)
    if key in TABLE:
        return ""
    random = any(part.startswith(("random", "stateless_random")) for part in path.split("."))
    default = "it draws random numbers at prediction too" if random else "it has no equivalent in Keras 3"
    return REASONS.get(key, default)


def _key(path: str) -> str:
    """The path as the table has it: without the namespaces that only repeat a function."""
    if path in TABLE or path in REASONS:
        return path
    key = path.removeprefix("compat.v1.")
    if key != path and key.startswith(DIFFERENT_IN_VERSION_1):
        return path
    for prefix in ("", "math.", "linalg.", "__operators__."):
        short = key.removeprefix(prefix)
        if short in TABLE or short in REASONS:
            return short
    return path
