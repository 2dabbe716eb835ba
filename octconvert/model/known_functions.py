"""Functions that are known by what they are, wherever they were taken from: element-wise ones, and those that join."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator
from typing import Any

import keras
from keras import activations


def _words(text: str) -> list[str]:
    return text.split()


def _itself(text: str) -> dict[str, str]:
    return {name: name for name in text.split()}


# keras.activations by the names that they have there. Called with one argument, those of `_SAME` compute the same.
_ACTIVATIONS = _words(
    """
    celu elu exponential gelu hard_shrink hard_sigmoid hard_silu hard_swish hard_tanh leaky_relu linear log_sigmoid
    mish relu relu6 selu sigmoid silu soft_shrink softplus softsign sparse_plus sparse_sigmoid squareplus swish tanh
    tanh_shrink threshold
    """
)
_SAME: dict[str, dict[str, str]] = {
    "keras.ops": {
        **{name: name for name in _ACTIVATIONS if name not in ("gelu", "threshold", "exponential", "linear", "mish")},
        "exp": "exponential",
    },
    "tensorflow.nn": _itself("elu gelu leaky_relu relu relu6 selu sigmoid silu softplus softsign swish tanh"),
    "tensorflow.math": {**_itself("log_sigmoid sigmoid softplus tanh"), "exp": "exponential"},
    "tensorflow": {"identity": "linear"},
}
_UNARY = _words(
    """
    abs absolute arccos arccosh arcsin arcsinh arctan arctanh cbrt ceil cos cosh deg2rad erf erfc erfinv exp2 expm1
    fabs floor gelu i0 isfinite isinf isnan log log10 log1p log2 logical_not negative rad2deg reciprocal round rsqrt
    sign sin sinc sinh sqrt square stop_gradient tan trunc
    """
)
_TENSORFLOW_UNARY = _words(
    """
    abs acos acosh asin asinh atan atanh ceil cos cosh erf erfc erfinv expm1 floor is_finite is_inf is_nan log log1p
    logical_not negative reciprocal rint round rsqrt sign sin sinh sqrt square tan
    """
)
_ELEMENTWISE = {
    "keras.activations": _ACTIVATIONS,
    "keras.ops": _UNARY,
    "tensorflow.math": _TENSORFLOW_UNARY,
    "tensorflow": ["stop_gradient"],
    "jax.nn": _words(
        """
    celu elu gelu hard_sigmoid hard_silu hard_swish hard_tanh leaky_relu log_sigmoid mish relu relu6 selu sigmoid
    silu soft_sign softplus sparse_plus sparse_sigmoid squareplus swish tanh
    """
    ),
}
_JOINING = {
    "keras.activations": ["softmax", "log_softmax", "sparsemax", "glu"],
    "keras.ops": ["softmax", "log_softmax", "sparsemax", "glu", "logsumexp", "normalize"],
    "tensorflow.nn": ["softmax", "log_softmax", "crelu", "l2_normalize"],
    "jax.nn": ["softmax", "log_softmax", "glu", "standardize", "logsumexp"],
}


def is_elementwise(function: Any) -> bool:
    """Whether it is known to act on each element alone; with numbers as further arguments (a partial), too."""
    function = _without_numbers(function)
    return _is_in(function, _functions("elementwise"))


def joins(function: Any) -> bool:
    """Whether it is known to compute with several elements."""
    return _is_in(_without_numbers(function), _functions("joining"))


def standard(function: Any) -> Any:
    """The function of ``keras.activations`` that computes the same, if there is one; else the function itself.

    Keras reads a model again whose activation is one of its own, and not every other.
    """
    if function is None or not _is_in(function, _functions("same")):
        return function
    return _functions("same")[function]


def _without_numbers(function: Any) -> Any:
    if not isinstance(function, functools.partial):
        return function
    values = (*function.args[1:], *function.keywords.values())
    plain = not function.args and all(isinstance(value, int | float | bool | str | None) for value in values)
    return _without_numbers(function.func) if plain else function


def _is_in(function: Any, known: dict) -> bool:
    try:
        return function in known
    except TypeError:  # it has no hash
        return False


def _functions(kind: str) -> dict[Callable, Callable]:
    """Function -> the one of ``keras.activations`` that is the same, or itself."""
    loaded = tuple(name for name in ("tensorflow", "jax") if name in sys.modules)  # what is not loaded gave no function
    return _collected(kind, loaded)


@functools.cache
def _collected(kind: str, loaded: tuple[str, ...]) -> dict[Callable, Callable]:
    same = {f: getattr(activations, name) for f, name in _functions_of(_SAME, loaded) if hasattr(activations, name)}
    if kind == "same":
        return same
    table = _ELEMENTWISE if kind == "elementwise" else _JOINING
    by_own_name = {module: {name: name for name in names} for module, names in table.items()}
    own = {function: function for function, _ in _functions_of(by_own_name, loaded)}
    return {**own, **same} if kind == "elementwise" else own


def _functions_of(table: dict[str, dict[str, str]], loaded: tuple[str, ...]) -> Iterator[tuple[Callable, str]]:
    for path, names in table.items():
        package, *parts = path.split(".")
        module: Any = keras if package == "keras" else sys.modules[package] if package in loaded else None
        for part in parts:
            module = getattr(module, part, None)
        for name, meaning in names.items():
            function = getattr(module, name, None)
            if callable(function):
                yield function, meaning
