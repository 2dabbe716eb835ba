"""Registers the octave layers with Keras without importing it: `octconvert --help` must not wait for TensorFlow."""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.util
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType

from octconvert.system.notebooks import quiet_imports


def register_with_keras() -> None:
    """Import the layers now if Keras is there, else as soon as it has been imported."""
    if "keras" in sys.modules:
        importlib.import_module("octconvert.layers")
    elif not any(isinstance(finder, _AfterKeras) for finder in sys.meta_path):
        sys.meta_path.insert(0, _AfterKeras())


class _AfterKeras(importlib.abc.MetaPathFinder):
    """Finds nothing itself; lets the ordinary finders load ``keras`` and adds one step behind it."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != "keras":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(fullname)
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader)
        return spec


class _Loader(importlib.abc.Loader):
    """The ordinary loader of ``keras``, then the import of the layers."""

    def __init__(self, loader: importlib.abc.Loader) -> None:
        self._loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        assert module.__spec__ is not None  # this loader was found through it
        module.__spec__.loader = module.__loader__ = self._loader
        with quiet_imports():
            self._loader.exec_module(module)
        importlib.import_module("octconvert.layers")
