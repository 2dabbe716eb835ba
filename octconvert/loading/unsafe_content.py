"""Unsafe content of a configuration: code, names of files, objects that are not part of a network.

Every value is examined, at any depth and under any key: Keras decodes objects in places that differ between its
formats, and a value that one format ignores is run by another.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import keras

from octconvert.loading import known_objects
from octconvert.loading.records import Record, children, name_of, walk

# Values that have the form of objects and contain only data.
DATA = {"__keras_tensor__", "__tensor__", "__numpy__", "__bytes__", "__ellipsis__", "__slice__"}
CODE_KEYS = {"code", "defaults", "closure"}  # of a Python function, as Keras serializes it
CODE_STARTS = ("4w", "Yw")  # bytecode in base64
# Packages of which Keras imports the module that an object names.
IMPORTED = {"keras", "keras_hub", "keras_cv", "keras_nlp"}


class Kind(enum.Enum):
    """What is wrong with a value, as the end of a sentence that starts with the layer."""

    CODE = "contains Python code under '{key}'"
    FILE = "reads the file '{value}', named by its argument '{key}'"
    FOREIGN = "uses '{value}' under '{key}', which is not a part of a network"
    UNKNOWN = "uses '{value}' under '{key}', which Keras does not know"


@dataclass(frozen=True)
class Finding:
    """An unsafe value of a configuration.

    Attributes:
        kind: Why it is unsafe.
        layer: The layer that has it.
        key: The key or argument that has it.
        value: The name of the object or file.
        module: The Python module that the configuration states for it.
    """

    kind: Kind
    layer: str
    key: str
    value: str = ""
    module: str = ""

    def __str__(self) -> str:
        return self.kind.value.format(key=self.key, value=self.value)


@dataclass(frozen=True)
class InMemory:
    """What the layers of a model in memory contain already, so that it is safe in its configuration.

    Attributes:
        codes: The bytecode of Python functions, as Keras serializes it.
        parts: Functions, and the classes of the layers.
        files: Names of files.
    """

    codes: frozenset[str] = frozenset()
    parts: frozenset[Any] = frozenset()
    files: frozenset[str] = frozenset()


NOTHING = InMemory()


def find_unsafe(model: Record, custom_objects: Mapping[str, Any], known: InMemory = NOTHING) -> Iterator[Finding]:
    """All unsafe values of a model's configuration.

    Args:
        model: Parsed JSON, or a configuration in memory.
        custom_objects: The user's own classes and functions by name.
        known: What is safe because it is in memory already.
    """
    for record in walk(model):
        yield from _Scan(_short(name_of(record)), custom_objects, known).findings(record)


@dataclass(frozen=True)
class _Scan:
    """The search in one layer's record; the records of layers inside it are searched by themselves."""

    layer: str
    custom_objects: Mapping[str, Any]
    known: InMemory

    def findings(self, record: Record) -> Iterator[Finding]:
        seen = {id(child) for child in children(record)}
        waiting: list[tuple[Any, str, bool]] = [(record, "", False)]
        while waiting:
            value, key, in_custom = waiting.pop()
            if id(value) in seen or not isinstance(value, dict | list | tuple | set | frozenset):
                continue
            seen.add(id(value))
            if not isinstance(value, dict):
                yield from self._code(_first(value), key) if _is_function_dump(value) else ()
                waiting += [(item, key, in_custom) for item in value]
                continue
            own_findings = list(self._in_dict(value, key))
            # A custom class may have values that only look like objects.
            in_custom = in_custom or self._is_custom(value)
            yield from (one for one in own_findings if not (in_custom and self._is_only_data(one)))
            waiting += [
                (item, key if key or name == "config" else str(name), in_custom) for name, item in value.items()
            ]

    def _finding(self, kind: Kind, key: str, value: Any = "", module: Any = "") -> Finding:
        return Finding(kind, self.layer, _short(key or "class_name"), _short(value), str(module or ""))

    def _is_custom(self, value: Record) -> bool:
        kind = value.get("class_name")
        return isinstance(kind, str) and any(
            known_objects.is_custom(one, self.custom_objects)
            for one in known_objects.classes(value, self.custom_objects)
        )

    def _is_known(self, candidate: Any) -> bool:
        # By identity: Keras' modules hold values that can not be hashed.
        return known_objects.is_custom(candidate, self.custom_objects) or any(
            candidate is one for one in self.known.parts
        )

    def _is_only_data(self, finding: Finding) -> bool:
        return finding.kind is Kind.UNKNOWN and finding.module.split(".")[0] not in IMPORTED

    def _in_dict(self, value: Record, key: str) -> Iterator[Finding]:
        if value.keys() >= CODE_KEYS:
            yield from self._code(value["code"], key)
        for name, item in value.items():
            if str(name).endswith("_type") and item == "lambda":
                argument = str(name).removesuffix("_type")
                yield from self._code(_first(value.get(argument)), argument)
        kind = value.get("class_name")
        if kind is None or (isinstance(kind, str) and kind in DATA):
            return
        if not isinstance(kind, str):
            yield self._finding(Kind.FOREIGN, key, kind)
        elif kind == "__lambda__":
            yield from self._lambda(value.get("config"), key)
        elif kind == "function":
            yield from self._function(value, key)
        elif kind == "__typespec__":  # of TensorFlow; Keras looks for it among its classes
            yield self._finding(Kind.UNKNOWN, key, value.get("spec_name"), value.get("module"))
        elif "config" in value:
            yield from self._class(value, key)

    def _code(self, text: Any, key: str) -> Iterator[Finding]:
        if not isinstance(text, str) or text not in self.known.codes:
            yield self._finding(Kind.CODE, key)

    def _lambda(self, config: Any, key: str) -> Iterator[Finding]:
        if not isinstance(config, dict):
            yield self._finding(Kind.CODE, key)
        elif not config.keys() >= CODE_KEYS:  # those are examined in any place
            yield from self._code(config.get("code", _first(config.get("value"))), key)

    def _function(self, value: Record, key: str) -> Iterator[Finding]:
        name, candidates = value.get("config"), known_objects.functions(value, self.custom_objects)
        if not candidates:
            yield self._finding(Kind.UNKNOWN, key, name, value.get("module"))
        for one in candidates:
            if not self._is_known(one) and not known_objects.is_harmless_function(one):
                yield self._finding(Kind.FOREIGN, key, f"{value.get('module')}.{name}")

    def _class(self, value: Record, key: str) -> Iterator[Finding]:
        kind, config = value["class_name"], value["config"]
        candidates = known_objects.classes(value, self.custom_objects)
        if not candidates:
            yield self._finding(Kind.UNKNOWN, key, kind, value.get("module"))
        for one in candidates:
            if not self._is_known(one) and not known_objects.is_harmless_class(one):
                yield self._finding(Kind.FOREIGN, key, f"{value.get('module') or 'keras'}.{kind}")
        if isinstance(config, dict):
            yield from self._arguments(candidates, config)

    def _arguments(self, candidates: list[Any], config: Record) -> Iterator[Finding]:
        if any(known_objects.reads_files(one) for one in candidates):
            for name in known_objects.FILE_ARGUMENTS:
                if isinstance(config.get(name), str) and config[name] not in self.known.files:
                    yield self._finding(Kind.FILE, name, config[name])
        if any(isinstance(one, type) and issubclass(one, keras.layers.Lambda) for one in candidates):
            for name in ("function", "output_shape", "mask"):
                code = _first(config.get(name))
                if isinstance(code, str):  # of Keras 2: [code, defaults, closure]
                    yield from self._code(code, name)


def _short(value: Any) -> str:
    line = " ".join(str(value).split())
    return line if len(line) <= 80 else f"{line[:77]}..."


def _is_function_dump(value: Any) -> bool:
    """Whether it is [code, defaults, closure], a Python function that Keras wrote without marking it as one."""
    return (
        len(value) == 3 and isinstance(_first(value), str) and value[0].startswith(CODE_STARTS) and len(value[0]) > 60
    )


def _first(value: Any) -> Any:
    return value[0] if isinstance(value, list | tuple) and value else None
