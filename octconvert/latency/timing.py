"""The times of all parts of a model, with plain tensors, pairs or whole-low tensors at their ends."""

from __future__ import annotations

import json
from collections.abc import Sequence

import keras
import numpy as np

from octconvert.inference.step_forms import forms_for
from octconvert.latency.fusing import FusedCalls, FusedGraph
from octconvert.latency.groups import PartTimes
from octconvert.latency.probes import ProbeState, probe
from octconvert.latency.stopwatch import Stopwatch
from octconvert.planning.planned import Planned
from octconvert.system.progress import Progress

AS_PLANNED = None
"""The level of a tensor that has the alpha of the plan."""
PAIRS: tuple[float | None, ...] = (0.0, AS_PLANNED)
WHOLE: tuple[float | None, ...] = (0.0, 0.5, 1.0)
"""Levels: the alphas of an end of a part."""


class PartTimer:
    """Times all parts in all their states; equal parts are measured once.

    Args:
        planned: with every group split.
        graph: its parts.
        watch: measures them.
        progress: called with (stage, parts done, parts in all).
        levels: of each end of a part.
    """

    def __init__(
        self,
        planned: Planned,
        graph: FusedGraph,
        watch: Stopwatch,
        progress: Progress,
        levels: tuple[float | None, ...] = PAIRS,
    ):
        self._layout, self._options, self._graph = planned.layout, planned.options, graph
        self._runtime, self._watch, self._progress, self._levels = watch.runtime, watch, progress, levels
        self._untimed: dict[str, None] = {}

    @property
    def notes(self) -> tuple[str, ...]:
        """Parts that could not be timed; their time counts as the same for every choice."""
        if not self._untimed:
            return ()
        first, more = next(iter(self._untimed)), len(self._untimed) - 1
        others = f" and {more} more" if more else ""
        return (f"'{first}'{others} could not be timed alone; the choice does without",)

    def times(self) -> PartTimes:
        """Measure all parts."""
        parts = self._graph.parts
        seconds = np.zeros((len(self._levels), len(self._levels), len(parts)))
        for number, part in enumerate(parts):
            self._progress(f"time layers on {self._runtime}", number, len(parts))
            measured = self._seconds(part)
            if measured is None:
                self._untimed[part.calls[0].layer_name] = None
            else:
                seconds[..., number] = measured
        inputs = np.stack([self._read(part) for part in parts])
        outputs = np.stack([self._written(part) for part in parts])
        return PartTimes(inputs, outputs, seconds)

    def _seconds(self, part: FusedCalls) -> np.ndarray | None:
        """(levels, levels): by input and output; None: it can not be timed."""
        numbers = range(len(self._levels))
        states = {(read, written): self._state(part, read, written) for read in numbers for written in numbers}
        try:
            model = self._graph.model(part)
            config = json.dumps(keras.saving.serialize_keras_object(model), sort_keys=True, default=str)
            keys = {state: f"{self._conditions()} {state} {config}" for state in dict.fromkeys(states.values())}
            missing = {key: state for state, key in keys.items() if self._watch.known(key) is None}
            probes = {key: self._probe(model, state) for key, state in missing.items()}
        except Exception:  # layers of other packages may raise anything
            return None
        if probes:
            self._watch.measure(probes)
        known = {place: self._watch.known(keys[state]) for place, state in states.items()}
        if None in known.values():
            return None
        return np.array([[known[read, written] for written in numbers] for read in numbers], dtype=float)

    def _conditions(self) -> str:
        """Everything that the time of a part depends on besides the part and its state."""
        options = self._options
        conditions = (options.octave, options.min_size, options.stride_mode, self._layout.graph.data_format)
        return f"{conditions} {forms_for(self._runtime, self._watch.precision)}"

    def _probe(self, model: keras.Model, state: ProbeState) -> keras.Model:
        data_format = self._layout.graph.data_format
        return probe(model, state, self._options, self._runtime, data_format, self._watch.precision)

    def _state(self, part: FusedCalls, read: int, written: int) -> ProbeState:
        inputs = tuple(self._alpha(tensor, read) for tensor in part.inputs)
        output = max((self._alpha(tensor, written) for tensor in part.decides), default=0.0)
        frozen = any(call.key in self._layout.decisions.frozen for call in part.calls)
        return ProbeState(inputs, output, frozen)

    def _alpha(self, tensor: int, level: int) -> float:
        split, alpha = self._layout.splits.get(tensor), self._levels[level]
        if split is None:
            return 0.0
        return split.alpha if alpha is AS_PLANNED else alpha

    def _read(self, part: FusedCalls) -> np.ndarray:
        return self._mean_shares([tensor for tensor in part.inputs if tensor in self._layout.splits])

    def _written(self, part: FusedCalls) -> np.ndarray:
        return self._mean_shares(part.decides)

    def _mean_shares(self, tensors: Sequence[int]) -> np.ndarray:
        shares = [self._shares(tensor) for tensor in tensors]
        return np.mean(shares, axis=0) if shares else np.zeros(len(self._layout.groups))

    def _shares(self, tensor: int) -> np.ndarray:
        """Share of each group in a tensor's channels that are of any group."""
        groups = self._layout.components.group_of[self._layout.channels[tensor]]
        counts = np.bincount(groups[groups >= 0], minlength=len(self._layout.groups)).astype(float)
        return counts / max(counts.sum(), 1.0)
