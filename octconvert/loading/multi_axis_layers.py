"""Layers over several axes in .h5 files: Keras 3's reader of that format ignores their ``axis``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from octconvert.loading import known_objects
from octconvert.loading.context import LoadingContext
from octconvert.loading.records import Record, children, is_model, walk
from octconvert.loading.repairs.layer_arguments import own_class

NAME = "octconvert_axes"


class MultiAxisLayer:
    """Takes the place of such a layer in the configuration; what is built from it is the layer itself."""

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        """A layer from its constructor's arguments and the two that `hide_axes` added."""
        arguments = dict(config)
        create: Callable[[dict[str, Any]], Any] = arguments.pop("octconvert_class").from_config
        axis = arguments.pop("octconvert_axis")
        return create({**arguments, "axis": axis})


def hide_axes(model: Record, context: LoadingContext) -> dict[str, Any]:
    """Hides ``axis`` from the reader, in place; returns the custom objects that the reader then needs."""
    for record in walk(model):
        for layer in children(record) if is_model(record) else ():
            config = layer["config"]
            axis = config.get("axis") if isinstance(config, dict) else None
            kind = own_class(layer, context) or known_objects.custom_object(layer["class_name"], context.custom_objects)
            if isinstance(axis, list | tuple) and len(axis) > 1 and isinstance(kind, type):
                del config["axis"]
                config.update(octconvert_class=kind, octconvert_axis=list(axis))
                layer["class_name"] = NAME
    return {NAME: MultiAxisLayer}
