"""The form in which a runtime takes a model: the one that was requested, or else the other one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import keras

from octconvert.errors import CheckError, InputError, OctconvertError, first_line
from octconvert.inference.forms import InferenceForm, inference_form, unchanged_form
from octconvert.inference.precision import others_than
from octconvert.model.graph_reader import build_graph
from octconvert.runtimes.base import Refused, Runtime

Result = TypeVar("Result")
_NAMES = {True: "in its form for inference", False: "as it is"}


@dataclass(frozen=True, eq=False)
class TakenForm(Generic[Result]):
    """The form that a runtime takes, written.

    Attributes:
        for_inference: whether it is the form for inference.
        result: of writing it.
        notes: what should be known about it, one line each.
    """

    for_inference: bool
    result: Result
    notes: tuple[str, ...]


def first_taken(
    model: keras.Model,
    runtime: Runtime,
    forms: Sequence[bool],
    write: Callable[[keras.Model], Result],
    refusal: str = "",
    precision: str | None = None,
) -> TakenForm[Result]:
    """Write a model in the first of some forms that the runtime takes.

    Args:
        forms: whether the model is written in its form for inference; in the order in which they are tried.
        write: writes a Keras model; InputError and CheckError refuse it.
        refusal: for a note, why forms before these were not taken.
        precision: to which ``write`` rounds the numbers.

    Raises:
        InputError, CheckError: none is taken; the error of the model as it is, where that was tried.
        Exception: Whatever else ``write`` raises.
    """
    errors: dict[bool, Exception] = {}
    for form in forms:
        try:
            built, lacking = _built(model, runtime, form, precision)
            result = write(built.model)
        except (InputError, CheckError) as error:
            errors[form], refusal = error, refusal_of(form, error)
            continue
        return TakenForm(form, result, (*built.notes, *_notes(runtime, form, lacking, refusal)))
    raise errors.get(False) or errors[True]


def refusal_of(form: bool, error: Exception | str) -> str:
    """Why a form was not taken, for a note."""
    reason = error if isinstance(error, str) else getattr(error, "reason", str(error))
    return f"{_NAMES[form]} it can not be used there: {reason}"


def _built(
    model: keras.Model, runtime: Runtime, form: bool, precision: str | None
) -> tuple[InferenceForm, tuple[str, ...]]:
    """The model in a form, and the precisions that the runtime does not have, for which it computes in float32."""
    lacking = others_than(build_graph(model), runtime.computes_in)
    try:
        if form:
            return inference_form(model, runtime.name, precision, in_float32=bool(lacking)), lacking
        return unchanged_form(model, bool(lacking)), lacking
    except OctconvertError:
        raise
    except Exception as error:  # a layer that somebody else wrote can raise anything where it is copied
        reason = f"{type(error).__name__}: {first_line(error)}"
        raise Refused(f"model '{model.name}' can not be written {_NAMES[form]}: {reason}", reason) from error


def _notes(runtime: Runtime, form: bool, lacking: tuple[str, ...], refusal: str) -> list[str]:
    notes = [f"for {runtime.name} the model is written {_NAMES[form]}; {refusal}"] if refusal else []
    if lacking:
        notes.append(f"for {runtime.name} the model is written in float32: it does not compute in {', '.join(lacking)}")
    return notes
