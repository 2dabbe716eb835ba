"""What a rule is: the two answers the rewriter needs about one kind of call.

1. `Rule.trace`: at planning time, what the call does to channel splits - it carries them, changes them, reads a pair
   into a plain tensor exactly, or has to stop the pair before it, with a reason.
2. `Rule.rewrite`: at building time, the calls that stand for it on pairs.

A call without any rule stops the pair before it: it is merged to the plain tensor, and the report says so.

To write a rule: subclass `Rule`, name the classes in ``layers``, answer both questions, decorate with
`octconvert.rules.register`. A *pair* is the high and the low map that stand for one tensor; *channel numbers* are one
integer for each channel of such a tensor, and equal numbers mean the same channel: a layer that leaves the channels
where they are hands the array on, one that reorders them hands on the reordered array.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from octconvert.layers.base import has_misplaced_bias
from octconvert.model.graph import Call, CallGraph


@dataclass(frozen=True)
class Trace:
    """Answer of `Rule.trace`; `carry` and `stop` make the two most frequent ones.

    Attributes:
        outputs: for each output of the call the channel numbers of a tensor that may become a pair, or None for one
            that stays plain.
        reads: whether pairs are read as they are; otherwise they are merged before the call.
        gains: whether reading a pair here saves work (convolutions) or costs nothing (global pooling); a group that no
            such call reads stays plain.
        reason: why pairs stop here, or why an output can not be one.
    """

    outputs: tuple[np.ndarray | None, ...]
    reads: bool = True
    gains: bool = False
    reason: str = ""


def stop(call: Call, reason: str) -> Trace:
    """Pairs are merged before this call; the report gives the reason."""
    return Trace((None,) * len(call.outputs), reads=False, reason=reason)


def carry(channels: np.ndarray | None) -> Trace:
    """Pairs are read as they are, and the one output has these channel numbers."""
    return Trace((channels,))


class Flow:
    """What a rule may ask and say while a call is traced. Channel numbers are made by producers and carried along.

    Attributes:
        graph: the source's calls; ``data_format``, ``channel_axis`` and ``spatial_axes`` are its maps'.
        call: the call that is traced.
        options: the user's `octconvert.planning.Options`.

    ``refused``, ``small``: why the call's output has to stay plain, whatever the rule says; empty where it need not.
    """

    def __init__(self, graph: CallGraph, call: Call, channels, ledger, options, refused: str = "", small: str = ""):
        self.graph, self.call, self.options = graph, call, options
        self._refused = refused or small
        self._channels, self._ledger = channels, ledger

    def channels(self, argument: int = 0) -> np.ndarray | None:
        """Channel numbers of an argument that may be a pair; None for a plain tensor."""
        return self._channels.get(self.call.inputs[argument])

    def shape(self, argument: int = 0) -> tuple[int | None, ...]:
        """Shape of an argument in the source model, batch axis included; None where a size is open."""
        return self.graph.tensors[self.call.inputs[argument]].shape

    def output_shape(self, output: int = 0) -> tuple[int | None, ...]:
        """Shape of an output in the source model, in the same form."""
        return self.graph.tensors[self.call.outputs[output]].shape

    def is_vector(self, argument: int = 0) -> bool:
        """Whether an argument has no extent: (batch, channels), or a 1x1 map."""
        return self.graph.is_vector(self.shape(argument))

    def sizes_known(self) -> bool:
        """Whether the first argument's rows and columns are known where the new model is built."""
        shape = self.graph.tensors[self.call.inputs[0]].built_shape
        return None not in [shape[axis] for axis in self.graph.spatial_axes]

    def produce(self, channels: int, blocks: int = 1) -> tuple[np.ndarray | None, str]:
        """(numbers, "") for a convolution's output channels, whose split is free; (None, reason) if it stays plain.

        ``blocks``: equal runs of channels that must each get the same share of low ones (grouped convolutions).
        """
        reason = self._refused
        if channels == 1:
            reason = reason or "one channel, nothing to split"
        if reason:
            return None, reason
        return self._ledger.produce(self.call, channels, blocks), ""

    def high(self, channels: int) -> np.ndarray:
        """Numbers for the channels of a plain tensor that joins a pair: they are all high."""
        return self._ledger.high(self.call, channels)

    def portable_refusal(self) -> str:
        """Why built-in layers can not do it: sizes that are open; empty where they can, or need not."""
        if self.options.portable and not self.sizes_known():
            return "built-in layers (portable) need known rows and columns; give an input shape"
        return ""

    def bias_refusal(self) -> str:
        """Why the call, a convolution, has to stay as it is: its bias sits where no converted one would have it."""
        layer, shape = self.call.operation, self.output_shape()
        if has_misplaced_bias(layer, shape):
            count = shape[self.graph.channel_axis]
            return f"Keras adds its {count} biases to the {count} columns of the map, not to the channels"
        return ""

    def tie(self, first: np.ndarray, second: np.ndarray) -> None:
        """The channels of both arrays must be split alike."""
        self._ledger.tie(first, second)

    def balance(self, channels: np.ndarray, blocks: int) -> None:
        """The split of these channels must give every one of ``blocks`` equal runs the same number of low channels."""
        self._ledger.balance(self.call, channels, blocks)


class Rule:
    """Base of all rules: subclass it, and decorate the subclass with `octconvert.rules.register`.

    Attributes:
        layers: the layer classes it knows; subclasses that keep their ``call`` count too.
        operations: full names of the raw operations it knows, such as ``keras.src.ops.numpy.Add``.
    """

    layers: tuple[type, ...] = ()
    operations: tuple[str, ...] = ()
    produces = False
    """Whether its output may become a pair although its input is plain."""

    def is_convolution(self, call: Call, graph: CallGraph) -> bool:
        """Whether the call counts as a convolution ("k of n converted")."""
        return False

    def trace(self, call: Call, flow: Flow) -> Trace:
        """What the call does to channel splits; asked where an input may be a pair, or always for producers.

        It is asked again in each round of planning, so it must change nothing but through ``flow``.

        Args:
            call: one call of a layer: ``call.operation`` is the layer of the source model, ``call.inputs`` and
                ``call.outputs`` number its tensors.
            flow: answers with the channels and shapes of the call's tensors, and takes ties between channels.

        Returns:
            ``carry(flow.channels())`` where the output has the channels of the input; ``stop(call, reason)`` where the
            pair has to be merged before the call; a `Trace` for all else.
        """
        raise NotImplementedError

    def rewrite(self, call: Call, values: list, build) -> list:
        """Make the layers that stand for the call. Asked only where at least one input or output is a pair.

        Args:
            call: the call of the source model, as `trace` got it.
            values: for each input a Keras tensor, or an `octconvert.octave.split.Pair` (``high``, ``low``, ``split``).
            build: an `octconvert.rewriting.builder.Builder`: ``build.dual`` calls one copy of the layer on the high and
                one on the low tensors, with weights cut as told; ``build.split(call)`` is the planned split of the
                output, whose ``high`` and ``low`` are the channels of either map; ``build.clone`` copies the layer for
                one map; ``build.plain`` merges a pair; ``build.note`` tells something in the report;
                ``build.account`` tells how many parameters fewer there are than in the source (a check counts them).

        Returns:
            For each output a Keras tensor, or a `Pair` where the plan has one (``build.split`` is not None).

        An exception leaves the layer plain, and the report gives its first line as the reason.
        """
        raise NotImplementedError

    def linear_output(self, call: Call, part: str, inputs: list):
        """What one part of a layer gives before its activation, if that is linear in its weights; for calibration.

        Args:
            call: of the source model.
            part: which of the layers that were made for it (`octconvert.rewriting.builder.Made`).
            inputs: real tensors.

        Returns:
            A tensor with the channels of the source, or None: this part is not fitted.
        """
        return None

    def mixing(self, call: Call) -> np.ndarray | None:
        """(taps, input channels, output channels) of a layer that mixes all channels linearly; else None."""
        return None

    def affine(self, call: Call) -> tuple[np.ndarray, np.ndarray] | None:
        """(scale, offset) for each channel where the call computes ``scale * x + offset`` at inference; else None."""
        return None

    def set_affine(self, layer, mean: np.ndarray, variance: np.ndarray, offset: np.ndarray) -> None:
        """Make a layer with `affine` add ``offset`` and no more; ``mean``, ``variance``: of its inputs from now on."""
        raise NotImplementedError

    def rectifier(self, call: Call) -> float | None:
        """The upper limit (infinity: none) where the call computes ``min(max(x, 0), limit)``; else None."""
        return None

    def is_sum(self, call: Call) -> bool:
        """Whether the output is the sum of the inputs."""
        return False


def too_small(graph: CallGraph, shape, min_size: int) -> str:
    """Why a map of this shape stays plain for its size; empty where it need not."""
    if len(shape) != 4 or graph.is_vector(shape):
        return ""
    rows, columns = (shape[axis] for axis in graph.spatial_axes)
    if all(size is None or size >= min_size for size in (rows, columns)):
        return ""
    return f"{rows}x{columns} map, below min_size {min_size}"
