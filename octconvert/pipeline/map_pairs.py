"""Call graph of a converted model -> the pairs and low maps in it, under the names of the source's layers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from octconvert.model.graph import OPERATION, Call, CallGraph
from octconvert.octave.names import HH, HIGH, HL, LL, LOW, OCTAVE_SUFFIX, PATHS
from octconvert.pipeline.diff import paths_of
from octconvert.rules.activations import is_linear

_ENDS = {HH: HIGH, HL: LOW, LL: LOW, HIGH: HIGH, LOW: LOW}
"""End of a built-in layer's name -> the map that it writes."""
_ACTIVATIONS = ("keras.src.layers.activations", "keras.src.ops.nn")


@dataclass(frozen=True)
class MapPair:
    """What stands in a converted model for one map of the source.

    Attributes:
        name: of the layer that writes it in the source, with its nested models.
        use: which of that layer's calls it is, from 0.
        high: tensor number; None where all channels are low.
        low: tensor number.
        active: whether an activation writes it; maps before one can be in another basis than the source's.
    """

    name: str
    use: int
    high: int | None
    low: int
    active: bool


def map_pairs(graph: CallGraph) -> list[MapPair]:
    """In execution order."""
    highs: dict[tuple[str, int], int] = {}
    lows: dict[tuple[str, int], tuple[int, bool]] = {}
    for key, suffix, tensor, call in _parts(graph):
        if suffix == HIGH:
            highs[key] = tensor
        else:
            lows[key] = tensor, _is_active(call.operation)
    pairs = [MapPair(*key, highs.get(key), low, active) for key, (low, active) in lows.items()]
    return [pair for pair in pairs if _is_shown(graph, pair)]


def _parts(graph: CallGraph) -> Iterator[tuple[tuple[str, int], str, int, Call]]:
    """((name, use), suffix, tensor, call) of every map that replaces one of the source, by how its layer is called."""
    uses: Counter[str] = Counter()
    names = {call.layer_name for call in graph.calls}
    convolutions = {name.removesuffix(path) for name in names for path in PATHS if name.endswith(path)}
    for call in graph.calls:
        if call.kind != OPERATION:
            continue
        name = call.layer_name.replace(f"{OCTAVE_SUFFIX}/", "/").removesuffix(OCTAVE_SUFFIX)
        use = uses[name]
        uses[name] += 1
        if hasattr(call.operation, "octave") and len(call.outputs) == 2:
            for suffix, tensor in zip((HIGH, LOW), call.outputs, strict=True):
                yield (name, use), suffix, tensor, call
        elif {target for _, target in paths_of(call.operation)} == {"l"}:
            yield (name, use), LOW, call.outputs[0], call
        elif len(call.outputs) == 1 and (end := next((end for end in _ENDS if name.endswith(end)), "")):
            yield (_source(name.removesuffix(end), convolutions), use), _ENDS[end], call.outputs[0], call


def _source(name: str, convolutions: set[str]) -> str:
    """The layer of the source that a built-in layer is a part of; ``name``: without what says which map it writes.

    The sum of the paths of a convolution, and the activation behind that, come later and take the place of a path.
    """
    convolution = name.removesuffix("-act").removesuffix("-add")
    return convolution if convolution in convolutions else name


def _is_active(operation: Any) -> bool:
    module = type(operation).__module__
    return module.startswith(_ACTIVATIONS) or not is_linear(getattr(operation, "activation", None))


def _is_shown(graph: CallGraph, pair: MapPair) -> bool:
    """Whether it has positions to show."""
    shapes = [graph.tensors[number].shape for number in (pair.low, pair.high) if number is not None]
    return all(graph.is_map(shape) and not graph.is_vector(shape) for shape in shapes)
