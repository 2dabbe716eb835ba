"""The form in which a runtime takes a model: the one that was asked for, or else the other one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from octconvert.errors import CheckError, InputError, OctconvertError, first_line
from octconvert.inference import precision
from octconvert.inference.forms import Deployed, as_it_is, deploy
from octconvert.model.graph_reader import build_graph
from octconvert.runtimes.base import Refused, Runtime

Result = TypeVar("Result")
_NAMES = {True: "in its form for inference", False: "as it is"}


@dataclass(frozen=True, eq=False)
class Choice(Generic[Result]):
    """A form that was taken.

    Attributes:
        for_inference: whether it is the form for inference.
        result: what came of writing it.
        notes: what should be known of it, one line each.
    """

    for_inference: bool
    result: Result
    notes: tuple[str, ...]


def first_taken(
    model, runtime: Runtime, forms: Sequence[bool], write: Callable[[Any], Result], refusal: str = ""
) -> Choice[Result]:
    """Write a model in the first of some forms that the runtime takes.

    Args:
        forms: whether the model is written in its form for inference; in the order in which they are tried.
        write: writes a Keras model; InputError and CheckError refuse it.
        refusal: why forms before these were not taken, as a note says it.

    Raises:
        InputError, CheckError: none is taken; what ``write`` says of the model as it is, where that was tried.
        Exception: Whatever else ``write`` raises.
    """
    errors: dict[bool, Exception] = {}
    for form in forms:
        try:
            made, lacking = _made(model, runtime, form)
            result = write(made.model)
        except (InputError, CheckError) as error:
            errors[form], refusal = error, refusal_of(form, error)
            continue
        return Choice(form, result, (*made.notes, *_notes(runtime, form, lacking, refusal)))
    raise errors.get(False) or errors[True]


def refusal_of(form: bool, error: Exception | str) -> str:
    """Why a form was not taken, for a note."""
    reason = error if isinstance(error, str) else getattr(error, "reason", str(error))
    return f"{_NAMES[form]} it can not be used there: {reason}"


def _made(model, runtime: Runtime, form: bool) -> tuple[Deployed, tuple[str, ...]]:
    """The model in a form, and the precisions that the runtime lacks for it, which are float32 then."""
    lacking = precision.others_than(build_graph(model), runtime.computes_in)
    try:
        made = deploy(model, runtime.name, in_float32=bool(lacking)) if form else as_it_is(model, bool(lacking))
    except OctconvertError:
        raise
    except Exception as error:  # a layer that somebody else wrote can raise anything where it is made anew
        reason = f"{type(error).__name__}: {first_line(error)}"
        raise Refused(f"model '{model.name}' can not be written {_NAMES[form]}: {reason}", reason) from error
    return made, lacking


def _notes(runtime: Runtime, form: bool, lacking: tuple[str, ...], refusal: str) -> list[str]:
    notes = [f"for {runtime.name} the model is written {_NAMES[form]}; {refusal}"] if refusal else []
    if lacking:
        notes.append(f"for {runtime.name} the model is written in float32: it does not compute in {', '.join(lacking)}")
    return notes
