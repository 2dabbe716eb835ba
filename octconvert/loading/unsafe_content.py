"""What in a configuration is not harmless: code, names of files, objects that are no part of a network.

Every value is looked at, at any depth and under any key: Keras decodes objects in places that differ between its
formats, and what one of them leaves alone another one runs.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import keras

from octconvert.loading import known_objects
from octconvert.loading.configuration import Record, children, name_of, walk

# Values that are written like objects and hold nothing but data.
DATA = {"__keras_tensor__", "__tensor__", "__numpy__", "__bytes__", "__ellipsis__", "__slice__"}
CODE_KEYS = {"code", "defaults", "closure"}  # of a Python function, as Keras dumps it
CODE_STARTS = ("4w", "Yw")  # byte code in base64
# Where Keras imports the module that an object names, in the hope of finding it there.
IMPORTED = {"keras", "keras_hub", "keras_cv", "keras_nlp"}


class Kind(enum.Enum):
    """What is wrong with a value, as the end of a sentence that starts with the layer."""

    CODE = "holds Python code under '{key}'"
    FILE = "reads the file '{what}', which its '{key}' names"
    FOREIGN = "names '{what}' under '{key}', which is no part of a network"
    UNKNOWN = "uses '{what}' under '{key}', which Keras does not know"


@dataclass(frozen=True)
class Finding:
    """A value of a configuration that is not harmless.

    Attributes:
        kind: In which way.
        layer, key: Where it is.
        what: The name of the object or file.
        module: The Python module it is said to be from.
    """

    kind: Kind
    layer: str
    key: str
    what: str = ""
    module: str = ""

    def __str__(self) -> str:
        return self.kind.value.format(key=self.key, what=self.what)


@dataclass(frozen=True)
class Held:
    """What the layers of a model in memory hold already, so that it is nothing new in a configuration.

    Attributes:
        codes: The byte code of Python functions, as Keras writes it.
        parts: Functions, and the classes of the layers.
        files: Names of files.
    """

    codes: frozenset[str] = frozenset()
    parts: frozenset[Any] = frozenset()
    files: frozenset[str] = frozenset()


NOTHING = Held()


def findings(model: Record, custom_objects: Mapping[str, Any], held: Held = NOTHING) -> Iterator[Finding]:
    """All values of a model's configuration that are not harmless.

    Args:
        model: Parsed JSON, or a configuration in memory.
        custom_objects: The user's own classes and functions by name.
        held: What is harmless because it is in memory already.
    """
    for record in walk(model):
        yield from _Scan(_short(name_of(record)), custom_objects, held).of(record)


@dataclass(frozen=True)
class _Scan:
    """The findings in one layer's record; the records of the layers inside it are left to their own scan."""

    layer: str
    custom_objects: Mapping[str, Any]
    held: Held

    def of(self, record: Record) -> Iterator[Finding]:
        seen = {id(child) for child in children(record)}
        waiting: list[tuple[Any, str, bool]] = [(record, "", False)]
        while waiting:
            value, key, own = waiting.pop()
            if id(value) in seen or not isinstance(value, dict | list | tuple | set | frozenset):
                continue
            seen.add(id(value))
            if not isinstance(value, dict):
                yield from self._code(_first(value), key) if _is_dump(value) else ()
                waiting += [(item, key, own) for item in value]
                continue
            found = list(self._in(value, key))
            # A class of the user's own may keep what only looks like an object.
            own = own or self._is_own(value)
            yield from (one for one in found if not (own and self._is_left_alone(one)))
            waiting += [(item, key if key or name == "config" else str(name), own) for name, item in value.items()]

    def _finding(self, kind: Kind, key: str, what: Any = "", module: Any = "") -> Finding:
        return Finding(kind, self.layer, _short(key or "class_name"), _short(what), str(module or ""))

    def _is_own(self, value: Record) -> bool:
        kind = value.get("class_name")
        return isinstance(kind, str) and any(
            known_objects.is_of_the_user(one, self.custom_objects)
            for one in known_objects.classes(value, self.custom_objects)
        )

    def _is_known(self, found: Any) -> bool:
        # By identity: Keras' modules hold values that can not be hashed.
        return known_objects.is_of_the_user(found, self.custom_objects) or any(found is one for one in self.held.parts)

    def _is_left_alone(self, finding: Finding) -> bool:
        return finding.kind is Kind.UNKNOWN and finding.module.split(".")[0] not in IMPORTED

    def _in(self, value: Record, key: str) -> Iterator[Finding]:
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
        elif kind == "__typespec__":  # of TensorFlow; Keras looks for it among its own classes
            yield self._finding(Kind.UNKNOWN, key, value.get("spec_name"), value.get("module"))
        elif "config" in value:
            yield from self._class(value, key)

    def _code(self, text: Any, key: str) -> Iterator[Finding]:
        if not isinstance(text, str) or text not in self.held.codes:
            yield self._finding(Kind.CODE, key)

    def _lambda(self, config: Any, key: str) -> Iterator[Finding]:
        if not isinstance(config, dict):
            yield self._finding(Kind.CODE, key)
        elif not config.keys() >= CODE_KEYS:  # those are looked at wherever they are
            yield from self._code(config.get("code", _first(config.get("value"))), key)

    def _function(self, value: Record, key: str) -> Iterator[Finding]:
        name, found = value.get("config"), known_objects.functions(value, self.custom_objects)
        if not found:
            yield self._finding(Kind.UNKNOWN, key, name, value.get("module"))
        for one in found:
            if not self._is_known(one) and not known_objects.is_harmless_function(one):
                yield self._finding(Kind.FOREIGN, key, f"{value.get('module')}.{name}")

    def _class(self, value: Record, key: str) -> Iterator[Finding]:
        kind, config = value["class_name"], value["config"]
        found = known_objects.classes(value, self.custom_objects)
        if not found:
            yield self._finding(Kind.UNKNOWN, key, kind, value.get("module"))
        for one in found:
            if not self._is_known(one) and not known_objects.is_harmless_class(one):
                yield self._finding(Kind.FOREIGN, key, f"{value.get('module') or 'keras'}.{kind}")
        if isinstance(config, dict):
            yield from self._arguments(found, config)

    def _arguments(self, found: list[Any], config: Record) -> Iterator[Finding]:
        if any(known_objects.is_reader(one) for one in found):
            for name in known_objects.FILES:
                if isinstance(config.get(name), str) and config[name] not in self.held.files:
                    yield self._finding(Kind.FILE, name, config[name])
        if any(isinstance(one, type) and issubclass(one, keras.layers.Lambda) for one in found):
            for name in ("function", "output_shape", "mask"):
                code = _first(config.get(name))
                if isinstance(code, str):  # of Keras 2: [code, defaults, closure]
                    yield from self._code(code, name)


def _short(what: Any) -> str:
    line = " ".join(str(what).split())
    return line if len(line) <= 80 else f"{line[:77]}..."


def _is_dump(value: Any) -> bool:
    """Whether it is [code, defaults, closure], as Keras writes a Python function where it does not say so."""
    return (
        len(value) == 3 and isinstance(_first(value), str) and value[0].startswith(CODE_STARTS) and len(value[0]) > 60
    )


def _first(value: Any) -> Any:
    return value[0] if isinstance(value, list | tuple) and value else None
