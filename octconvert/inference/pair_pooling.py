"""Poolings of both maps of a pair by windows -> steps."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from octconvert.inference.drafting import Draft, OrderedNode
from octconvert.inference.pair_maps import PairMaps
from octconvert.inference.program import AveragePoolingStep, EndRepeatingStep, MaxPoolingStep, Node, PlaceScalingStep
from octconvert.layers.window import repeats_ends
from octconvert.model.graph import Call
from octconvert.octave import names
from octconvert.rules.traits import Traits


def pair_pooled(draft: Draft, call: Call, inputs: Sequence[OrderedNode], traits: Traits) -> list[OrderedNode] | None:
    """Each map pooled alone; None where sizes are not known."""
    maps = _PooledMaps(draft, call, inputs, traits.pair_pooling)
    return [OrderedNode(node) for node in maps.outputs()] if maps.known else None


class _PooledMaps(PairMaps):
    """The maps of one call of an octave pooling layer, as `octconvert.layers.pooling` computes them."""

    def __init__(self, draft: Draft, call: Call, inputs: Sequence[OrderedNode], kind: str):
        super().__init__(draft, call, inputs)
        self._is_max, self._step = kind == "max", MaxPoolingStep if kind == "max" else AveragePoolingStep
        self._explicit = not isinstance(self._layer.padding, str)

    def outputs(self) -> list[Node]:
        assert self._low is not None  # such a layer has no other map to read
        return [*([] if self._high is None else [self._of_high(self._high)]), self._of_low(self._low)]

    def _of_high(self, node: Node) -> Node:
        padding = self._layer.padding
        if self._explicit:
            node, padding = self._padded(node, padding, f"pad{names.HIGH}"), "valid"
        return self._windows(node, padding, names.HIGH)

    def _of_low(self, node: Node) -> Node:
        if self._is_max and not self._explicit:
            return self._windows(self._with_copies(node), "valid", names.LOW)
        node, _ = self._prepared(node, names.LOW[1:], allow_same=False)
        node = self._windows(node, "valid", names.LOW)
        return node if self._explicit else self._over_shares(node)

    def _windows(self, node: Node, padding: str, suffix: str) -> Node:
        step = self._step(self._policy, self._layer.pool_size, self._layer.strides, padding)
        return self._draft.add(step, [node], self._call, suffix)

    def _with_copies(self, node: Node) -> Node:
        """A maximum is unchanged by copies of the ends, where there is nothing."""
        pads = self._low_pads
        counts = tuple((max(before, 0), max(after, 0)) for before, after in pads)
        if any(map(any, counts)):
            node = self._add(EndRepeatingStep(self._policy, counts), [node], "ends-L")
        return self._padded(node, tuple((min(before, 0), min(after, 0)) for before, after in pads), "fit-L")

    def _over_shares(self, node: Node) -> Node:
        """Averages of what there is: over the share of each window that lies on the map."""
        shares = self._shares()
        if (shares == 1).all():
            return node
        return self._add(PlaceScalingStep(self._policy, 1 / shares), [node], "share-L")

    def _shares(self) -> np.ndarray:
        """An array over the spatial axes, along which they are independent."""
        shares = np.ones(())
        for a, (before, after), size in zip(self._alignments, self._low_pads, self._low_sizes, strict=True):
            outside = float(repeats_ends(a, self._layer.window))
            there = np.pad(np.ones(size), (max(before, 0), max(after, 0)), constant_values=outside)
            there = there[max(-before, 0) : len(there) - max(-after, 0)]
            windows = sliding_window_view(np.correlate(there, a.prefilter, "valid"), a.kernel)[:: a.stride]
            shares = np.multiply.outer(shares, windows.mean(axis=1))
        return shares
