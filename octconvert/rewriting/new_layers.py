"""The layers of the new model: copies of the source's, or built by rules; each once, however often it is called."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from keras import Layer, tree

from octconvert.layers import portable
from octconvert.model.copying import config_of, copy_operation
from octconvert.model.functional import node_of
from octconvert.model.graph import Call
from octconvert.planning.planned import Planned
from octconvert.rewriting.names import Names
from octconvert.rewriting.record import NewCall, NewLayer, Record
from octconvert.rewriting.weights import WeightMover
from octconvert.rules.protocols import Changes, NewCallable, Weights

Key = tuple[Any, ...]
TunedWeights = Mapping[Key, Mapping[str, Any]]
"""(call key, part) -> weights by attribute name."""


class NewLayers:
    """See `octconvert.rules.Build` for ``clone``, ``filled``, ``once`` and ``tuned``."""

    def __init__(
        self, planned: Planned, names: Names, mover: WeightMover, record: Record, tuned: TunedWeights | None
    ) -> None:
        self._portable = planned.options.portable
        self._names, self._mover, self._record, self._tuned = names, mover, record, tuned or {}
        self._created: dict[Key, Any] = {}
        self._layers: dict[Key, NewLayer] = {}
        self._filled_layers: set[Key] = set()

    def tuned(self, call: Call, part: str) -> Mapping[str, Any]:
        """Weights to use instead of the source's, by attribute name; empty where there are none."""
        return self._tuned.get((*call.key, part), {})

    def once(self, call: Call, part: str, create: Callable[[], Any]) -> Any:
        """The result of ``create`` at the first call of a shared layer, and the same result at later calls."""
        return self._once((*call.key, part), create)

    def _once(self, key: Key, create: Callable[[], Any]) -> Any:
        if key not in self._created:
            self._created[key] = create()
        return self._created[key]

    def clone(
        self,
        call: Call,
        suffix: str = "",
        changes: Changes | None = None,
        weights: Callable[[], Weights] | None = None,
    ) -> NewCallable:
        """A copy of the call's layer, as a callable that also moves the weights once the copy is built."""
        source = call.operation
        # A layer without weights may work on a pair at one call and on a plain tensor at another: the copies for pairs
        # belong to the call, the one that keeps the name to the layer.
        part = f"clone{suffix}"
        key = (*call.key, part) if suffix else ("operation", id(source))

        def fill(copy: Layer) -> None:
            if isinstance(source, Layer):
                values = list(self.tuned(call, part).values())
                self._mover.set_weights(copy, values or (weights() if weights is not None else source.weights))

        return self._filled(key, call, part, lambda: self._copy(source, suffix, changes), fill)

    def filled(self, call: Call, part: str, create: Callable[[], Any], fill: Callable[[Any], None]) -> NewCallable:
        """The layer that ``create`` returns, as a callable; ``fill`` moves its weights once it is built."""
        return self._filled((*call.key, part), call, part, create, fill)

    def _filled(
        self, key: Key, call: Call, part: str, create: Callable[[], Any], fill: Callable[[Any], None]
    ) -> NewCallable:
        layer = self._once(key, create)
        if key not in self._layers:
            self._layers[key] = NewLayer(layer, call, part)
            self._record.layers.append(self._layers[key])

        def apply(*args: Any, **kwargs: Any) -> Any:
            output = portable.called(layer, *args, **kwargs) if self._portable else layer(*args, **kwargs)
            self._record.calls.append(NewCall(self._layers[key], call, node_of(tree.flatten(output)[0])))
            if key not in self._filled_layers:
                self._filled_layers.add(key)
                fill(layer)
            return output

        return apply

    def _copy(self, source: Any, suffix: str, changes: Changes | None) -> Any:
        name = self._names.name(source.name + suffix) if suffix else self._names.own_name(source.name)
        if not isinstance(source, Layer):
            return copy_operation(source, name, None if changes is None else dict(changes))
        return self._mover.make(type(source), {**config_of(source), **(changes or {}), "name": name})
