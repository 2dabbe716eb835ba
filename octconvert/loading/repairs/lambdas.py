"""Lambda layers: their functions in the form of Keras 3, and a check of what their code needs."""

from __future__ import annotations

import builtins
import codecs
import dis
import marshal
from collections.abc import Iterator
from types import CodeType
from typing import Any

from keras.src.utils import python_utils

from octconvert.loading.context import LoadingContext
from octconvert.loading.records import Record, name_of

FUNCTIONS = ("function", "output_shape", "mask")


def translate(record: Record, context: LoadingContext) -> None:
    """Puts the functions of a Lambda into the form of Keras 3, in place; from an archive Keras reads no other form.

    Raises:
        InputError: A function can not run: another Python wrote it, or it uses names that are not in the file.
    """
    config = record["config"]
    for key in FUNCTIONS:
        value, form = config.get(key), config.pop(f"{key}_type", None)
        config.pop(f"{key}_module", None)
        if key in config:
            config[key] = _in_keras3_form(value, form, key)
            if context.unsafe:
                _check_code(config[key], record, context)
    config.pop("module", None)


def _in_keras3_form(value: Any, form: Any, key: str) -> Any:
    if form == "lambda" or (key == "function" and isinstance(value, list)):
        code, defaults, closure = value if isinstance(value, list) else (value, None, None)
        value = {"class_name": "__lambda__", "config": {"code": code, "defaults": defaults, "closure": closure}}
    if isinstance(value, dict) and value.get("class_name") == "__lambda__":
        parts = value["config"]
        if isinstance(parts.get("defaults"), list) and isinstance(parts["code"], str):
            # A tuple has become a list in JSON; Keras converts it back only where all three are one list.
            parts = {**parts, "code": [parts["code"], parts["defaults"], parts["closure"]]}
        return {**value, "config": parts}
    if form == "function" and isinstance(value, str):
        return {"module": "builtins", "class_name": "function", "config": value, "registered_name": "function"}
    return value


def _check_code(value: Any, record: Record, context: LoadingContext) -> None:
    """Refuses code that can not run; Keras reports that late, or not at all: it leaves layers of a Sequential out."""
    if not isinstance(value, dict) or value.get("class_name") != "__lambda__":
        return
    code = value["config"]["code"]
    try:
        decoded = marshal.loads(codecs.decode((code[0] if isinstance(code, list) else code).encode("ascii"), "base64"))
    except (ValueError, EOFError, TypeError):
        context.refuse(
            "is a Lambda whose code was written by another version of Python; load the file with that version",
            name_of(record),
        )
    missing = sorted(set(_missing_names(decoded)))
    if missing:
        names = ", ".join(f"'{name}'" for name in missing)
        context.refuse(
            f"is a Lambda whose code uses {names}, which the file does not contain; write it as a layer",
            name_of(record),
        )


def _missing_names(code: CodeType) -> Iterator[str]:
    """The global names that the code reads and that do not exist after Keras has loaded it."""
    read = {step.argval for step in dis.get_instructions(code) if step.opname in ("LOAD_GLOBAL", "LOAD_NAME")}
    yield from (name for name in read if not hasattr(builtins, name) and not hasattr(python_utils, name))
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _missing_names(constant)
