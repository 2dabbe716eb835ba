"""The times of all parts of a model, plain and with pairs at their ends."""

from __future__ import annotations

import json
from collections.abc import Sequence

import keras
import numpy as np

from octconvert.inference.forms import RUNTIMES
from octconvert.latency.fusing import FusedCalls, FusedGraph
from octconvert.latency.groups import PartTimes
from octconvert.latency.probes import ProbeState, probe
from octconvert.latency.stopwatch import Stopwatch
from octconvert.planning.planned import Planned
from octconvert.system.progress import Progress


class PartTimer:
    """Times all parts in all their states; equal parts are measured once.

    Args:
        planned: with every group a pair.
        graph: its parts.
        runtime: that they run on.
        watch: measures them.
        progress: called with (stage, parts done, parts in all).
    """

    def __init__(self, planned: Planned, graph: FusedGraph, runtime: str, watch: Stopwatch, progress: Progress):
        self._layout, self._options, self._graph = planned.layout, planned.options, graph
        self._runtime, self._watch, self._progress = runtime, watch, progress
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
        seconds = np.zeros((2, 2, len(parts)))
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
        """(2, 2): by input and output, plain or a pair; None: it can not be timed."""
        states = {(read, written): self._state(part, read, written) for read in (0, 1) for written in (0, 1)}
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
        return np.array([[known[read, written] for written in (0, 1)] for read in (0, 1)], dtype=float)

    def _conditions(self) -> str:
        """Everything that the time of a part depends on besides the part and its state."""
        options = self._options
        conditions = (options.octave, options.min_size, options.stride_mode, self._layout.graph.data_format)
        return f"{conditions} {RUNTIMES[self._runtime]}"

    def _probe(self, model: keras.Model, state: ProbeState) -> keras.Model:
        return probe(model, state, self._options, self._runtime, self._layout.graph.data_format)

    def _state(self, part: FusedCalls, read: int, written: int) -> ProbeState:
        splits = self._layout.splits
        inputs = tuple(splits[tensor].alpha if read and tensor in splits else 0.0 for tensor in part.inputs)
        output = max((splits[tensor].alpha for tensor in part.decides if written), default=0.0)
        frozen = any(call.key in self._layout.decisions.frozen for call in part.calls)
        return ProbeState(inputs, output, frozen)

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
