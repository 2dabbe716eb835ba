"""The maps of a pair as nodes, and what brings a low one under the window of a source's operation."""

from __future__ import annotations

from collections.abc import Sequence

from octconvert.inference.drafting import Draft, OrderedNode, policy_of
from octconvert.inference.program import (
    AveragePoolingStep,
    EndRepeatingStep,
    Node,
    PaddingStep,
    ShiftedAverageStep,
    Step,
)
from octconvert.layers.portable import is_box
from octconvert.layers.reading import split_inputs
from octconvert.layers.window import is_same, pools_by_two, repeats_ends
from octconvert.model.graph import Call
from octconvert.octave.geometry import Pads, ceil_div, factors

Filter = tuple[float, ...]


class PairMaps:
    """What one call of an octave layer with a window reads.

    Attributes:
        known: whether steps can be written for it: the sizes are known, and the channels are where all others have
            them.
    """

    def __init__(self, draft: Draft, call: Call, inputs: Sequence[OrderedNode]):
        self._draft, self._call, self._layer = draft, call, call.operation
        sizes = _sizes(draft, call)
        is_standard = self._layer.data_format == draft.graph.data_format
        self._rank = len(sizes)
        self.known = None not in sizes and is_standard and self._rank in draft.graph.ranks
        self._sizes = [size or 0 for size in sizes]
        if self.known:
            maps = self._layer.low_input.maps(*split_inputs(maps_of(draft, call, inputs), self._layer.name))
            self._high, self._low = (None if tensor is None else draft.plain(tensor) for tensor in maps)
            window = self._layer.window
            self._alignments = [window.alignment(i, size) for i, size in enumerate(self._sizes)]
            self._cells = [window.low_outputs(i, size) for i, size in enumerate(self._sizes)]
            self._output_sizes = tuple(window.output(i, size) for i, size in enumerate(self._sizes))
            self._factors = factors(self._layer.octave, self._rank)

    @property
    def _low_sizes(self) -> list[int]:
        return [ceil_div(size, factor) for size, factor in zip(self._sizes, self._factors, strict=True)]

    @property
    def _low_pads(self) -> Pads:
        """Cells around the low map that its window needs, or leaves out."""
        aligned = zip(self._alignments, self._low_sizes, self._cells, strict=True)
        return tuple(a.padding(size, outputs) for a, size, outputs in aligned)

    @property
    def _policy(self) -> object:
        return policy_of(self._call)

    def _add(self, step: Step, nodes: Sequence[Node], suffix: str) -> Node:
        return self._draft.add(step, nodes, self._call, f"-{suffix}")

    def _pooled(self, node: Node) -> Node:
        """A high map, averaged over the blocks of the octave."""
        blocks = self._factors
        if max(blocks) == 1:
            return node
        if self._layer.causal:  # copies of the first position, which the first cell covers alone
            counts = tuple((block - 1, 0) for block in blocks)
            node = self._add(EndRepeatingStep(self._policy, counts), [node], "pool-front")
            return self._pool(node, blocks, blocks, "valid", "pool")
        if not any(size % block for size, block in zip(self._sizes, blocks, strict=True)):
            return self._pool(node, blocks, blocks, "valid", "pool")
        for step in range(max(blocks).bit_length() - 1):
            halves = tuple(min(max(block >> step, 1), 2) for block in blocks)
            node = self._pool(node, halves, halves, "same", f"pool{step}")
        return node

    def _pool(self, node: Node, size: tuple[int, ...], strides: tuple[int, ...], padding: str, suffix: str) -> Node:
        return self._add(AveragePoolingStep(self._policy, size, strides, padding), [node], suffix)

    def _padded(self, node: Node, pads: Pads, suffix: str) -> Node:
        return self._add(PaddingStep(self._policy, pads), [node], suffix) if any(map(any, pads)) else node

    def _prepared(self, node: Node, label: str, allow_same: bool = True) -> tuple[Node, str]:
        """As `octconvert.layers.spatial.prepare_low`."""
        window, alignments, ones = self._layer.window, self._alignments, (1,) * self._rank
        if window.strided_blocks(self._sizes) is not None:
            return self._pool(node, window.strides, ones, "valid", f"align-{label}"), "valid"
        if all(pools_by_two(a, window) for a in alignments):
            return self._pool(node, (2,) * self._rank, ones, "same", f"align-{label}"), "valid"
        low_sizes, pads = self._low_sizes, self._low_pads
        if allow_same and all(is_same(a, low_sizes[i], pads[i]) for i, a in enumerate(alignments)):
            return node, "same"
        repeats = [repeats_ends(a, window) for a in alignments]
        counts = [
            (max(pad[0], 0), max(pad[1], 0)) if is_copy else (0, 0) for is_copy, pad in zip(repeats, pads, strict=True)
        ]
        if any(map(any, counts)):
            node = self._add(EndRepeatingStep(self._policy, tuple(counts)), [node], f"end-{label}")
        left = [(pad[0] - count[0], pad[1] - count[1]) for pad, count in zip(pads, counts, strict=True)]
        node = self._padded(node, tuple(left), f"pad-{label}")
        return self._filtered(node, tuple(tuple(a.prefilter) for a in alignments), f"align-{label}"), "valid"

    def _filtered(self, node: Node, filters: tuple[Filter, ...], suffix: str) -> Node:
        widths = tuple(map(len, filters))
        if max(widths) == 1:
            return node
        if is_box(filters):
            return self._pool(node, widths, (1,) * self._rank, "valid", suffix)
        return self._add(ShiftedAverageStep(self._policy, filters, self._layer.octave), [node], suffix)


def _sizes(draft: Draft, call: Call) -> Sequence[int | None]:
    """Of the source's map, all or the low channels of which a call reads."""
    read, low_input = [draft.graph.tensors[number] for number in call.inputs], call.operation.low_input
    own = [read[0].shape[axis] for axis in low_input.axes]
    return low_input.size_of(own, read[-1].size) if low_input.whole_low else own


def maps_of(draft: Draft, call: Call, inputs: Sequence[OrderedNode]) -> list[OrderedNode]:
    """The inputs of a call without a tensor of sizes, which are known."""
    return [node for number, node in zip(call.inputs, inputs, strict=True) if draft.graph.tensors[number].size is None]
