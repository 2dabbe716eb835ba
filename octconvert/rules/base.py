"""What a rule is: the two answers that the converter needs about the calls of one family of layers.

1. `Rule.trace`, while planning: what a call does to channel splits. It carries them, changes them, reads a pair into a
   plain tensor exactly, or stops the pair before it, with a reason.
2. `Rule.rewrite`, while rewriting: the calls that replace it where pairs are read or written.

A call without any rule stops the pair before it: the pair is merged to a plain tensor, and the report says so.

To write a rule: subclass `Rule`, name the classes in ``layers``, answer both questions, decorate the class with
`octconvert.rules.register`. A *pair* is the high and the low map that together replace one tensor. *Channel numbers*
are one integer for each channel of such a tensor, and equal numbers mean the same channel: a layer that leaves the
channels in place hands the array on, one that reorders them hands on the reordered array.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from octconvert.model.graph import Call, CallGraph
from octconvert.rules.protocols import Build, Flow, Value
from octconvert.rules.traits import Traits


@dataclass(frozen=True)
class Trace:
    """Answer of `Rule.trace`; `carry` and `stop` build the two most frequent ones.

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
    """Pairs are merged before this call; the report states the reason."""
    return Trace((None,) * len(call.outputs), reads=False, reason=reason)


def carry(channels: np.ndarray | None) -> Trace:
    """Pairs are read as they are, and the one output has these channel numbers."""
    return Trace((channels,))


ANY_RANK = (1, 2, 3)
"""`Rule.ranks` of a rule for signals, images and volumes."""


class Family:
    """A family of layers and what is known about it: subclass it, and decorate with `octconvert.rules.register`.

    Attributes:
        layers: the layer classes it covers; subclasses that keep their ``call`` count too.
        operations: full names of the raw operations it covers, such as ``keras.src.ops.numpy.Add``.
        opened: whether the layers' ``call`` is read as calls of other layers (`octconvert.model.opening`), where they
            have no rule.
    """

    layers: ClassVar[tuple[type, ...]] = ()
    operations: ClassVar[tuple[str, ...]] = ()
    opened: ClassVar[bool] = False

    def traits(self, operation: Any) -> Traits:
        """What costs, forms for inference, calibration and training need to know of a layer or raw operation."""
        return Traits()


class Rule(Family):
    """A family whose layers read or make pairs; base class of all rules.

    Attributes:
        produces: whether its output may become a pair although its input is plain.
        leaves_padding: whether the output is the input with padding that the next window applies (`Pair.pads`).
        ranks: spatial axes of the maps that it works for: 2 for images, 1 for signals, 3 for volumes.
    """

    produces: ClassVar[bool] = False
    leaves_padding: ClassVar[bool] = False
    ranks: ClassVar[tuple[int, ...]] = (2,)

    def is_convolution(self, call: Call, graph: CallGraph) -> bool:
        """Whether the call counts as a convolution ("k of n converted")."""
        return False

    def trace(self, call: Call, flow: Flow) -> Trace:
        """What the call does to channel splits.

        Called where an input may be a pair, and for rules that ``produces`` always. It is called again in each round
        of planning, so it must change nothing but through ``flow``.

        Args:
            call: one call of a layer: ``call.operation`` is the layer of the source model, ``call.inputs`` and
                ``call.outputs`` number its tensors.
            flow: knows the channels and shapes of the call's tensors, and takes ties between channels.

        Returns:
            ``carry(flow.channels())`` where the output has the channels of the input; ``stop(call, reason)`` where the
            pair has to be merged before the call; a `Trace` for all else.
        """
        raise NotImplementedError

    def rewrite(self, call: Call, values: list[Value], build: Build) -> list[Value]:
        """Build the layers that replace the call. Called only where at least one input or output is a pair.

        Args:
            call: the call of the source model, as `trace` received it.
            values: for each input a Keras tensor, or an `octconvert.octave.split.Pair` (``high``, ``low``, ``split``);
                ``high`` is None where the tensor is whole-low.
            build: creates layers, names them and moves weights. The most useful methods: ``build.dual`` calls one copy
                of the layer on the high and one on the low tensors, with weights cut by a function;
                ``build.split(call)`` is the planned split of the output, whose ``parts`` are the maps to build, with
                the channels of each; ``build.clone`` copies the layer for one map; ``build.plain`` merges a pair;
                ``build.note`` adds a line to the report; ``build.account`` states how many parameters fewer there are
                than in the source (a check counts them).

        Returns:
            For each output a Keras tensor, or a `Pair` where the plan has one (``build.split`` is not None).

        An exception leaves the layer plain, and its first line is the reason in the report.
        """
        raise NotImplementedError

    def merge_later(self, call: Call, values: list[Value], build: Build) -> list[Value] | None:
        """What replaces a call that stops pairs, where they can be merged behind a part of it; arguments as `rewrite`.

        Returns:
            As `rewrite`; None where each pair is merged before the call.
        """
        return None

    def linear_output(self, call: Call, part: str, inputs: list[Any]) -> Any:
        """The output of one part of a layer before its activation, if it is linear in its weights; for calibration.

        Args:
            call: of the source model.
            part: which of the call's new layers (`octconvert.rewriting.NewLayer`).
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

    def set_affine(self, layer: Any, mean: np.ndarray, variance: np.ndarray, offset: np.ndarray) -> None:
        """Make a layer with `affine` add ``offset`` and no more; ``mean``, ``variance``: of its inputs from now on."""
        raise NotImplementedError

    def rectifier(self, call: Call) -> float | None:
        """The upper limit (infinity: none) where the call computes ``min(max(x, 0), limit)``; else None."""
        return None

    def is_sum(self, call: Call) -> bool:
        """Whether the output is the sum of the inputs."""
        return False
