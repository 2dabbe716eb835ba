"""What is known about a rewritten model beside the model: its new layers, their calls, and notes for the report."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from keras import Layer

from octconvert.model.graph import Call
from octconvert.rules import Value

Path = tuple[str, ...]
"""Names of the nested models that something lies in, the outermost first."""

ValueKey = tuple[Path, int]
"""Path, and id of a Keras tensor of the source."""


@dataclass(frozen=True, eq=False)
class NewLayer:
    """A layer of the new model.

    Attributes:
        layer: the Keras layer or operation.
        call: the call of the source that it was built for.
        part: which of the call's new layers it is: 'clone' for a copy, 'clone-H' and 'clone-L' for those of a pair,
            else a name that the rule chose.
    """

    layer: Any
    call: Call
    part: str


@dataclass(frozen=True, eq=False)
class NewCall:
    """One call of a `NewLayer`.

    A nested model is built once for all its calls, and so are the calls in it.

    Attributes:
        new_layer: the layer that is called.
        call: the call of the source that it replaces, or helps to replace.
        node: its Keras node in the new model.
    """

    new_layer: NewLayer
    call: Call
    node: Any


@dataclass(eq=False)
class Record:
    """What is written down while a model is rewritten; see `octconvert.rewriting.Rewritten` for the attributes."""

    layers: list[NewLayer] = field(default_factory=list)
    calls: list[NewCall] = field(default_factory=list)
    values: dict[ValueKey, Value] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    parameter_changes: dict[object, int] = field(default_factory=dict)


def weights_by_name(layer: Layer) -> dict[str, Any]:
    """The weights that a layer holds itself, by attribute name, in their order."""
    names = {id(value): name.lstrip("_") for name, value in vars(layer).items()}
    return {names.get(id(weight), weight.name): weight for weight in getattr(layer, "weights", ())}
