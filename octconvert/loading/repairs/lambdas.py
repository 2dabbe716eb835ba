"""Lambda layers: functions in today's form, and what they need that no file holds."""

from __future__ import annotations

import builtins
import codecs
import dis
import marshal
from collections.abc import Iterator
from types import CodeType
from typing import Any

from keras.src.utils import python_utils

from octconvert.loading.configuration import Job, Record, name_of

FUNCTIONS = ("function", "output_shape", "mask")


def translate(record: Record, job: Job) -> None:
    """Puts the functions of a Lambda into Keras 3's form, in place; in an archive Keras itself reads no other.

    Raises:
        InputError: A function can not work: it was written by another Python or uses names that are not in the file.
    """
    config = record["config"]
    for key in FUNCTIONS:
        value, form = config.get(key), config.pop(f"{key}_type", None)
        config.pop(f"{key}_module", None)
        if key in config:
            config[key] = _function(value, form, key)
            if job.unsafe:
                _check(config[key], record, job)
    config.pop("module", None)


def _function(value: Any, form: Any, key: str) -> Any:
    if form == "lambda" or (key == "function" and isinstance(value, list)):
        code, defaults, closure = value if isinstance(value, list) else (value, None, None)
        value = {"class_name": "__lambda__", "config": {"code": code, "defaults": defaults, "closure": closure}}
    if isinstance(value, dict) and value.get("class_name") == "__lambda__":
        parts = value["config"]
        if isinstance(parts.get("defaults"), list) and isinstance(parts["code"], str):
            # In JSON a tuple became a list; Keras undoes that only where all three are one list.
            parts = {**parts, "code": [parts["code"], parts["defaults"], parts["closure"]]}
        return {**value, "config": parts}
    if form == "function" and isinstance(value, str):
        return {"module": "builtins", "class_name": "function", "config": value, "registered_name": "function"}
    return value


def _check(value: Any, record: Record, job: Job) -> None:
    """Keras' own errors about this come late, or never: a Sequential goes on without the layers behind."""
    if not isinstance(value, dict) or value.get("class_name") != "__lambda__":
        return
    code = value["config"]["code"]
    try:
        decoded = marshal.loads(codecs.decode((code[0] if isinstance(code, list) else code).encode("ascii"), "base64"))
    except (ValueError, EOFError, TypeError):
        job.refuse(
            "is a Lambda whose code another version of Python wrote; load the file with that one", name_of(record)
        )
    missing = sorted(set(_missing(decoded)))
    if missing:
        names = ", ".join(f"'{name}'" for name in missing)
        job.refuse(
            f"is a Lambda whose code uses {names}, which the file does not hold; write it as a layer", name_of(record)
        )


def _missing(code: CodeType) -> Iterator[str]:
    """The global names that the code reads and that are not there when Keras has loaded it."""
    read = {step.argval for step in dis.get_instructions(code) if step.opname in ("LOAD_GLOBAL", "LOAD_NAME")}
    yield from (name for name in read if not hasattr(builtins, name) and not hasattr(python_utils, name))
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _missing(constant)
