"""What a rule receives: a `Flow` from the planner, a `Build` from the rewriter.

A rule uses these two and nothing else of either, so it can be read, written and tested alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeAlias

import numpy as np
from keras import KerasTensor, Layer, Variable

from octconvert.model.graph import Call, CallGraph, Shape
from octconvert.octave.geometry import Octave
from octconvert.octave.split import ChannelSplit, Pair
from octconvert.options.rewriting import RewritingOptions

Value: TypeAlias = KerasTensor | Pair
"""What one tensor of the source model has become: a Keras tensor of the new model, or a pair of them, whose ``high`` is
None where the tensor is whole-low."""

Weights: TypeAlias = Sequence[np.ndarray | Variable]
"""All weights of one layer, in the order of ``layer.weights``."""

Config: TypeAlias = dict[str, Any]
"""Configuration of a layer."""

Changes: TypeAlias = Mapping[str, Any]
"""Entries of a layer's configuration to replace."""

Arguments: TypeAlias = tuple[list[Any], dict[str, Any]]
"""Positional and keyword arguments of one call."""

NewCallable: TypeAlias = Callable[..., Any]
"""A layer of the new model, to be called like the layer itself; its weights are moved at the first call."""


class Flow(Protocol):
    """What a rule may ask and say while a call is traced (`octconvert.rules.Rule.trace`).

    *Channel numbers* are one integer for each channel of a tensor that may become a pair. Equal numbers mean the same
    channel, so a layer that keeps its channels in place hands the array on. Layers whose split is free produce new
    numbers; layers that join tensors tie the numbers of one to those of the other.

    Attributes:
        graph: the source's calls; ``data_format``, ``channel_axis`` and ``spatial_axes`` are those of its maps.
        call: the call that is traced.
        options: what the user requested.
    """

    @property
    def graph(self) -> CallGraph: ...

    @property
    def call(self) -> Call: ...

    @property
    def options(self) -> RewritingOptions: ...

    def channels(self, argument: int = 0) -> np.ndarray | None:
        """Channel numbers of an argument that may be a pair; None for a plain tensor."""

    def shape(self, argument: int = 0) -> Shape:
        """Shape of an argument in the source model, batch axis included; None where a size is open."""

    def output_shape(self, output: int = 0) -> Shape:
        """Shape of an output in the source model, batch axis included; None where a size is open."""

    def is_vector(self, argument: int = 0) -> bool:
        """Whether an argument has no rows and columns to halve: (batch, channels), or a 1x1 map."""

    def sizes_known(self) -> bool:
        """Whether the rows and columns of the first argument are known where the new model is built."""

    def produce(self, channels: int, blocks: int = 1) -> tuple[np.ndarray | None, str]:
        """New numbers for the output channels of a convolution, whose split is free.

        Args:
            channels: how many.
            blocks: equal runs of channels that must each get the same number of low ones (grouped convolutions).

        Returns:
            (numbers, ""), or (None, reason) where the output stays plain.
        """

    def high(self, channels: int) -> np.ndarray:
        """Numbers for the channels of a plain tensor that joins a pair: all of them are high."""

    def tie(self, first: np.ndarray, second: np.ndarray) -> None:
        """Require that the channels of both arrays are split alike."""

    def balance(self, channels: np.ndarray, blocks: int) -> None:
        """Require that each of ``blocks`` equal runs of these channels has the same number of low ones."""

    def portable_refusal(self) -> str:
        """Why built-in layers can not do it: rows or columns are open; empty where they can, or need not."""

    def bias_refusal(self) -> str:
        """Why a convolution stays plain: Keras adds its bias where no converted one would; empty where it need not."""

    def at(self, call: Call) -> Flow:
        """The same flow for another call in the place of this one, on the same tensors."""

    def alone(self, call: Call, channels: np.ndarray) -> Flow:
        """A flow for a call with one input of these channels, which may carry them and nothing else.

        `produce`, `high`, `tie` and `balance` of that flow raise `LookupError`.
        """


class Build(Protocol):
    """What a rule works with while a call is rewritten (`octconvert.rules.Rule.rewrite`).

    Attributes:
        graph: the source's calls.
        options: what the user requested; ``portable``, ``weights`` and ``stride_mode`` matter here.
        data_format: of the maps, 'channels_last' or 'channels_first'.
        octave: factor between the high and the low resolution of maps, or one for each axis.
        causal: whether low cells are causal ones (`octconvert.octave.geometry`).
    """

    @property
    def graph(self) -> CallGraph: ...

    @property
    def options(self) -> RewritingOptions: ...

    @property
    def data_format(self) -> str: ...

    @property
    def octave(self) -> Octave: ...

    @property
    def causal(self) -> bool: ...

    # -- the plan and the source --

    def split(self, call: Call, output: int = 0) -> ChannelSplit | None:
        """The planned split of an output; None where it stays plain.

        Its ``parts`` are what is built: a high and a low one, or the low one alone where all channels are low.
        """

    def pair_split(self, call: Call, output: int = 0) -> ChannelSplit:
        """The planned split of an output that is a pair by plan.

        Raises:
            LookupError: it stays plain.
        """

    def source_shape(self, call: Call, argument: int = 0) -> Shape:
        """Shape of an argument in the source model, batch axis included."""

    def is_shared(self, call: Call) -> bool:
        """Whether the call's layer is called more than once."""

    # -- names --

    def name(self, preferred: str) -> str:
        """``preferred``, or the first of ``preferred-2``, ``preferred-3`` ... that is free; taken from then on."""

    def own_name(self, name: str) -> str:
        """The source layer's name for the layer that replaces it, or ``name-octave`` where a merge must carry it."""

    def base_name(self, preferred: str) -> str:
        """``preferred`` or ``preferred-2`` ..., so that ``octave_conv_2d`` of that name takes no name in use."""

    # -- layers and their weights --

    def clone(
        self,
        call: Call,
        suffix: str = "",
        changes: Changes | None = None,
        weights: Callable[[], Weights] | None = None,
    ) -> NewCallable:
        """A copy of the call's layer; a shared layer has one copy for each suffix.

        Args:
            call: of the source model.
            suffix: of the copy's name; empty keeps the source's name.
            changes: configuration entries to replace.
            weights: function that returns the copy's weights; None takes those of the source layer.
        """

    def filled(self, call: Call, part: str, create: Callable[[], Any], fill: Callable[[Any], None]) -> NewCallable:
        """The layer that ``create`` returns; created at the first call of a shared layer.

        Args:
            call: of the source model.
            part: which of the call's new layers it is, for instance 'octave'.
            create: function that returns the layer.
            fill: function that moves weights into the layer, called once after the first call has built it.
        """

    def once(self, call: Call, part: str, create: Callable[[], Any]) -> Any:
        """The result of ``create`` at the first call of a shared layer, and the same result at later calls."""

    def make(self, layer_class: type[Layer], config: Config) -> Layer:
        """A layer from its configuration; initial values that are overwritten later are not drawn."""

    def set_weights(self, layer: Layer, values: Weights) -> None:
        """Assign all weights of a layer; with ``weights="fresh"`` only the statistics that ``layer.adapt`` computed."""

    def assign(self, layer: Layer, values: Mapping[str, np.ndarray | Variable | None]) -> None:
        """Assign weights by attribute name; entries that are None, or that the layer does not have, are ignored."""

    def tuned(self, call: Call, part: str) -> Mapping[str, Any]:
        """Calibrated weights to use instead of the source's, by attribute name; empty where there are none."""

    # -- pairs --

    def plain(self, value: Value) -> KerasTensor:
        """The plain tensor; a pair is merged, a whole-low map upsampled, once."""

    def settled(self, value: Pair) -> Pair:
        """The pair after the padding that was left to the next window (`Pair.pads`) is applied, if there is any."""

    def joined(self, value: Pair, name: str) -> KerasTensor:
        """Vectors of a pair as one tensor in the order [high | low]; the reader gathers its weights accordingly."""

    def dual(
        self,
        call: Call,
        values: Sequence[Value],
        weights: Callable[[np.ndarray], Weights] | None = None,
        changes: Sequence[Changes | None] = (None, None),
        constants: Callable[[list[Any], dict[str, Any], np.ndarray], Arguments] | None = None,
    ) -> Pair:
        """Call one copy of the layer on the high and one on the low tensors; on the low ones alone if that is all.

        Args:
            call: of the source model; its output is a pair by plan.
            values: of the call's inputs; a plain tensor goes to both copies.
            weights: function from source channels (index array) to the weights of the copy for them; None: none.
            changes: configuration entries to replace in the high and in the low copy.
            constants: function from (args, kwargs, channels) to the arguments with their constant arrays cut.
        """

    # -- the report --

    def note(self, text: str) -> None:
        """Add a line to the report's notes, once."""

    def account(self, call: Call, fewer: int) -> None:
        """State that the new layers have ``fewer`` parameters than the source's (negative: more); a check counts."""
