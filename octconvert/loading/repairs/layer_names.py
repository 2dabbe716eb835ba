"""Layer names that Keras 3 does not accept, or that can not be printed."""

from __future__ import annotations

from octconvert.loading.context import LoadingContext
from octconvert.loading.records import Record, all_references, children, is_functional, name_of, walk
from octconvert.text.printable import printable

SLASH = "each '/' in the name was replaced by '_'; Keras 3 does not accept it"
HIDDEN = "characters in the name that can not be printed were replaced by '_'"


def rename(model: Record, context: LoadingContext) -> None:
    """Replaces ``/`` and what can not be printed in layer names, wherever a name occurs, in place."""
    for record in walk(model):
        new = _new_names([name_of(layer) for layer in children(record)])
        if is_functional(record):
            for reference in list(all_references(record)):
                reference[0] = new.get(reference[0], reference[0])
        for layer in children(record):
            old = name_of(layer)
            if old in new:
                _set_name(layer, new[old])
                context.renamed[old] = new[old]
                context.notes.add(SLASH if "/" in old else HIDDEN, old)
    if name_of(model) != _accepted(name_of(model)):
        _set_name(model, _accepted(name_of(model)))


def _accepted(name: str) -> str:
    return printable(name.replace("/", "_"), "_")


def _new_names(names: list[str]) -> dict[str, str]:
    """Old name -> new name, without collisions, of the names that have to change."""
    taken = {name for name in names if name == _accepted(name)}
    new: dict[str, str] = {}
    for name in names:
        accepted = _accepted(name)
        if name != accepted and name not in new:
            unique, number = accepted, 1
            while unique in taken:
                unique, number = f"{accepted}_{number}", number + 1
            taken.add(unique)
            new[name] = unique
    return new


def _set_name(record: Record, name: str) -> None:
    if "name" in record:
        record["name"] = name
    if isinstance(record["config"], dict) and ("name" in record["config"] or "name" not in record):
        record["config"]["name"] = name
