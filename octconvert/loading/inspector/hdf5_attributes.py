"""Attributes of HDF5 objects: texts and lists of names, of bounded length."""

from __future__ import annotations

import math
from typing import Any

import h5py
import numpy as np

from .limits import MIB, TEXT, Refusal, utf8


def has(place: Any, name: str) -> bool:
    return h5py.h5a.exists(place.id, name.encode())


def text(place: Any, name: str) -> str | None:
    """The attribute as text; None where there is none."""
    if not has(place, name):
        return None
    value = _attribute(place, name)
    if isinstance(value, np.ndarray) and value.size == 1:
        value = value.reshape(-1)[0]
    value = value if isinstance(value, str) else bytes(value)
    if len(value) > TEXT:
        raise Refusal(f"has an attribute '{name}' of more than {TEXT // MIB} MiB; save the model again")
    return utf8(value, name)


def names(group: Any, key: str) -> list[str]:
    """A list of names kept in an attribute; long lists are kept in parts ``key0``, ``key1``, ..."""
    parts = [key] if has(group, key) else []
    while key not in parts and has(group, f"{key}{len(parts)}"):
        parts.append(f"{key}{len(parts)}")
    result: list[str] = []
    length = 0
    for part in parts:
        for name in np.ravel(_attribute(group, part)).tolist():
            result.append(utf8(name, part))
            length += len(name)
            if length > TEXT:
                raise Refusal(f"has a list of more than {TEXT // MIB} MiB in '{key}'; save the model again")
    return result


def _attribute(place: Any, name: str) -> Any:
    header = h5py.h5a.open(place.id, name.encode())
    if math.prod(header.shape or ()) * header.get_type().get_size() > TEXT:
        raise Refusal(f"has an attribute '{name}' of more than {TEXT // MIB} MiB; save the model again")
    return place.attrs[name]
