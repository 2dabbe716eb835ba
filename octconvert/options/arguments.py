"""The arguments of the public functions: each name has one meaning, checked before any work is done.

A value of the wrong kind must not surface as a ``TypeError`` from somewhere inside. What needs the model or the data
(regular expressions that match nothing, shapes, samples) is checked where it is used.
"""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

import numpy as np

from octconvert.errors import UsageError
from octconvert.options import limits
from octconvert.options.limits import shown
from octconvert.text.nearest import did_you_mean

Checker = Callable[[str, Any], Any]
Public = TypeVar("Public", bound=Callable[..., Any])


def checked(function: Public) -> Public:
    """Decorator: check the arguments of a public function, and hand them on in Python's own types.

    Raises:
        UsageError: in a call, for a value of the wrong kind or out of range; the message names the argument.
    """
    signature = inspect.signature(function)

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        bound = _bound(function, signature, args, kwargs)
        bound.arguments.update(_set_arguments(signature, bound.arguments))
        return function(*bound.args, **bound.kwargs)

    return call  # type: ignore[return-value]


def performed_by(
    stage: Callable[[Mapping[str, Any]], Any], like: Callable[..., Any] | None = None, without: Iterable[str] = ()
) -> Callable[[Public], Public]:
    """Decorator: the function declares its arguments, ``stage`` does the work.

    ``stage`` receives the arguments that differ from their default, by name, checked as by `checked`.

    Args:
        like: another function whose arguments are taken over, but for those of ``without``.
    """

    def decorate(function: Public) -> Public:
        signature = inspect.signature(function)
        if like is not None:
            parameters = inspect.signature(like).parameters.values()
            signature = signature.replace(parameters=[each for each in parameters if each.name not in set(without)])

        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            return stage(_set_arguments(signature, _bound(function, signature, args, kwargs).arguments))

        call.__signature__ = signature  # type: ignore[attr-defined]
        return call  # type: ignore[return-value]

    return decorate


def _bound(
    function: Callable[..., Any], signature: inspect.Signature, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> inspect.BoundArguments:
    """
    Raises:
        TypeError: as Python raises it for a function of this signature, with the name that may be meant.
    """
    for name in kwargs:
        if name not in signature.parameters:
            hint = did_you_mean(name, signature.parameters) or f" (see help(octconvert.{function.__name__}))"
            raise TypeError(f"{function.__name__}() has no argument {shown(name)}{hint}")
    try:
        return signature.bind(*args, **kwargs)
    except TypeError as error:
        raise TypeError(f"{function.__name__}(): {error}") from None


def _set_arguments(signature: inspect.Signature, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments that differ from their default, checked."""
    changed = {}
    for name, value in arguments.items():
        if not _is_default(value, signature.parameters[name].default):
            changed[name] = CHECKERS[name](name, value) if name in CHECKERS else value
    return changed


def _is_default(value: Any, default: Any) -> bool:
    return value is default or (type(value) is type(default) and isinstance(value, _COMPARED) and value == default)


_COMPARED = (bool, int, float, str, tuple)


def path_of(name: str, value: Any) -> str:
    """A path as text.

    Raises:
        UsageError: it is not a path, is empty, or contains a NUL character.
    """
    text = os.fspath(value) if isinstance(value, (str, os.PathLike)) else None
    if not isinstance(text, str) or not text or "\0" in text:
        raise UsageError(f"{name} takes the path of a file, received {shown(value)}")
    return text


def _optional(check: Checker) -> Checker:
    return lambda name, value: None if value is None else check(name, value)


def _path(name: str, value: Any) -> Any:
    path_of(f"`{name}`", value)
    return value


def _model(name: str, value: Any) -> Any:
    """Anything that is no path is left for the reading of the model, which knows what a model is."""
    return _path(name, value) if isinstance(value, (str, os.PathLike)) else value


def _plan(name: str, value: Any) -> Any:
    return _path(name, value) if isinstance(value, (str, os.PathLike)) else value


def _flag(name: str, value: Any) -> bool:
    if not isinstance(value, (bool, np.bool_)):
        raise UsageError(f"`{name}` must be true or false, received {shown(value)}")
    return bool(value)


def _number(name: str, value: Any) -> float:
    if not limits.is_number(value):
        raise UsageError(f"`{name}` takes a number, received {shown(value)}")
    return float(value)


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise UsageError(f"`{name}` takes a name, received {shown(value)}")
    return value


def _texts(name: str, value: Any) -> tuple[str, ...]:
    names = (value,) if isinstance(value, str) else value
    try:
        names = () if isinstance(names, (bytes, Mapping)) else tuple(names)
    except TypeError:  # not iterable; an array without axes says that it is
        names = ()
    if not names or not all(isinstance(item, str) for item in names):
        raise UsageError(f"`{name}` takes names, received {shown(value)}")
    return names


def _steps(name: str, value: Any) -> tuple[str, ...]:
    """As `_texts`, or none at all."""
    return () if isinstance(value, (tuple, list)) and not value else _texts(name, value)


def _function(name: str, value: Any) -> Any:
    if not callable(value):
        raise UsageError(f"`{name}` takes a function, received {shown(value)}")
    return value


def _progress(name: str, value: Any) -> Any:
    return value if isinstance(value, bool) else _function(name, value)


def _objects(name: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise UsageError(f"`{name}` takes a dict from names to classes and functions, received {shown(value)}")
    return dict(value)


def _range(name: str, value: Any) -> tuple[float, float]:
    ends = tuple(value) if isinstance(value, (list, tuple)) or (isinstance(value, np.ndarray) and value.ndim) else ()
    if len(ends) != 2 or not all(map(limits.is_number, ends)) or not ends[0] < ends[1]:
        raise UsageError(f"`{name}` takes two numbers (black, white), the first one smaller, received {shown(value)}")
    return float(ends[0]), float(ends[1])


def _octave(name: str, value: Any) -> int | tuple[int, ...]:
    return limits.octave(value)


CHECKERS: dict[str, Checker] = {
    **dict.fromkeys(("overwrite", "unsafe", "strict", "portable", "for_inference", "benchmark", "integer_io"), _flag),
    **dict.fromkeys(("verify", "stride_mode", "weights", "objective"), _text),
    **dict.fromkeys(("preset", "runtime", "format", "quantize"), _optional(_text)),
    "calibration_steps": _steps,
    "runtimes": _optional(_texts),
    "layers": _texts,
    **dict.fromkeys(("model_or_path", "a", "b", "model"), _model),
    "source": _optional(_model),
    **dict.fromkeys(
        ("min_size", "calibration_samples", "seed", "threads", "rounds", "layer_count", "channels"), limits.whole
    ),
    **dict.fromkeys(("calibration_budget", "target_macs", "target_time", "max_drop"), _optional(limits.real)),
    "alpha": _number,
    "interior": _optional(_number),
    "octave": _octave,
    "batch": _optional(limits.open_batch),
    "opset": _optional(limits.whole),
    "path": _path,
    "output": _path,
    "plan": _optional(_plan),
    "progress": _optional(_progress),
    "custom_objects": _optional(_objects),
    "input_range": _optional(_range),
}
"""Argument name -> what checks its value and hands it on."""
